//! `lookup`: each sentence, from what there is.

use serde_json::Value;

use crate::place::Place;
use crate::support::events::run;

fn sentences(place: &Place) {
    let decision = |id: &str, outcome: &str| {
        format!(
            r#"{{"id":"{id}","stepId":"step-1","runId":"run-1","outcome":"{outcome}","itemId":"item-1","timestamp":"2026-02-28T23:00:00Z"}}"#
        )
    };
    let step = r#"{"id":"step-1","type":"rank","name":"n","startedAt":"2026-02-28T22:00:00Z"}"#;
    let bodies: Vec<Vec<u8>> = [
        run("run-1", "running"),
        run("run-1", "completed"),
        step.to_owned(),
        decision("d/1", "kept"),
        decision("d2", "kept"),
        decision("d2", "scored"),
        r#"{"id":"broken-1","pipelineId":"p","status":"lost","startedAt":1772319600000}"#.to_owned(),
    ]
    .map(String::into_bytes)
    .into();
    place.store(&bodies);
    let look = |id: &str, more: &[&str]| {
        let said = place.run(&[&["lookup", id, "--output", "json"], more].concat());
        let json: Value = serde_json::from_str(&said.stdout).unwrap_or_else(|_| panic!("{said:?}"));
        (said.code, json["verdict"].as_str().unwrap().to_owned(), json)
    };
    let now = ["--min-age", "0s"];

    for (id, objects, rows, letters) in
        [("d/1", 1, 1, 0), ("item-1", 2, 2, 1), ("step-1", 1, 1, 2), ("run-1", 1, 1, 2), ("d2", 1, 1, 1)]
    {
        let (code, verdict, json) = look(id, &now);
        assert_eq!((code, verdict.as_str()), (0, "all_well"), "{id}: {json}");
        let count = |name: &str| json[name].as_array().unwrap().len();
        assert_eq!((count("objects"), count("rows")), (objects, rows), "{id}: {json}");
        assert!(count("deadLetters") <= letters, "{id}: {json}");
        assert!(json["objects"][0]["newest"].as_bool().unwrap() && json["rows"][0]["copies"].as_u64() >= Some(1));
        for row in json["derived"].as_array().unwrap() {
            assert_eq!(row["stored"], row["computed"]);
        }
    }
    let (_, _, json) = look("d2", &now);
    assert_eq!(json["deadLetters"][0]["code"], "conflict");
    let (code, verdict, json) = look("broken-1", &now);
    assert_eq!((code, verdict.as_str(), &json["deadLetters"][0]["code"]), (3, "dead_letter", &"bad_field".into()));
    assert_eq!(look("nobody", &now).1, "not_seen");
    let text = place.run(&["lookup", "run-1", "--min-age", "0s"]);
    for says in ["object       runs/2026/02/28/run-1.json", "row          run_reports", "total_steps=1", "All well"] {
        assert!(text.stdout.contains(says), "{says}: {text:?}");
    }

    place.both("DELETE FROM {db}.decision_events WHERE event_id = 'd/1'");
    assert_eq!(look("d/1", &[]).1, "waiting");
    let (code, verdict, json) = look("d/1", &now);
    assert_eq!((code, verdict.as_str()), (3, "row_missing"), "{json}");
    assert_eq!(look("d/1", &["--min-age", "0s", "--from", "2026-03-01"]).1, "not_seen");
    place.sql(
        "UPDATE runs SET total_steps = 5 WHERE run_id = 'run-1'",
        "ALTER TABLE {db}.runs UPDATE total_steps = 5 WHERE run_id = 'run-1'",
    );
    let (code, verdict, json) = look("run-1", &now);
    assert_eq!((code, verdict.as_str()), (3, "differs"), "{json}");
    assert_eq!(json["derived"][0]["stored"]["total_steps"], "5");
}

/// What differs is not excused by being young, and what is not looked at is said.
fn limits(place: &Place) {
    let decision = |n: u32| {
        format!(
            r#"{{"id":"d{n}","stepId":"s","runId":"r","outcome":"kept","itemId":"popular","timestamp":"2026-02-28T23:00:00Z"}}"#
        )
        .into_bytes()
    };
    let bodies: Vec<Vec<u8>> = (0..1001).map(decision).collect();
    place.store(&bodies);
    let said = place.run(&["lookup", "popular"]);
    assert!(said.stdout.contains("only the first 1,000 rows of a kind are shown"), "{}", said.stdout);
    assert_eq!(place.run(&["lookup", "popular", "--output", "json"]).json()[0]["complete"], false);
    assert_eq!(place.run(&["lookup", "d7", "--output", "json"]).json()[0]["complete"], true);
    place.sql(
        "UPDATE decision_events SET item_id = 'x' WHERE event_id = 'd7'",
        "ALTER TABLE {db}.decision_events UPDATE item_id = 'x' WHERE event_id = 'd7'",
    );
    assert_eq!(place.run(&["lookup", "d7", "--output", "json"]).json()[0]["verdict"], "differs");
}

on_every_pair!(sentences, limits);

/// A tool opens what is there and makes nothing.
#[test]
fn nothing_is_created() {
    let place = Place::files();
    for command in [&["lookup", "x"][..], &["verify"]] {
        let said = place.run(command);
        assert!(said.code == 1 && said.stderr.contains("nothing has been stored"), "{said:?}");
        assert!(!place.data().exists());
    }
    let place = Place::servers("minio");
    let said = place.run(&["verify"]);
    assert!(said.code == 1 && said.stderr.contains("xray-processor-worker migrate"), "{said:?}");
}
