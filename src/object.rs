//! What is written: a raw event under its key, or a dead letter.

use crate::digest::Sha256;
use crate::event::{Event, Fact};
use crate::key;
use bytes::Bytes;

/// An event and the key of its raw object.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The event.
    pub event: Event,
    /// A pure function of it, see [`key`].
    pub key: String,
}

impl Record {
    /// Pairs an event with its key.
    pub fn new(event: Event) -> Self {
        let key = match &event.fact {
            Fact::Decision(d) => key::event(event.kind(), d.timestamp, &d.event_id),
            Fact::Step(s) => key::event(event.kind(), s.started_at, &s.step_id),
            Fact::Run(r) => key::event(event.kind(), r.started_at, &r.run_id),
        };
        Record { event, key }
    }

    /// Its raw object. Shares the bytes.
    pub fn object(&self) -> Object {
        Object {
            key: self.key.clone(),
            body: self.event.raw.clone(),
            sha256: self.event.sha256,
            metadata: metadata(&self.event.fact),
        }
    }
}

/// The ids that the event itself names, where they can stand in a header as they are.
fn metadata(fact: &Fact) -> Vec<(&'static str, String)> {
    let ids = match fact {
        Fact::Decision(d) => {
            [("event-id", &d.event_id), ("run-id", &d.run_id), ("step-id", &d.step_id), ("pipeline-id", &d.pipeline_id)]
                .to_vec()
        }
        Fact::Step(s) => [("run-id", &s.run_id), ("step-id", &s.step_id), ("pipeline-id", &s.pipeline_id)].to_vec(),
        Fact::Run(r) => [("run-id", &r.run_id), ("pipeline-id", &r.pipeline_id)].to_vec(),
    };
    ids.into_iter()
        .filter(|(_, id)| (1..=256).contains(&id.len()) && id.bytes().all(|b| matches!(b, b' '..=b'~')))
        .map(|(name, id)| (name, id.clone()))
        .collect()
}

/// What is written under a key. Always `application/json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Where it goes.
    pub key: String,
    /// What goes there.
    pub body: Bytes,
    /// SHA-256 of the body; also stored as metadata where the store has any.
    pub sha256: Sha256,
    /// Further metadata, printable ASCII.
    pub metadata: Vec<(&'static str, String)>,
}
