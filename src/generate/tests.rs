//! What comes out, counted again by brute force from the lines alone.

use super::*;
use crate::digest::Sha256;
use crate::event::{Decision, Event, Fact, Kind, Part, Rejected, StepReport, decode};
use bytes::Bytes;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

fn all(plan: Plan) -> (Vec<Bytes>, Tally) {
    let mut lines = Lines::new(plan);
    let sent = lines.by_ref().collect();
    (sent, lines.tally().clone())
}

fn faulty(runs: u64) -> Plan {
    Plan { runs, batched: 0.1, without_run_id: 0.5, conflicting: 0.05, malformed: 0.05, ..Plan::default() }
}

fn parts(lines: &[Bytes]) -> impl Iterator<Item = Part> {
    let mut parts = Vec::new();
    lines.iter().for_each(|line| decode(line, None, |part| parts.push(part)));
    parts.into_iter()
}

fn events(lines: &[Bytes]) -> Vec<Event> {
    let only_events = |part| match part {
        Part::Event(event) => Some(event),
        Part::Rejected(_) => None,
    };
    parts(lines).filter_map(only_events).collect()
}

fn decisions(events: &[Event]) -> impl Iterator<Item = &Decision> {
    events.iter().filter_map(|event| if let Fact::Decision(decision) = &event.fact { Some(decision) } else { None })
}

fn steps(events: &[Event]) -> impl Iterator<Item = &StepReport> {
    events.iter().filter_map(|event| if let Fact::Step(step) = &event.fact { Some(step) } else { None })
}

#[test]
fn the_same_bytes_on_every_machine() {
    let digest = |plan| Sha256::of(&all(plan).0.join(&b'\n')).to_string();
    let found = [digest(faulty(5)), digest(Plan { payload_bytes: 2000, ..faulty(5) })];
    let golden = [
        "9089c69655887e7081e6d1314e5e0baa58d797bfbb917d36a9747558b57c004a",
        "5ba2460306525e2651764267ff1787277efe461e8c4c6bf85fbb7f9881bf5756",
    ];
    assert_eq!(found, golden, "if the change is meant, put the new ones here");
}

#[test]
fn another_seed_shares_nothing() {
    let ids = |seed| events(&all(Plan { seed, ..faulty(5) }).0).iter().map(|event| event.sha256).collect();
    let (one, two): (BTreeSet<Sha256>, BTreeSet<Sha256>) = (ids(1), ids(2));
    assert!(one.is_disjoint(&two));
}

#[test]
fn faults_and_order_leave_the_events_as_they_are() {
    let events = |plan| events(&all(plan).0).into_iter().map(|event| event.raw).collect::<BTreeSet<_>>();
    let disturbed = Plan { conflicting: 0.0, duplicates: 0.5, reordered: 0.9, late: 0.3, ..faulty(20) };
    assert_eq!(events(disturbed), events(Plan { without_run_id: 0.5, ..Plan::orderly() }));
}

#[test]
fn tally_is_what_the_lines_hold() {
    let (lines, tally) = all(faulty(100));
    let mut distinct: BTreeMap<(Kind, String), BTreeSet<Bytes>> = BTreeMap::new();
    let mut rejected = BTreeMap::new();
    let mut sent = 0;
    for part in parts(&lines) {
        match part {
            Part::Event(event) => {
                sent += 1;
                let id = match &event.fact {
                    Fact::Decision(decision) => &decision.event_id,
                    Fact::Step(step) => &step.step_id,
                    Fact::Run(run) => &run.run_id,
                };
                distinct.entry((event.kind(), id.clone())).or_default().insert(event.raw);
            }
            Part::Rejected(Rejected { body, rejection, .. }) => {
                rejected.insert(body, rejection.code);
            }
        }
    }
    let of = |kind| distinct.iter().filter(move |((found, _), _)| *found == kind);
    assert_eq!(tally.events, sent);
    assert_eq!(tally.runs, of(Kind::Run).count() as u64);
    assert_eq!(tally.steps, of(Kind::Step).count() as u64);
    assert_eq!(tally.decisions, of(Kind::Decision).count() as u64);
    assert_eq!(tally.conflicts, of(Kind::Decision).map(|(_, bodies)| bodies.len() as u64 - 1).sum::<u64>());
    assert_eq!(tally.dead_letters(), tally.conflicts + rejected.len() as u64);
    assert_eq!(tally.lines, lines.len() as u64);
    assert_eq!(tally.bytes, lines.iter().map(|line| line.len() as u64 + 1).sum::<u64>());
    assert_eq!(tally.duplicates, tally.lines - lines.iter().collect::<BTreeSet<_>>().len() as u64);

    let mut codes = BTreeMap::new();
    for (malformation, count) in &tally.malformed {
        *codes.entry(malformation.code()).or_insert(0) += count;
    }
    let mut found = BTreeMap::new();
    for code in rejected.values() {
        *found.entry(*code).or_insert(0) += 1;
    }
    assert_eq!(codes, found);
    assert_eq!(tally.malformed.len(), Malformation::ALL.len(), "all of them occur");
}

#[test]
fn shares_are_about_those_asked_for() {
    let plan = Plan { runs: 300, batched: 0.0, ..Plan::default() };
    let (_, tally) = all(plan.clone());
    let near = |share: f64, part: u64, whole: u64| {
        let found = part as f64 / whole as f64;
        assert!((found / share - 1.0).abs() < 0.25, "{found} instead of {share}");
    };
    near(plan.duplicates, tally.duplicates, tally.lines - tally.duplicates);
    near(plan.conflicting, tally.conflicts, tally.decisions);
    near(plan.malformed, tally.malformed.values().sum(), tally.events);

    // Those that come after one that was meant to come later were held back.
    let overtaken = |plan: Plan| {
        let place: BTreeMap<Bytes, usize> =
            all(Plan { runs: plan.runs, ..Plan::orderly() }).0.into_iter().zip(0..).collect();
        let mut furthest = 0;
        let lines = all(plan).0;
        let back = lines.iter().filter(|line| {
            let place = place[*line];
            furthest = furthest.max(place);
            place < furthest
        });
        (back.count() as u64, lines.len() as u64)
    };
    let (none, _) = overtaken(Plan { runs: 100, ..Plan::orderly() });
    assert_eq!(none, 0);
    let (reordered, lines) = overtaken(Plan { runs: 100, reordered: 0.2, ..Plan::orderly() });
    near(0.2, reordered, lines);
}

#[test]
fn late_reports_come_after_the_decisions_of_their_run() {
    let (lines, _) = all(Plan { runs: 10, late: 1.0, ..Plan::orderly() });
    let (orderly, _) = all(Plan { runs: 10, ..Plan::orderly() });
    let first_is_report = |lines: &[Bytes]| {
        let mut seen = BTreeSet::new();
        let mut reported_first = 0;
        for event in events(lines) {
            match event.fact {
                Fact::Run(run) if seen.insert(run.run_id.clone()) => reported_first += 1,
                Fact::Decision(decision) => drop(seen.insert(decision.run_id)),
                _ => {}
            }
        }
        reported_first
    };
    assert_eq!(first_is_report(&orderly), 10);
    assert!(first_is_report(&lines) < 5);
}

#[test]
fn events_hang_together() {
    let (lines, tally) = all(Plan { runs: 200, without_run_id: 0.5, ..Plan::orderly() });
    assert_eq!(tally.lines, tally.events, "each alone in its line");
    let events = events(&lines);
    assert_eq!(events.len() as u64, tally.lines, "all of them good");

    let mut started = BTreeMap::new();
    let mut reports: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for event in &events {
        let (id, at, end) = match &event.fact {
            Fact::Step(step) => (&step.step_id, step.started_at, step.completed_at),
            Fact::Run(run) => (&run.run_id, run.started_at, run.completed_at),
            Fact::Decision(_) => continue,
        };
        assert_eq!(*started.entry(id.as_str()).or_insert(at), at, "the same start in every report");
        reports.entry(id).or_default().push(end);
    }
    assert!(reports.values().all(|ends| ends[0].is_none()), "the first report is of the start");
    let ended = reports.values().filter(|ends| ends.last().is_some_and(Option::is_some)).count();
    assert!(ended > reports.len() * 9 / 10);

    let mut eliminated = BTreeSet::new();
    for decision in decisions(&events) {
        let item = (&decision.run_id, &decision.item_id);
        assert!(!eliminated.contains(&item), "an eliminated item does not come back");
        if decision.outcome == crate::event::Outcome::Eliminated {
            eliminated.insert(item);
        }
        assert!(decision.timestamp >= started[decision.step_id.as_str()]);
        assert!(started[decision.step_id.as_str()] >= started[decision.run_id.as_str()]);
        assert!(decision.input_count.is_some() && decision.output_count <= decision.input_count);
    }
    assert!(eliminated.len() > 1000);

    let named = steps(&events).filter(|step| !step.run_id.is_empty()).count();
    assert!((0.3..0.7).contains(&(named as f64 / steps(&events).count() as f64)));
    let days: BTreeSet<String> = decisions(&events).map(|decision| decision.timestamp.day()).collect();
    assert_eq!(days.first().map(String::as_str), Some("2026-01-30"));
    assert_eq!(days.last().map(String::as_str), Some("2026-02-02"));
}

#[test]
fn every_framing_and_spelling_occurs() {
    let (lines, _) = all(Plan { malformed: 0.0, ..faulty(100) });
    let mut seen = BTreeSet::new();
    for line in &lines {
        let body: Value = serde_json::from_slice(line).unwrap();
        let shape = match &body {
            Value::Array(elements) if elements[0].get("data").is_some() => "array of envelopes",
            Value::Array(_) => "array of events",
            body if body.get("data").is_some_and(Value::is_array) => "envelope of several",
            body if body.get("data").is_some() => "envelope of one",
            body if body.get("started_at").is_some() => "snake_case",
            body if body["timestamp"].is_number() => "epoch milliseconds",
            body if body["timestamp"].as_str().is_some_and(|time| time.ends_with("+05:30")) => "offset",
            body if body["timestamp"].as_str().is_some_and(|time| time.ends_with("000")) => "no offset",
            _ => "plain",
        };
        seen.insert(shape);
    }
    assert_eq!(seen.len(), 9, "{seen:?}");
}

#[test]
fn events_have_about_the_size_asked_for() {
    for size in [1_000, 20_000] {
        let (lines, _) = all(Plan { runs: 10, payload_bytes: size, ..Plan::orderly() });
        let near = |bytes: usize| (0.7..=1.3).contains(&(bytes as f64 / size as f64));
        assert!(lines.iter().all(|line| near(line.len())));
        let mean = lines.iter().map(Bytes::len).sum::<usize>() / lines.len();
        assert!((0.95..=1.05).contains(&(mean as f64 / size as f64)), "{mean} instead of {size}");
    }
}

#[test]
fn a_line_is_a_line() {
    let (lines, _) = all(Plan { malformed: 1.0, ..Plan::default() });
    assert!(lines.iter().all(|line| !line.is_empty() && !line.contains(&b'\n') && !line.ends_with(b"\r")));
}

#[test]
fn senseless_plans_do_not_panic() {
    let (none, tally) = all(Plan { runs: 0, ..Plan::default() });
    assert_eq!((none.len(), tally), (0, Tally::default()));
    #[allow(clippy::reversed_empty_ranges)]
    let odd = Plan { steps_per_run: 9..=2, items_per_run: 0..=0, late: f64::NAN, days: 0, ..faulty(5) };
    assert!(all(odd).1.steps > 0);
    assert_eq!(all(Plan { steps_per_run: 0..=0, runs: 3, ..Plan::orderly() }).1.steps, 0);
}
