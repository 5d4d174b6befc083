//! Small pipelines in which keys collide: late knowledge, moves, conflicts, reports of equal rank, in any framing.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

const RUNS: &[&str] = &["r0", "r1", "r2"];
const STEPS: &[&str] = &["s0", "s1"];
const DECISIONS: &[&str] = &["d0", "d1", "d2", "d3"];
/// Around the end of a month, in UTC and elsewhere.
const TIMES: &[&str] =
    &["2026-01-31T23:59:59.999Z", "2026-01-31T12:00:00Z", "2026-02-01T00:00:00Z", "2026-01-31T20:30:00-05:00"];
const ENDS: &[&str] = &["2026-02-01T10:00:00Z", "2026-02-01T10:00:01Z"];

/// Members of an object, absent ones left out.
fn object(members: Vec<(&str, Option<String>)>) -> String {
    let members: Vec<String> =
        members.into_iter().filter_map(|(name, value)| value.map(|value| format!(r#""{name}":{value}"#))).collect();
    format!("{{{}}}", members.join(","))
}

fn text(values: &'static [&'static str]) -> impl Strategy<Value = Option<String>> {
    select(values).prop_map(|value| Some(format!(r#""{value}""#)))
}

fn maybe(values: &'static [&'static str]) -> impl Strategy<Value = Option<String>> {
    option::of(text(values)).prop_map(Option::flatten)
}

fn count() -> impl Strategy<Value = Option<String>> {
    option::weighted(0.3, 0_u32..4).prop_map(|count| count.map(|count| count.to_string()))
}

/// Tells events apart that say the same: conflicts, and reports of equal rank.
fn salt() -> impl Strategy<Value = Option<String>> {
    option::of(0_u8..2).prop_map(|salt| salt.map(|salt| salt.to_string()))
}

fn decision() -> impl Strategy<Value = (&'static str, String)> {
    let metadata = (count(), count()).prop_map(|(input, output)| {
        Some(object(vec![("inputCount", input), ("output_count", output)])).filter(|metadata| metadata != "{}")
    });
    let names = (text(DECISIONS), text(STEPS), text(RUNS), text(TIMES));
    (names, text(&["kept", "eliminated", "scored"]), maybe(&["p0"]), metadata, salt()).prop_map(
        |((id, step, run, at), outcome, pipeline, metadata, salt)| {
            let members = vec![
                ("id", id),
                ("stepId", step),
                ("run_id", run),
                ("outcome", outcome),
                ("itemId", Some(r#""i""#.to_owned())),
                ("timestamp", at),
                ("pipelineId", pipeline),
                ("metadata", metadata),
                ("salt", salt),
            ];
            ("decision", object(members))
        },
    )
}

fn step() -> impl Strategy<Value = (&'static str, String)> {
    // Starts are the same in every report; a few are not, and must do no more harm than they must.
    let start = prop_oneof![9 => Just("2026-01-31T23:00:00Z"), 1 => Just("2026-02-01T01:00:00Z")];
    (text(STEPS), maybe(RUNS), maybe(&["p0", "p1"]), start, maybe(ENDS), count(), count(), salt()).prop_map(
        |(id, run, pipeline, start, end, input, output, salt)| {
            let members = vec![
                ("id", id),
                ("type", Some(r#""rank""#.to_owned())),
                ("name", Some(r#""n""#.to_owned())),
                ("startedAt", Some(format!(r#""{start}""#))),
                ("completedAt", end),
                ("runId", run),
                ("pipeline_id", pipeline),
                ("inputCount", input),
                ("config", output.map(|output| format!(r#"{{"outputCount":{output}}}"#))),
                ("salt", salt),
            ];
            ("step", object(members))
        },
    )
}

fn run() -> impl Strategy<Value = (&'static str, String)> {
    let status = text(&["pending", "running", "completed", "failed", "cancelled"]);
    (text(RUNS), text(&["p0", "p1", "p2"]), status, maybe(ENDS), salt()).prop_map(
        |(id, pipeline, status, end, salt)| {
            let members = vec![
                ("id", id),
                ("pipelineId", pipeline),
                ("status", status),
                ("startedAt", Some("1769900400000".to_owned())),
                ("completed_at", end),
                ("salt", salt),
            ];
            ("run", object(members))
        },
    )
}

fn event() -> impl Strategy<Value = (&'static str, String)> {
    prop_oneof![6 => decision(), 4 => step(), 3 => run()]
}

/// A message body: bare, in an envelope, or several in an array; rarely what is no event.
fn body() -> impl Strategy<Value = String> {
    let bare = event().prop_map(|(_, event)| event).boxed();
    let enveloped = event().prop_map(|(kind, event)| format!(r#"{{"type":"{kind}","data":{event}}}"#)).boxed();
    let decisions = vec(decision(), 1..5).prop_map(|events| {
        let events: Vec<String> = events.into_iter().map(|(_, event)| event).collect();
        format!(r#"{{"type":"decisions","data":[{}]}}"#, events.join(","))
    });
    let one = prop_oneof![bare.clone(), enveloped.clone()];
    let array = vec(one, 1..5).prop_map(|bodies| format!("[{}]", bodies.join(",")));
    prop_oneof![6 => bare, 2 => enveloped, 1 => decisions, 2 => array, 1 => Just("[7]".to_owned())]
}

/// Bodies in the order they are sent, some of them more than once.
pub fn bodies() -> impl Strategy<Value = Vec<String>> {
    (vec(body(), 1..14), vec(any::<prop::sample::Index>(), 0..5)).prop_map(|(mut bodies, again)| {
        for index in again {
            bodies.push(index.get(&bodies).clone());
        }
        bodies
    })
}
