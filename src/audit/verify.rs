//! Whether the tables say what the objects say.

use super::examine::{Examined, examine, stored_since};
use super::judge::{Case, Content, Mend, judge};
use super::lowered::Lowered;
use super::pairs::Pair;
use super::recent::Recent;
use super::repair::Work;
use super::report::{Counts, Finding, Once, Problem, Sink};
use super::scope::Scope;
use super::tally::tally;
use super::walk::{months, pairs, strays};
use super::{Audited, derived, letters};
use crate::event::Kind;
use crate::store::StoreError;
use crate::store::audit::{Among, FactRow};
use chrono::{NaiveDate, TimeDelta};
use futures_util::FutureExt;
use futures_util::stream::{self, TryStreamExt};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// Months that are walked at the same time.
const MONTHS_AT_ONCE: usize = 4;
/// What is examined together: so many keys, and not much more than so many bytes.
const KEYS_AT_ONCE: usize = 256;
const BYTES_AT_ONCE: u64 = 16 << 20;

/// What to look at, and what to do about it.
#[derive(Debug, Clone)]
pub struct Options {
    /// What to look at.
    pub scope: Scope,
    /// Whether to read every object, rather than only those about which something looks wrong.
    pub deep: bool,
    /// Whether to mend what is wrong.
    pub repair: bool,
    /// Mends also where so many rows have no object that these look like another bucket's.
    pub force: bool,
    /// What is younger than this is left out: it may be on its way.
    pub min_age: Duration,
    /// An object that was written so much later than its row may say something else by now.
    pub lag: TimeDelta,
    /// Whether the facts of a derived row that differs are read before it is taken for wrong.
    pub facts_first: bool,
}

impl Options {
    /// All that there is now, mended after listings alone.
    pub(super) fn everything_now(lag: TimeDelta, force: bool) -> Options {
        let (scope, min_age) = (Scope::default(), Duration::ZERO);
        Options { scope, deep: false, repair: true, force, min_age, lag, facts_first: false }
    }
}

/// Verifies everything in scope; what is wrong goes to `sink` as it is found. Memory stays the same however much is
/// stored.
pub async fn verify(audited: &Audited, options: &Options, counts: &Counts, sink: &dyn Sink) -> Result<(), StoreError> {
    let recent = Recent::of(options.min_age);
    let mut mending = Mending::Nothing;
    if options.repair {
        // With force the answer would change nothing, and it costs a listing of everything.
        let wrong = match options.force {
            true => None,
            false => Some(tally(audited, &options.scope, recent.since).await?).filter(|tally| tally.looks_wrong()),
        };
        match wrong {
            Some(tally) => drop(counts.withheld.set(tally)),
            None => mending = Mending::All,
        }
    }
    let lowered = Lowered::new(audited);
    let uncovers = AtomicBool::new(false);
    let check = Check { audited, options, recent, counts, sink, lowered: &lowered, mending, uncovers: &uncovers };
    check.facts().await?;
    if uncovers.load(Relaxed) {
        uncovered(&check).await?;
    }
    if options.scope.run.is_none() {
        letters::check(&check).await?;
        if options.scope.from.is_none() && options.scope.to.is_none() {
            check.strays().await?;
        }
    }
    derived::check(&check).await?;
    lowered.settle().await
}

/// Where a report's row was taken away, an object of another report of the same run or step may be left, of another day:
/// it is superseded no more, and gets the row. Removes nothing.
pub(super) async fn uncovered(check: &Check<'_>) -> Result<(), StoreError> {
    let counts = Counts::default();
    let kinds = check.options.scope.kinds.iter().copied().filter(|kind| *kind != Kind::Decision).collect();
    let options =
        Options { scope: Scope { kinds, ..check.options.scope.clone() }, deep: false, ..check.options.clone() };
    let again = Check { options: &options, counts: &counts, mending: Mending::Missing, ..*check };
    again.facts().await?;
    check.counts.add_problems(&counts);
    Ok(())
}

/// What is mended of what is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mending {
    /// Nothing, it is only named.
    Nothing,
    /// Rows that objects say and that are missing or older; nothing else is even named.
    Missing,
    /// Rows, whatever is wrong with them. Objects stay as they are.
    Rows,
    /// Everything.
    All,
}

/// What every part of a verification works with.
#[derive(Clone, Copy)]
pub(super) struct Check<'a> {
    pub(super) audited: &'a Audited,
    pub(super) options: &'a Options,
    /// What is left out.
    pub(super) recent: Recent,
    pub(super) counts: &'a Counts,
    pub(super) sink: &'a dyn Sink,
    /// What was taken away.
    pub(super) lowered: &'a Lowered<'a>,
    /// What is mended.
    pub(super) mending: Mending,
    /// Whether the row of a report was taken away.
    pub(super) uncovers: &'a AtomicBool,
}

impl Check<'_> {
    /// One more finding.
    pub(super) fn found(&self, finding: &Finding) {
        self.counts.found(finding);
        self.sink.found(finding);
    }

    /// Whether rows are mended, whatever is wrong with them.
    pub(super) fn mends_rows(&self) -> bool {
        matches!(self.mending, Mending::Rows | Mending::All)
    }

    /// Objects against the rows of facts.
    pub(super) async fn facts(&self) -> Result<(), StoreError> {
        for kind in self.options.scope.kinds.iter().copied() {
            let units = months(self.audited, kind, &self.options.scope).await?;
            let units = stream::iter(units.into_iter().map(Ok::<_, StoreError>));
            // Boxed, or the compiler does not see that it may be sent to another thread.
            let month = |(month, days)| self.month(kind, month, days).boxed();
            units.try_for_each_concurrent(MONTHS_AT_ONCE, month).await?;
        }
        Ok(())
    }

    /// What no worker writes is not touched either.
    async fn strays(&self) -> Result<(), StoreError> {
        for kind in self.options.scope.kinds.iter().copied() {
            for id in strays(&*self.audited.objects, kind).await? {
                let detail = format!("workers write {kind}s under {}/YYYY/MM/DD/ID.json alone", kind.plural());
                self.found(&Finding { problem: Problem::StrayObject, table: None, id, detail, repaired: false });
            }
        }
        for id in letters::strays(self.audited).await? {
            let detail = "workers write dead letters under dead-letters/XX/SHA256.json alone".to_owned();
            self.found(&Finding { problem: Problem::StrayObject, table: None, id, detail, repaired: false });
        }
        Ok(())
    }

    /// Walks the objects and rows of a month side by side.
    async fn month(&self, kind: Kind, month: u32, days: Vec<NaiveDate>) -> Result<(), StoreError> {
        let mut pairs = pairs(self.audited, kind, month, days);
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

    /// Holds these rows against their objects, column by column. Answers whether anything was mended.
    pub(super) async fn rows(&self, kind: Kind, among: Among) -> Result<bool, StoreError> {
        let counts = Counts::default();
        let options = Options { deep: true, ..self.options.clone() };
        let once = Once { counts: self.counts, sink: self.sink };
        let check = Check { options: &options, counts: &counts, sink: &once, ..*self };
        let mut rows = self.audited.tables.facts(kind, among).try_chunks(KEYS_AT_ONCE);
        while let Some(rows) = rows.try_next().await.map_err(|error| error.1)? {
            let mut pairs: BTreeMap<String, Pair<FactRow>> = BTreeMap::new();
            for row in rows {
                let empty = || Pair { key: row.key.clone(), object: None, rows: Vec::new() };
                pairs.entry(row.key.clone()).or_insert_with(empty).rows.push(row);
            }
            let (mut group, mut bytes) = (Vec::new(), 0);
            for pair in stored_since(self.audited, kind, pairs.into_values().collect()).await? {
                // What has no object was named when they were listed.
                if pair.object.is_none() && !self.mends_rows() {
                    continue;
                }
                bytes += pair.object.as_ref().map_or(0, |object| object.bytes);
                group.push(pair);
                if bytes >= BYTES_AT_ONCE {
                    check.group(kind, std::mem::take(&mut group)).await?;
                    bytes = 0;
                }
            }
            check.group(kind, group).await?;
        }
        Ok(counts.problems().values().any(|(_, repaired)| *repaired > 0))
    }

    /// Whether more has to be known about a pair. What is too recent is not looked at.
    fn is_suspect(&self, pair: &Pair<FactRow>) -> bool {
        let young = pair.object.as_ref().is_some_and(|object| self.recent.has(object.modified))
            || pair.rows.iter().any(|row| self.recent.has(row.updated_at));
        let suspect = self.options.deep
            || match (&pair.object, pair.rows.as_slice()) {
                (Some(object), [row]) => object.modified > row.updated_at + self.options.lag,
                _ => true,
            };
        let scoped = match pair.rows.as_slice() {
            [] => pair.object.is_some() && self.options.scope.has_key(&pair.key),
            rows => rows.iter().any(|row| self.options.scope.has_row(row)),
        };
        if suspect && scoped && young {
            self.counts.young.fetch_add(1, Relaxed);
        }
        suspect && scoped && !young
    }

    pub(super) async fn group(&self, kind: Kind, pairs: Vec<Pair<FactRow>>) -> Result<(), StoreError> {
        let examined = examine(self.audited, kind, pairs, self.options.deep, self.counts).await?;
        let (mut work, mut findings) = (Work::default(), Vec::new());
        for Examined { key, case, body } in examined {
            if !self.concerns(&case) {
                continue;
            }
            let ruling = judge(&case);
            self.counts.explained.fetch_add(ruling.explained, Relaxed);
            for wrong in ruling.wrong {
                let mends = self.may_mend(&wrong.mend, body.is_some());
                if self.mending == Mending::Missing && !mends {
                    continue;
                }
                let hides_another = kind != Kind::Decision && matches!(wrong.mend, Mend::Remove(_) | Mend::SetAside(_));
                self.uncovers.fetch_or(mends && hides_another, Relaxed);
                if mends {
                    work.add(&key, kind, body.clone(), wrong.mend);
                }
                let id = wrong.row.as_ref().map_or_else(|| key.clone(), ToString::to_string);
                let table = wrong.row.map(|row| row.table());
                findings.push(Finding { problem: wrong.problem, table, id, detail: wrong.detail, repaired: mends });
            }
        }
        let refused = work.done(self.audited, self.lowered).await?;
        for mut finding in findings {
            if refused.contains(&finding.id) {
                finding.repaired = false;
                finding.detail.push_str("; the tables refuse it");
            }
            self.found(&finding);
        }
        Ok(())
    }

    /// Whether a case is about what was asked for, now that its event is known; and not about what came a moment ago.
    fn concerns(&self, case: &Case) -> bool {
        let recent = case.elsewhere.as_ref().is_some_and(|row| self.recent.has(row.updated_at));
        let in_scope = match (&case.object, case.rows.is_empty()) {
            (Content::Event(record), true) => self.options.scope.has_record(record),
            _ => true,
        };
        in_scope && !recent
    }

    fn may_mend(&self, mend: &Mend, has_body: bool) -> bool {
        match (self.mending, mend) {
            (Mending::Nothing, _) | (_, Mend::Nothing) => false,
            (_, Mend::Insert(_)) => true,
            (Mending::Missing, Mend::Replace(row, record)) => row.version < FactRow::of(record).version,
            (Mending::Missing, _) => false,
            (_, Mend::SetAside(_)) => self.mending == Mending::All && has_body,
            (Mending::Rows | Mending::All, _) => true,
        }
    }
}
