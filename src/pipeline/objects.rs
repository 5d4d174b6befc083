//! The first stage: raw objects, and dead letters.
//!
//! A key whose object is there already is read, compared and, if what stands there loses, replaced on condition that it
//! has not changed meanwhile. Nobody's bytes are destroyed: what loses a conflict is a durable dead letter before the
//! object is replaced.

use super::attempt::{Attempts, GivenUp};
use super::batch::Work;
use super::resolve::{Candidate, Resolution, candidates, resolve};
use super::stage::Writer;
use super::tally::Tally;
use crate::dead_letter::DeadLetter;
use crate::digest::Sha256;
use crate::event::{Code, Rejection};
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
    pub(super) metrics: Metrics,
    pub(super) tally: Arc<Tally>,
}

/// Dead letters are rendered and written in parts: one body may be an array of a million things that are no events.
const LETTERS_AT_ONCE: usize = 1000;

/// An event that still has to find its place, and its object.
type Open = (Arc<Record>, Arc<Object>);

impl Writer for Objects {
    const STAGE: Stage = Stage::Objects;
    // Several groups at once, so that one slow write does not hold up all.
    const JOIN: usize = 512;
    const OVERLAP: usize = 2;

    /// `Ok` once every event of the group is under its key or superseded there, and every dead letter is durable. What
    /// the store refuses for good has been taken out of the work and is a dead letter instead.
    async fn write(&self, group: &mut [&mut Work]) -> Result<(), GivenUp> {
        let mut letters: Vec<_> = group.iter().flat_map(|work| work.letters.values().cloned()).collect();
        let mut open: Vec<Open> = Vec::new();
        for Candidate { record, losers } in
            candidates(group.iter().flat_map(|work| work.records.iter().map(|(_, r)| r)))
        {
            letters.extend(losers.iter().map(|loser| lost(group, loser, &record.event.sha256)));
            let object = Arc::new(record.object());
            open.push((record, object));
        }
        while !open.is_empty() {
            let existing = self.create(group, &mut letters, open).await?;
            let (replace, mut again) = self.compare(group, &mut letters, existing).await?;
            self.write_letters(std::mem::take(&mut letters)).await?;
            again.extend(self.replace(group, &mut letters, replace).await?);
            open = again;
        }
        self.write_letters(letters).await
    }
}

impl Objects {
    /// Creates what is new; returns those whose key is taken.
    async fn create(
        &self,
        group: &mut [&mut Work],
        letters: &mut Vec<Arc<DeadLetter>>,
        open: Vec<Open>,
    ) -> Result<Vec<Open>, GivenUp> {
        let objects = open.iter().map(|(_, object)| object.clone()).collect();
        let results = self.raw_attempts.each(objects, |objects| async move { self.raw.create(&objects).await }).await?;
        let mut taken = Vec::new();
        for ((record, object), result) in open.into_iter().zip(results) {
            match result {
                Ok(Created::Created) => self.tally.created(),
                Ok(Created::Exists) => taken.push((record, object)),
                Err(error) => letters.extend(refuse(group, &object.key, &error)),
            }
        }
        Ok(taken)
    }

    /// Reads what is there and decides. Returns what is to be replaced, and what is to be tried again because it is
    /// gone by now.
    async fn compare(
        &self,
        group: &mut [&mut Work],
        letters: &mut Vec<Arc<DeadLetter>>,
        taken: Vec<Open>,
    ) -> Result<(Vec<(Open, Tag)>, Vec<Open>), GivenUp> {
        let keys = taken.iter().map(|(_, object)| object.key.clone()).collect();
        let found = self.raw_attempts.each(keys, |keys| async move { self.raw.read(&keys).await }).await?;
        let (mut replace, mut again) = (Vec::new(), Vec::new());
        for ((record, object), found) in taken.into_iter().zip(found) {
            let existing = match found {
                Ok(Some(existing)) => existing,
                Ok(None) => {
                    again.push((record, object));
                    continue;
                }
                Err(error) => {
                    letters.extend(refuse(group, &object.key, &error));
                    continue;
                }
            };
            match resolve(&record.event, &existing) {
                Resolution::Same | Resolution::Superseded => self.tally.unchanged(),
                Resolution::Lost => {
                    self.tally.unchanged();
                    letters.push(lost(group, &record, &Sha256::of(&existing.body)));
                }
                Resolution::Replace => replace.push(((record, object), existing.tag)),
                Resolution::ReplaceKeeping => {
                    letters.push(displaced(&record, &existing));
                    replace.push(((record, object), existing.tag));
                }
            }
        }
        Ok((replace, again))
    }

    /// Replaces what has not changed since it was read; returns the rest.
    async fn replace(
        &self,
        group: &mut [&mut Work],
        letters: &mut Vec<Arc<DeadLetter>>,
        replace: Vec<(Open, Tag)>,
    ) -> Result<Vec<Open>, GivenUp> {
        let objects = replace.iter().map(|((_, object), tag)| (object.clone(), tag.clone())).collect();
        let results =
            self.raw_attempts.each(objects, |objects| async move { self.raw.replace(&objects).await }).await?;
        let mut changed = Vec::new();
        for ((open, _), result) in replace.into_iter().zip(results) {
            match result {
                Ok(Replaced::Replaced) => self.tally.replaced(),
                Ok(Replaced::Changed) => changed.push(open),
                Err(error) => letters.extend(refuse(group, &open.1.key, &error)),
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
        self.raw_attempts
            .insist(|| async {
                let results = self.raw.create(&objects).await;
                results.into_iter().try_for_each(|result| result.map(|_| ()))
            })
            .await?;
        self.table_attempts.insist(|| self.table.insert_dead_letters(letters)).await?;
        for letter in letters {
            self.tally.dead_letter(letter.code());
            self.metrics.dead_letter(letter.code());
        }
        Ok(())
    }
}

/// The dead letter of a decision that lost to another one with the same key.
fn lost(group: &[&mut Work], record: &Arc<Record>, winner: &Sha256) -> Arc<DeadLetter> {
    let reason = format!("another decision has the key {} and the greater SHA-256, {winner}", record.key);
    let rejection = Rejection::new(Code::Conflict, reason);
    let owner = group.iter().find(|work| work.records.iter().any(|(_, mine)| Arc::ptr_eq(mine, record)));
    Arc::new(match owner {
        Some(work) => work.letter(record, rejection),
        None => from_store(record, record.event.raw.clone(), rejection),
    })
}

/// The dead letter of what stands under an event's key and has to make room.
fn displaced(record: &Record, existing: &Existing) -> Arc<DeadLetter> {
    let reason =
        format!("a decision with the same key and the greater SHA-256 took its place, {}", record.event.sha256);
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

/// Takes every event with this key out of the group.
fn refuse(group: &mut [&mut Work], key: &str, error: &StoreError) -> Vec<Arc<DeadLetter>> {
    let mut letters = Vec::new();
    for work in group {
        let mine: Vec<_> =
            work.records.iter().filter(|(_, record)| record.key == key).map(|(_, r)| r.clone()).collect();
        letters.extend(mine.iter().filter_map(|record| work.refuse(record, error)));
    }
    letters
}
