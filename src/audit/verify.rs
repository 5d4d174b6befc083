//! Whether the tables say what the objects say.

use super::examine::{Examined, examine};
use super::judge::{Case, Content, Mend, judge};
use super::lowered::Lowered;
use super::pairs::{Pair, Pairs};
use super::persist::persist;
use super::repair::Work;
use super::report::{Counts, Finding, Sink};
use super::scope::{OneRun, Scope, day_of};
use super::walk::{days, folder_of, in_folders};
use super::{Audited, derived, letters};
use crate::event::Kind;
use crate::store::StoreError;
use crate::store::audit::{Among, FactId, FactRow};
use chrono::{DateTime, NaiveDate, Utc};
use futures_util::FutureExt;
use futures_util::stream::{self, TryStreamExt};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Months that are walked at the same time.
const MONTHS_AT_ONCE: usize = 4;
/// What is examined together: so many keys, and not much more than so many bytes.
const KEYS_AT_ONCE: usize = 256;
const BYTES_AT_ONCE: u64 = 16 << 20;
/// A few rows without objects are damage. More than that on days that have no objects at all look like a rule of the
/// bucket that expires them, or like the wrong bucket: they are named, and left.
const LEFT_FROM: u64 = 100;

/// What to look at, and what to do about it.
#[derive(Debug, Clone)]
pub struct Options {
    /// What to look at.
    pub scope: Scope,
    /// Whether to read every object, rather than only those about which something looks wrong.
    pub deep: bool,
    /// Whether to mend what is wrong.
    pub repair: bool,
    /// What is younger than this is left out: it may be on its way.
    pub min_age: Duration,
}

/// Verifies everything in scope; what is wrong goes to `sink` as it is found. Memory stays the same however much is
/// stored.
pub async fn verify(audited: &Audited, options: &Options, counts: &Counts, sink: &dyn Sink) -> Result<(), StoreError> {
    let since = Utc::now() - chrono::Duration::from_std(options.min_age).unwrap_or_default();
    let lowered = Lowered::new(audited);
    let mut objects = BTreeMap::new();
    for kind in &options.scope.kinds {
        objects.insert(*kind, days(&*audited.objects, *kind, &options.scope).await?);
    }
    // Only what takes away has to know.
    let bare = options.repair && is_bare(audited, &objects).await?;
    let check = Check { audited, options, since, counts, sink, lowered: &lowered, bare, lonely: AtomicU64::new(0) };
    for (kind, mut months) in objects {
        for month in persist(|| async { audited.tables.months(kind).await }).await? {
            if options.scope.has_month(month) {
                months.entry(month).or_default();
            }
        }
        let units = stream::iter(months.into_iter().map(Ok::<_, StoreError>));
        // Boxed, or the compiler does not see that it may be sent to another thread.
        let month = |(month, days)| check.month(kind, month, days).boxed();
        units.try_for_each_concurrent(MONTHS_AT_ONCE, month).await?;
    }
    if options.scope.run.is_none() {
        letters::check(&check).await?;
    }
    derived::check(&check).await?;
    lowered.settle().await
}

/// Whether there are no objects at all; days may be empty folders.
async fn is_bare(
    audited: &Audited,
    objects: &BTreeMap<Kind, BTreeMap<u32, Vec<NaiveDate>>>,
) -> Result<bool, StoreError> {
    for (kind, months) in objects {
        for day in months.values().flatten() {
            let folder = folder_of(*kind, *day);
            if !persist(|| async { audited.objects.list(&folder, "").await }).await?.is_empty() {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// What is known of a run, to look at it alone. `None` where no row knows it.
pub async fn one_run(audited: &Audited, run_id: &str) -> Result<Option<Scope>, StoreError> {
    let (mut steps, mut days) = (BTreeSet::new(), BTreeSet::new());
    for kind in Kind::ALL {
        let mut rows = audited.tables.facts(kind, Among::Run(run_id.to_owned()));
        while let Some(row) = rows.try_next().await? {
            days.extend(day_of(&row.key));
            match row.id {
                FactId::Decision { step_id, .. } | FactId::Step(step_id) => drop(steps.insert(step_id)),
                FactId::Run(_) => {}
            }
        }
    }
    let scope = Scope {
        from: days.first().copied(),
        to: days.last().copied(),
        run: Some(OneRun { run_id: run_id.to_owned(), steps }),
        ..Scope::default()
    };
    Ok((!days.is_empty()).then_some(scope))
}

/// What every part of a verification works with.
pub(super) struct Check<'a> {
    pub(super) audited: &'a Audited,
    pub(super) options: &'a Options,
    /// What is younger than this is left out.
    pub(super) since: DateTime<Utc>,
    pub(super) counts: &'a Counts,
    pub(super) sink: &'a dyn Sink,
    /// What was taken away.
    pub(super) lowered: &'a Lowered<'a>,
    /// There are no objects at all.
    pub(super) bare: bool,
    /// Rows of days without objects, and of dead letters without theirs.
    pub(super) lonely: AtomicU64,
}

impl Check<'_> {
    /// One more finding.
    pub(super) fn found(&self, finding: &Finding) {
        self.counts.found(finding);
        self.sink.found(finding);
    }

    /// Walks the objects and rows of a month side by side.
    async fn month(&self, kind: Kind, month: u32, days: Vec<NaiveDate>) -> Result<(), StoreError> {
        let folders = days.into_iter().map(|day| folder_of(kind, day)).collect();
        let objects = in_folders(&self.audited.objects, folders);
        let mut pairs = Pairs::new(objects, self.audited.tables.facts(kind, Among::Month(month)));
        let (mut group, mut bytes) = (Vec::new(), 0);
        while let Some(mut pair) = pairs.next().await? {
            pair.rows.retain(|row| self.options.scope.has_row(row) || pair.object.is_some());
            self.counts.objects.fetch_add(u64::from(pair.object.is_some()), Relaxed);
            self.counts.rows.fetch_add(pair.rows.len() as u64, Relaxed);
            if !self.is_suspect(&pair) {
                continue;
            }
            bytes += pair.object.as_ref().map_or(0, |object| object.bytes);
            group.push(pair);
            if group.len() == KEYS_AT_ONCE || bytes >= BYTES_AT_ONCE {
                self.group(kind, std::mem::take(&mut group)).await?;
                bytes = 0;
            }
        }
        self.group(kind, group).await
    }

    /// Whether more has to be known about a pair. What is too recent is not looked at.
    fn is_suspect(&self, pair: &Pair<FactRow>) -> bool {
        let young = pair.object.as_ref().is_some_and(|object| object.modified > self.since)
            || pair.rows.iter().any(|row| row.updated_at > self.since);
        let suspect = self.options.deep || pair.object.is_none() || pair.rows.len() != 1;
        let scoped = match pair.rows.as_slice() {
            [] => pair.object.is_some() && self.options.scope.has_key(&pair.key),
            rows => rows.iter().any(|row| self.options.scope.has_row(row)),
        };
        if suspect && scoped && young {
            self.counts.young.fetch_add(1, Relaxed);
        }
        suspect && scoped && !young
    }

    async fn group(&self, kind: Kind, pairs: Vec<Pair<FactRow>>) -> Result<(), StoreError> {
        let examined = examine(self.audited, kind, pairs, self.options.deep, self.counts).await?;
        let (mut work, mut findings) = (Work::default(), Vec::new());
        for Examined { key, case, body } in examined {
            if !self.concerns(&case) {
                continue;
            }
            let ruling = judge(&case);
            self.counts.explained.fetch_add(ruling.explained, Relaxed);
            for wrong in ruling.wrong {
                let mends = self.options.repair && self.may_mend(kind, &wrong.mend, body.is_some()).await?;
                if mends {
                    work.add(&key, kind, body.as_ref(), wrong.mend);
                }
                let id = wrong.row.as_ref().map_or_else(|| key.clone(), ToString::to_string);
                let table = wrong.row.map(|row| row.table());
                findings.push(Finding { problem: wrong.problem, table, id, detail: wrong.detail, repaired: mends });
            }
        }
        work.done(self.audited, self.lowered).await?;
        findings.iter().for_each(|finding| self.found(finding));
        Ok(())
    }

    /// Whether a case is about what was asked for, now that its event is known; and not about what came a moment ago.
    fn concerns(&self, case: &Case) -> bool {
        let recent = case.elsewhere.as_ref().is_some_and(|row| row.updated_at > self.since);
        let in_scope = match (&case.object, case.rows.is_empty()) {
            (Content::Event(record), true) => self.options.scope.has_record(record),
            _ => true,
        };
        in_scope && !recent
    }

    /// What is taken away must be known to be gone.
    async fn may_mend(&self, kind: Kind, mend: &Mend, has_body: bool) -> Result<bool, StoreError> {
        let row = match mend {
            Mend::Insert(_) | Mend::Replace(..) => return Ok(true),
            Mend::SetAside(_) => return Ok(has_body),
            Mend::Remove(row) => row,
        };
        let Some(day) = day_of(&row.key) else { return Ok(true) };
        let folder = folder_of(kind, day);
        let empty = persist(|| async { self.audited.objects.list(&folder, "").await }).await?.is_empty();
        Ok(!empty || self.may_take_away())
    }

    /// Whether one more thing may be taken away of which nothing is stored nearby.
    pub(super) fn may_take_away(&self) -> bool {
        !self.bare && self.lonely.fetch_add(1, Relaxed) < LEFT_FROM
    }
}
