use super::Version;
use crate::digest::Sha256;
use crate::event::{Event, Fact, RunReport, StepReport, Timestamp};

/// Where a report stands among those of the same run or step: the greatest is the newest, and the newest wins
/// everywhere. Arrival and clocks play no part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReportOrder {
    /// How far along it says its entity is.
    pub rank: u8,
    /// None is before any time.
    pub completed_at: Option<Timestamp>,
    /// Of its bytes; only to make the choice the same everywhere.
    pub sha256: Sha256,
}

impl ReportOrder {
    /// The place of a step's report; `sha256` is that of its raw bytes. A step is not completed (0) or completed (1).
    pub fn of_step(report: &StepReport, sha256: Sha256) -> Self {
        let rank = u8::from(report.completed_at.is_some());
        ReportOrder { rank, completed_at: report.completed_at, sha256 }
    }

    /// The place of a run's report; `sha256` is that of its raw bytes.
    pub fn of_run(report: &RunReport, sha256: Sha256) -> Self {
        ReportOrder { rank: report.status.rank(), completed_at: report.completed_at, sha256 }
    }

    /// What the report counts in the [versions](super) of rows. Of two reports the newer counts more.
    pub fn counter(&self) -> Version {
        let millis = self.completed_at.map_or(0, |at| at.millis().unsigned_abs());
        Version::from_parts(self.rank, millis, self.sha256) + Version::ONE
    }
}

/// The place of an event among the reports of its entity; `None` for a decision, which is no report.
pub fn report_order(event: &Event) -> Option<ReportOrder> {
    match &event.fact {
        Fact::Decision(_) => None,
        Fact::Step(report) => Some(ReportOrder::of_step(report, event.sha256)),
        Fact::Run(report) => Some(ReportOrder::of_run(report, event.sha256)),
    }
}
