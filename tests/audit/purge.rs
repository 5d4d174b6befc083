//! `purge`: what is left is as if the rest had never been sent.

use crate::damage::bodies;
use crate::place::Place;
use crate::support::model::{Input, State, expected};

fn of_one(body: &[u8]) -> State {
    expected([Input { body, hint: None }])
}

fn contains(body: &[u8], text: &str) -> bool {
    String::from_utf8_lossy(body).contains(text)
}

fn assert_clean(place: &Place) {
    let said = place.run(&["verify", "--deep", "--min-age", "0s"]);
    assert_eq!(said.code, 0, "{said:?}");
}

fn erased(place: &Place) {
    let bodies = bodies(place);
    place.store(&bodies);
    let state = place.state();
    let run = state.runs.keys().nth(2).unwrap();
    let steps: Vec<&String> = state.steps.values().filter(|row| row.run_id == *run).map(|row| &row.step_id).collect();
    assert!(!steps.is_empty());

    let asked = place.run(&["purge", "--run", run, "--output", "json"]).json().remove(0);
    assert_eq!(asked["done"], false);
    place.assert_model(&bodies);
    let done = place.run(&["purge", "--run", run, "--output", "json", "--yes"]).json().remove(0);
    for count in ["objects", "bytes", "rows", "deadLetters"] {
        assert_eq!(done[count], asked[count], "{count}: {asked} {done}");
    }
    assert!(done["rows"].as_u64().unwrap() > steps.len() as u64, "{done}");
    let of_run = |body: &[u8]| contains(body, run) || steps.iter().any(|step| contains(body, step));
    let left: Vec<Vec<u8>> = bodies.into_iter().filter(|body| !of_run(body)).collect();
    place.assert_model(&left);
    assert_clean(place);
    assert_eq!(place.run(&["purge", "--run", run, "--output", "json", "--yes"]).json()[0]["objects"], 0);

    let day = "2026-02-01";
    let old = |body: &[u8]| {
        of_one(body)
            .objects
            .keys()
            .any(|key| key.split('/').skip(1).take(3).collect::<Vec<_>>().join("-").as_str() < day)
    };
    let before: Vec<Vec<u8>> = left.clone();
    // A body may also hold what is no event, and that is not old.
    let letters = left.iter().filter(|body| old(body)).flat_map(|body| of_one(body).dead_letters.into_values());
    let letters: Vec<Vec<u8>> = letters.map(|letter| letter.body).collect();
    let left: Vec<Vec<u8>> = left.into_iter().filter(|body| !old(body)).chain(letters).collect();
    assert!(!left.is_empty() && left.len() < before.len());
    let asked = place.run(&["purge", "--before", day, "--output", "json"]).json().remove(0);
    place.assert_model(&before);
    let done = place.run(&["purge", "--before", day, "--output", "json", "--yes"]).json().remove(0);
    assert_eq!((&done["objects"], &done["rows"]), (&asked["objects"], &asked["rows"]));
    place.assert_model(&left);
    assert_clean(place);
    // What was erased may be sent again.
    place.store(&before);
    place.assert_model(&before);

    for wrong in [&["purge"][..], &["purge", "--run", "a", "--before", day], &["purge", "--before", "soon"]] {
        assert_eq!(place.run(wrong).code, 2, "{wrong:?}");
    }
}

on_every_pair!(erased);

/// The recipes of the documentation, as they stand there, on tables whose rows are all long past their age: what is still
/// shown counts everything, and what is young stays.
#[test]
fn recipes_for_clickhouse_keep_the_numbers_right() {
    let place = Place::servers("minio");
    let old = bodies(&place);
    let now = chrono::Utc::now().timestamp_millis();
    let young: Vec<Vec<u8>> = [
        format!(r#"{{"id":"young","pipelineId":"p","status":"running","startedAt":{now}}}"#),
        format!(r#"{{"id":"young-step","type":"t","name":"n","startedAt":{now},"runId":"young"}}"#),
        format!(
            r#"{{"id":"d","stepId":"young-step","runId":"young","outcome":"kept","itemId":"i","timestamp":{now}}}"#
        ),
    ]
    .map(String::into_bytes)
    .into();
    place.store(&[old.clone(), young.clone()].concat());
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/retention.md")).unwrap();
    let recipe = text.split("```sql\n").nth(1).unwrap().split("```").next().unwrap();
    let database = &place.servers.as_ref().unwrap().database;
    let mut statements = 0;
    for statement in recipe.split(';').map(str::trim).filter(|statement| !statement.is_empty()) {
        // The events of the tests are younger than those of a year ago.
        let statement = statement.replace("xray.", "{db}.").replace("INTERVAL 400 DAY", "INTERVAL 1 DAY");
        database.query(&statement.replace("INTERVAL 15 MONTH", "INTERVAL 1 MONTH"));
        statements += 1;
    }
    assert!(statements >= 6, "{statements}");
    for table in ["decision_events", "step_reports", "run_reports", "step_totals", "steps", "runs"] {
        database.query(&format!("OPTIMIZE TABLE {{db}}.{table} FINAL"));
    }
    let (state, model) = (place.state(), expected(young.iter().map(|body| Input { body, hint: None })));
    assert_eq!((state.runs, state.steps, state.decision_events), (model.runs, model.steps, model.decision_events));
    let day = chrono::Utc::now().format("%Y-%m-%d").to_string();
    let said = place.run(&["verify", "--deep", "--min-age", "0s", "--from", &day]);
    assert_eq!(said.code, 0, "{said:?}");
}
