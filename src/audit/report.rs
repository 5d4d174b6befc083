//! What an audit finds.

use super::tally::Tally;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, PoisonError};

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Problem {
    /// An object whose event has no row of facts.
    MissingRow,
    /// A row of facts that no object and no dead letter says.
    OrphanRow,
    /// A row of facts that says something else than its object.
    DifferentRow,
    /// An object that is no event, or not that of its key.
    DamagedObject,
    /// An object that the store does not give us, for a reason of its own.
    UnreadObject,
    /// A derived row that is not there.
    MissingDerived,
    /// A derived row that nothing is to be derived for.
    OrphanDerived,
    /// A derived row that a recompute gives otherwise.
    DifferentDerived,
    /// A dead letter's object without its row.
    MissingLetter,
    /// A row of `dead_letters` without its object.
    OrphanLetter,
    /// A dead letter whose object or row is not what it should be.
    DamagedLetter,
    /// An object where no worker writes.
    StrayObject,
}

impl Problem {
    /// Every problem, in the order they are listed to people.
    pub const ALL: [Problem; 12] = [
        Problem::MissingRow,
        Problem::OrphanRow,
        Problem::DifferentRow,
        Problem::DamagedObject,
        Problem::UnreadObject,
        Problem::MissingDerived,
        Problem::OrphanDerived,
        Problem::DifferentDerived,
        Problem::MissingLetter,
        Problem::OrphanLetter,
        Problem::DamagedLetter,
        Problem::StrayObject,
    ];

    /// For programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Problem::MissingRow => "missing_row",
            Problem::OrphanRow => "orphan_row",
            Problem::DifferentRow => "different_row",
            Problem::DamagedObject => "damaged_object",
            Problem::UnreadObject => "unread_object",
            Problem::MissingDerived => "missing_derived",
            Problem::OrphanDerived => "orphan_derived",
            Problem::DifferentDerived => "different_derived",
            Problem::MissingLetter => "missing_letter",
            Problem::OrphanLetter => "orphan_letter",
            Problem::DamagedLetter => "damaged_letter",
            Problem::StrayObject => "stray_object",
        }
    }

    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Problem::MissingRow => "object without row",
            Problem::OrphanRow => "row without object",
            Problem::DifferentRow => "row differs from its object",
            Problem::DamagedObject => "damaged object",
            Problem::UnreadObject => "object that cannot be read",
            Problem::MissingDerived => "derived row is missing",
            Problem::OrphanDerived => "derived row comes from nothing",
            Problem::DifferentDerived => "derived row differs from a recompute",
            Problem::MissingLetter => "dead letter without row",
            Problem::OrphanLetter => "row of a dead letter without object",
            Problem::DamagedLetter => "damaged dead letter",
            Problem::StrayObject => "object where no worker writes",
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What.
    pub problem: Problem,
    /// The table, for rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<&'static str>,
    /// The key of the object, or what the row is known by.
    pub id: String,
    /// What is there and what should be.
    pub detail: String,
    /// Whether it was mended.
    pub repaired: bool,
}

/// Takes findings as they come; there may be any number.
pub trait Sink: Send + Sync {
    /// One more.
    fn found(&self, finding: &Finding);
}

/// For what is mended and not wrong.
pub(super) struct Silent;

impl Sink for Silent {
    fn found(&self, _: &Finding) {}
}

/// Passes on what was not passed on before: several derived rows may come from one fact.
pub(super) struct Once<'a> {
    pub(super) counts: &'a Counts,
    pub(super) sink: &'a dyn Sink,
}

impl Sink for Once<'_> {
    fn found(&self, finding: &Finding) {
        if self.counts.is_new(finding) {
            self.counts.found(finding);
            self.sink.found(finding);
        }
    }
}

/// So many findings are remembered; beyond that one may be named twice.
const REMEMBERED: usize = 10_000;

/// Counts of an audit.
#[derive(Debug, Default)]
pub struct Counts {
    /// Objects that were looked at.
    pub objects: AtomicU64,
    /// Rows of facts that were.
    pub rows: AtomicU64,
    /// Derived rows that were.
    pub derived: AtomicU64,
    /// Objects whose bytes were read.
    pub bodies: AtomicU64,
    /// Keys that were left out because something about them is too recent.
    pub young: AtomicU64,
    /// Rows that are as they are because of a conflict or a refusal that a dead letter tells of.
    pub explained: AtomicU64,
    /// Why a repair did not mend anything.
    pub withheld: OnceLock<Tally>,
    found: Mutex<BTreeMap<Problem, (u64, u64)>>,
    seen: Mutex<BTreeSet<(Problem, String)>>,
}

impl Counts {
    /// Counts a finding.
    pub fn found(&self, finding: &Finding) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, repaired) = found.entry(finding.problem).or_default();
        *all += 1;
        *repaired += u64::from(finding.repaired);
    }

    fn is_new(&self, finding: &Finding) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= REMEMBERED {
            seen.clear();
        }
        seen.insert((finding.problem, finding.id.clone()))
    }

    /// Adds the findings of another audit.
    pub fn add_problems(&self, other: &Counts) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        for (problem, (all, repaired)) in other.problems() {
            let sums = found.entry(problem).or_default();
            *sums = (sums.0 + all, sums.1 + repaired);
        }
    }

    /// How many of each problem there were, and how many of them were mended; only those that there were.
    pub fn problems(&self) -> BTreeMap<Problem, (u64, u64)> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many problems are left.
    pub fn left(&self) -> u64 {
        self.problems().values().map(|(all, repaired)| all - repaired).sum()
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let problems: serde_json::Map<String, Value> = self
            .problems()
            .into_iter()
            .map(|(problem, (found, repaired))| {
                (problem.as_str().to_owned(), json!({ "found": found, "repaired": repaired }))
            })
            .collect();
        json!({
            "objects": self.objects.load(Relaxed),
            "rows": self.rows.load(Relaxed),
            "derived": self.derived.load(Relaxed),
            "bodies": self.bodies.load(Relaxed),
            "young": self.young.load(Relaxed),
            "explained": self.explained.load(Relaxed),
            "problems": problems,
            "left": self.left(),
            "withheld": self.withheld.get().map(ToString::to_string),
        })
    }
}
