//! Erasure: objects, facts, derived rows and dead letters of a run, or of everything before a day, taken away together.
//! What is left is as if the rest had never been sent.
//!
//! Objects go first: whoever breaks off leaves rows without objects, which the next purge, or `verify --repair`, takes away;
//! the reverse would be written again from the objects.

use super::Audited;
use super::derived;
use super::examine::{content, read};
use super::judge::Content;
use super::letters::{listed, loser};
use super::lowered::Lowered;
use super::one_run::{keys_of, one_run};
use super::own::Owner;
use super::persist::persist;
use super::recent::{MARGIN, Recent};
use super::report::{Counts, Silent};
use super::scope::{Scope, day_of};
use super::selection;
use super::verify::{Check, Mending, Options, uncovered};
use super::walk::{days, folder_of, in_folders, stat};
use crate::dead_letter::{self, DeadLetter};
use crate::event::{Fact, Kind};
use crate::key;
use crate::progress;
use crate::store::StoreError;
use crate::store::audit::{Among, DeadLetterRow, FactId, FactRow, Listed};
use chrono::NaiveDate;
use futures_util::TryStreamExt;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// What is taken away together.
const AT_ONCE: usize = 1000;
/// Objects that are read together.
const READ_AT_ONCE: usize = 64;

/// What to erase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A run with its steps and decisions.
    Run(String),
    /// Everything whose own time is before this day, in UTC.
    Before(NaiveDate),
}

/// How much there is, or was.
#[derive(Debug, Default)]
pub struct Purged {
    /// Raw objects.
    pub objects: AtomicU64,
    /// Their bytes.
    pub bytes: AtomicU64,
    /// Rows of facts.
    pub rows: AtomicU64,
    /// Dead letters.
    pub letters: AtomicU64,
}

/// Erases, or only counts.
pub async fn purge(audited: &Audited, what: &What, erase: bool, purged: &Purged) -> Result<(), StoreError> {
    let lowered = Lowered::new(audited);
    let purge = Purge { audited, erase, purged, lowered: &lowered };
    match what {
        What::Run(run_id) => purge.run(run_id).await?,
        What::Before(day) => purge.before(*day).await?,
    }
    lowered.settle().await
}

struct Purge<'a> {
    audited: &'a Audited,
    erase: bool,
    purged: &'a Purged,
    lowered: &'a Lowered<'a>,
}

impl Purge<'_> {
    async fn run(&self, run_id: &str) -> Result<(), StoreError> {
        let steps = self.steps(run_id).await?;
        let reported: Vec<String> = steps.iter().cloned().collect();
        for (kind, ids) in [(Kind::Step, reported), (Kind::Run, vec![run_id.to_owned()])] {
            // Reports of the same run or step may have different starts, and so keys, and only the newest has a row.
            let keys = keys_of(self.audited, kind, &ids).await?;
            self.objects(stat(&*self.audited.objects, &keys).await?).await?;
        }
        // Rows last: decisions may be all that tells that a step belongs to the run.
        let owner = Owner { run_id, steps: &steps };
        self.letters(|letter| match loser(letter) {
            Some(record) => is_of_run(&record.event.fact, run_id),
            None => owner.has(letter),
        })
        .await?;
        for kind in [Kind::Step, Kind::Decision, Kind::Run] {
            let mut rows = self.audited.tables.facts(kind, Among::Run(run_id.to_owned())).try_chunks(AT_ONCE);
            while let Some(rows) = rows.try_next().await.map_err(|error| error.1)? {
                if kind == Kind::Decision {
                    self.objects_of_decisions(run_id, &rows).await?;
                }
                self.rows(rows).await?;
            }
        }
        Ok(())
    }

    /// The steps that belong to the run: whose row says so, and those without a report of which it has decisions.
    async fn steps(&self, run_id: &str) -> Result<BTreeSet<String>, StoreError> {
        let tables = &self.audited.tables;
        let mut steps = match one_run(self.audited, run_id).await? {
            Some(Scope { run: Some(run), .. }) => run.steps,
            _ => BTreeSet::new(),
        };
        let all: Vec<FactId> = steps.iter().cloned().map(FactId::Step).collect();
        for ids in all.chunks(AT_ONCE) {
            let reported =
                || async { tables.facts(Kind::Step, Among::Ids(ids.to_vec())).try_collect::<Vec<_>>().await };
            for row in persist(reported).await? {
                steps.remove(&row.id.to_string());
            }
        }
        let own = || async { tables.facts(Kind::Step, Among::Run(run_id.to_owned())).try_collect::<Vec<_>>().await };
        steps.extend(persist(own).await?.iter().map(|row| row.id.to_string()));
        Ok(steps)
    }

    /// Takes away the objects of these rows: those of their ids, since what a row names may be anything. Under the key may
    /// stand another run's decision, which won the conflict.
    async fn objects_of_decisions(&self, run_id: &str, rows: &[FactRow]) -> Result<(), StoreError> {
        let keys: BTreeSet<String> = rows.iter().filter_map(own_key).collect();
        let keys: Vec<String> = keys.into_iter().collect();
        for listed in stat(&*self.audited.objects, &keys).await?.chunks(READ_AT_ONCE) {
            let keys: Vec<String> = listed.iter().map(|object| object.key.clone()).collect();
            let mut own = Vec::new();
            for (object, body) in listed.iter().zip(read(self.audited, &keys).await?) {
                let other = match content(Kind::Decision, &object.key, body).0 {
                    Content::Event(record) => !is_of_run(&record.event.fact, run_id),
                    Content::Damaged(_) | Content::Unread(_) => {
                        self.is_named_by_others(run_id, rows, &object.key).await?
                    }
                    Content::Absent => true,
                };
                own.extend((!other).then(|| object.clone()));
            }
            self.objects(own).await?;
        }
        Ok(())
    }

    /// Whether rows of other runs name this key too: of damaged bytes nothing else tells whose they are.
    async fn is_named_by_others(&self, run_id: &str, rows: &[FactRow], key: &str) -> Result<bool, StoreError> {
        let event_id = rows.iter().find(|row| own_key(row).as_deref() == Some(key)).and_then(|row| match &row.id {
            FactId::Decision { event_id, .. } => Some(event_id.clone()),
            _ => None,
        });
        let Some(event_id) = event_id else { return Ok(false) };
        let named = || async {
            self.audited.tables.facts(Kind::Decision, Among::Named(event_id.clone())).try_collect::<Vec<_>>().await
        };
        let is_other = |row: &FactRow| matches!(&row.id, FactId::Decision { run_id: other, .. } if other != run_id);
        Ok(persist(named).await?.iter().any(|row| own_key(row).as_deref() == Some(key) && is_other(row)))
    }

    async fn rows(&self, rows: Vec<FactRow>) -> Result<(), StoreError> {
        self.purged.rows.fetch_add(rows.len() as u64, Relaxed);
        if self.erase {
            let touched = persist(|| async { self.audited.tables.remove(&rows).await }).await?;
            self.lowered.recompute(touched).await?;
        }
        Ok(())
    }

    async fn objects(&self, listed: Vec<Listed>) -> Result<(), StoreError> {
        self.purged.objects.fetch_add(listed.len() as u64, Relaxed);
        self.purged.bytes.fetch_add(listed.iter().map(|object| object.bytes).sum(), Relaxed);
        if !self.erase || listed.is_empty() {
            return Ok(());
        }
        let keys: Vec<String> = listed.into_iter().map(|object| object.key).collect();
        persist(|| async { self.audited.objects.delete(&keys).await.into_iter().collect() }).await
    }

    async fn before(&self, day: NaiveDate) -> Result<(), StoreError> {
        let scope = Scope { to: day.pred_opt(), ..Scope::default() };
        for kind in Kind::ALL {
            let folders = days(&*self.audited.objects, kind, &scope).await?.into_values().flatten();
            let folders = folders.map(|day| folder_of(kind, day)).collect();
            let mut listing = in_folders(&self.audited.objects, folders).try_chunks(AT_ONCE);
            while let Some(listed) = listing.try_next().await.map_err(|error| error.1)? {
                self.objects(listed).await?;
            }
        }
        self.letters(|letter| {
            // The row of a conflict's loser goes by its own day, and its letter with it.
            match loser(letter) {
                Some(record) => day_of(&record.key).is_some_and(|own| own < day),
                None => letter.first_seen.date_naive() < day,
            }
        })
        .await?;
        let rows = persist(|| async { self.audited.tables.remove_before(day, self.erase).await }).await?;
        self.purged.rows.fetch_add(rows, Relaxed);
        if self.erase {
            let everything = Options::everything_now(MARGIN, true);
            let left = Options { scope: Scope { from: Some(day), ..Scope::default() }, ..everything.clone() };
            let Purge { audited, lowered, .. } = *self;
            let (counts, uncovers) = (Counts::default(), AtomicBool::default());
            let check = Check {
                audited,
                options: &left,
                recent: Recent::of(Duration::ZERO),
                counts: &counts,
                sink: &Silent,
                lowered,
                mending: Mending::All,
                uncovers: &uncovers,
            };
            uncovered(&check).await?;
            derived::check(&Check { options: &everything, ..check }).await?;
        }
        Ok(())
    }

    /// Takes away the dead letters that `belongs` takes. Rows of decisions that lost a conflict go with those of the rest.
    async fn letters(&self, belongs: impl Fn(&DeadLetter) -> bool) -> Result<(), StoreError> {
        let mut listing = listed(self.audited).await?.try_chunks(READ_AT_ONCE);
        while let Some(listed) = listing.try_next().await.map_err(|error| error.1)? {
            let keys: Vec<String> = listed.iter().map(|object| object.key.clone()).collect();
            let mut rows = Vec::new();
            for (key, body) in keys.iter().zip(read(self.audited, &keys).await?) {
                let body = body.unwrap_or_else(|error| {
                    progress::warn(&format!("{key} stays: whose it is cannot be read: {}", error.chain()));
                    None
                });
                let letter = body.and_then(|body| dead_letter::parse(key, &body));
                rows.extend(letter.filter(&belongs).map(|letter| DeadLetterRow::of(&letter)));
            }
            self.purged.letters.fetch_add(rows.len() as u64, Relaxed);
            if self.erase && !rows.is_empty() {
                selection::delete(self.audited, &rows).await?;
            }
        }
        Ok(())
    }
}

/// The key that belongs to a decision's row.
fn own_key(row: &FactRow) -> Option<String> {
    match &row.id {
        FactId::Decision { event_id, day, .. } => {
            Some(format!("{}{}", folder_of(Kind::Decision, day.parse().ok()?), key::file_name(event_id)))
        }
        _ => None,
    }
}

fn is_of_run(fact: &Fact, run_id: &str) -> bool {
    matches!(fact, Fact::Decision(decision) if decision.run_id == run_id)
}
