//! What a key ends up holding. Pure: the answer depends on the events alone, never on who came first.

use crate::digest::Sha256;
use crate::event::{Event, Kind, parse_event};
use crate::numbers::{ReportOrder, report_order};
use crate::object::Record;
use crate::store::Existing;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What belongs under one key, of the events of a group.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    /// The one that wins: the newest report, or of conflicting decisions the one with the greater SHA-256.
    pub(super) record: Arc<Record>,
    /// The conflicting decisions that lost to it. (Older reports that lost are simply superseded.)
    pub(super) losers: Vec<Arc<Record>>,
}

/// Picks the winner for each key.
pub(super) fn candidates<'a>(records: impl IntoIterator<Item = &'a Arc<Record>>) -> Vec<Candidate> {
    let mut by_key: BTreeMap<&str, Candidate> = BTreeMap::new();
    for record in records {
        let Some(candidate) = by_key.get_mut(record.key.as_str()) else {
            by_key.insert(&record.key, Candidate { record: record.clone(), losers: Vec::new() });
            continue;
        };
        if record.event.sha256 == candidate.record.event.sha256 {
            continue;
        }
        let mut loser = record.clone();
        if standing(&record.event) > standing(&candidate.record.event) {
            std::mem::swap(&mut candidate.record, &mut loser);
        }
        if loser.event.kind() == Kind::Decision {
            candidate.losers.push(loser);
        }
    }
    by_key.into_values().collect()
}

/// What to do about an object that stands where an event belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resolution {
    /// It is this event.
    Same,
    /// It is a newer report: this one is superseded.
    Superseded,
    /// It is a conflicting decision that wins: this one becomes a dead letter.
    Lost,
    /// It is an older report: replace it.
    Replace,
    /// It loses a conflict, or is no event at all: keep its bytes as a dead letter, then replace it.
    ReplaceKeeping,
}

/// Compares what stands under an event's key with the event.
pub(super) fn resolve(event: &Event, existing: &Existing) -> Resolution {
    if Sha256::of(&existing.body) == event.sha256 {
        return Resolution::Same;
    }
    let decision = event.kind() == Kind::Decision;
    if decision && existing.legacy && same_json(&existing.body, &event.raw) {
        return Resolution::Same;
    }
    match parse_event(event.kind(), &existing.body) {
        Err(_) => Resolution::ReplaceKeeping,
        Ok(other) if standing(&other) > standing(event) && decision => Resolution::Lost,
        Ok(other) if standing(&other) > standing(event) => Resolution::Superseded,
        Ok(_) if decision => Resolution::ReplaceKeeping,
        Ok(_) => Resolution::Replace,
    }
}

/// The greater one stays: for reports the newer, for decisions the greater SHA-256.
fn standing(event: &Event) -> ReportOrder {
    report_order(event).unwrap_or(ReportOrder { rank: 0, completed_at: None, sha256: event.sha256 })
}

/// Whether two texts are the same JSON. Nested too deep to tell counts as different.
fn same_json(one: &[u8], other: &[u8]) -> bool {
    let parse = |text| serde_json::from_slice::<Value>(text).ok();
    parse(one).is_some_and(|value| Some(value) == parse(other))
}
