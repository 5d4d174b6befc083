//! What a key ends up holding. Pure: the answer depends on the events alone, never on who came first.

use crate::digest::Sha256;
use crate::event::{Event, Kind, parse_event};
use crate::numbers::{ReportOrder, report_order};
use crate::object::Record;
use crate::store::Existing;
use serde_json::Value;
use std::sync::Arc;

/// An event of a group.
#[derive(Debug, Clone)]
pub(super) struct Member {
    /// The event.
    pub(super) record: Arc<Record>,
    /// Which message of the group it came in.
    pub(super) of: usize,
}

/// What belongs under one key, of the events of a group.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    /// The one that wins: the newest report, or of conflicting decisions the one with the greater SHA-256.
    pub(super) winner: Member,
    /// The conflicting decisions that lost to it. (Older reports that lost are simply superseded.)
    pub(super) losers: Vec<Member>,
}

/// Picks the winner for each key.
pub(super) fn candidates(members: impl IntoIterator<Item = Member>) -> Vec<Candidate> {
    let mut members: Vec<Member> = members.into_iter().collect();
    members.sort_by(|one, other| one.record.key.cmp(&other.record.key));
    let mut candidates: Vec<Candidate> = Vec::new();
    for member in members {
        let Some(candidate) = candidates.last_mut().filter(|it| it.winner.record.key == member.record.key) else {
            candidates.push(Candidate { winner: member, losers: Vec::new() });
            continue;
        };
        let (event, best) = (&member.record.event, &candidate.winner.record.event);
        if event.sha256 == best.sha256 {
            continue;
        }
        let wins = standing(event) > standing(best);
        let loser = if wins { std::mem::replace(&mut candidate.winner, member) } else { member };
        if loser.record.event.kind() == Kind::Decision {
            candidate.losers.push(loser);
        }
    }
    candidates
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
    /// Keep its bytes as a dead letter, then replace it.
    ReplaceKeeping(Displaced),
}

/// Why an object's bytes have to move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Displaced {
    /// It loses a conflict.
    Lost,
    /// It is no event of this kind: damaged, or somebody else's.
    NoEvent,
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
        Err(_) => Resolution::ReplaceKeeping(Displaced::NoEvent),
        Ok(other) if standing(&other) > standing(event) && decision => Resolution::Lost,
        Ok(other) if standing(&other) > standing(event) => Resolution::Superseded,
        Ok(_) if decision => Resolution::ReplaceKeeping(Displaced::Lost),
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
