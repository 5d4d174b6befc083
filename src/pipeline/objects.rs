//! The first stage: raw objects, and dead letters.
//!
//! A key whose object is there already is read, compared and, if what stands there loses, replaced on condition that it
//! has not changed meanwhile. Nobody's bytes are destroyed: what loses a conflict is a durable dead letter before the
//! object is replaced.

use super::attempt::{Attempts, GivenUp};
use super::batch::Work;
use super::resolve::{Candidate, Displaced, Member, Resolution, candidates, resolve};
use super::stage::Writer;
use super::tally::Tally;
use crate::dead_letter::DeadLetter;
use crate::digest::Sha256;
use crate::event::{Code, Rejection};
use crate::kill_point;
use crate::metrics::{Metrics, Stage};
use crate::object::Record;
use crate::store::{Created, Existing, MetricsStore, RawStore, Replaced, StoreError, Tag};
use chrono::Utc;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Writes groups of raw objects and dead letters.
#[derive(Debug)]
pub(super) struct Objects {
    pub(super) raw: Arc<dyn RawStore>,
    pub(super) table: Arc<dyn MetricsStore>,
    pub(super) raw_attempts: Attempts,
    pub(super) table_attempts: Attempts,
    pub(super) metrics: Metrics,
    pub(super) tally: Arc<Tally>,
}

/// So many bytes are kept of a dead letter that the store does not take whole.
const KEPT_OF_REFUSED: usize = 64 << 10;

/// Dead letters are rendered and written in parts: one body may be an array of a million things that are no events.
const LETTERS_AT_ONCE: usize = 1000;

/// What a store refuses for good, by key.
type Refused = BTreeMap<String, StoreError>;

impl Writer for Objects {
    const STAGE: Stage = Stage::Objects;
    // Several groups at once, so that one slow write does not hold up all.
    const JOIN: usize = 512;
    const OVERLAP: usize = 2;

    /// `Ok` once every event of the group is under its key or superseded there, and every dead letter is durable. What
    /// the store refuses for good has been taken out of the work and is a dead letter instead.
    async fn write(&self, group: &mut [&mut Work]) -> Result<(), GivenUp> {
        let mut letters: Vec<_> = group.iter().flat_map(|work| work.letters.values().cloned()).collect();
        let mut open: Vec<Member> = Vec::new();
        for Candidate { winner, losers } in candidates(members(group)) {
            letters.extend(losers.iter().map(|loser| lost(group, loser, &winner.record.event.sha256)));
            open.push(winner);
        }
        while !open.is_empty() {
            let mut refused = Refused::new();
            let existing = self.create(open, &mut refused).await?;
            let (replace, mut again) = self.compare(group, &mut letters, existing, &mut refused).await?;
            self.write_letters(std::mem::take(&mut letters)).await?;
            again.extend(self.replace(replace, &mut refused).await?);
            letters.extend(refuse(group, &refused));
            open = again;
        }
        self.write_letters(letters).await
    }
}

impl Objects {
    /// Creates what is new; returns those whose key is taken.
    async fn create(&self, open: Vec<Member>, refused: &mut Refused) -> Result<Vec<Member>, GivenUp> {
        let records = open.iter().map(|member| member.record.clone()).collect();
        let create = |records: Arc<[Arc<Record>]>| async move {
            let objects: Vec<_> = records.iter().map(|record| Arc::new(record.object())).collect();
            if kill_point::is_due("half of the objects") {
                drop(self.raw.create(&objects[..objects.len() / 2]).await);
                kill_point::die();
            }
            self.raw.create(&objects).await
        };
        let results = self.raw_attempts.each(records, create).await?;
        let mut taken = Vec::new();
        for (member, result) in open.into_iter().zip(results) {
            match result {
                Ok(Created::Created) => self.tally.created(),
                Ok(Created::Exists) => taken.push(member),
                Err(error) => drop(refused.insert(member.record.key.clone(), error)),
            }
        }
        Ok(taken)
    }

    /// Reads what is there and decides. Returns what is to be replaced, and what is to be tried again because it is
    /// gone by now.
    async fn compare(
        &self,
        group: &[&mut Work],
        letters: &mut Vec<Arc<DeadLetter>>,
        taken: Vec<Member>,
        refused: &mut Refused,
    ) -> Result<(Vec<(Member, Tag)>, Vec<Member>), GivenUp> {
        let keys = taken.iter().map(|member| member.record.key.clone()).collect();
        let found = self.raw_attempts.each(keys, |keys| async move { self.raw.read(&keys).await }).await?;
        let (mut replace, mut again) = (Vec::new(), Vec::new());
        for (member, found) in taken.into_iter().zip(found) {
            let existing = match found {
                Ok(Some(existing)) => existing,
                Ok(None) => {
                    again.push(member);
                    continue;
                }
                Err(error) => {
                    refused.insert(member.record.key.clone(), error);
                    continue;
                }
            };
            match resolve(&member.record.event, &existing) {
                Resolution::Same | Resolution::Superseded => self.tally.unchanged(),
                Resolution::Lost => {
                    self.tally.unchanged();
                    letters.push(lost(group, &member, &Sha256::of(&existing.body)));
                }
                Resolution::Replace => replace.push((member, existing.tag)),
                Resolution::ReplaceKeeping(why) => {
                    letters.push(displaced(&member.record, &existing, why));
                    replace.push((member, existing.tag));
                }
            }
        }
        Ok((replace, again))
    }

    /// Replaces what has not changed since it was read; returns the rest.
    async fn replace(&self, replace: Vec<(Member, Tag)>, refused: &mut Refused) -> Result<Vec<Member>, GivenUp> {
        let items = replace.iter().map(|(member, tag)| (member.record.clone(), tag.clone())).collect();
        let call = |items: Arc<[(Arc<Record>, Tag)]>| async move {
            let objects: Vec<_> = items.iter().map(|(record, tag)| (Arc::new(record.object()), tag.clone())).collect();
            self.raw.replace(&objects).await
        };
        let results = self.raw_attempts.each(items, call).await?;
        let mut changed = Vec::new();
        for ((member, _), result) in replace.into_iter().zip(results) {
            match result {
                Ok(Replaced::Replaced) => self.tally.replaced(),
                Ok(Replaced::Changed) => changed.push(member),
                Err(error) => drop(refused.insert(member.record.key.clone(), error)),
            }
        }
        Ok(changed)
    }

    /// Makes dead letters durable: objects, then rows. What cannot be written is retried, never dropped.
    pub(super) async fn write_letters(&self, letters: Vec<Arc<DeadLetter>>) -> Result<(), GivenUp> {
        // The same body again is the same dead letter.
        let letters: BTreeMap<_, _> = letters.into_iter().map(|letter| (letter.sha256, letter)).collect();
        let letters: Vec<_> = letters.into_values().collect();
        for letters in letters.chunks(LETTERS_AT_ONCE) {
            self.write_some(letters).await?;
        }
        Ok(())
    }

    async fn write_some(&self, letters: &[Arc<DeadLetter>]) -> Result<(), GivenUp> {
        let objects: Vec<_> = letters.iter().map(|letter| Arc::new(letter.object())).collect();
        let results = self.raw_attempts.each(objects, |objects| async move { self.raw.create(&objects).await }).await?;
        let refused = letters.iter().zip(results).filter(|(_, result)| result.is_err());
        // What is wrong with it is what was wrong with the event: its size, as a rule. The beginning is kept.
        let cut: Vec<_> = refused.map(|(letter, _)| Arc::new(letter.cut(KEPT_OF_REFUSED).object())).collect();
        if !cut.is_empty() {
            self.raw_attempts
                .insist(|| async {
                    let results = self.raw.create(&cut).await;
                    results.into_iter().try_for_each(|result| result.map(|_| ()))
                })
                .await?;
        }
        self.table_attempts.insist(|| self.table.insert_dead_letters(letters)).await?;
        for letter in letters {
            self.tally.dead_letter(letter.code());
            self.metrics.dead_letter(letter.code());
        }
        Ok(())
    }
}

fn members(group: &[&mut Work]) -> Vec<Member> {
    let of_work = |(of, work)| {
        let work: &&mut Work = work;
        work.records.iter().map(move |(_, record)| Member { record: record.clone(), of })
    };
    group.iter().enumerate().flat_map(of_work).collect()
}

/// The dead letter of a decision that lost to another one with the same key.
fn lost(group: &[&mut Work], Member { record, of }: &Member, winner: &Sha256) -> Arc<DeadLetter> {
    let reason = format!("another decision has the key {} and the greater SHA-256, {winner}", record.key);
    let rejection = Rejection::new(Code::Conflict, reason);
    Arc::new(group[*of].letter(record, rejection))
}

/// The dead letter of what stands under an event's key and has to make room.
fn displaced(record: &Record, existing: &Existing, why: Displaced) -> Arc<DeadLetter> {
    let sha256 = record.event.sha256;
    let reason = match why {
        Displaced::Lost => format!("a decision with the same key and the greater SHA-256 took its place, {sha256}"),
        Displaced::NoEvent => format!(
            "it stood under the key of a {} and is none, so the event that belongs there took its place, {sha256}",
            record.event.kind().as_str()
        ),
    };
    Arc::new(from_store(record, existing.body.clone(), Rejection::new(Code::Conflict, reason)))
}

fn from_store(record: &Record, body: bytes::Bytes, rejection: Rejection) -> DeadLetter {
    DeadLetter {
        rejection,
        source: record.key.clone(),
        kind: Some(record.event.kind()),
        first_seen: Utc::now(),
        deliveries: 1,
        full_bytes: body.len() as u64,
        sha256: Sha256::of(&body),
        body,
    }
}

/// Takes every event with such a key out of the group.
fn refuse(group: &mut [&mut Work], refused: &Refused) -> Vec<Arc<DeadLetter>> {
    if refused.is_empty() {
        return Vec::new();
    }
    group.iter_mut().flat_map(|work| work.refuse(|_, record| refused.get(&record.key))).collect()
}
