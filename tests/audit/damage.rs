//! Damage of every kind, made by hand: it is found and named, and repaired to the model's state.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::place::{Place, Said};
use crate::support::bodies::shuffled;
use crate::support::model::State;
use crate::support::worker::{Running, ran};

const NOW: [&str; 3] = ["verify", "--min-age", "0s"];

/// Events alone in their lines, with conflicts, late ones and what is none.
pub fn bodies(place: &Place) -> Vec<Vec<u8>> {
    bodies_of(place, "6")
}

/// The same of so many runs.
pub fn bodies_of(place: &Place, runs: &str) -> Vec<Vec<u8>> {
    let shares =
        ["--batched", "0", "--enveloped", "0", "--conflicting", "0.05", "--malformed", "0.05", "--late", "0.3"];
    let (code, _, stderr) =
        ran(place.dir.path(), &[&["generate", "--runs", runs, "--output", "generated"], &shares[..]].concat());
    assert_eq!(code, 0, "{stderr}");
    let text = std::fs::read(place.dir.path().join("generated")).unwrap();
    shuffled(&text.split(|b| *b == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect::<Vec<_>>())
}

pub fn verify(place: &Place, more: &[&str]) -> Said {
    place.run(&[&NOW[..], &["--output", "json"], more].concat())
}

/// What of `problem` was found, by id.
pub fn found(said: &Said, problem: &str) -> Vec<String> {
    let findings = said.json().into_iter().filter(|line| line["problem"] == problem);
    findings.map(|line| line["id"].as_str().unwrap().to_owned()).collect()
}

/// The damage is found as `problem`, with this id, and mended; afterwards all is as the bodies say.
pub fn found_and_mended(place: &Place, bodies: &[Vec<u8>], deep: bool, problem: &str, id: &str) {
    let deep: &[&str] = if deep { &["--deep"] } else { &[] };
    let said = verify(place, deep);
    assert_eq!(said.code, 3, "{said:?}");
    assert!(found(&said, problem).iter().any(|found| found.contains(id)), "no {problem} of {id}: {said:?}");
    assert_eq!(said.json().last().unwrap()["summary"]["problems"][problem]["repaired"], 0);
    let said = verify(place, &[deep, &["--repair"]].concat());
    assert_eq!(said.code, 0, "{said:?}");
    let said = verify(place, &["--deep"]);
    assert_eq!(said.code, 0, "after {problem} of {id}: {said:?}");
    place.assert_model(bodies);
}

fn id_of(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    Some(body.get("id")?.as_str()?.to_owned())
}

/// What is sent once only, so that no conflict keeps a part of it: an event of this kind, its id and key.
pub fn one_of(state: &State, bodies: &[Vec<u8>], folder: &str, at: usize) -> (String, String) {
    let sent = |id: &str| bodies.iter().filter(|body| id_of(body).as_deref() == Some(id)).count();
    let ids = state.objects.keys().filter(|key| key.starts_with(folder)).filter_map(|key| {
        let id = key.rsplit('/').next()?.strip_suffix(".json")?.to_owned();
        (folder != "decisions" || sent(&id) == 1).then(|| (id, key.clone()))
    });
    ids.into_iter().nth(at).unwrap()
}

fn without(bodies: &[Vec<u8>], id: &str) -> Vec<Vec<u8>> {
    bodies.iter().filter(|body| id_of(body).as_deref() != Some(id)).cloned().collect()
}

fn rows(place: &Place) {
    let bodies = bodies(place);
    place.store(&bodies);
    place.assert_model(&bodies);
    let clean = verify(place, &["--deep"]);
    assert_eq!(clean.code, 0, "{clean:?}");
    let summary = &clean.json()[0]["summary"];
    assert!(summary["objects"].as_u64().unwrap() > 100, "{summary}");
    assert!(summary["bodies"].as_u64() >= summary["rows"].as_u64(), "{summary}");
    let listed = verify(place, &[]);
    let bodies_read = listed.json()[0]["summary"]["bodies"].as_u64().unwrap();
    assert!(listed.code == 0 && bodies_read * 4 < summary["objects"].as_u64().unwrap(), "{listed:?}");

    let state = place.state();
    let (decision, key) = one_of(&state, &bodies, "decisions", 5);
    let (step, _) = one_of(&state, &bodies, "steps", 2);
    let (run, _) = one_of(&state, &bodies, "runs", 1);
    let check = |deep, problem, id: &str| found_and_mended(place, &bodies, deep, problem, id);

    // Rows that are gone.
    place.both(&format!("DELETE FROM {{db}}.decision_events WHERE event_id = '{decision}'"));
    check(false, "missing_row", &key);
    place.both(&format!("DELETE FROM {{db}}.step_reports WHERE step_id = '{step}'"));
    check(false, "missing_row", &step);
    place.both(&format!("DELETE FROM {{db}}.run_reports WHERE run_id = '{run}'"));
    check(false, "missing_row", &run);
    place.sql(
        "DELETE FROM decision_events WHERE timestamp < '2026-02-01'",
        "ALTER TABLE {db}.decision_events DROP PARTITION 202601",
    );
    check(false, "missing_row", "decisions/2026/01/3");
    place.both(&format!("DELETE FROM {{db}}.steps WHERE step_id = '{step}'"));
    check(false, "missing_derived", &step);
    place.both(&format!("DELETE FROM {{db}}.runs WHERE run_id = '{run}'"));
    check(false, "missing_derived", &run);

    // Rows that somebody changed.
    place.sql(
        &format!("UPDATE steps SET kept_count = kept_count + 7 WHERE step_id = '{step}'"),
        &format!("ALTER TABLE {{db}}.steps UPDATE kept_count = kept_count + 7 WHERE step_id = '{step}'"),
    );
    check(false, "different_derived", &step);
    place.sql(
        &format!("UPDATE runs SET total_input_count = 4711 WHERE run_id = '{run}'"),
        &format!("ALTER TABLE {{db}}.runs UPDATE total_input_count = 4711 WHERE run_id = '{run}'"),
    );
    check(false, "different_derived", &run);
    place.sql(
        &format!("UPDATE decision_events SET item_id = 'x' WHERE event_id = '{decision}'"),
        &format!("ALTER TABLE {{db}}.decision_events UPDATE item_id = 'x' WHERE event_id = '{decision}'"),
    );
    check(true, "different_row", &decision);
    place.sql(
        &format!("UPDATE step_reports SET input_count = 4711 WHERE step_id = '{step}'"),
        &format!("ALTER TABLE {{db}}.step_reports UPDATE input_count = 4711 WHERE step_id = '{step}'"),
    );
    check(true, "different_row", &step);
    place.sql(
        &format!("UPDATE run_reports SET s3_key = 'elsewhere' WHERE run_id = '{run}'"),
        &format!("ALTER TABLE {{db}}.run_reports UPDATE s3_key = 'elsewhere' WHERE run_id = '{run}'"),
    );
    check(false, "different_row", &run);

    // Rows that somebody added.
    place.sql(
        &format!(
            "INSERT INTO decision_events SELECT 'ghost', step_id, run_id, pipeline_id, outcome, item_id, score, timestamp, day,
                    input_count, output_count, replace(s3_key, event_id, 'ghost'), sha256, updated_at, version
             FROM decision_events WHERE event_id = '{decision}'"
        ),
        &format!(
            "INSERT INTO {{db}}.decision_events SELECT * REPLACE ('ghost' AS event_id, replaceAll(s3_key, '{decision}', 'ghost') AS s3_key)
             FROM (SELECT * FROM {{db}}.decision_events WHERE event_id = '{decision}')"
        ),
    );
    check(false, "orphan_row", "ghost");
    place.sql(
        &format!("INSERT INTO steps SELECT 'ghost', run_id, pipeline_id, step_type, step_name, input_count, output_count,
                         elimination_ratio, kept_count, eliminated_count, scored_count, started_at, completed_at, updated_at, version
                  FROM steps WHERE step_id = '{step}'"),
        &format!("INSERT INTO {{db}}.steps SELECT * REPLACE ('ghost' AS step_id) FROM (SELECT * FROM {{db}}.steps WHERE step_id = '{step}')"),
    );
    check(false, "orphan_derived", "ghost");
    // A number that no recompute could ever lower by itself.
    place.sql(
        &format!("UPDATE runs SET total_steps = 99, version = '{}' WHERE run_id = '{run}'", "f".repeat(64)),
        &format!(
            "INSERT INTO {{db}}.runs SELECT * REPLACE (toUInt32(99) AS total_steps, version * 2 AS version)
             FROM (SELECT * FROM {{db}}.runs FINAL WHERE run_id = '{run}')"
        ),
    );
    check(false, "different_derived", &run);
}

fn objects(place: &Place) {
    let mut bodies = bodies(place);
    place.store(&bodies);
    let state = place.state();

    // What is gone is gone; the tables follow.
    let (decision, key) = one_of(&state, &bodies, "decisions", 7);
    place.delete(&key);
    bodies = without(&bodies, &decision);
    found_and_mended(place, &bodies, false, "orphan_row", &decision);
    let (step, key) = one_of(&state, &bodies, "steps", 3);
    place.delete(&key);
    bodies = without(&bodies, &step);
    found_and_mended(place, &bodies, false, "orphan_row", &step);
    let (run, key) = one_of(&state, &bodies, "runs", 2);
    place.delete(&key);
    bodies = without(&bodies, &run);
    found_and_mended(place, &bodies, false, "orphan_row", &run);

    // What is cut off is kept as a dead letter.
    let (decision, key) = one_of(&state, &bodies, "decisions", 20);
    let whole = place.get(&key);
    place.put(&key, &whole[..whole.len() / 2]);
    bodies = without(&bodies, &decision);
    bodies.push(whole[..whole.len() / 2].to_vec());
    found_and_mended(place, &bodies, true, "damaged_object", &key);
    // Sent again, it is as if nothing had been.
    bodies.push(whole.clone());
    place.store(&[whole]);
    assert_eq!(verify(place, &["--deep"]).code, 0);
    place.assert_model(&bodies);

    // Under the key of another.
    let (other, other_key) = one_of(&place.state(), &bodies, "runs", 0);
    let stranger = place.get(&other_key);
    place.put("runs/2026/02/01/stranger.json", &stranger);
    let said = verify(place, &["--deep"]);
    assert!(said.code == 3 && found(&said, "damaged_object")[0].contains("stranger"), "{said:?} {other}");
    assert_eq!(verify(place, &["--deep", "--repair"]).code, 0);
    assert_eq!(verify(place, &["--deep"]).code, 0);
}

fn dead_letters(place: &Place) {
    let bodies = bodies(place);
    place.store(&bodies);
    let letters = place.state().dead_letters;
    let sha256 = letters.keys().next().unwrap();
    place.both(&format!("DELETE FROM {{db}}.dead_letters WHERE sha256 = '{sha256}'"));
    found_and_mended(place, &bodies, false, "missing_letter", sha256);
    let ghost = "ab".repeat(32);
    place.sql(
        &format!("INSERT INTO dead_letters VALUES ('{ghost}', 'empty', '', '', '', 'dead-letters/ab/{ghost}.json', 0, '2026-01-01T00:00:00.000Z', NULL, '')"),
        &format!("INSERT INTO {{db}}.dead_letters VALUES ('{ghost}', 'empty', '', '', '', 'dead-letters/ab/{ghost}.json', 0, 0, NULL, 0)"),
    );
    found_and_mended(place, &bodies, false, "orphan_letter", &ghost);
    // The rows of decisions that lost a conflict under another run or step stand beside that of the winner.
    let conflict = |run: &str, outcome: &str| {
        format!(r#"{{"id":"c","stepId":"s","runId":"{run}","outcome":"{outcome}","itemId":"i","timestamp":"2026-01-31T12:00:00Z"}}"#)
            .into_bytes()
    };
    let all = [bodies, vec![conflict("a", "kept"), conflict("b", "kept"), conflict("b", "scored")]].concat();
    place.store(&all);
    place.assert_model(&all);
    let said = verify(place, &["--deep"]);
    let explained = said.json().last().unwrap()["summary"]["explained"].clone();
    assert!(said.code == 0 && explained.as_u64() > Some(0), "{said:?}");
    assert_eq!(verify(place, &[]).code, 0);
    place.both("DELETE FROM {db}.decision_events WHERE event_id = 'c'");
    found_and_mended(place, &all, true, "missing_row", "/c.json");
}

fn letter_rows(place: &Place) {
    let bodies = bodies(place);
    place.store(&bodies);
    let sha256 = place.state().dead_letters.into_keys().next().unwrap();
    for (column, value) in [
        ("code", "empty"),
        ("reason", "because"),
        ("source", "elsewhere"),
        ("kind", "run"),
        ("bytes", "4711"),
        ("first_seen", "2020-01-01T00:00:00.000Z"),
    ] {
        place.sql(
            &format!("UPDATE dead_letters SET {column} = '{value}' WHERE sha256 = '{sha256}'"),
            &format!(
                "ALTER TABLE {{db}}.dead_letters UPDATE {column} = '{}' WHERE sha256 = '{sha256}'",
                value.trim_end_matches('Z')
            ),
        );
        found_and_mended(place, &bodies, true, "damaged_letter", &sha256);
    }
}

/// What links steps to runs is told by reports and decisions: lost, it lowers right numbers, and is found before that.
fn links(place: &Place) {
    let run = crate::support::events::run("r", "running");
    let step = r#"{"id":"s","type":"t","name":"n","runId":"r","inputCount":5,"outputCount":2,"startedAt":"2026-02-28T22:00:00Z"}"#;
    let decision =
        r#"{"id":"d","stepId":"s2","runId":"r","outcome":"kept","itemId":"i","timestamp":"2026-02-28T23:00:00Z"}"#;
    let bare = r#"{"id":"s2","type":"t","name":"n","startedAt":"2026-02-28T22:00:00Z"}"#;
    let bodies: Vec<Vec<u8>> = [&run, step, decision, bare].map(|body| body.as_bytes().to_vec()).into();
    place.store(&bodies);
    for step in ["s", "s2"] {
        for scope in [&[][..], &["--run", "r"]] {
            place.sql(
                &format!("DELETE FROM step_links WHERE step_id = '{step}'"),
                &format!("DELETE FROM {{db}}.step_totals WHERE step_id = '{step}'"),
            );
            if let Some(deployment) = &place.servers {
                deployment.database.query(&format!("DELETE FROM {{db}}.run_steps WHERE step_id = '{step}'"));
            }
            let said = verify(place, scope);
            assert!(said.code == 3 && found(&said, "missing_derived").iter().any(|id| id.contains(step)), "{said:?}");
            let said = verify(place, &[scope, &["--repair"]].concat());
            assert_eq!(said.code, 0, "{said:?}");
            place.assert_model(&bodies);
            assert_eq!(verify(place, &["--deep"]).code, 0);
        }
    }
}

/// All rows of a run are gone: its own report says where to look.
fn a_run_without_rows(place: &Place) {
    let bodies = bodies(place);
    place.store(&bodies);
    let state = place.state();
    let run = state.runs.keys().nth(1).unwrap();
    let steps: Vec<String> =
        state.steps.values().filter(|row| row.run_id == *run).map(|row| format!("'{}'", row.step_id)).collect();
    let steps = steps.join(", ");
    place.both(&format!("DELETE FROM {{db}}.decision_events WHERE run_id = '{run}'"));
    let said = verify(place, &["--run", run]);
    assert!(said.code == 3 && found(&said, "missing_row").len() > 3, "{said:?}");
    place.both(&format!("DELETE FROM {{db}}.step_reports WHERE step_id IN ({steps})"));
    place.both(&format!("DELETE FROM {{db}}.run_reports WHERE run_id = '{run}'"));
    place.both(&format!("DELETE FROM {{db}}.runs WHERE run_id = '{run}'"));
    place.both(&format!("DELETE FROM {{db}}.steps WHERE run_id = '{run}'"));
    place.sql(
        &format!("DELETE FROM step_links WHERE run_id = '{run}'; DELETE FROM step_totals WHERE step_id IN ({steps})"),
        &format!("DELETE FROM {{db}}.step_totals WHERE run_id = '{run}'"),
    );
    if let Some(deployment) = &place.servers {
        deployment.database.query(&format!("DELETE FROM {{db}}.run_steps WHERE run_id = '{run}'"));
    }
    let said = verify(place, &["--run", run, "--repair"]);
    assert_eq!(said.code, 0, "{said:?}");
    place.assert_model(&bodies);
    assert_eq!(verify(place, &["--deep"]).code, 0);
}

/// What stands where no worker writes is named, and left.
fn strays(place: &Place) {
    let bodies = bodies(place);
    place.store(&bodies);
    let keys = ["decisions/2026/1/31/x.json", "decisions/notes.txt", "runs/2026/13/01/x.json", "steps/tmp/a/b.json"];
    keys.iter().for_each(|key| place.put(key, b"{}"));
    for said in [verify(place, &[]), verify(place, &["--repair"])] {
        assert_eq!(said.code, 3, "{said:?}");
        let strays = ["decisions/2026/1/", "decisions/notes.txt", "steps/tmp/", "runs/2026/13/"];
        assert_eq!(found(&said, "stray_object"), strays, "{said:?}");
    }
    keys.iter().for_each(|key| assert_eq!(place.get(key), b"{}"));
    keys.iter().for_each(|key| place.delete(key));
    place.assert_model(&bodies);
}

/// The newest report is gone: the one with another start is superseded no more.
fn reports_with_two_starts(place: &Place) {
    let step = |day: &str, end: &str| {
        format!(r#"{{"id":"s","type":"t","name":"{day}","startedAt":"2026-01-{day}T12:00:00Z"{end}}}"#).into_bytes()
    };
    let (newest, older) = (step("30", r#","completedAt":"2026-02-01T00:00:00Z""#), step("31", ""));
    let other = crate::support::events::run("other", "running").into_bytes();
    place.store(&[newest, older.clone(), other.clone()]);
    place.delete("steps/2026/01/30/s.json");
    found_and_mended(place, &[older, other], false, "orphan_row", "s");
}

/// What is young is left out unless told; days, kinds and a run narrow it down.
fn scope(place: &Place) {
    let bodies = bodies(place);
    place.store(&bodies);
    let state = place.state();
    let (decision, key) = one_of(&state, &bodies, "decisions", 5);
    let run_id = state.decision_events.values().find(|row| row.event_id == decision).unwrap().run_id.clone();
    let other = state.runs.keys().find(|run| **run != run_id).unwrap();
    let day = key.split('/').skip(1).take(3).collect::<Vec<_>>().join("-");
    place.both(&format!("DELETE FROM {{db}}.decision_events WHERE event_id = '{decision}'"));

    assert_eq!(place.run(&["verify"]).code, 0, "it is younger than ten minutes");
    for (code, args) in [
        (3, vec!["--from", &day, "--to", &day]),
        (3, vec!["--kind", "decision"]),
        (3, vec!["--run", &run_id]),
        (0, vec!["--run", other]),
    ] {
        let said = verify(place, &args);
        assert_eq!(said.code, code, "{args:?}: {said:?}");
        assert_eq!(found(&said, "missing_row"), if code == 3 { vec![key.clone()] } else { vec![] }, "{args:?}");
    }
    let said = verify(place, &["--to", "2020-01-01"]);
    assert_eq!(found(&said, "missing_row"), [""; 0]);
    let text = place.run(&NOW);
    assert!(text.code == 3 && text.stdout.contains(&format!("object without row: {key}")), "{text:?}");
    assert_eq!(verify(place, &["--run", &run_id, "--repair"]).code, 0);
    place.assert_model(&bodies);
    for wrong in [&["verify", "--from", "soon"][..], &["verify", "--kind", "pipeline"], &["verify", "--run", "nobody"]]
    {
        let said = place.run(wrong);
        assert_eq!(said.code, 2, "{wrong:?}: {said:?}");
    }
}

on_every_pair!(
    rows,
    objects,
    dead_letters,
    letter_rows,
    links,
    a_run_without_rows,
    strays,
    reports_with_two_starts,
    scope
);

#[test]
fn objects_on_versitygw() {
    objects(&Place::servers("versitygw"));
}

/// Older rows of the same step that wait for a merge do not come back when the one that is shown is taken away.
#[test]
fn rows_that_wait_for_a_merge() {
    let place = Place::servers("minio");
    let step = |end: &str| {
        format!(r#"{{"id":"s","type":"t","name":"n","startedAt":"2026-02-28T22:00:00Z"{end}}}"#).into_bytes()
    };
    for end in ["", r#","completedAt":"2026-02-28T23:00:00Z""#, r#","completedAt":"2026-02-28T23:30:00Z""#] {
        place.store(&[step(end)]);
    }
    // Of a bucket without any object nothing would be believed.
    let other = crate::support::events::run("other", "running").into_bytes();
    place.store(std::slice::from_ref(&other));
    place.delete("steps/2026/02/28/s.json");
    found_and_mended(&place, &[other], false, "orphan_row", "s");
}

/// A worker has read what a repair takes away, and writes what it derived from it once the repair has recomputed.
#[test]
fn rows_that_are_written_late() {
    let place = Place::servers("minio");
    let bodies = bodies(&place);
    place.store(&bodies);
    let (decision, key) = one_of(&place.state(), &bodies, "decisions", 7);
    let database = &place.servers.as_ref().unwrap().database;
    const DERIVED: [&str; 4] = ["step_totals", "run_steps", "steps", "runs"];
    for table in DERIVED {
        database.query(&format!("CREATE TABLE {{db}}.late_{table} AS {{db}}.{table}"));
        database.query(&format!("INSERT INTO {{db}}.late_{table} SELECT * FROM {{db}}.{table} FINAL"));
    }
    place.delete(&key);
    let mut command = place.worker(&["verify", "--min-age", "0s", "--repair"]);
    command.env("CLICKHOUSE_TIMEOUT_MS", "15000").stdout(Stdio::null()).stderr(Stdio::piped());
    let mut repair = Running(command.spawn().unwrap());
    let said = BufReader::new(repair.0.stderr.take().unwrap());
    assert!(said.lines().any(|line| line.unwrap().contains("waiting 15 s for queries of others")));
    for table in DERIVED {
        database.query(&format!("INSERT INTO {{db}}.{table} SELECT * FROM {{db}}.late_{table}"));
    }
    assert!(repair.ended().success());
    let without = without(&bodies, &decision);
    place.assert_model(&without);
    assert_eq!(verify(&place, &["--deep"]).code, 0);
}
