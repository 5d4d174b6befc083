//! Tests of the model and of the reader of embedded mode that the other integration tests rely on, with expectations
//! worked out by hand.

#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod conflicts;
mod embedded;
mod fields;
mod framings;
mod numbers;

use support::model::{Input, State, expected, sha256_hex};

/// The state after these bodies, of which nothing is known but their bytes.
fn state<'a>(bodies: impl IntoIterator<Item = &'a str>) -> State {
    expected(bodies.into_iter().map(|body| Input { body: body.as_bytes(), hint: None }))
}

fn state_with_hint(hint: &str, body: &str) -> State {
    expected([Input { body: body.as_bytes(), hint: Some(hint) }])
}

fn decision(event_id: &str, more: &str) -> String {
    let time = "2026-01-31T10:00:00Z";
    let fields = r#""stepId":"s1","runId":"r1","outcome":"kept","itemId":"i1""#;
    format!(r#"{{"id":"{event_id}",{fields},"timestamp":"{time}"{more}}}"#)
}

fn step(step_id: &str, more: &str) -> String {
    format!(r#"{{"id":"{step_id}","type":"rank","name":"n","startedAt":"2026-01-31T10:00:00Z"{more}}}"#)
}

fn run(run_id: &str, more: &str) -> String {
    let fields = r#""pipelineId":"p1","status":"running""#;
    format!(r#"{{"id":"{run_id}",{fields},"startedAt":"2026-01-31T10:00:00Z"{more}}}"#)
}

const DECISION_KEY: &str = "decisions/2026/01/31/e1.json";
const STEP_KEY: &str = "steps/2026/01/31/s1.json";
const RUN_KEY: &str = "runs/2026/01/31/r1.json";

/// The objects by key, as text.
fn objects(state: &State) -> Vec<(&str, &str)> {
    state.objects.iter().map(|(key, bytes)| (key.as_str(), str::from_utf8(bytes).unwrap())).collect()
}

/// Code and body of the dead letters, sorted; checks how each is filed.
fn dead_letters(state: &State) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    for (sha256, letter) in &state.dead_letters {
        assert_eq!(*sha256, sha256_hex(&letter.body));
        assert_eq!(letter.key, format!("dead-letters/{}/{sha256}.json", &sha256[..2]));
        found.push((letter.code.as_str(), str::from_utf8(&letter.body).unwrap()));
    }
    found.sort();
    found
}

/// Checks that `body` is stored as it is under `key` and that nothing is a dead letter.
#[track_caller]
fn assert_stored(key: &str, body: &str) {
    let state = state([body]);
    assert_eq!((objects(&state), dead_letters(&state)), (vec![(key, body)], vec![]));
}

/// Checks that `body` is a dead letter as a whole and that nothing else is stored.
#[track_caller]
fn assert_dead(code: &str, body: &str) {
    assert_all_dead(&state([body]), &[(code, body)]);
}

#[track_caller]
fn assert_all_dead(state: &State, expected: &[(&str, &str)]) {
    assert_eq!((objects(state), dead_letters(state)), (vec![], expected.to_vec()));
    assert!(state.decision_events.is_empty() && state.steps.is_empty() && state.runs.is_empty());
}
