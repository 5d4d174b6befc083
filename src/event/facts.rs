//! What the tables need to know of an event.

use super::Timestamp;

/// What an event says, by kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    /// Immutable once sent.
    Decision(Decision),
    /// One of several reports of a step; the newest counts.
    Step(StepReport),
    /// One of several reports of a run; the newest counts.
    Run(RunReport),
}

impl Fact {
    /// When what it tells of happened: of a report, the end where there is one.
    pub fn at(&self) -> Timestamp {
        match self {
            Fact::Decision(decision) => decision.timestamp,
            Fact::Step(report) => report.completed_at.unwrap_or(report.started_at),
            Fact::Run(report) => report.completed_at.unwrap_or(report.started_at),
        }
    }
}

/// What a step decided about an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// Passed on.
    Kept,
    /// Taken out.
    Eliminated,
    /// Given a score.
    Scored,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Outcome; 3] = [Outcome::Kept, Outcome::Eliminated, Outcome::Scored];

    /// As it is spelled in events and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Kept => "kept",
            Outcome::Eliminated => "eliminated",
            Outcome::Scored => "scored",
        }
    }
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)] // the names are the documented values
pub enum Status {
    Pending,
    Running,
    Completed,
    Failed,
    Cancelled,
}

impl Status {
    /// Every status.
    pub const ALL: [Status; 5] =
        [Status::Pending, Status::Running, Status::Completed, Status::Failed, Status::Cancelled];

    /// As it is spelled in events and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Pending => "pending",
            Status::Running => "running",
            Status::Completed => "completed",
            Status::Failed => "failed",
            Status::Cancelled => "cancelled",
        }
    }

    /// How far along: pending < running < the three ends, which are equal.
    pub fn rank(self) -> u8 {
        match self {
            Status::Pending => 0,
            Status::Running => 1,
            Status::Completed | Status::Failed | Status::Cancelled => 2,
        }
    }
}

/// A decision event. Empty strings stand for absent optional ids.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The event's own id.
    pub event_id: String,
    /// The step that decided.
    pub step_id: String,
    /// The run it names (its step may name another).
    pub run_id: String,
    /// `pipelineId`, else `metadata.pipelineId`, else empty.
    pub pipeline_id: String,
    /// What was decided.
    pub outcome: Outcome,
    /// The item.
    pub item_id: String,
    /// Finite.
    pub score: Option<f64>,
    /// When it was decided.
    pub timestamp: Timestamp,
    /// `metadata.inputCount`.
    pub input_count: Option<u64>,
    /// `metadata.outputCount`.
    pub output_count: Option<u64>,
}

/// One report of a step. Empty strings stand for absent optional ids.
#[derive(Debug, Clone, PartialEq)]
pub struct StepReport {
    /// The step's id.
    pub step_id: String,
    /// The run, where the report names it.
    pub run_id: String,
    /// The pipeline, where the report names it.
    pub pipeline_id: String,
    /// `type`, any string.
    pub step_type: String,
    /// `name`.
    pub step_name: String,
    /// The same in every report.
    pub started_at: Timestamp,
    /// Set once the step has ended.
    pub completed_at: Option<Timestamp>,
    /// `inputCount`, else `config.inputCount`.
    pub input_count: Option<u64>,
    /// `outputCount`, else `config.outputCount`.
    pub output_count: Option<u64>,
}

/// One report of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunReport {
    /// The run's id.
    pub run_id: String,
    /// Its pipeline.
    pub pipeline_id: String,
    /// Where it stands.
    pub status: Status,
    /// The same in every report.
    pub started_at: Timestamp,
    /// Set once the run has ended.
    pub completed_at: Option<Timestamp>,
    /// What went wrong, if anything.
    pub error: Option<String>,
    /// The exact slice of `metadata`, `{}` where absent.
    pub metadata: String,
}
