//! Bodies put together at random from valid, odd and wrong pieces: every spelling, every framing, fields missing, doubled or
//! of the wrong type.

use proptest::prelude::*;
use proptest::sample::select;

const IDS: &[&str] = &[
    r#""a""#,
    r#""b""#,
    r#""\u0061""#,
    r#""..""#,
    r#""a/b""#,
    r#""""#,
    "null",
    "7",
    r#""\ud800""#,
    r#""\ud83d\ude00""#,
    r#""\u0085""#,
    r#"" ""#,
    "{}",
    r#""x\ty""#,
];
const TIMES: &[&str] = &[
    r#""2026-01-31T23:59:59.9999Z""#,
    "1769900399123",
    r#""2026-01-31T12:00:00""#,
    r#""2026-02-01T13:59:59+14:00""#,
    r#""2026-01-31t12:00:00z""#,
    r#""2026-01-31T12:00:00-00:00""#,
    r#""2000-01-01T00:00:00Z""#,
    "9214646399999",
    r#""2016-12-31T23:59:60Z""#,
    r#""2026-01-31 12:00:00Z""#,
    r#""2026-01-31T12:00:00.Z""#,
    r#""2026-01-31T12:00:00,5Z""#,
    r#""2026-01-31T12:00:00+0100""#,
    r#""2026-01-31T12:00Z""#,
    r#""2026-02-29T12:00:00Z""#,
    r#""2026-01-31T24:00:00Z""#,
    r#""1999-12-31T23:59:59.9999Z""#,
    r#""2262-01-01T00:30:00+01:00""#,
    r#""2261-12-31T23:59:59-00:01""#,
    "1769900399",
    "1769900399123.0",
    "1.769900399123e12",
    "9214646400000",
    "-1",
    "null",
    "true",
    r#""""#,
    r#""1769900399123""#,
];
const COUNTS: &[&str] = &[
    "0",
    "15",
    "15.0",
    "1.5e1",
    "150e-1",
    "-0",
    "-0.0e5",
    "0.1e1",
    "1e12",
    "1000000000001",
    "1000000000000.0000001",
    "0.5",
    "-1",
    "1e400",
    "1e-400",
    r#""15""#,
    "null",
    "true",
    "[]",
    "18446744073709551616",
    "000",
    "1e9223372036854775807",
];
const SCORES: &[&str] = &[
    "0.1",
    "-0.0",
    "0.30000000000000004",
    "1e308",
    "1e-999",
    "123456789012345678901234567890",
    "null",
    "1e999",
    r#""1""#,
    "[1]",
];
const TEXTS: &[&str] = &[r#""rank""#, r#""x""#, r#""""#, r#""\u0000\n""#, r#""\udc00""#, "null", "1", "{}"];
const OUTCOMES: &[&str] =
    &[r#""kept""#, r#""eliminated""#, r#""scored""#, r#""k\u0065pt""#, r#""Kept""#, r#""""#, "null", "1"];
const STATUSES: &[&str] =
    &[r#""pending""#, r#""running""#, r#""completed""#, r#""failed""#, r#""cancelled""#, r#""done""#, "null", "2"];
const FREE: &[&str] = &[
    "{}",
    "null",
    "7",
    r#"" ""#,
    "[ 1 , {\"a\":[[]]} ]",
    r#"{"inputCount":5,"outputCount":2}"#,
    r#"{"input_count":6.0,"pipelineId":"p"}"#,
    r#"{"inputCount":1,"input_count":1,"outputCount":"2"}"#,
    r#"{"inputCount":null,"input_count":3,"pipeline_id":""}"#,
    r#"{"pipelineId":"p","pipeline_id":"q","outputCount":-1}"#,
    r#"{"pipelineId":"","pipeline_id":"q"}"#,
    r#"{"pipelineId":"p","pipeline_id":""}"#,
    r#"{"pipelineId":"\u0007","outputCount":1e1}"#,
    r#"{ "k" : 1.0 , "k":2}"#,
];

/// The fields of a kind: both spellings, what may stand there, and whether an event needs it.
type Fields = &'static [(&'static str, &'static str, &'static [&'static str], bool)];
const DECISION: Fields = &[
    ("id", "id", IDS, true),
    ("stepId", "step_id", IDS, true),
    ("runId", "run_id", IDS, true),
    ("outcome", "outcome", OUTCOMES, true),
    ("itemId", "item_id", IDS, true),
    ("timestamp", "timestamp", TIMES, true),
    ("pipelineId", "pipeline_id", IDS, false),
    ("score", "score", SCORES, false),
    ("metadata", "metadata", FREE, false),
    ("input", "input", FREE, false),
    ("name", "name", TEXTS, false),
];
const STEP: Fields = &[
    ("id", "id", IDS, true),
    ("type", "type", TEXTS, true),
    ("name", "name", TEXTS, true),
    ("startedAt", "started_at", TIMES, true),
    ("completedAt", "completed_at", TIMES, false),
    ("runId", "run_id", IDS, false),
    ("pipelineId", "pipeline_id", IDS, false),
    ("config", "config", FREE, false),
    ("inputCount", "input_count", COUNTS, false),
    ("outputCount", "output_count", COUNTS, false),
];
const RUN: Fields = &[
    ("id", "id", IDS, true),
    ("pipelineId", "pipeline_id", IDS, true),
    ("status", "status", STATUSES, true),
    ("startedAt", "started_at", TIMES, true),
    ("completedAt", "completed_at", TIMES, false),
    ("error", "error", TEXTS, false),
    ("metadata", "metadata", FREE, false),
    ("data", "data", FREE, false),
];

/// One member: mostly right, or there would hardly ever be an event with all of its members right.
fn member(
    (camel, snake, values, needed): (&'static str, &'static str, &'static [&'static str], bool),
) -> impl Strategy<Value = String> {
    let value = prop_oneof![20 => select(&values[..2]), 1 => select(values)];
    let name = prop_oneof![5 => Just(camel), 1 => Just(snake)];
    let once = (name.clone(), value.clone()).prop_map(|(name, value)| format!(r#""{name}":{value}"#));
    let twice = (name, value, once.clone()).prop_map(|(name, value, once)| format!(r#""{name}": {value},{once}"#));
    let absent = if needed { 1 } else { 20 };
    prop_oneof![60 => once, 1 => twice, absent => Just(String::new())]
}

fn object(fields: Fields) -> impl Strategy<Value = String> {
    let members: Vec<_> = fields.iter().copied().map(member).collect();
    members.prop_shuffle().prop_map(|mut members| {
        members.retain(|member| !member.is_empty());
        format!("{{{}}}", members.join(","))
    })
}

fn event() -> impl Strategy<Value = String> {
    prop_oneof![4 => object(DECISION), 2 => object(STEP), 2 => object(RUN), 1 => select(&["7", "null", "[]", "{}", r#""x""#][..]).prop_map(str::to_owned)]
}

/// One body.
pub fn body() -> impl Strategy<Value = String> {
    let words = select(&["decision", "decisions", "step", "runs", "Run", "filter"][..]);
    let array = prop::collection::vec(event(), 0..4).prop_map(|events| format!("[{}]", events.join(" , "))).boxed();
    let data = prop_oneof![event(), array.clone()];
    let envelope = (
        words,
        data,
        select(&["", r#","messageId":1"#, r#","id":null"#, r#","id":"m""#, r#","data":[]"#, r#","type":"run""#][..]),
    )
        .prop_map(|(word, data, more)| format!(r#"{{"type":"{word}", "data":{data}{more}}}"#))
        .boxed();
    let mixed = prop::collection::vec(prop_oneof![event(), envelope.clone()], 0..4)
        .prop_map(|events| format!(" [{}]", events.join(",")));
    prop_oneof![6 => event(), 2 => envelope, 1 => array, 1 => mixed]
}
