//! The tables made anew from the objects alone: the same parser, the same inserts, the same recompute as a worker's.

use super::examine::{content, read};
use super::judge::Content;
use super::lowered::Lowered;
use super::persist::persist;
use super::recent::{MARGIN, Recent};
use super::repair::{insert, recompute};
use super::report::{Counts, Problem, Silent};
use super::scope::Scope;
use super::tally::tally;
use super::verify::{self, Check, Mending, uncovered};
use super::walk::{days, folder_of, in_folders};
use super::{Audited, letters};
use crate::dead_letter;
use crate::event::Kind;
use crate::object::Record;
use crate::store::audit::{Keys, Listed, TableAudit};
use crate::store::rebuild::{Fresh, Rebuild, owner};
use crate::store::{Class, StoreError, Touched};
use chrono::Utc;
use futures_util::FutureExt;
use futures_util::stream::{self, TryStreamExt};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Folders that are read at the same time.
const FOLDERS_AT_ONCE: usize = 4;
/// What is read together, and what is inserted together: so many keys, and not much more than so many bytes.
const READ_AT_ONCE: usize = 512;
const INSERT_AT_ONCE: usize = 10_000;
const BYTES_AT_ONCE: u64 = 16 << 20;

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
    /// Objects that are none of these, or cannot be read.
    pub damaged: AtomicU64,
    /// Events that the tables refuse.
    pub refused: AtomicU64,
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

/// What became of a rebuild.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The tables are as the objects say.
    Rebuilt,
    /// They were left as they are, for this reason.
    Refused(String),
}

/// Rebuilds. For everything, into fresh tables that take the place of those in use at the end; may be broken off, and
/// goes on where it was.
pub async fn rebuild(
    audited: &Audited,
    tables: &dyn Rebuild,
    options: &Options,
    rebuilt: &Rebuilt,
) -> Result<Outcome, StoreError> {
    if !options.scope.is_everything() {
        Facts { audited, into: &audited.tables, claim: None, rebuilt }.all(&options.scope).await?;
        return Ok(Outcome::Rebuilt);
    }
    let mut fresh = tables.fresh(options.anew).await?;
    if fresh.progress().await?.done.contains(DONE) {
        fresh = tables.fresh(true).await?;
    }
    let claim = Claim::new(&*fresh, audited.tables.name()).await?;
    let progress = fresh.progress().await?;
    // From the first exchanged table on, what stands beside is no longer all fresh.
    let broke_off = progress.done.contains(EXCHANGE);
    if !broke_off {
        if !options.force {
            // Before anything is read.
            let tally = tally(audited, &options.scope, Utc::now()).await?;
            if tally.looks_wrong() {
                let left = "The tables in use were left as they are; --force rebuilds all the same";
                return Ok(Outcome::Refused(format!("{tally} {left}")));
            }
        }
        if let Some(why) = fill(audited, &claim, options, rebuilt).await? {
            // What was read is not to be relied on.
            claim.check().await?;
            tables.fresh(true).await?;
            return Ok(Outcome::Refused(why));
        }
        claim.mark(EXCHANGE).await?;
    }
    // Workers' clocks may be behind, and what they inserted shortly before may not have been listed.
    fresh.exchange(progress.began - MARGIN, options.keep).await?;
    if broke_off && let Some(why) = catch_up(audited, options, rebuilt).await? {
        return Ok(Outcome::Refused(why));
    }
    if options.keep {
        claim.mark(DONE).await?;
    }
    Ok(Outcome::Rebuilt)
}

/// Fills the fresh tables. Answers with the reason why they should not take the place of those in use.
async fn fill(
    audited: &Audited,
    claim: &Claim<'_>,
    options: &Options,
    rebuilt: &Rebuilt,
) -> Result<Option<String>, StoreError> {
    // Before anything is read: what workers store from now on is not missing in the objects.
    let before = if options.force { 0 } else { audited.tables.row_counts().await?.all() };
    let into = claim.fresh.tables();
    Facts { audited, into: &into, claim: Some(claim), rebuilt }.all(&options.scope).await?;
    let filled = Audited { objects: audited.objects.clone(), tables: into.clone() };
    let unread = follow(&filled).await?;
    if unread > 0 && !options.force {
        return Ok(Some(format!(
            "{unread} objects cannot be read, and the tables in use, which may have their rows, were left as they are: \
             `verify --deep` names them; `rebuild --force` leaves them out"
        )));
    }
    derive(&filled, rebuilt).await?;
    let after = into.row_counts().await?.all();
    Ok((after * 10 < before * 9).then(|| {
        format!(
            "the objects give {after} rows, and {before} stand in the tables in use, which were left as they are: can all \
             objects be read? --force exchanges them all the same"
        )
    }))
}

/// What another process filled and began to exchange may have been filled long ago: what was erased or stored since is
/// erased or stored in the tables that are in use now. Answers with the reason why it was not.
async fn catch_up(audited: &Audited, options: &Options, rebuilt: &Rebuilt) -> Result<Option<String>, StoreError> {
    let options = verify::Options::everything_now(-MARGIN, options.force);
    let counts = Counts::default();
    verify::verify(audited, &options, &counts, &Silent).await?;
    rebuilt.events.fetch_add(counts.problems().get(&Problem::MissingRow).map_or(0, |(found, _)| *found), Relaxed);
    let why =
        |tally| format!("{tally} The tables are those of a rebuild that broke off: `verify` says what is off in them");
    Ok(counts.withheld.get().map(why))
}

/// What was erased or stored since a folder was read, perhaps by a rebuild that broke off long ago, is erased or stored in
/// the fresh tables too. Answers how many objects the store does not give us.
async fn follow(filled: &Audited) -> Result<u64, StoreError> {
    let options = verify::Options::everything_now(-MARGIN, true);
    // Nobody else writes here: nothing of what is taken away can come back.
    let lowered = Lowered::new(filled);
    let (counts, uncovers) = (Counts::default(), AtomicBool::default());
    let check = Check {
        audited: filled,
        options: &options,
        recent: Recent::of(Duration::ZERO),
        counts: &counts,
        sink: &Silent,
        lowered: &lowered,
        mending: Mending::Rows,
        uncovers: &uncovers,
    };
    check.facts().await?;
    uncovered(&check).await?;
    letters::check(&check).await?;
    Ok(counts.problems().get(&Problem::UnreadObject).map_or(0, |(found, _)| *found))
}

/// A rebuild may be started twice, and nobody can tell whether the first has died: whoever claims it last goes on, and
/// the other stops before it notes or exchanges anything.
struct Claim<'a> {
    fresh: &'a dyn Fresh,
    name: String,
    store: &'static str,
}

impl<'a> Claim<'a> {
    async fn new(fresh: &'a dyn Fresh, store: &'static str) -> Result<Self, StoreError> {
        let name = format!("{} {}", Utc::now().timestamp_micros(), std::process::id());
        persist(|| async { fresh.mark(&owner(&name)).await }).await?;
        Ok(Claim { fresh, name, store })
    }

    async fn check(&self) -> Result<(), StoreError> {
        let progress = persist(|| async { self.fresh.progress().await }).await?;
        if progress.owner.as_ref() == Some(&self.name) {
            return Ok(());
        }
        let message = "another rebuild of these tables has begun since, and goes on with what this one has done: leave it to that one";
        Err(StoreError::new(self.store, Class::Us, message))
    }

    async fn mark(&self, part: &str) -> Result<(), StoreError> {
        self.check().await?;
        persist(|| async { self.fresh.mark(part).await }).await
    }
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
    claim: Option<&'a Claim<'a>>,
    rebuilt: &'a Rebuilt,
}

impl Facts<'_> {
    async fn all(&self, scope: &Scope) -> Result<(), StoreError> {
        let done = match self.claim {
            Some(claim) => claim.fresh.progress().await?.done,
            None => BTreeSet::new(),
        };
        let mut folders: Vec<(Option<Kind>, String)> = Vec::new();
        for kind in &scope.kinds {
            let days = days(&*self.audited.objects, *kind, scope).await?;
            folders.extend(days.into_values().flatten().map(|day| (Some(*kind), folder_of(*kind, day))));
        }
        if scope.is_everything() {
            let letters = persist(|| async { self.audited.objects.level("dead-letters/").await }).await?.folders;
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
        match self.claim {
            Some(claim) => claim.mark(&folder).await,
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
                    Content::Damaged(_) | Content::Unread(_) => drop(self.rebuilt.damaged.fetch_add(1, Relaxed)),
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
        let refused = insert(&**self.into, &records).await?.len() as u64;
        self.rebuilt.refused.fetch_add(refused, Relaxed);
        self.rebuilt.events.fetch_add(records.len() as u64 - refused, Relaxed);
        match self.claim {
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
