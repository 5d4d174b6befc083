//! The tables made anew from the objects alone: the same parser, the same inserts, the same recompute as a worker's.

use super::Audited;
use super::examine::{content, read};
use super::judge::Content;
use super::letters;
use super::persist::persist;
use super::repair::recompute;
use super::scope::Scope;
use super::walk::{days, folder_of, in_folders};
use crate::dead_letter;
use crate::event::Kind;
use crate::object::Record;
use crate::store::audit::{Keys, Listed, TableAudit};
use crate::store::rebuild::{Fresh, Rebuild};
use crate::store::{Class, StoreError, Touched};
use futures_util::FutureExt;
use futures_util::stream::{self, TryStreamExt};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Folders that are read at the same time.
const FOLDERS_AT_ONCE: usize = 4;
/// What is read together, and what is inserted together: so many keys, and not much more than so many bytes.
const READ_AT_ONCE: usize = 512;
const INSERT_AT_ONCE: usize = 10_000;
const BYTES_AT_ONCE: u64 = 16 << 20;
/// Workers' clocks may be behind, and what they inserted shortly before may not have been listed.
const MARGIN: chrono::Duration = chrono::Duration::minutes(10);

/// The parts of progress that are no folder.
const EXCHANGE: &str = "exchange";
const DONE: &str = "done";

/// How far it is.
#[derive(Debug, Default)]
pub struct Rebuilt {
    /// Events read from objects.
    pub events: AtomicU64,
    /// Dead letters read.
    pub letters: AtomicU64,
    /// Objects that are none of these.
    pub damaged: AtomicU64,
    /// Folders that an earlier rebuild had done.
    pub resumed: AtomicU64,
    /// Derived rows that were computed.
    pub derived: AtomicU64,
}

/// What to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which objects. Not everything: what they say is added to the tables as they are.
    pub scope: Scope,
    /// Throws away what a rebuild that broke off has done.
    pub anew: bool,
    /// Keeps the tables that were exchanged.
    pub keep: bool,
    /// Exchanges also where the objects give far fewer rows than stand in the tables in use.
    pub force: bool,
}

/// Rebuilds. For everything, into fresh tables that take the place of those in use at the end; may be broken off, and
/// goes on where it was.
pub async fn rebuild(
    audited: &Audited,
    tables: &dyn Rebuild,
    options: &Options,
    rebuilt: &Rebuilt,
) -> Result<(), StoreError> {
    if !options.scope.is_everything() {
        let facts = Facts { audited, into: &audited.tables, fresh: None, rebuilt };
        return facts.all(&options.scope).await;
    }
    let mut fresh = tables.fresh(options.anew).await?;
    if fresh.progress().await?.done.contains(DONE) {
        fresh = tables.fresh(true).await?;
    }
    let progress = fresh.progress().await?;
    // From the first exchanged table on, what stands beside is no longer all fresh.
    if !progress.done.contains(EXCHANGE) {
        // Before anything is read: what workers store from now on is not missing in the objects.
        let before = if options.force { 0 } else { audited.tables.row_counts().await?.all() };
        let into = fresh.tables();
        Facts { audited, into: &into, fresh: Some(&*fresh), rebuilt }.all(&options.scope).await?;
        derive(&Audited { objects: audited.objects.clone(), tables: into.clone() }, rebuilt).await?;
        let after = into.row_counts().await?.all();
        if !options.force && after * 10 < before * 9 {
            // What was read is not to be relied on.
            tables.fresh(true).await?;
            return Err(far_fewer(audited.tables.name(), before, after));
        }
        persist(|| async { fresh.mark(EXCHANGE).await }).await?;
    }
    fresh.exchange(progress.began - MARGIN, options.keep).await?;
    if options.keep { fresh.mark(DONE).await } else { Ok(()) }
}

/// A wrong or empty bucket looks like this.
fn far_fewer(store: &'static str, before: u64, after: u64) -> StoreError {
    let message = format!(
        "the objects give {after} rows, and {before} stand in the tables in use, which were left as they are: is this their \
         bucket, and is all of it there? --force exchanges them all the same"
    );
    StoreError::new(store, Class::Us, message)
}

/// Computes every derived row that is not as a recompute gives it: in fresh tables, all.
async fn derive(audited: &Audited, rebuilt: &Rebuilt) -> Result<(), StoreError> {
    for layer in audited.tables.layers() {
        let mut keys = Keys::After(String::new());
        loop {
            let page = persist(|| async { audited.tables.derived(*layer, &keys).await }).await?;
            let mut touched = Touched::default();
            for row in page.rows.into_iter().filter(|row| row.stored != row.computed) {
                touched.extend(row.touched);
                rebuilt.derived.fetch_add(1, Relaxed);
            }
            recompute(audited, touched).await?;
            match page.next {
                Some(next) => keys = Keys::After(next),
                None => break,
            }
        }
    }
    Ok(())
}

/// Reads objects and inserts what they say.
struct Facts<'a> {
    audited: &'a Audited,
    into: &'a Arc<dyn TableAudit>,
    /// Where progress is kept; without, rows are derived with each insert.
    fresh: Option<&'a dyn Fresh>,
    rebuilt: &'a Rebuilt,
}

impl Facts<'_> {
    async fn all(&self, scope: &Scope) -> Result<(), StoreError> {
        let done = match self.fresh {
            Some(fresh) => fresh.progress().await?.done,
            None => BTreeSet::new(),
        };
        let mut folders: Vec<(Option<Kind>, String)> = Vec::new();
        for kind in &scope.kinds {
            let days = days(&*self.audited.objects, *kind, scope).await?;
            folders.extend(days.into_values().flatten().map(|day| (Some(*kind), folder_of(*kind, day))));
        }
        if scope.is_everything() {
            let letters = persist(|| async { self.audited.objects.folders("dead-letters/").await }).await?;
            folders.extend(letters.into_iter().map(|folder| (None, format!("dead-letters/{folder}/"))));
        }
        let before = folders.len();
        folders.retain(|(_, folder)| !done.contains(folder));
        self.rebuilt.resumed.fetch_add((before - folders.len()) as u64, Relaxed);
        // Boxed, or the compiler does not see that it may be sent to another thread.
        let each = |(kind, folder)| self.folder(kind, folder).boxed();
        stream::iter(folders.into_iter().map(Ok::<_, StoreError>)).try_for_each_concurrent(FOLDERS_AT_ONCE, each).await
    }

    async fn folder(&self, kind: Option<Kind>, folder: String) -> Result<(), StoreError> {
        let mut listing = in_folders(&self.audited.objects, vec![folder.clone()]);
        let (mut group, mut bytes, mut waiting) = (Vec::new(), 0, Vec::new());
        let mut held = 0;
        while let Some(Listed { key, bytes: size, .. }) = listing.try_next().await? {
            bytes += size;
            held += size;
            group.push(key);
            if group.len() == READ_AT_ONCE || bytes >= BYTES_AT_ONCE {
                self.read(kind, std::mem::take(&mut group), &mut waiting).await?;
                bytes = 0;
            }
            if waiting.len() >= INSERT_AT_ONCE || held >= 2 * BYTES_AT_ONCE {
                self.insert(std::mem::take(&mut waiting)).await?;
                held = 0;
            }
        }
        self.read(kind, group, &mut waiting).await?;
        self.insert(waiting).await?;
        match self.fresh {
            Some(fresh) => persist(|| async { fresh.mark(&folder).await }).await,
            None => Ok(()),
        }
    }

    async fn read(
        &self,
        kind: Option<Kind>,
        keys: Vec<String>,
        waiting: &mut Vec<Arc<Record>>,
    ) -> Result<(), StoreError> {
        let bodies = read(self.audited, &keys).await?;
        let mut found = Vec::new();
        for (key, body) in keys.iter().zip(bodies) {
            match kind {
                Some(kind) => match content(kind, key, body).0 {
                    Content::Event(record) => waiting.push(record),
                    Content::Damaged(_) => drop(self.rebuilt.damaged.fetch_add(1, Relaxed)),
                    Content::Absent => {}
                },
                None => {
                    let Some(letter) = body.ok().flatten().and_then(|body| dead_letter::parse(key, &body)) else {
                        self.rebuilt.damaged.fetch_add(1, Relaxed);
                        continue;
                    };
                    // What lost a conflict counts all the same, in the row of its own run and step.
                    waiting.extend(letters::loser(&letter));
                    found.push(Arc::new(letter));
                }
            }
        }
        if !found.is_empty() {
            persist(|| async { self.into.insert_dead_letters(&found).await }).await?;
            self.rebuilt.letters.fetch_add(found.len() as u64, Relaxed);
        }
        Ok(())
    }

    async fn insert(&self, records: Vec<Arc<Record>>) -> Result<(), StoreError> {
        if records.is_empty() {
            return Ok(());
        }
        persist(|| async { self.into.insert_facts(&records).await }).await?;
        self.rebuilt.events.fetch_add(records.len() as u64, Relaxed);
        match self.fresh {
            Some(_) => Ok(()),
            None => {
                let touched = Touched::by(&records);
                // Rows that had gone without a word are counted still where totals are kept as facts come.
                persist(|| async { self.into.sum_again(&touched).await }).await?;
                recompute(self.audited, touched).await
            }
        }
    }
}
