use crate::event::Timestamp;
use std::ops::RangeInclusive;

/// What to generate. Shares are from 0 to 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Another seed, other ids, items and outcomes.
    pub seed: u64,
    /// How many runs.
    pub runs: u64,
    /// How many steps a run has, if it does not end early.
    pub steps_per_run: RangeInclusive<u64>,
    /// How many items enter the first step of a run.
    pub items_per_run: RangeInclusive<u64>,
    /// Lines that are sent twice.
    pub duplicates: f64,
    /// Lines that some later ones overtake.
    pub reordered: f64,
    /// Lines that arrive when the rest of their run is over.
    pub late: f64,
    /// Decisions that are sent a second time with another outcome.
    pub conflicting: f64,
    /// Malformed bodies, in relation to the events that are none.
    pub malformed: f64,
    /// Runs whose steps do not name them, as those of the SDK in use today.
    pub without_run_id: f64,
    /// Events in an envelope of their own.
    pub enveloped: f64,
    /// Lines that hold several events.
    pub batched: f64,
    /// When the first run starts.
    pub start: Timestamp,
    /// Over how many days the starts of the runs are spread.
    pub days: u32,
    /// About how large each event is, in bytes (± 20 %); none is cut down to it. 0: as it comes, about half a kilobyte.
    pub payload_bytes: usize,
}

impl Plan {
    /// Every event once, alone in its line, and none overtakes another of its run.
    pub fn orderly() -> Self {
        Plan {
            duplicates: 0.0,
            reordered: 0.0,
            late: 0.0,
            conflicting: 0.0,
            malformed: 0.0,
            enveloped: 0.0,
            batched: 0.0,
            ..Plan::default()
        }
    }
}

impl Default for Plan {
    /// A try: a bit of everything, over the end of a month.
    fn default() -> Self {
        Plan {
            seed: 1,
            runs: 20,
            steps_per_run: 3..=6,
            items_per_run: 6..=40,
            duplicates: 0.05,
            reordered: 0.2,
            late: 0.1,
            conflicting: 0.01,
            malformed: 0.02,
            without_run_id: 1.0,
            enveloped: 0.2,
            batched: 0.05,
            // 2026-01-30T18:00:00Z
            start: Timestamp::from_millis(1_769_796_000_000).unwrap_or(Timestamp::MIN),
            days: 3,
            payload_bytes: 0,
        }
    }
}
