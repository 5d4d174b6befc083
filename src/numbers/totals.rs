use super::Version;
use crate::digest::Sha256;
use crate::event::{Decision, Outcome};

/// What the distinct decisions of one step come to. The default is no decision at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StepTotals {
    /// How many were kept.
    pub kept: u64,
    /// How many were eliminated.
    pub eliminated: u64,
    /// How many were scored.
    pub scored: u64,
    /// The largest `metadata.inputCount`.
    pub max_input: Option<u64>,
    /// The largest `metadata.outputCount`.
    pub max_output: Option<u64>,
    /// The least run id; empty where there is no decision.
    pub least_run_id: String,
    /// The sum of their counters.
    pub version: Version,
}

impl StepTotals {
    /// Adds one decision. Each distinct one must be added once only.
    pub fn add(&mut self, decision: &Decision, sha256: Sha256) {
        let count = |outcome| u64::from(decision.outcome == outcome);
        self.merge(&StepTotals {
            kept: count(Outcome::Kept),
            eliminated: count(Outcome::Eliminated),
            scored: count(Outcome::Scored),
            max_input: decision.input_count,
            max_output: decision.output_count,
            least_run_id: decision.run_id.clone(),
            version: Version::of_decision(sha256),
        });
    }

    /// Adds the totals of other decisions of the same step.
    pub fn merge(&mut self, other: &StepTotals) {
        self.kept += other.kept;
        self.eliminated += other.eliminated;
        self.scored += other.scored;
        self.max_input = self.max_input.max(other.max_input);
        self.max_output = self.max_output.max(other.max_output);
        let lesser = self.least_run_id.is_empty() || other.least_run_id < self.least_run_id;
        if lesser && !other.least_run_id.is_empty() {
            self.least_run_id.clone_from(&other.least_run_id);
        }
        self.version += other.version;
    }

    /// How many decisions there are.
    pub fn decisions(&self) -> u64 {
        self.kept + self.eliminated + self.scored
    }
}
