//! The expected final state of the stores as a plain function of the set of message bodies handled.
//!
//! Written from the specification alone and sharing no code with the worker, so that the two check each other.
//! It reads every body into a set of events, then computes each object and row from that set with plain loops:
//! slow, and meant to be obviously right.

mod diff;
mod events;
mod framing;
pub mod json;
mod key;
mod numbers;
mod rows;
mod values;

use std::collections::BTreeMap;

pub use diff::diff;
pub use events::Raw;
pub use framing::Facts;
pub use key::{dead_letter_key, sha256_hex};
pub use rows::{DecisionId, DecisionRow, Row, RunRow, StepRow};

/// The default of the setting of the same name.
pub const MAX_EVENT_BYTES: usize = 10 * 1024 * 1024;

/// One message body.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    pub body: &'a [u8],
    /// The kind that the message's header or its source gives: `decision`, `step` or `run`.
    pub hint: Option<&'a str>,
}

/// Everything that is stored, aside from what the specification lets vary (`updated_at`, `version`).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct State {
    /// Raw events by key.
    pub objects: BTreeMap<String, Vec<u8>>,
    /// By the hex SHA-256 of the body.
    pub dead_letters: BTreeMap<String, DeadLetter>,
    pub decision_events: BTreeMap<DecisionId, DecisionRow>,
    pub steps: BTreeMap<String, StepRow>,
    pub runs: BTreeMap<String, RunRow>,
}

/// A dead letter; equal to another where key and body are.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// One of those that may be given: the same bytes may be a dead letter for two reasons.
    pub code: String,
    /// What is kept of the body: all of it, unless it was too large.
    pub body: Vec<u8>,
    pub key: String,
}

impl PartialEq for DeadLetter {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key && self.body == other.body
    }
}

/// What is in one body.
pub fn facts(input: Input<'_>) -> Facts {
    let mut facts = Facts::default();
    framing::read(input, MAX_EVENT_BYTES, &mut facts);
    facts
}

/// The state once all of `bodies` are handled, with the default [`MAX_EVENT_BYTES`].
pub fn expected<'a>(bodies: impl IntoIterator<Item = Input<'a>>) -> State {
    expected_within(MAX_EVENT_BYTES, bodies)
}

/// The state once all of `bodies` are handled, where a body of more than `max_event_bytes` is too large.
pub fn expected_within<'a>(max_event_bytes: usize, bodies: impl IntoIterator<Item = Input<'a>>) -> State {
    let mut facts = framing::Facts::default();
    for input in bodies {
        framing::read(input, max_event_bytes, &mut facts);
    }
    numbers::state(facts)
}
