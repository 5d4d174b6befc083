//! The first stage: raw objects, and dead letters.
//!
//! A key whose object is there already is read, compared and, if what stands there loses, replaced on condition that it
//! has not changed meanwhile. Nobody's bytes are destroyed: what loses a conflict is a durable dead letter before the
//! object is replaced.

use super::attempt::{Attempts, GivenUp};
use super::batch::{Wait, Work};
use super::refusals::{Judgement, Refusal, Refusals, Taken};
use super::resolve::{Candidate, Displaced, Member, Resolution, candidates, resolve};
use super::stage::Writer;
use super::tally::Tally;
use crate::dead_letter::{self, DeadLetter};
use crate::digest::Sha256;
use crate::event::{Code, Rejection};
use crate::kill_point;
use crate::metrics::{Metrics, Stage};
use crate::object::{Object, Record};
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
    pub(super) refusals: Arc<Refusals>,
    /// Of rows of dead letters.
    pub(super) row_refusals: Arc<Refusals>,
    pub(super) metrics: Metrics,
    pub(super) tally: Arc<Tally>,
}

/// So many bytes are kept of a dead letter that the store does not take whole.
const KEPT_OF_REFUSED: usize = 64 << 10;

/// Dead letters are rendered and written in parts: one body may be an array of a million things that are no events.
const LETTERS_AT_ONCE: usize = 1000;

/// So many bytes of them are read together.
const READ_OF_LETTERS: u64 = 1 << 20;

/// Dead letters by what they are known by.
type Letters = BTreeMap<Sha256, Arc<DeadLetter>>;

/// What the store refuses now.
type Refused = Vec<(Member, StoreError)>;

impl Writer for Objects {
    const STAGE: Stage = Stage::Objects;
    // Several groups at once, so that one slow write does not hold up all.
    const JOIN: usize = 512;
    const OVERLAP: usize = 2;

    /// `Ok` once every event of the group is under its key or superseded there, and every dead letter is durable. What
    /// the store refuses for good has been taken out of the work and is a dead letter instead.
    async fn write(&self, group: &mut [&mut Work]) -> Result<(), GivenUp> {
        let before = self.refusals.taken();
        let mut open = contest(group, |_| true);
        while !open.is_empty() {
            let mut refused = Refused::new();
            let existing = self.create(open, &mut refused).await?;
            let (mut replace, mut again) = self.compare(group, existing, &mut refused).await?;
            self.write_letters(group).await?;
            // What is to be replaced must be safe first.
            replace.retain(|(member, _)| group[member.of].letters.is_empty());
            again.extend(self.replace(replace, &mut refused).await?);
            again.extend(self.settle(group, refused, before).await?);
            open = again;
        }
        self.write_letters(group).await
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
                Err(error) => refused.push((member, error)),
            }
        }
        Ok(taken)
    }

    /// Reads what is there and decides. Returns what is to be replaced, and what is to be tried again because it is
    /// gone by now.
    async fn compare(
        &self,
        group: &mut [&mut Work],
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
                    refused.push((member, error));
                    continue;
                }
            };
            match resolve(&member.record.event, &existing) {
                Resolution::Same | Resolution::Superseded => self.tally.unchanged(),
                Resolution::Lost => {
                    self.tally.unchanged();
                    lose(group, &member, &Sha256::of(&existing.body));
                }
                Resolution::Replace => replace.push((member, existing.tag)),
                Resolution::ReplaceKeeping(why) => {
                    let letter = displaced(&member.record, &existing, why);
                    group[member.of].letters.insert(letter.sha256, Arc::new(letter));
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
                Err(error) => refused.push((member, error)),
            }
        }
        Ok(changed)
    }

    /// Decides about what was refused: it becomes a dead letter, or its message waits. Returns what now has the key of
    /// an event that was given up.
    async fn settle(&self, group: &mut [&mut Work], refused: Refused, before: Taken) -> Result<Vec<Member>, GivenUp> {
        if refused.is_empty() {
            return Ok(Vec::new());
        }
        // Each was refused alone. If a small object of our own is taken, it is not the store.
        if self.raw_attempts.one(|| self.raw.probe()).await?.is_ok() {
            self.refusals.take([(None, Sha256([0; 32]))].into_iter());
        }
        let (mut given_up, mut waiting) = (BTreeMap::new(), BTreeMap::<String, Wait>::new());
        for (Member { record, .. }, error) in refused {
            let refusal = Refusal { error, alone: true };
            match self.refusals.judge((None, record.event.sha256), &refusal, before) {
                Judgement::GiveUp => drop(given_up.insert(record.key.clone(), (record.event.sha256, refusal.error))),
                Judgement::Try(wait) => drop(waiting.insert(record.key.clone(), wait)),
            }
        }
        for work in group.iter_mut() {
            let keys = work.records.iter().map(|(_, record)| &record.key);
            // Also what would be superseded: what supersedes it is not there yet.
            keys.filter_map(|key| waiting.get(key)).for_each(|wait| work.wait.or(wait.clone()));
            work.refuse(|_, record| {
                let (sha256, error) = given_up.get(&record.key)?;
                (record.event.sha256 == *sha256).then_some(error)
            });
        }
        Ok(contest(group, |record| given_up.contains_key(&record.key)))
    }

    /// Makes the dead letters of the group durable: objects, then rows. What cannot be written is retried, never
    /// dropped: where a store refuses one its message waits.
    pub(super) async fn write_letters(&self, group: &mut [&mut Work]) -> Result<(), GivenUp> {
        // The same body again is the same dead letter.
        let letters = group.iter().flat_map(|work| &work.letters);
        let letters: BTreeMap<_, _> = letters.map(|(sha256, letter)| (*sha256, letter.clone())).collect();
        let letters: Vec<_> = letters.into_values().collect();
        for letters in letters.chunks(LETTERS_AT_ONCE) {
            let outcomes = self.write_some(letters).await?;
            for work in group.iter_mut() {
                let mut wait = Wait::No;
                work.letters.retain(|sha256, _| match outcomes.get(sha256) {
                    Some(outcome) => {
                        wait.or(outcome.clone());
                        !outcome.is_no()
                    }
                    None => true,
                });
                work.wait.or(wait);
            }
        }
        Ok(())
    }

    /// Answers for each whether it has to wait.
    async fn write_some(&self, letters: &[Arc<DeadLetter>]) -> Result<BTreeMap<Sha256, Wait>, GivenUp> {
        let (mut outcomes, known) = self.write_objects(letters).await?;
        let written = letters.iter().filter(|letter| !outcomes.contains_key(&letter.sha256));
        let durable: Vec<_> = written.map(|letter| known.get(&letter.sha256).unwrap_or(letter).clone()).collect();
        let before = self.row_refusals.taken();
        let rows =
            self.table_attempts.isolate(&durable, LETTERS_AT_ONCE, |letters| self.table.insert_dead_letters(letters));
        let refused = rows.await?;
        for (at, letter) in durable.iter().enumerate() {
            let wait = match refused.get(&at) {
                // There is no other place for it.
                Some(refusal) => match self.row_refusals.judge((None, letter.sha256), refusal, before) {
                    Judgement::GiveUp => Wait::Refused,
                    Judgement::Try(wait) => wait,
                },
                None => {
                    self.row_refusals.take([(None, letter.sha256)].into_iter());
                    self.tally.dead_letter(letter.code());
                    self.metrics.dead_letter(letter.code());
                    Wait::No
                }
            };
            outcomes.insert(letter.sha256, wait);
        }
        Ok(outcomes)
    }

    /// Answers with those that have to wait, and with those that were there already, as they stand there.
    async fn write_objects(&self, letters: &[Arc<DeadLetter>]) -> Result<(BTreeMap<Sha256, Wait>, Letters), GivenUp> {
        let create = async |objects: Arc<[Arc<Object>]>| self.raw.create(&objects).await;
        let before = self.refusals.taken();
        let objects: Vec<_> = letters.iter().map(|letter| Arc::new(letter.object())).collect();
        let results = self.raw_attempts.each(objects, create).await?;
        let (mut waiting, mut known) = (BTreeMap::new(), Vec::new());
        for (letter, result) in letters.iter().zip(results) {
            let error = match result {
                Ok(Created::Created) => continue,
                Ok(Created::Exists) => {
                    known.push(letter);
                    continue;
                }
                Err(error) => error,
            };
            if self.raw_attempts.one(|| self.raw.probe()).await?.is_ok() {
                self.refusals.take([(None, Sha256([0; 32]))].into_iter());
            }
            let refusal = Refusal { error, alone: true };
            let wait = match self.refusals.judge((None, letter.sha256), &refusal, before) {
                Judgement::Try(wait) => wait,
                // What is wrong with it is what was wrong with the event: its size, as a rule. The beginning is kept.
                Judgement::GiveUp => {
                    let cut = vec![Arc::new(letter.cut(KEPT_OF_REFUSED).object())];
                    match self.raw_attempts.each(cut, create).await?.pop() {
                        Some(Err(_)) => Wait::Refused,
                        _ => continue,
                    }
                }
            };
            waiting.insert(letter.sha256, wait);
        }
        Ok((waiting, self.as_stored(&known).await?))
    }

    /// These letters as their objects have them: whoever was first says where they came from and when, in the row too.
    async fn as_stored(&self, letters: &[&Arc<DeadLetter>]) -> Result<Letters, GivenUp> {
        let mut stored = Letters::new();
        let mut held = 0;
        // What is read is in no budget: little at a time.
        let parts = letters.chunk_by(|_, next| {
            held = if held + next.full_bytes > READ_OF_LETTERS { 0 } else { held + next.full_bytes };
            held > 0
        });
        for part in parts {
            let keys = part.iter().map(|letter| letter.key()).collect();
            let found = self.raw_attempts.each(keys, |keys| async move { self.raw.read(&keys).await }).await?;
            for (letter, found) in part.iter().zip(found) {
                let parsed = found.ok().flatten().and_then(|found| dead_letter::parse(&letter.key(), &found.body));
                let same = parsed.map(|parsed| Arc::new(DeadLetter { body: letter.body.clone(), ..parsed }));
                stored.extend(same.map(|same| (letter.sha256, same)));
            }
        }
        Ok(stored)
    }
}

/// Who is to have each key, of the events of the group that are `among` those asked about. Conflicting decisions that lose
/// become dead letters.
fn contest(group: &mut [&mut Work], among: impl Fn(&Record) -> bool) -> Vec<Member> {
    let members: Vec<_> = members(group).into_iter().filter(|member| among(&member.record)).collect();
    let mut winners = Vec::new();
    for Candidate { winner, losers } in candidates(members) {
        losers.iter().for_each(|loser| lose(group, loser, &winner.record.event.sha256));
        winners.push(winner);
    }
    winners
}

fn members(group: &[&mut Work]) -> Vec<Member> {
    let of_work = |(of, work)| {
        let work: &&mut Work = work;
        work.records.iter().map(move |(_, record)| Member { record: record.clone(), of })
    };
    group.iter().enumerate().flat_map(of_work).collect()
}

/// A decision lost to another one with the same key.
fn lose(group: &mut [&mut Work], Member { record, of }: &Member, winner: &Sha256) {
    let reason = format!("another decision has the key {} and the greater SHA-256, {winner}", record.key);
    group[*of].bury(record, Rejection::new(Code::Conflict, reason));
}

/// The dead letter of what stands under an event's key and has to make room.
fn displaced(record: &Record, existing: &Existing, why: Displaced) -> DeadLetter {
    let sha256 = record.event.sha256;
    let reason = match why {
        Displaced::Lost => format!("a decision with the same key and the greater SHA-256 took its place, {sha256}"),
        Displaced::NoEvent => format!(
            "it stood under the key of a {} and is none, so the event that belongs there took its place, {sha256}",
            record.event.kind().as_str()
        ),
    };
    from_store(record, existing.body.clone(), Rejection::new(Code::Conflict, reason))
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
