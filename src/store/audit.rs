//! What stores are asked beside the hot path: everything that is there, in the order of keys; what a recompute would
//! say; and to take something away. The worker itself never needs any of it.

use super::{MetricsStore, RawStore, StoreError, Tag, Touched};
use crate::dead_letter::DeadLetter;
use crate::event::{Fact, Kind};
use crate::numbers::{ReportOrder, Version};
use crate::object::Record;
use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, Utc};
use futures_util::stream::BoxStream;
use std::time::Duration;

/// An object as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// How many bytes it has.
    pub bytes: u64,
    /// When it was last written, by the store's clock.
    pub modified: DateTime<Utc>,
}

/// Rows or objects as they come, in bounded memory. After an `Err` there is no more.
pub type Rows<T> = BoxStream<'static, Result<T, StoreError>>;

/// What is right below a prefix.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Level {
    /// The names of the folders, in order.
    pub folders: Vec<String>,
    /// Keys of objects, no more than a few hundred of them: where this is asked for, there should be none.
    pub objects: Vec<String>,
}

/// What became of an object that was to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    /// It is gone.
    Deleted,
    /// The key holds something else by now, or nothing; nothing was changed.
    Changed,
}

/// Objects, listed and deleted.
#[async_trait]
pub trait ObjectAudit: RawStore {
    /// What is right below `prefix`, which is empty or ends with `/`.
    async fn level(&self, prefix: &str) -> Result<Level, StoreError>;

    /// Each of these as a listing would show it, without its bytes; `None` where there is none.
    async fn stat(&self, keys: &[String]) -> Vec<Result<Option<Listed>, StoreError>>;

    /// A page of the objects whose keys begin with `prefix` and are greater than `after`, in the order of keys; empty
    /// where there are none.
    async fn list(&self, prefix: &str, after: &str) -> Result<Vec<Listed>, StoreError>;

    /// Deletes these objects; one that is not there counts as deleted.
    async fn delete(&self, keys: &[String]) -> Vec<Result<(), StoreError>>;

    /// Deletes an object that still is what its tag names. A server that ignores conditions on deletes leaves a moment
    /// between the look and the delete.
    async fn delete_if(&self, key: &str, tag: &Tag) -> Result<Deleted, StoreError>;
}

/// What a row of facts is known by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FactId {
    /// A row of `decision_events`.
    Decision {
        /// The run it names.
        run_id: String,
        /// Its step.
        step_id: String,
        /// Its own id.
        event_id: String,
        /// The day in UTC, `2026-01-31`.
        day: String,
    },
    /// A row of `step_reports`.
    Step(String),
    /// A row of `run_reports`.
    Run(String),
}

/// A row of facts.
#[derive(Debug, Clone, PartialEq)]
pub struct FactRow {
    /// What it is known by.
    pub id: FactId,
    /// The key of the object it came from.
    pub key: String,
    /// What it counts, see [`numbers`](crate::numbers).
    pub version: Version,
    /// What it says; `None` where it holds values that no worker writes.
    pub fact: Option<Fact>,
    /// When it was inserted, by the clock of the worker that did.
    pub updated_at: DateTime<Utc>,
    /// How many rows stand there for it, those that wait for a merge included.
    pub copies: u64,
}

impl FactRow {
    /// The row that a worker writes for an event.
    pub fn of(record: &Record) -> FactRow {
        let event = &record.event;
        let version = match &event.fact {
            Fact::Decision(_) => Version::of_decision(event.sha256),
            Fact::Step(report) => ReportOrder::of_step(report, event.sha256).counter(),
            Fact::Run(report) => ReportOrder::of_run(report, event.sha256).counter(),
        };
        FactRow {
            id: FactId::of(&event.fact),
            key: record.key.clone(),
            version,
            fact: Some(event.fact.clone()),
            updated_at: DateTime::UNIX_EPOCH,
            copies: 1,
        }
    }

    /// Whether both say the same, whenever they were written.
    pub fn says(&self, other: &FactRow) -> bool {
        (&self.id, &self.key, self.version, &self.fact) == (&other.id, &other.key, other.version, &other.fact)
    }
}

impl FactId {
    /// What the row of this fact is known by.
    pub fn of(fact: &Fact) -> FactId {
        match fact {
            Fact::Decision(decision) => FactId::Decision {
                run_id: decision.run_id.clone(),
                step_id: decision.step_id.clone(),
                event_id: decision.event_id.clone(),
                day: decision.timestamp.day(),
            },
            Fact::Step(report) => FactId::Step(report.step_id.clone()),
            Fact::Run(report) => FactId::Run(report.run_id.clone()),
        }
    }

    /// The kind of event it comes from.
    pub fn kind(&self) -> Kind {
        match self {
            FactId::Decision { .. } => Kind::Decision,
            FactId::Step(_) => Kind::Step,
            FactId::Run(_) => Kind::Run,
        }
    }

    /// The table its row stands in.
    pub fn table(&self) -> &'static str {
        fact_table(self.kind())
    }
}

impl std::fmt::Display for FactId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FactId::Decision { run_id, step_id, event_id, day } => {
                write!(f, "{event_id} (run {run_id}, step {step_id}, {day})")
            }
            FactId::Step(id) | FactId::Run(id) => f.write_str(id),
        }
    }
}

/// The table of the facts of a kind.
pub fn fact_table(kind: Kind) -> &'static str {
    match kind {
        Kind::Decision => "decision_events",
        Kind::Step => "step_reports",
        Kind::Run => "run_reports",
    }
}

/// The column of a kind's facts with the time that says which day they are of.
pub fn fact_time(kind: Kind) -> &'static str {
    match kind {
        Kind::Decision => "timestamp",
        Kind::Step | Kind::Run => "started_at",
    }
}

/// What a question by name answers at most.
pub const NAMED: usize = 1000;

/// Which rows of facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Among {
    /// Those of one month by the event's own time in UTC, `202601`.
    Month(u32),
    /// Those that name this run, and the reports of steps whose row names it.
    Run(String),
    /// Those that this id is the event's, the item's, the step's or the run's own id of; the first [`NAMED`].
    Named(String),
    /// Decisions and reports of these steps.
    Steps(Vec<String>),
    /// These.
    Ids(Vec<FactId>),
}

/// A row of `dead_letters`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // the columns, as documented for users
pub struct DeadLetterRow {
    pub sha256: String,
    pub code: String,
    pub reason: String,
    pub source: String,
    pub kind: String,
    pub s3_key: String,
    pub bytes: u64,
    pub first_seen: String,
    pub redriven_at: Option<String>,
}

impl DeadLetterRow {
    /// The row of a letter that was never sent again.
    pub fn of(letter: &DeadLetter) -> DeadLetterRow {
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
}

/// Tables of what is derived from facts; a layer is computed from those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// `step_totals`, against the decisions.
    Totals,
    /// What is missing of what links steps to runs: in `step_totals`, in `step_links`.
    Groups,
    /// `run_steps`, of the steps that are known.
    Links,
    /// `steps`.
    Steps,
    /// `runs`, and what of `run_steps` has nothing to come from.
    Runs,
}

impl Layer {
    /// Whether its pages are asked for by run; the others are by step.
    pub fn is_of_runs(self) -> bool {
        self == Layer::Runs
    }
}

/// Which derived rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keys {
    /// The next page after this cursor; empty for the first.
    After(String),
    /// Those of these steps or runs.
    These(Vec<String>),
}

/// The columns of `steps` beside its key, without the time of the recompute.
pub const STEP_COLUMNS: &[&str] = &[
    "run_id",
    "pipeline_id",
    "step_type",
    "step_name",
    "input_count",
    "output_count",
    "elimination_ratio",
    "kept_count",
    "eliminated_count",
    "scored_count",
    "started_at",
    "completed_at",
    "version",
];

/// The same of `runs`.
pub const RUN_COLUMNS: &[&str] = &[
    "pipeline_id",
    "status",
    "started_at",
    "completed_at",
    "error",
    "total_steps",
    "total_input_count",
    "total_output_count",
    "overall_elimination_ratio",
    "metadata",
    "version",
];

/// A page of derived rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DerivedPage {
    /// In no particular order.
    pub rows: Vec<Derived>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<String>,
}

/// The columns of a row as text; `None` for NULL.
pub type Values = Vec<Option<String>>;

/// A derived row as it stands there and as a recompute gives it, its columns as text, in the order of `columns`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Derived {
    /// Its table.
    pub table: &'static str,
    /// What it is known by: a step, a run, or both and a month.
    pub key: Vec<String>,
    /// Names of the columns.
    pub columns: &'static [&'static str],
    /// What stands there.
    pub stored: Option<Values>,
    /// What should.
    pub computed: Option<Values>,
    /// What has to be recomputed to mend it.
    pub touched: Touched,
}

/// Tables, read in bounded memory, and rows taken away.
#[async_trait]
pub trait TableAudit: MetricsStore {
    /// The months that facts of this kind lie in, in order.
    async fn months(&self, kind: Kind) -> Result<Vec<u32>, StoreError>;

    /// Facts in the order of the keys of their objects, each once.
    fn facts(&self, kind: Kind, among: Among) -> Rows<FactRow>;

    /// The steps that were ever linked to a run.
    async fn linked_steps(&self, run_id: &str) -> Result<Vec<String>, StoreError>;

    /// Rows of `dead_letters` by SHA-256: all, or those of these.
    fn letters(&self, these: Option<Vec<String>>) -> Rows<DeadLetterRow>;

    /// The layers there are, in the order in which they are computed.
    fn layers(&self) -> &'static [Layer];

    /// Derived rows beside what a recompute gives. Writes nothing.
    async fn derived(&self, layer: Layer, keys: &Keys) -> Result<DerivedPage, StoreError>;

    /// Of these steps and runs, those with a fact that was inserted after the first of these times and not after the
    /// second: their derived rows may be on the way. Facts of `own` keys do not count.
    async fn changed_within(
        &self,
        touched: &Touched,
        times: (DateTime<Utc>, DateTime<Utc>),
        own: &Touched,
    ) -> Result<Touched, StoreError>;

    /// Takes these rows of facts away, with older ones of the same id and key that wait for a merge, and with the derived
    /// rows that depend on them; what is newer by then stays. Answers with what has to be
    /// [recomputed](MetricsStore::recompute) then.
    async fn remove(&self, facts: &[FactRow]) -> Result<Touched, StoreError>;

    /// How many rows of facts are of days before this one, by the events' own times in UTC; if `erase`, takes them away.
    /// What is derived stays as it is.
    async fn remove_before(&self, day: NaiveDate, erase: bool) -> Result<u64, StoreError>;

    /// Takes the derived rows of these keys away, and those that depend on them, so that what is recomputed stays whatever
    /// version stood there; links of these steps that are missing are written again from their facts. Answers with what
    /// has to be [recomputed](MetricsStore::recompute) then.
    async fn forget(&self, touched: &Touched) -> Result<Touched, StoreError>;

    /// How long after rows were taken away a query of somebody else may still end that read them before.
    fn late(&self) -> Duration {
        Duration::ZERO
    }

    /// Adds up again what is kept of these steps as their facts come, where anything is: once rows of facts have gone without
    /// a word, adding them again would count them twice.
    async fn sum_again(&self, _: &Touched) -> Result<(), StoreError> {
        Ok(())
    }

    /// Takes rows of `dead_letters` away.
    async fn remove_letters(&self, sha256: &[String]) -> Result<(), StoreError>;

    /// Notes in rows of `dead_letters` that they were sent again.
    async fn mark_redriven(&self, sha256: &[String], at: DateTime<Utc>) -> Result<(), StoreError>;
}
