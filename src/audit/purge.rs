//! Erasure: objects, facts, derived rows and dead letters of a run, or of everything before a day, taken away together.
//! What is left is as if the rest had never been sent.
//!
//! Objects go first: whoever breaks off leaves rows without objects, which the next purge, or `verify --repair`, takes away;
//! the reverse would be written again from the objects.

use super::Audited;
use super::derived;
use super::examine::read;
use super::letters::{listed, loser};
use super::lookup::contains;
use super::lowered::Lowered;
use super::persist::persist;
use super::report::{Counts, Finding, Sink};
use super::scope::{Scope, day_of};
use super::verify::{Check, Options, one_run};
use super::walk::{days, folder_of, in_folders};
use crate::dead_letter::{self, DeadLetter};
use crate::event::Kind;
use crate::store::StoreError;
use crate::store::audit::{Among, DeadLetterRow, FactRow, Listed};
use chrono::{NaiveDate, Utc};
use futures_util::TryStreamExt;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// What is taken away together.
const AT_ONCE: usize = 1000;
/// Dead letters whose objects are read together.
const LETTERS_AT_ONCE: usize = 64;

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
        let steps = match one_run(self.audited, run_id).await? {
            Some(Scope { run: Some(run), .. }) => run.steps,
            _ => BTreeSet::new(),
        };
        // Steps first: without the decisions that name the run, nobody could tell any more that some belong to it.
        for kind in [Kind::Step, Kind::Decision, Kind::Run] {
            let mut rows = self.audited.tables.facts(kind, Among::Run(run_id.to_owned())).try_chunks(AT_ONCE);
            while let Some(rows) = rows.try_next().await.map_err(|error| error.1)? {
                self.rows(rows).await?;
            }
        }
        // Of a run whose rows are lost already, or that was never more than a dead letter.
        let belongs = |body: &[u8]| {
            let ids = std::iter::once(run_id).chain(steps.iter().map(String::as_str));
            ids.into_iter().any(|id| contains(body, id.as_bytes()))
        };
        self.letters(|letter| belongs(&letter.body)).await
    }

    /// Takes rows away, and the objects that they name.
    async fn rows(&self, rows: Vec<FactRow>) -> Result<(), StoreError> {
        let keys: BTreeSet<String> = rows.iter().map(|row| row.key.clone()).collect();
        let keys: Vec<String> = keys.into_iter().collect();
        let mut listed = Vec::new();
        for key in &keys {
            // Longer keys begin like it too.
            let found = persist(|| async { self.audited.objects.list(key, "").await }).await?;
            listed.extend(found.into_iter().filter(|object| object.key == *key));
        }
        self.objects(listed).await?;
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
            let options = Options { scope: Scope::default(), deep: false, repair: true, min_age: Duration::ZERO };
            let (since, counts) = (Utc::now(), Counts::default());
            let Purge { audited, lowered, .. } = *self;
            let (bare, lonely) = (false, AtomicU64::new(0));
            let check =
                Check { audited, options: &options, since, counts: &counts, sink: &Silent, lowered, bare, lonely };
            derived::check(&check).await?;
        }
        Ok(())
    }

    /// Takes away the dead letters that `belongs` takes.
    async fn letters(&self, belongs: impl Fn(&DeadLetter) -> bool) -> Result<(), StoreError> {
        let mut listing = listed(self.audited).await?.try_chunks(LETTERS_AT_ONCE);
        while let Some(listed) = listing.try_next().await.map_err(|error| error.1)? {
            let keys: Vec<String> = listed.iter().map(|object| object.key.clone()).collect();
            let mut rows = Vec::new();
            for (key, body) in keys.iter().zip(read(self.audited, &keys).await?) {
                let Some(letter) = body.ok().flatten().and_then(|body| dead_letter::parse(key, &body)) else {
                    continue;
                };
                if belongs(&letter) {
                    rows.push(row(&letter));
                }
            }
            self.purged.letters.fetch_add(rows.len() as u64, Relaxed);
            if self.erase && !rows.is_empty() {
                super::selection::take_away(self.audited, &rows, self.lowered).await?;
            }
        }
        Ok(())
    }
}

fn row(letter: &DeadLetter) -> DeadLetterRow {
    DeadLetterRow {
        sha256: letter.sha256.to_string(),
        code: letter.code().as_str().to_owned(),
        reason: letter.rejection.reason.clone(),
        source: letter.source.clone(),
        kind: letter.kind.map_or("", Kind::as_str).to_owned(),
        s3_key: letter.key(),
        bytes: letter.full_bytes,
        first_seen: letter.first_seen(),
        redriven_at: None,
    }
}

/// What is recomputed here is not wrong.
struct Silent;

impl Sink for Silent {
    fn found(&self, _: &Finding) {}
}
