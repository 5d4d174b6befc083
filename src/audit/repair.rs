//! Making the tables say again what the objects say.

use super::Audited;
use super::judge::Mend;
use super::lowered::Lowered;
use super::persist::persist;
use crate::dead_letter::DeadLetter;
use crate::digest::Sha256;
use crate::event::{Kind, Rejection};
use crate::object::Record;
use crate::progress;
use crate::store::audit::{FactRow, TableAudit};
use crate::store::{Class, StoreError, Touched};
use bytes::Bytes;
use chrono::Utc;
use std::collections::BTreeSet;
use std::sync::Arc;

/// So many keys are recomputed by one call.
const AT_ONCE: usize = 5000;

/// What mends a group of keys.
#[derive(Default)]
pub(super) struct Work {
    remove: Vec<FactRow>,
    insert: Vec<Arc<Record>>,
    set_aside: Vec<(String, DeadLetter)>,
}

impl Work {
    /// Adds what mends one thing. `body` are the bytes under `key`.
    pub(super) fn add(&mut self, key: &str, kind: Kind, body: Option<Bytes>, mend: Mend) {
        match mend {
            Mend::Insert(record) => self.insert.push(record),
            Mend::Replace(row, record) => {
                self.remove.push(row);
                self.insert.push(record);
            }
            Mend::Remove(row) => self.remove.push(row),
            Mend::SetAside(rejection) => {
                self.set_aside.extend(body.map(|body| (key.to_owned(), displaced(key, kind, body, rejection))));
            }
            Mend::Nothing => {}
        }
    }

    /// Does it, and answers with the keys of what the tables refuse. Everything may be done again: whoever dies in the
    /// middle leaves something that is found the next time.
    pub(super) async fn done(self, audited: &Audited, lowered: &Lowered<'_>) -> Result<BTreeSet<String>, StoreError> {
        let Audited { tables, .. } = audited;
        for (key, letter) in self.set_aside {
            set_aside(audited, key, letter).await?;
        }
        let mut removed = Touched::default();
        if !self.remove.is_empty() {
            removed = persist(|| async { tables.remove(&self.remove).await }).await?;
        }
        let mut refused = BTreeSet::new();
        if !self.insert.is_empty() {
            refused.extend(insert(&**tables, &self.insert).await?.into_iter().map(|record| record.key.clone()));
            let inserted = Touched::by(&self.insert);
            persist(|| async { tables.sum_again(&inserted).await }).await?;
            recompute(audited, inserted.clone()).await?;
            lowered.wrote(inserted);
        }
        lowered.recompute(removed).await?;
        Ok(refused)
    }
}

/// Keeps the bytes under a key as a dead letter, and takes them away, unless they are others by now.
async fn set_aside(Audited { objects, tables }: &Audited, key: String, letter: DeadLetter) -> Result<(), StoreError> {
    let existing = persist(|| async { first(objects.read(std::slice::from_ref(&key)).await) }).await?.flatten();
    let Some(existing) = existing.filter(|existing| existing.body == letter.body) else { return Ok(()) };
    let object = [Arc::new(letter.object())];
    persist(|| async { first(objects.create(&object).await) }).await?;
    let letter = [Arc::new(letter)];
    persist(|| async { tables.insert_dead_letters(&letter).await }).await?;
    persist(|| async { objects.delete_if(&key, &existing.tag).await }).await.map(drop)
}

/// Inserts facts, and answers with those that the tables refuse, each on its own account.
pub(super) async fn insert(tables: &dyn TableAudit, records: &[Arc<Record>]) -> Result<Vec<Arc<Record>>, StoreError> {
    let (mut refused, mut open) = (Vec::new(), vec![records]);
    while let Some(records) = open.pop() {
        match persist(|| async { tables.insert_facts(records).await }).await {
            Err(error) if error.class == Class::Item => match records {
                [record] => {
                    progress::warn(&format!("{} is refused: {}", record.key, error.chain()));
                    refused.push(record.clone());
                }
                _ => {
                    let (front, back) = records.split_at(records.len() / 2);
                    open.extend([front, back]);
                }
            },
            outcome => outcome?,
        }
    }
    Ok(refused)
}

/// Brings derived rows up to date.
pub(super) async fn recompute(audited: &Audited, touched: Touched) -> Result<(), StoreError> {
    for part in touched.parts(AT_ONCE) {
        persist(|| async { audited.tables.recompute(&part).await }).await?;
    }
    Ok(())
}

/// The one answer for one item.
fn first<T>(answers: Vec<Result<T, StoreError>>) -> Result<Option<T>, StoreError> {
    answers.into_iter().next().transpose()
}

/// The dead letter of what stood under a key and is not what belongs there.
fn displaced(key: &str, kind: Kind, body: Bytes, rejection: Rejection) -> DeadLetter {
    let reason = format!("it stood under {key}, and is not the {kind} that belongs there: {}", rejection.reason);
    DeadLetter {
        rejection: Rejection::new(rejection.code, reason),
        source: key.to_owned(),
        kind: Some(kind),
        first_seen: Utc::now(),
        deliveries: 1,
        full_bytes: body.len() as u64,
        sha256: Sha256::of(&body),
        body,
    }
}
