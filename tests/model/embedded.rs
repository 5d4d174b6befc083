//! A directory as embedded mode leaves it, laid out by hand.

use std::fs;
use std::path::Path;

use rusqlite::{Connection, params};

use super::*;
use crate::support::model::diff;
use crate::support::state::read_embedded;

const BINARY: &[u8] = b"\xff\x00";

fn bodies() -> [String; 4] {
    [decision("e1", r#","score":2"#), step("s1", ""), run("r1", ""), "text".to_owned()]
}

fn expected_state() -> State {
    let bodies = bodies();
    expected(bodies.iter().map(String::as_bytes).chain([BINARY]).map(|body| Input { body, hint: None }))
}

fn lay_out(dir: &Path) -> Connection {
    let [decision, step, run, _] = bodies();
    put(dir, DECISION_KEY, &decision);
    put(dir, STEP_KEY, &step);
    put(dir, RUN_KEY, &run);
    let db = Connection::open(dir.join("xray.db")).unwrap();
    db.execute_batch(
        "CREATE TABLE decision_events (event_id, step_id, run_id, pipeline_id, outcome, item_id, score REAL, timestamp,
             s3_key, input_count, output_count, version, updated_at);
         CREATE TABLE steps (step_id, run_id, pipeline_id, step_type, step_name, input_count, output_count,
             elimination_ratio REAL, kept_count, eliminated_count, scored_count, started_at, completed_at, updated_at);
         CREATE TABLE runs (run_id, pipeline_id, status, started_at, completed_at, error, total_steps, total_input_count,
             total_output_count, overall_elimination_ratio REAL, metadata, updated_at);
         CREATE TABLE dead_letters (sha256, code, reason, source, kind, s3_key, bytes, first_seen, redriven_at, version);
         INSERT INTO decision_events VALUES ('e1', 's1', 'r1', '', 'kept', 'i1', 2, '2026-01-31T10:00:00.000Z',
             'decisions/2026/01/31/e1.json', NULL, NULL, 1, '');
         INSERT INTO steps VALUES ('s1', 'r1', 'p1', 'rank', 'n', 1, 1, 0, 1, 0, 0, '2026-01-31T10:00:00.000Z', NULL, '');
         INSERT INTO runs VALUES ('r1', 'p1', 'running', '2026-01-31T10:00:00.000Z', NULL, NULL, 1, 1, 1, 0, '{}', '');",
    )
    .unwrap();
    put_dead_letter(dir, &db, b"text", r#""body":"text""#);
    put_dead_letter(dir, &db, BINARY, r#""bodyBase64":"/wA=""#);
    db
}

fn put(dir: &Path, key: &str, content: &str) {
    let path = dir.join("objects").join(key);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn put_dead_letter(dir: &Path, db: &Connection, body: &[u8], member: &str) {
    let sha256 = sha256_hex(body);
    let key = format!("dead-letters/{}/{sha256}.json", &sha256[..2]);
    let about = r#""code":"not_json","reason":"r","source":"s","kind":null,"firstSeen":"","deliveries":1"#;
    put(dir, &key, &format!("{{{about},{member}}}"));
    let row = "INSERT INTO dead_letters VALUES (?, 'not_json', 'r', 's', '', ?, ?, '', NULL, 1)";
    db.execute(row, params![sha256, key, body.len() as i64]).unwrap();
}

#[test]
fn a_directory_reads_as_the_state_it_holds() {
    let dir = tempfile::tempdir().unwrap();
    drop(lay_out(dir.path()));
    let (expected, found) = (expected_state(), read_embedded(dir.path()));
    assert_eq!(diff(&expected, &found), Vec::<String>::new());
    assert_eq!(expected, found);
}

#[test]
#[should_panic(expected = "unknown file under objects/: runs/2026/01/31/.r1.json.tmp")]
fn a_temporary_file_is_found_out() {
    let dir = tempfile::tempdir().unwrap();
    lay_out(dir.path());
    put(dir.path(), "runs/2026/01/31/.r1.json.tmp", "");
    read_embedded(dir.path());
}

#[test]
#[should_panic(expected = "a second row in runs")]
fn a_row_that_is_there_twice_is_found_out() {
    let dir = tempfile::tempdir().unwrap();
    lay_out(dir.path()).execute("INSERT INTO runs SELECT * FROM runs", []).unwrap();
    read_embedded(dir.path());
}

#[test]
#[should_panic(expected = "in the table dead_letters (left) and its objects")]
fn a_dead_letter_without_a_row_is_found_out() {
    let dir = tempfile::tempdir().unwrap();
    lay_out(dir.path()).execute("DELETE FROM dead_letters WHERE bytes = 2", []).unwrap();
    read_embedded(dir.path());
}
