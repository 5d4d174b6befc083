//! Events: every framing, every reason why something is none, and the properties that hold for any bytes.

#![allow(clippy::unwrap_used, clippy::panic)]

use bytes::Bytes;
use proptest::prelude::*;
use xray_processor_worker::event::{Code, Event, Fact, Kind, Part, Rejected, decode, kind_hint, parse_event};

const DECISION: &str =
    r#"{"id":"e1","stepId":"s1","runId":"r1","outcome":"kept","itemId":"i1","timestamp":"2026-01-31T23:59:59.123Z"}"#;
const STEP: &str = r#"{"id":"s1","type":"filter","name":"by price","startedAt":1769900399123}"#;
const RUN: &str = r#"{"id":"r1","pipelineId":"p1","status":"running","startedAt":"2026-01-31T23:59:59.123Z"}"#;

fn decoded(body: &Bytes, hint: Option<Kind>) -> Vec<Part> {
    let mut parts = Vec::new();
    decode(body, hint, |part| parts.push(part));
    parts
}

fn parts(body: &str) -> Vec<Part> {
    decoded(&Bytes::copy_from_slice(body.as_bytes()), None)
}

fn one(body: &str) -> Event {
    match parts(body).as_slice() {
        [Part::Event(event)] => event.clone(),
        other => panic!("expected one event of {body}, found {other:?}"),
    }
}

fn rejected(body: &[u8]) -> Rejected {
    match decoded(&Bytes::copy_from_slice(body), None).as_slice() {
        [Part::Rejected(rejected)] => rejected.clone(),
        other => panic!("expected one rejection of {}, found {other:?}", String::from_utf8_lossy(body)),
    }
}

/// `json` with `"name":value` added; replaces the member of that name where `json` has it.
fn with(json: &str, name: &str, value: &str) -> String {
    let mut members: serde_json::Map<String, serde_json::Value> = serde_json::from_str(json).unwrap();
    members.remove(name);
    let rest = serde_json::to_string(&members).unwrap();
    format!("{},\"{name}\":{value}}}", &rest[..rest.len() - 1])
}

#[test]
fn shapes_tell_the_kind() {
    for (json, kind) in [(DECISION, Kind::Decision), (STEP, Kind::Step), (RUN, Kind::Run)] {
        let event = one(json);
        assert_eq!((event.kind(), &event.raw[..]), (kind, json.as_bytes()));
    }
    let both = with(&with(DECISION, "pipelineId", "\"p\""), "status", "\"running\"");
    assert_eq!(rejected(both.as_bytes()).rejection.code, Code::UnknownKind);
    assert_eq!(rejected(br#"{"id":"x"}"#).rejection.code, Code::UnknownKind);
}

#[test]
fn header_and_source_tell_the_kind_before_the_shape() {
    for (header, source, kind) in [
        (Some("runs"), "xray.decisions", Some(Kind::Run)),
        (Some("unheard-of"), "xray.decisions", Some(Kind::Decision)),
        (None, "xray-steps.fifo", Some(Kind::Step)),
        (None, "xray_run", Some(Kind::Run)),
        (None, "runs", Some(Kind::Run)),
        (None, "decisions.v2", None),
        (None, "", None),
    ] {
        assert_eq!(kind_hint(header, source), kind, "{header:?} {source}");
    }
    let found = decoded(&Bytes::from(RUN), Some(Kind::Step));
    assert!(
        matches!(&found[..], [Part::Rejected(r)] if r.kind == Some(Kind::Step) && r.rejection.code == Code::MissingField)
    );
}

#[test]
fn every_framing_gives_the_same_event() {
    let bare = one(DECISION);
    for body in [
        format!(r#"{{"type":"decision","data":{DECISION}}}"#),
        format!(r#"{{"messageId":"m","data":[ {DECISION} ],"type":"decisions","id":null}}"#),
        format!("[{DECISION}]"),
        format!(r#" [ {{"type":"decision","data":{DECISION}}} ] "#),
        format!("\r\n\t {DECISION}\n"),
    ] {
        assert_eq!(one(&body), bare, "{body}");
    }
    assert!(parts("[]").is_empty());
    assert!(parts(r#"{"type":"runs","data":[]}"#).is_empty());
    // With an id it is a bare event: a step may be of type `run` and have data.
    let step = with(&with(STEP, "type", "\"run\""), "data", "[]");
    assert_eq!(one(&step).kind(), Kind::Step);
}

#[test]
fn snake_case_is_accepted() {
    let snake = DECISION.replace("stepId", "step_id").replace("runId", "run_id").replace("itemId", "item_id");
    assert_eq!(one(&snake).fact, one(DECISION).fact);
    let escaped = DECISION.replace("stepId", "st\\u0065pId");
    assert_eq!(one(&escaped).fact, one(DECISION).fact);
}

#[test]
fn reasons_name_the_field_and_what_was_found() {
    let long_id = format!("\"{}\"", "x".repeat(513));
    for (base, name, value, code, says) in [
        (DECISION, "outcome", "\"keep\"", Code::BadField, "kept, eliminated, scored; found \"keep\""),
        (DECISION, "stepId", "null", Code::MissingField, "`stepId` is missing"),
        (DECISION, "timestamp", "1769900399", Code::BadField, "epoch seconds"),
        (DECISION, "timestamp", "\"yesterday\"", Code::BadField, "`timestamp` must be an RFC 3339 time"),
        (DECISION, "timestamp", "\"1999-12-31T23:59:59.999Z\"", Code::BadField, "from 2000-01-01"),
        (DECISION, "timestamp", "\"2262-01-01T00:00:00Z\"", Code::BadField, "to 2261-12-31"),
        (DECISION, "timestamp", "99999999999999999999", Code::BadField, "`timestamp`"),
        (DECISION, "score", "1e999", Code::BadField, "finite"),
        (DECISION, "score", "\"0.5\"", Code::BadField, "`score`"),
        (DECISION, "id", "\"\"", Code::BadField, "an empty string"),
        (DECISION, "id", "7", Code::BadField, "a string; found 7"),
        (DECISION, "id", "\"a\\u0000b\"", Code::BadField, "control character U+0000"),
        (DECISION, "id", "\"\\ud800\"", Code::BadField, "lone surrogate"),
        (DECISION, "stepId", &long_id, Code::BadField, "513 bytes"),
        (DECISION, "pipelineId", "{\"a\":1}", Code::BadField, "found an object"),
        (STEP, "inputCount", "-1", Code::BadField, "0 to 10^12"),
        (STEP, "inputCount", "1.5", Code::BadField, "`inputCount`"),
        (STEP, "outputCount", "1000000000001", Code::BadField, "`outputCount`"),
        (STEP, "completedAt", "true", Code::BadField, "`completedAt`"),
        (RUN, "status", "\"done\"", Code::BadField, "pending, running, completed, failed, cancelled"),
        (RUN, "error", "[]", Code::BadField, "`error`"),
    ] {
        let body = with(base, name, value);
        let found = rejected(body.as_bytes());
        assert_eq!(found.rejection.code, code, "{body}: {}", found.rejection.reason);
        assert!(found.rejection.reason.contains(says), "{body}: {}", found.rejection.reason);
        assert_eq!(found.body, body.as_bytes());
    }
}

#[test]
fn an_empty_id_in_metadata_is_absent_in_either_spelling() {
    let event = one(&DECISION.replacen('{', r#"{"metadata":{"pipelineId":"","pipeline_id":"x"},"#, 1));
    assert!(matches!(event.fact, Fact::Decision(decision) if decision.pipeline_id == "x"), "empty is absent");
}

#[test]
fn what_is_there_twice_is_ambiguous_only_where_it_counts() {
    for body in [
        DECISION.replacen('{', r#"{"run_id":"other","#, 1),
        DECISION.replacen('{', r#"{"itemId":"i1","#, 1),
        DECISION.replacen('{', r#"{"metadata":1,"metadata":2,"#, 1),
        format!(r#"{{"type":"decision","type":"decision","data":{DECISION}}}"#),
        format!(r#"{{"type":"decision","data":{DECISION},"data":{DECISION}}}"#),
    ] {
        assert_eq!(rejected(body.as_bytes()).rejection.code, Code::DoubledField, "{body}");
    }
    // Not of the tables, or not of this kind.
    one(&DECISION.replacen('{', r#"{"input":1,"input":2,"x":1,"x":2,"name":"a","name":"b","#, 1));
}

#[test]
fn strangers_are_named() {
    let cloud_event = br#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{}}"#;
    for (body, code, says) in [
        (&b""[..], Code::Empty, "empty"),
        (b" \r\n\t", Code::Empty, "empty"),
        (b"\0\0\0\x01\x2a{\"id\":1}", Code::NotJson, "Confluent schema-registry prefix (schema id 298)"),
        (b"\x1f\x8b\x08\0\0\0", Code::NotUtf8, "gzip"),
        (b"\xef\xbb\xbf{}", Code::NotJson, "byte order mark"),
        (b"{\"id\":\"\xff\"}", Code::NotUtf8, "byte 7 of 10"),
        (b"{\"id\":1}{}", Code::NotJson, "trailing"),
        (b"{\"id\":1,}", Code::NotJson, "line 1"),
        (b"nonsense", Code::NotJson, "not JSON"),
        (b"{\"i\nd\":1}", Code::NotJson, "control character"),
        (b"{\"i\\qd\":1}", Code::NotJson, "not JSON"),
        (b"42", Code::UnknownKind, "found 42"),
        (b"null", Code::UnknownKind, "found null"),
        (b"[[]]", Code::UnknownKind, "found an array"),
        (cloud_event, Code::UnknownKind, "CloudEvents"),
        (br#"{"type":"order","data":{}}"#, Code::UnknownKind, "envelope of type \"order\""),
        (br#"{"type":"run","data":null}"#, Code::UnknownKind, "`data` is missing or null"),
        (br#"{"type":"decisions"}"#, Code::UnknownKind, "`data` is missing or null"),
        (br#"{"type":"run","data":7}"#, Code::BadField, "`data`"),
    ] {
        let found = rejected(body).rejection;
        let shown = String::from_utf8_lossy(body);
        assert_eq!(found.code, code, "{shown}: {}", found.reason);
        assert!(found.reason.contains(says), "{shown}: {}", found.reason);
    }
}

#[test]
fn an_array_half_good() {
    let bad = r#"{"id":"x" , "outcome":"kept","itemId":"i"}"#;
    let body = format!(
        r#"[{DECISION}, {bad},7,{{"type":"steps","data":[{STEP},{bad}]}},{{"type":"run","data":{bad}}} ,{RUN}]"#
    );
    let found: Vec<(bool, Bytes)> = parts(&body)
        .into_iter()
        .map(|part| match part {
            Part::Event(event) => (true, event.raw),
            Part::Rejected(rejected) => (false, rejected.body),
        })
        .collect();
    let wrapped = format!(r#"{{"type":"run","data":{bad}}}"#);
    let expected =
        [(true, DECISION), (false, bad), (false, "7"), (true, STEP), (false, bad), (false, &wrapped), (true, RUN)];
    assert_eq!(found, expected.map(|(good, slice)| (good, Bytes::copy_from_slice(slice.as_bytes()))));
}

#[test]
fn depth_and_odd_but_legal_content() {
    let deep = format!("{}1{}", "[{\"a\":".repeat(50_000), "}]".repeat(50_000));
    for field in ["input", "metadata", "unheardOf"] {
        let body = with_raw(DECISION, field, &deep);
        assert_eq!(one(&body).raw.len(), body.len());
    }
    assert_eq!(rejected("[".repeat(200_000).as_bytes()).rejection.code, Code::NotJson);
    assert_eq!(rejected(deep.as_bytes()).rejection.code, Code::UnknownKind);
    // No text, but JSON: a lone surrogate in what is ignored, as value and as name.
    one(&with_raw(DECISION, "note", r#""\ud800""#));
    one(&with_raw(DECISION, "\\udfff", "1"));
    assert_eq!(rejected(&[DECISION.as_bytes(), b"\xc0"].concat()).rejection.code, Code::NotUtf8);
}

fn with_raw(json: &str, name: &str, value: &str) -> String {
    format!("{},\"{name}\":{value}}}", &json[..json.len() - 1])
}

#[test]
fn counts_and_ids_of_free_form_fields() {
    let counts = |metadata: &str| match one(&with(DECISION, "metadata", metadata)).fact {
        Fact::Decision(d) => (d.input_count, d.output_count, d.pipeline_id),
        other => panic!("{other:?}"),
    };
    assert_eq!(counts(r#"{"inputCount":15.0,"output_count":0,"pipelineId":"p"}"#), (Some(15), Some(0), "p".into()));
    assert_eq!(
        counts(r#"{"inputCount":"15","outputCount":1e12,"pipelineId":7}"#),
        (None, Some(1_000_000_000_000), String::new())
    );
    assert_eq!(counts(r#"{"inputCount":1,"input_count":1,"outputCount":-1}"#), (None, None, String::new()));
    assert_eq!(counts("[1]"), (None, None, String::new()));

    let step = with(&with(STEP, "config", r#"{"inputCount":9,"outputCount":8}"#), "outputCount", "0");
    assert!(matches!(one(&step).fact, Fact::Step(s) if s.input_count == Some(9) && s.output_count == Some(0)));
    let run = with_raw(RUN, "metadata", "{ \"a\" : 1.0 }");
    assert!(matches!(one(&run).fact, Fact::Run(r) if r.metadata == "{ \"a\" : 1.0 }"));
    assert!(matches!(one(&with(RUN, "metadata", "null")).fact, Fact::Run(r) if r.metadata == "{}"));
}

/// JSON text as producers may write it: odd white space, escapes, numbers, depth.
fn json_text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("-0.00e+7".to_owned()),
        Just("12345678901234567890123".to_owned()),
        Just(r#""\u00e9\n\"]}""#.to_owned()),
        "\"[a-zü ]{0,8}\"",
    ];
    let space = prop_oneof![Just(""), Just(" "), Just("\r\n\t ")];
    leaf.prop_recursive(6, 40, 4, move |inner| {
        let space = space.clone();
        prop_oneof![
            (prop::collection::vec(inner.clone(), 0..4), space.clone())
                .prop_map(|(items, s)| format!("[{s}{}{s}]", items.join(&format!("{s},{s}")))),
            (prop::collection::vec(("[a-z\\\\\"]{0,3}", inner), 0..4), space).prop_map(|(members, s)| {
                let members: Vec<_> = members
                    .iter()
                    .map(|(name, value)| format!("{}{s}:{s}{value}", serde_json::to_string(name).unwrap()))
                    .collect();
                format!("{{{s}{}{s}}}", members.join(&format!("{s},{s}")))
            }),
        ]
    })
}

fn event_text() -> impl Strategy<Value = (Kind, String)> {
    let kinds = prop::sample::select(vec![(Kind::Decision, DECISION), (Kind::Step, STEP), (Kind::Run, RUN)]);
    (kinds, json_text(), json_text(), "\\PC{1,20}").prop_map(|((kind, base), input, other, id)| {
        let id = serde_json::to_string(&id).unwrap();
        let text = with(base, "id", &id);
        (kind, with_raw(&with_raw(&text, "input", &input), "zz_other", &other))
    })
}

proptest! {
    #[test]
    fn any_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..400)) {
        decoded(&Bytes::from(body), None);
    }

    #[test]
    fn damaged_events_never_panic_and_reject_whole_bytes((kind, text) in event_text(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = text.into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let body = Bytes::from(bytes);
        for part in decoded(&body, Some(kind)) {
            match part {
                Part::Event(event) => prop_assert_eq!(event.raw, body.clone()),
                Part::Rejected(rejected) => {
                    prop_assert_eq!(rejected.body, body.clone());
                    prop_assert!(rejected.rejection.reason.len() < 600, "the sentence never holds the payload");
                }
            }
        }
    }

    #[test]
    fn slices_are_exact_and_framing_changes_nothing(events in prop::collection::vec(event_text(), 1..5), space in "[ \t\r\n]{0,3}") {
        let envelope = |(kind, text): &(Kind, String)| format!(r#"{space}{{{space}"data":{space}{text}{space},"messageId":"1","type":"{kind}"}}"#);
        let bare: Vec<String> = events.iter().map(|(_, text)| text.clone()).collect();
        let mixed: Vec<String> = events.iter().enumerate().map(|(i, event)| if i % 2 == 0 { envelope(event) } else { event.1.clone() }).collect();
        let mut bodies = vec![format!("{space}[{}]{space}", bare.join(&format!("{space},{space}"))), format!("[{}]", mixed.join(","))];
        if let [event] = events.as_slice() {
            bodies.extend([event.1.clone(), envelope(event), format!(r#"{{"type":"{}s","data":[{}]}}"#, event.0, event.1)]);
        }
        let expected: Vec<Event> = events.iter().map(|(kind, text)| parse_event(*kind, &Bytes::copy_from_slice(text.as_bytes())).unwrap()).collect();
        for body in bodies {
            let found: Vec<Event> = parts(&body).into_iter().map(|part| match part {
                Part::Event(event) => event,
                Part::Rejected(rejected) => panic!("{rejected:?}"),
            }).collect();
            prop_assert_eq!(&found, &expected, "{}", body);
            for (event, text) in found.iter().zip(&bare) {
                prop_assert_eq!(&event.raw[..], text.as_bytes());
            }
        }
    }
}
