use super::*;

#[test]
fn snake_case_is_accepted() {
    let body = r#"{"id":"e1","step_id":"s1","run_id":"r1","outcome":"scored","item_id":"i1","pipeline_id":"p",
        "timestamp":"2026-01-31T10:00:00Z","score":-0.5,"metadata":{"input_count":3}}"#;
    let decisions = state([body]).decision_events;
    let row = decisions.values().next().unwrap();
    assert_eq!((row.step_id.as_str(), row.item_id.as_str(), row.pipeline_id.as_str()), ("s1", "i1", "p"));
    assert_eq!(row.score, Some(-0.5));
    let body = r#"{"id":"s1","type":"llm","name":"n","run_id":"r","started_at":1769853600000,
        "completed_at":1769853601000,"input_count":4,"output_count":3}"#;
    let row = &state([body]).steps["s1"];
    assert_eq!((row.run_id.as_str(), row.input_count, row.output_count, row.elimination_ratio), ("r", 4, 3, 0.25));
    assert_eq!(row.completed_at.as_deref(), Some("2026-01-31T10:00:01.000Z"));
}

#[test]
fn a_field_that_is_there_twice_is_ambiguous_in_either_spelling() {
    assert_dead("doubled_field", &decision("e1", r#","stepId":"s1""#));
    assert_dead("doubled_field", &decision("e1", r#","step_id":"s1""#));
    assert_dead("doubled_field", &decision("e1", r#","metadata":1,"\u006detadata":2"#));
    assert_dead("doubled_field", &run("r1", r#","completedAt":null,"error":"a","error":"a""#));
    assert_dead("doubled_field", &step("s1", r#","config":{},"config":{}"#));
}

#[test]
fn what_the_tables_do_not_use_may_be_there_twice_and_of_any_type() {
    assert_stored(DECISION_KEY, &decision("e1", r#","reason":1,"reason":2,"input":[],"input":{},"item":1,"item":2"#));
    assert_stored(STEP_KEY, &step("s1", r#","status":7,"status":8,"error":9"#));
    assert_stored(RUN_KEY, &run("r1", r#","output":1,"output":2,"x":"\ud800","\ud800":0"#));
}

#[test]
fn null_is_absence() {
    assert_stored(DECISION_KEY, &decision("e1", r#","score":null,"pipelineId":null,"metadata":null,"run_id":null"#));
    assert_stored(STEP_KEY, &step("s1", r#","outcome":null,"itemId":null,"inputCount":null,"runId":"","runId":null"#));
    assert_dead(
        "missing_field",
        &run("r1", "").replace(r#""p1""#, "null").replace(r#"{"#, r#"{"outcome":1,"itemId":2,"#),
    );
    assert_dead("unknown_kind", &run("r1", "").replace(r#""p1""#, "null"));
}

#[test]
fn ids_are_1_to_512_bytes_without_control_characters() {
    let long = "é".repeat(256);
    assert_eq!(state([run(&long, "").as_str()]).runs.len(), 1);
    for id in ["", &"a".repeat(513), "a\\nb", "\\u007f", "\u{85}", "\\ud800"] {
        assert_dead("bad_field", &run(id, ""));
        if !id.is_empty() {
            assert_dead("bad_field", &decision("e1", &format!(r#","pipelineId":"{id}""#)));
        }
    }
    assert_stored(DECISION_KEY, &decision("e1", r#","pipelineId":"""#));
    assert_dead("bad_field", &decision("e1", r#","pipelineId":7"#));
}

#[test]
fn ids_are_percent_encoded_in_keys_or_hashed_if_long() {
    let key = |id: &str| state([run(id, "").as_str()]).objects.into_keys().next().unwrap();
    assert_eq!(key("0f-_.~Z"), "runs/2026/01/31/0f-_.~Z.json");
    assert_eq!(key(".."), "runs/2026/01/31/%2E%2E.json");
    assert_eq!(key("..a"), "runs/2026/01/31/..a.json");
    assert_eq!(key("a/é %!"), "runs/2026/01/31/a%2F%C3%A9%20%25%21.json");
    assert_eq!(key("\\u0061"), "runs/2026/01/31/a.json");
    assert_eq!(key(&"a".repeat(200)), format!("runs/2026/01/31/{}.json", "a".repeat(200)));
    let sha256 = "a92efd82109373e58f9a2056dee01e807e216ce6075f7051207c0a9f7d666e50";
    assert_eq!(key(&"a".repeat(201)), format!("runs/2026/01/31/!{sha256}.json"));
    assert!(key(&"/".repeat(67)).contains("/!"));
}

#[test]
fn times_are_rfc_3339_or_epoch_milliseconds() {
    let started = |time: &str| {
        let body = run("r1", "").replace(r#""2026-01-31T10:00:00Z""#, time);
        state([body.as_str()]).runs.remove("r1").map(|row| row.started_at)
    };
    for (time, iso) in [
        (r#""2026-01-31T23:30:00.1239-01:00""#, "2026-02-01T00:30:00.123Z"),
        (r#""2026-01-31t10:00:00z""#, "2026-01-31T10:00:00.000Z"),
        (r#""2026-01-31T10:00:00""#, "2026-01-31T10:00:00.000Z"),
        (r#""2026-01-31T10:00:00.98765432109876""#, "2026-01-31T10:00:00.987Z"),
        (r#""2000-01-01T01:00:00+01:00""#, "2000-01-01T00:00:00.000Z"),
        (r#""2261-12-31T23:59:59.9999Z""#, "2261-12-31T23:59:59.999Z"),
        (r#""2016-12-31T23:59:60.5Z""#, "2017-01-01T00:00:00.500Z"),
        ("1769903999123", "2026-01-31T23:59:59.123Z"),
        ("946684800000", "2000-01-01T00:00:00.000Z"),
        ("9214646399999", "2261-12-31T23:59:59.999Z"),
    ] {
        assert_eq!(started(time).as_deref(), Some(iso), "{time}");
    }
    for time in [
        "1769903999",
        "946684799999",
        "9214646400000",
        "99999999999999999999",
        "1769903999123.0",
        "1.769903999123e12",
        r#""1769903999123""#,
        r#""1999-12-31T23:59:59.999Z""#,
        r#""2000-01-01T00:00:00+00:01""#,
        r#""2262-01-01T00:00:00Z""#,
        r#""2026-01-31""#,
        r#""2026-01-31T10:00Z""#,
        r#""2026-01-31 10:00:00Z""#,
        r#""2026-02-30T10:00:00Z""#,
        r#""2026-01-31T10:00:00.Z""#,
        r#""2026-01-31T10:00:00+0100""#,
        r#""""#,
        "true",
    ] {
        assert_eq!(started(time), None, "{time}");
    }
}

#[test]
fn counts_are_integers_in_any_spelling() {
    let input = |count: &str| {
        let body = step("s1", &format!(r#","inputCount":{count}"#));
        state([body.as_str()]).steps.remove("s1").map(|row| row.input_count)
    };
    for (count, value) in [
        ("15", 15),
        ("15.0", 15),
        ("1.5e1", 15),
        ("150e-1", 15),
        ("0.15E+2", 15),
        ("0", 0),
        ("-0", 0),
        ("0.00e-99999999999", 0),
        ("1e12", 1_000_000_000_000),
    ] {
        assert_eq!(input(count), Some(value), "{count}");
    }
    for count in
        ["-1", "1.5", "1e-1", "1000000000001", "1000000000000.0000001", "1e13", "1e999", "\"15\"", "[]", "true"]
    {
        assert_eq!(input(count), None, "{count}");
    }
}

#[test]
fn scores_are_finite_and_exact() {
    let score = |score: &str| {
        let body = decision("e1", &format!(r#","score":{score}"#));
        state([body.as_str()]).decision_events.into_values().next().map(|row| row.score)
    };
    assert_eq!(score("0.1"), Some(Some(0.1)));
    assert_eq!(score("1e-999"), Some(Some(0.0)));
    assert_eq!(score("122.416294033786585"), Some(Some(122.416_294_033_786_59)));
    assert_eq!(score("18446744073709551616"), Some(Some(18446744073709551616.0)));
    assert_eq!(score("null"), Some(None));
    for bad in ["1e999", "-1e999", "NaN", "Infinity", "\"1\"", "true"] {
        assert_eq!(score(bad), None, "{bad}");
    }
}

#[test]
fn enumerations_are_exact_and_names_free() {
    assert_dead("bad_field", &decision("e1", "").replace("kept", "Kept"));
    assert_dead("bad_field", &run("r1", "").replace("running", "done"));
    assert_dead("bad_field", &run("r1", r#","error":{"message":"x"}"#));
    assert_stored(STEP_KEY, &step("s1", "").replace("rank", "my own").replace(r#""n""#, r#""\n\u0000""#));
    assert_stored(STEP_KEY, &step("s1", "").replace("rank", "").replace(r#""n""#, r#""""#));
    assert_dead("bad_field", &step("s1", "").replace(r#""rank""#, "1"));
}

#[test]
fn metadata_and_config_are_free_form() {
    assert_stored(DECISION_KEY, &decision("e1", r#","metadata":"text""#));
    assert_stored(STEP_KEY, &step("s1", r#","config":[1,{"inputCount":"x"}]"#));
    let pipeline = |metadata: &str| {
        let body = decision("e1", &format!(r#","metadata":{metadata}"#));
        state([body.as_str()]).decision_events.into_values().next().unwrap().pipeline_id
    };
    assert_eq!(pipeline(r#"{"pipelineId":"p"}"#), "p");
    for ignored in [r#"{"pipelineId":7}"#, r#"{"pipelineId":""}"#, r#"{"pipelineId":"a","pipeline_id":"b"}"#, "[]"] {
        assert_eq!(pipeline(ignored), "");
    }
    assert_eq!(pipeline(r#"{"pipelineId":"","pipeline_id":"p"}"#), "p", "empty is absent");
    assert_eq!(pipeline(r#"{"pipelineId":"p"},"pipelineId":"own""#), "own");
}

#[test]
fn the_metadata_of_a_run_is_kept_to_the_byte() {
    let metadata = |more: &str| state([run("r1", more).as_str()]).runs.remove("r1").unwrap().metadata;
    assert_eq!(metadata(r#", "metadata" : { "b" : 1.0, "a":"\u00e9" } "#), r#"{ "b" : 1.0, "a":"\u00e9" }"#);
    assert_eq!(metadata(r#","metadata":7"#), "7");
    assert_eq!(metadata(r#","metadata":null"#), "{}");
    assert_eq!(metadata(""), "{}");
}
