use super::*;
use crate::support::model::expected_within;

#[test]
fn bare_events_are_known_by_their_shape() {
    assert_stored(DECISION_KEY, &decision("e1", ""));
    assert_stored(STEP_KEY, &step("s1", ""));
    assert_stored(RUN_KEY, &run("r1", ""));
}

#[test]
fn an_envelope_is_taken_off_and_the_event_kept_to_the_byte() {
    let event = step("s1", r#" , "x" : 1.50e+1 "#);
    for word in ["step", "steps"] {
        let body = format!("\r\n{{ \"messageId\":7, \"data\" : {event}\t, \"type\":\"{word}\" }} ");
        let state = state([body.as_str()]);
        assert_eq!((objects(&state), dead_letters(&state)), (vec![(STEP_KEY, event.as_str())], vec![]));
    }
}

#[test]
fn an_envelope_may_hold_an_array_with_bad_elements() {
    let (good, bad) = (run("r1", ""), run("", ""));
    let body = format!(r#"{{"type":"runs","data":[ {good} , {bad} , 7 ]}}"#);
    let state = state([body.as_str()]);
    assert_eq!(objects(&state), [(RUN_KEY, good.as_str())]);
    assert_eq!(dead_letters(&state), [("bad_field", "7"), ("bad_field", bad.as_str())]);
}

#[test]
fn an_array_mixes_bare_events_and_envelopes_each_judged_by_itself() {
    let (decision, step, run) = (decision("e1", ""), step("s1", ""), run("r1", ""));
    let nameless = r#"{"id":"s2","type":"rank","startedAt":"2026-01-31T10:00:00Z"}"#;
    let bad_envelope = format!(r#"{{"type":"step","data":{nameless}}}"#);
    let body = format!(
        r#" [{decision}, {{"type":"steps","data":[{step},{nameless}]}}, {{"type":"run","data":{run}}}, {bad_envelope}, []] "#
    );
    let state = state([body.as_str()]);
    assert_eq!(
        objects(&state),
        [(DECISION_KEY, decision.as_str()), (RUN_KEY, run.as_str()), (STEP_KEY, step.as_str())]
    );
    assert_eq!(
        dead_letters(&state),
        [("missing_field", nameless), ("missing_field", bad_envelope.as_str()), ("unknown_kind", "[]"),]
    );
}

#[test]
fn empty_arrays_are_nothing() {
    assert_eq!(state(["[]", " [ ] ", r#"{"type":"runs","data":[]}"#]), State::default());
}

#[test]
fn an_object_with_an_id_is_no_envelope_whatever_else_it_has() {
    assert_stored(STEP_KEY, &step("s1", r#","data":{"type":"run"}"#));
    let body = format!(r#"{{"id":null,"type":"step","data":{}}}"#, step("s1", ""));
    assert_eq!(objects(&state([body.as_str()])), [(STEP_KEY, step("s1", "").as_str())]);
    let body = format!(r#"{{"id":"x","type":"step","data":{}}}"#, step("s1", ""));
    assert_dead("unknown_kind", &body);
}

#[test]
fn an_ambiguous_or_unknown_envelope_is_a_dead_letter() {
    let run = run("r1", "");
    assert_dead("doubled_field", &format!(r#"{{"type":"run","type":"step","data":{run}}}"#));
    assert_dead("doubled_field", &format!(r#"{{"type":"run","data":{run},"data":{run}}}"#));
    assert_dead("unknown_kind", &format!(r#"{{"type":"Run","data":{run}}}"#));
    assert_dead("unknown_kind", r#"{"type":"run","data":null}"#);
    assert_dead("bad_field", r#"{"type":"run","data":"{}"}"#);
}

#[test]
fn a_hint_comes_before_the_shape_and_after_the_envelope() {
    let both =
        r#"{"id":"x","pipelineId":"p1","status":"failed","type":"llm","name":"n","startedAt":"2026-01-31T10:00:00Z"}"#;
    assert_dead("unknown_kind", both);
    assert_eq!(objects(&state_with_hint("run", both)), [("runs/2026/01/31/x.json", both)]);
    assert_eq!(objects(&state_with_hint("step", both)), [("steps/2026/01/31/x.json", both)]);
    assert_all_dead(&state_with_hint("decision", both), &[("missing_field", both)]);
    assert_all_dead(&state_with_hint("other", both), &[("unknown_kind", both)]);
    let body = format!(r#"[{{"type":"run","data":{both}}}]"#);
    assert_eq!(objects(&state_with_hint("step", &body)), [("runs/2026/01/31/x.json", both)]);
}

#[test]
fn what_is_no_json_is_a_dead_letter_to_the_byte() {
    let bodies = ["not json", r#"{"id":1"#, "[1,]", "{,}", "[01]", "[1.]", "[.5]", "[NaN]", "[\"\n\"]", r#"["\x"]"#];
    for body in bodies.into_iter().chain(["[1] 2", "\u{feff}[]", "[\u{a0}]", "nul", "\"", "[}", "{\"a\" 1}", "[1e]"]) {
        assert_dead("not_json", body);
    }
    let broken_half = format!("[{}, {{]", run("r1", ""));
    assert_dead("not_json", &broken_half);
    assert_dead("empty", "");
    assert_dead("empty", " \r\n");
    assert_dead("unknown_kind", " null ");
    assert_dead("unknown_kind", " {}\n");
}

#[test]
fn a_dead_letter_is_filed_by_the_sha256_of_the_body() {
    let state = state([" not an event ", " not an event "]);
    let key = "dead-letters/da/dacd10b547b6d26f5b848e5a8b9d896453df09bc24838a3b86a0dec9e12cd269.json";
    assert_eq!(state.dead_letters.values().map(|letter| letter.key.as_str()).collect::<Vec<_>>(), [key]);
}

#[test]
fn utf8_must_be_valid_in_ignored_fields_too() {
    let mut body = format!("[{},", run("r1", "")).into_bytes();
    body.extend(b"{\"ignored\":\"\xff\"}]");
    let state = expected([Input { body: &body, hint: None }]);
    assert!(state.objects.is_empty());
    let letters: Vec<_> = state.dead_letters.values().map(|letter| (letter.code.as_str(), &letter.body)).collect();
    assert_eq!(letters, [("not_utf8", &body)]);
}

#[test]
fn a_body_that_is_too_large_is_cut_but_filed_by_all_of_it() {
    let input = Input { body: b"0123456789", hint: None };
    let state = expected_within(9, [input]);
    let sha256 = "84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882";
    assert_eq!(state.dead_letters[sha256].code, "too_large");
    assert_eq!(state.dead_letters[sha256].body, b"012345678");
    assert_eq!(dead_letters(&expected_within(10, [input])), [("not_json", "0123456789")]);
}

#[test]
fn ignored_fields_may_be_nested_thousands_deep() {
    let deep = format!("{}{}", "[{\"a\":".repeat(100_000), "}]".repeat(100_000).replacen('}', "0}", 1));
    assert_stored(RUN_KEY, &run("r1", &format!(r#","input":{deep},"metadata":{deep}"#)));
    assert_dead("not_json", &"[".repeat(1_000_000));
    let array = format!("[{deep}, {}]", run("r1", ""));
    assert_eq!(dead_letters(&state([array.as_str()])), [("unknown_kind", deep.as_str())]);
}
