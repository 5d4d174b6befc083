//! Ids that are code or paths to somebody: what is looked for, checked and erased is what has this id, and nothing else.

use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::support::place::{Place, Said};

/// Ids that people who mean harm would choose.
const HOSTILE: &[&str] = &[
    "'; DROP TABLE runs; --",
    "' OR '1'='1",
    "\\' OR 1=1 --",
    "') OR 1=1 /*",
    "\"; DROP TABLE runs; --",
    "`x`",
    "?",
    "??",
    "{id:String}",
    "%",
    "_",
    "a'b\\'c\\\\'d",
    "../../../../etc/passwd",
    "..",
    ".xray-probe",
    "/etc/passwd",
    "a/../b",
    "..\\..\\x",
    "%2e%2e%2f",
    "dead-letters/00/x",
    "*",
    "--help",
    "漢字\u{202e}",
];

/// A run of this id with a step and a decision of theirs.
fn bodies(id: &str) -> Vec<Vec<u8>> {
    let at = "2026-02-28T23:00:00Z";
    [
        json!({"id": id, "pipelineId": id, "status": "running", "startedAt": at}),
        json!({"id": format!("{id}s"), "runId": id, "type": id, "name": id, "startedAt": at}),
        json!({"id": format!("{id}d"), "stepId": format!("{id}s"), "runId": id, "outcome": "kept", "itemId": id,
               "timestamp": at, "reason": id}),
    ]
    .map(|body| body.to_string().into_bytes())
    .into()
}

fn json_of(said: &Said) -> Value {
    serde_json::from_str(&said.stdout).unwrap_or_else(|_| panic!("{said:?}"))
}

/// Stores runs of these ids beside one of a neighbour's; each is found as what it is, and one after the other is erased.
fn live_and_die(place: &Place, ids: &[String]) {
    let neighbour = bodies("neighbour");
    let all: Vec<Vec<u8>> = ids.iter().flat_map(|id| bodies(id)).chain(neighbour.clone()).collect();
    place.store(&all);
    place.assert_model(&all);
    let clean = || {
        let said = place.run(&["verify", "--deep", "--min-age", "0s"]);
        assert_eq!(said.code, 0, "{said:?}");
    };
    clean();
    for id in ids {
        let found = json_of(&place.run(&["lookup", "--min-age", "0s", "--output", "json", "--", id]));
        assert_eq!(found["verdict"], "all_well", "{id:?}: {found}");
        let text = place.run(&["lookup", "--min-age", "0s", "--", id]).stdout;
        assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'), "{text:?}");
    }
    for id in ids {
        let run = format!("--run={id}");
        let said = place.run(&["purge", &run, "--yes", "--output", "json"]);
        let done = &said.json()[0];
        assert_eq!((said.code, &done["objects"]), (0, &json!(3)), "{id:?}: {said:?}");
    }
    place.assert_model(&neighbour);
    clean();
}

fn hostile(place: &Place) {
    let ids: Vec<String> = HOSTILE.iter().map(|id| (*id).to_owned()).collect();
    live_and_die(place, &ids);
    if place.servers.is_none() {
        assert_only_ours(place.dir.path(), &["data", "input"]);
        assert_only_ours(
            &place.data().join("objects"),
            &[".xray-probe", "dead-letters", "decisions", "runs", "steps", "tmp"],
        );
    }
}

/// Nothing has been written beside it.
fn assert_only_ours(dir: &Path, known: &[&str]) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(known.contains(&&*name), "{name} in {}", dir.display());
    }
}

/// Whatever the characters.
fn any(place: &Place) {
    let mut runner = TestRunner::new(Config { cases: 3, failure_persistence: None, ..Config::default() });
    let ids = prop::collection::btree_set("[\\PC'\"`\\\\;?%/.{}()-]{1,60}", 6);
    runner
        .run(&ids, |ids| {
            // What is blank is no id, and what begins like the neighbour's is.
            let ids: Vec<String> =
                ids.into_iter().filter(|id| !id.trim().is_empty()).map(|id| format!("x{id}")).collect();
            live_and_die(place, &ids);
            place.run(&["purge", "--run=neighbour", "--yes"]);
            Ok(())
        })
        .unwrap();
}

mod files {
    use crate::support::place::Place;

    #[test]
    fn hostile() {
        super::hostile(&Place::files());
    }

    #[test]
    fn any() {
        super::any(&Place::files());
    }
}

mod minio_and_clickhouse {
    use crate::support::place::Place;

    #[test]
    fn hostile() {
        super::hostile(&Place::servers("minio"));
    }

    #[test]
    fn any() {
        super::any(&Place::servers("minio"));
    }
}
