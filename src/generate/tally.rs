use super::Malformation;
use std::collections::BTreeMap;
use std::fmt;

/// What was generated, counted where it was made: it owes nothing to the code that decodes and stores events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Lines, the repeated and the malformed ones included.
    pub lines: u64,
    /// Their bytes, each with its newline.
    pub bytes: u64,
    /// Well-formed events in them, each time one is sent.
    pub events: u64,
    /// Lines that are an earlier one over again.
    pub duplicates: u64,
    /// Distinct runs.
    pub runs: u64,
    /// Distinct steps.
    pub steps: u64,
    /// Distinct decisions; two that conflict are one.
    pub decisions: u64,
    /// Decisions sent with two outcomes: for each there is one event that loses.
    pub conflicts: u64,
    /// Distinct malformed bodies, and elements of arrays, by what is wrong with them.
    pub malformed: BTreeMap<Malformation, u64>,
}

impl Tally {
    /// How many raw objects all of it becomes.
    pub fn objects(&self) -> u64 {
        self.runs + self.steps + self.decisions
    }

    /// How many dead letters all of it becomes, where no event is too large.
    pub fn dead_letters(&self) -> u64 {
        self.conflicts + self.malformed.values().sum::<u64>()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} lines: {} runs, {} steps, {} decisions; {} lines sent twice, {} conflicts, {} malformed",
            self.lines,
            self.runs,
            self.steps,
            self.decisions,
            self.duplicates,
            self.conflicts,
            self.malformed.values().sum::<u64>(),
        )
    }
}
