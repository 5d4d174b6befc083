//! `migrate --adopt`: from the tables of the worker of before to ours.

use crate::damage::bodies;
use crate::place::Place;

/// Its tables, as it made them.
const BEFORE: [&str; 3] = [
    "CREATE TABLE {db}.decision_events (event_id String, step_id String, run_id String, pipeline_id String, outcome String,
     item_id String, score Nullable(Float64), timestamp DateTime64(3), s3_key String, updated_at DateTime64(3))
     ENGINE = ReplacingMergeTree(updated_at) PARTITION BY toYYYYMM(timestamp) ORDER BY (run_id, step_id, timestamp)",
    "CREATE TABLE {db}.steps (step_id String, run_id String, pipeline_id String, step_type String, step_name String,
     input_count UInt64, output_count UInt64, elimination_ratio Float64, started_at DateTime64(3),
     completed_at Nullable(DateTime64(3)), updated_at DateTime64(3))
     ENGINE = ReplacingMergeTree(updated_at) ORDER BY (run_id, step_id)",
    "CREATE TABLE {db}.runs (run_id String, pipeline_id String, status String, started_at DateTime64(3),
     completed_at Nullable(DateTime64(3)), updated_at DateTime64(3)) ENGINE = ReplacingMergeTree(updated_at) ORDER BY run_id",
];
const TIMEOUT: (&str, &str) = ("CLICKHOUSE_TIMEOUT_MS", "8000");

fn migrate(place: &Place, args: &[&str]) -> (i32, String, String) {
    let mut command = place.worker(&[&["migrate"], args].concat());
    let found = crate::support::worker::output(command.env(TIMEOUT.0, TIMEOUT.1));
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (found.status.code().unwrap(), text(found.stdout), text(found.stderr))
}

fn names(place: &Place) -> Vec<String> {
    let sql = "SELECT name FROM system.tables WHERE database = '{db}' ORDER BY name FORMAT TSV";
    place.servers.as_ref().unwrap().database.query(sql).lines().map(str::to_owned).collect()
}

#[test]
fn of_the_worker_of_before() {
    let place = Place::servers("minio");
    let bodies = bodies(&place);
    place.store(&bodies);
    let database = &place.servers.as_ref().unwrap().database;
    // Its objects are under the same keys; its tables are its own.
    database.query("DROP DATABASE {db} SYNC");
    database.query("CREATE DATABASE {db}");
    BEFORE.iter().for_each(|table| drop(database.query(table)));
    database.query("INSERT INTO {db}.runs (run_id, started_at) VALUES ('of-before', '2026-01-01 00:00:00')");
    let before = names(&place);

    std::fs::write(place.dir.path().join("none"), "[]").unwrap();
    for refused in [place.run(&["run", "--input", "none"]), place.run(&["migrate"])] {
        assert!(refused.code == 1 && refused.stderr.contains("migrate --adopt"), "{refused:?}");
    }
    assert_eq!(names(&place), before, "nothing was written");

    // Killed in the middle, it goes on.
    for millis in [200, 700, 1500] {
        let mut command = place.worker(&["migrate", "--adopt"]);
        command.env(TIMEOUT.0, TIMEOUT.1).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let mut running = crate::support::worker::Running(command.spawn().unwrap());
        std::thread::sleep(std::time::Duration::from_millis(millis));
        running.kill_9();
    }
    let (code, stdout, stderr) = migrate(&place, &["--adopt"]);
    assert!(code == 0 && stdout.contains("To go back"), "{stdout}{stderr}");
    place.assert_model(&bodies);
    assert_eq!(place.run(&["verify", "--deep", "--min-age", "0s"]).code, 0);
    assert_eq!(database.query("SELECT run_id FROM {db}.runs_before FORMAT TSV"), "of-before\n", "its rows are kept");
    let (code, stdout, _) = migrate(&place, &["--adopt"]);
    assert!(code == 0 && stdout.contains("nothing to adopt"), "{stdout}");
    assert_eq!(place.run(&["migrate"]).code, 0);

    // Back, as it says, and here again.
    for table in ["decision_events", "steps", "runs"] {
        database.query(&format!("DROP TABLE {{db}}.{table} SYNC"));
        database.query(&format!("RENAME TABLE {{db}}.{table}_before TO {{db}}.{table}"));
    }
    let (code, stdout, stderr) = migrate(&place, &["--adopt"]);
    assert!(code == 0 && stdout.contains("rebuilt from"), "{stdout}{stderr}");
    place.assert_model(&bodies);
    assert_eq!(place.run(&["verify", "--deep", "--min-age", "0s"]).code, 0);
}

/// A table that is neither ours nor that of the worker of before is never touched; nor is one in the way of a new name.
#[test]
fn never_of_strangers() {
    let place = Place::servers("minio");
    let database = &place.servers.as_ref().unwrap().database;
    database.query("CREATE DATABASE {db}");
    BEFORE.iter().for_each(|table| drop(database.query(table)));
    database.query("CREATE TABLE {db}.run_steps (a String) ENGINE = MergeTree ORDER BY a");
    let before = names(&place);
    let (code, _, stderr) = migrate(&place, &["--adopt"]);
    assert!(code == 1 && stderr.contains("run_steps is not this program's"), "{stderr}");
    database.query("DROP TABLE {db}.run_steps");
    database.query("CREATE TABLE {db}.steps_before (a String) ENGINE = MergeTree ORDER BY a");
    let (code, _, stderr) = migrate(&place, &["--adopt"]);
    assert!(code == 1 && stderr.contains("steps_before"), "{stderr}");
    database.query("DROP TABLE {db}.steps_before");
    assert_eq!(names(&place).len() + 1, before.len());

    let fresh = Place::servers("minio");
    let (code, stdout, _) = migrate(&fresh, &["--adopt"]);
    assert!(code == 0 && stdout.contains("nothing to adopt"), "{stdout}");
    let files = Place::files().run(&["migrate", "--adopt"]);
    assert_eq!(files.code, 2, "{files:?}");
}
