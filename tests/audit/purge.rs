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

/// Ids that begin alike, decisions of others that won a conflict, letters that only mention the run, and steps of others
/// with decisions of this one: they stay. All reports go, whatever day they are of.
fn what_is_not_the_runs_stays(place: &Place) {
    let run = |id: &str, day: &str, status: &str| {
        format!(r#"{{"id":"{id}","pipelineId":"p","status":"{status}","startedAt":"2026-02-{day}T10:00:00Z"}}"#)
    };
    let step = |id: &str, run: &str, day: &str, end: &str| {
        format!(r#"{{"id":"{id}","type":"t","name":"n","runId":"{run}","startedAt":"2026-02-{day}T10:00:00Z"{end}}}"#)
    };
    let decision = |id: &str, step: &str, run: &str, outcome: &str| {
        format!(
            r#"{{"id":"{id}","stepId":"{step}","runId":"{run}","outcome":"{outcome}","itemId":"i","timestamp":"2026-02-10T11:00:00Z"}}"#
        )
    };
    let end = r#","completedAt":"2026-02-12T10:00:00Z""#;
    // Which of two wins the key `c.json` is told by their digests: both orders are here, under two keys.
    let conflicts = ["c1", "c2", "c3", "c4", "c5", "c6"]
        .map(|id| [decision(id, "s", "r", "kept"), decision(id, "s10", "r10", "kept")]);
    let own_wins = |pair: &[String; 2]| {
        let state = expected(pair.iter().map(|body| Input { body: body.as_bytes(), hint: None }));
        String::from_utf8_lossy(state.objects.values().next().unwrap()).contains(r#""runId":"r""#)
    };
    let lost: Vec<_> = conflicts.iter().filter(|pair| !own_wins(pair)).collect();
    assert!(!lost.is_empty(), "no conflict is won by another run");
    let own: Vec<String> = [
        run("r", "10", "running"),
        run("r", "12", "completed"),
        step("s", "r", "10", ""),
        step("s", "r", "12", end),
        step("s", "r", "14", ""),
        decision("r", "s", "r", "kept"),
        decision("d", "s10", "r", "kept"),
        r#"{"id":"x","runId":"r","stepId":"s"}"#.into(),
        r#"{"id":"r","status":"lost"}"#.into(),
        r#"{"id":"y","runId":"r","broken"#.into(),
    ]
    .into_iter()
    .chain(lost.iter().map(|pair| pair[0].clone()))
    .collect();
    let others: Vec<String> = [
        run("r10", "10", "running"),
        step("s10", "r10", "10", ""),
        step("s100", "", "10", ""),
        decision("d10", "s10", "r10", "kept"),
        decision("r.json", "s10", "r10", "scored"),
        r#"{"id":"x10","runId":"r10","stepId":"s10","reason":"as in r and s"}"#.into(),
        r#"{"id":"z","runId":"r10","metadata":{"runId":"r"}}"#.into(),
        r#"{"id":"y10","runId":"r10","broken"#.into(),
    ]
    .into_iter()
    .chain(lost.iter().map(|pair| pair[1].clone()))
    .collect();
    let bytes = |bodies: &[String]| bodies.iter().map(|body| body.clone().into_bytes()).collect::<Vec<_>>();
    let (own, others) = (bytes(&own), bytes(&others));
    place.store(&[own.clone(), others.clone()].concat());
    place.assert_model(&[own.clone(), others.clone()].concat());
    let asked = place.run(&["purge", "--run", "r", "--output", "json"]).json().remove(0);
    let done = place.run(&["purge", "--run", "r", "--output", "json", "--yes"]).json().remove(0);
    for count in ["objects", "rows", "deadLetters"] {
        assert_eq!(done[count], asked[count], "{count}: {asked} {done}");
    }
    place.assert_model(&others);
    assert_clean(place);
    place.store(&own);
    place.assert_model(&[own, others].concat());
    assert_clean(place);
    // Of what is between nothing names the run any more.
    assert_eq!(place.run(&["purge", "--run", "r", "--yes"]).code, 0);
    if let Some(deployment) = &place.servers {
        for table in ["step_totals", "run_steps"] {
            let left = format!("SELECT count() FROM {{db}}.{table} WHERE run_id = 'r' FORMAT TSV");
            assert_eq!(deployment.database.query(&left), "0\n", "{table}");
        }
    }
}

/// The newest report is old and its object goes; another one has a later start and stays, with a row of its own then.
fn reports_with_two_starts(place: &Place) {
    let step = |day: &str, end: &str| {
        format!(r#"{{"id":"s","type":"t","name":"{day}","runId":"r","startedAt":"2026-01-{day}T12:00:00Z"{end}}}"#)
            .into_bytes()
    };
    let run = |day: &str, status: &str| {
        format!(r#"{{"id":"r","pipelineId":"p{day}","status":"{status}","startedAt":"2026-01-{day}T12:00:00Z"}}"#)
            .into_bytes()
    };
    let old = [step("10", r#","completedAt":"2026-01-11T00:00:00Z""#), run("10", "completed")];
    let left = [step("20", ""), run("20", "running")];
    place.store(&[&old[..], &left[..]].concat());
    assert_eq!(place.run(&["purge", "--before", "2026-01-15", "--yes"]).code, 0);
    place.assert_model(&left);
    assert_clean(place);
}

on_every_pair!(erased, what_is_not_the_runs_stays, reports_with_two_starts);

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
