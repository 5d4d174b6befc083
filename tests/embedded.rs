//! `run --embedded --input`: whatever the order, the repetition, the number of processes and the crashes, the same
//! objects and the same rows, and those of the model.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::types::Value as Cell;
use support::bodies::{bodies, shuffled};
use support::model::{Input, State, diff, expected};
use support::state::read_embedded;
use support::worker::{Running, ran, work_off, worker, write_lines};

fn model(bodies: &[Vec<u8>]) -> State {
    expected(bodies.iter().map(|body| Input { body, hint: None }))
}

fn assert_state(data: &Path, expected: &State) {
    let differences = diff(expected, &read_embedded(data));
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Every table as it stands, versions included, without what may vary.
fn dump(data: &Path) -> BTreeMap<&'static str, Vec<Vec<(String, Cell)>>> {
    let db = Connection::open(data.join("xray.db")).unwrap();
    ["decision_events", "steps", "runs", "step_reports", "run_reports", "step_links"]
        .into_iter()
        .map(|table| {
            let mut query = db.prepare(&format!("SELECT * FROM {table}")).unwrap();
            let names: Vec<String> = query.column_names().map(str::to_owned).collect();
            let rows = query.query_map([], |row| {
                let cell = |at: usize| (names[at].clone(), row.get(at).unwrap());
                Ok((0..names.len()).map(cell).filter(|(name, _)| name != "updated_at").collect())
            });
            let mut rows: Vec<Vec<_>> = rows.unwrap().map(Result::unwrap).collect();
            rows.sort_by_cached_key(|row| format!("{row:?}"));
            (table, rows)
        })
        .collect()
}

#[test]
fn once_twice_shuffled_and_by_two_processes() {
    let dir = tempfile::tempdir().unwrap();
    let bodies = bodies(dir.path());
    let expected = model(&bodies);
    let input = write_lines(dir.path().join("input"), &bodies);

    let first = work_off(dir.path(), "once", &input);
    assert_state(&dir.path().join("once"), &expected);
    assert_eq!(first["objects"]["created"], expected.objects.len());
    assert_eq!(first["rows"]["decision_events"], expected.decision_events.len());
    assert_eq!(first["rows"]["dead_letters"], expected.dead_letters.len());
    let once = dump(&dir.path().join("once"));

    let again = work_off(dir.path(), "once", &input);
    assert_state(&dir.path().join("once"), &expected);
    assert_eq!((&again["objects"]["created"], &again["objects"]["replaced"]), (&0.into(), &0.into()), "{again}");
    assert_eq!(dump(&dir.path().join("once")), once);

    let other = write_lines(dir.path().join("shuffled"), &shuffled(&bodies));
    work_off(dir.path(), "shuffled-data", &other);
    assert_state(&dir.path().join("shuffled-data"), &expected);
    assert_eq!(dump(&dir.path().join("shuffled-data")), once);

    // Two processes at once in one directory, their halves overlapping in a third of the bodies.
    let third = bodies.len() / 3;
    let halves = [&bodies[..2 * third], &shuffled(&bodies[third..])[..]];
    let inputs: Vec<String> =
        halves.iter().enumerate().map(|(i, half)| write_lines(dir.path().join(format!("half{i}")), half)).collect();
    let mut both: Vec<Running> = inputs
        .iter()
        .map(|input| {
            Running(
                worker(dir.path(), &["run", "--embedded", "--data", "both", "--input", input])
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .spawn()
                    .unwrap(),
            )
        })
        .collect();
    for process in &mut both {
        assert!(process.ended().success());
    }
    assert_state(&dir.path().join("both"), &expected);
    assert_eq!(dump(&dir.path().join("both")), once);
}

#[test]
fn kill_9_in_the_middle_and_again() {
    let dir = tempfile::tempdir().unwrap();
    let bodies = bodies(dir.path());
    let input = write_lines(dir.path().join("input"), &bodies);
    let data = dir.path().join("data");
    // Ever later in the work, from before the first object to near the end.
    for millis in [5, 20, 40, 80, 120, 200, 300] {
        let mut process = Running(
            worker(dir.path(), &["run", "--embedded", "--data", "data", "--input", &input])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        );
        std::thread::sleep(Duration::from_millis(millis));
        process.kill_9();
    }
    work_off(dir.path(), "data", &input);
    assert_state(&data, &model(&bodies));
    work_off(dir.path(), "clean", &input);
    assert_eq!(dump(&data), dump(&dir.path().join("clean")));
    let leftovers = std::fs::read_dir(data.join("tmp")).unwrap().count();
    assert!(leftovers <= 1, "{leftovers} directories of dead processes were left behind");
}

#[test]
fn not_durable_is_the_same_but_for_the_power_cut() {
    let dir = tempfile::tempdir().unwrap();
    let bodies = bodies(dir.path());
    let input = write_lines(dir.path().join("input"), &bodies);
    let status = worker(dir.path(), &["run", "--embedded", "--data", "data", "--input", &input])
        .env("XRAY_DURABLE", "false")
        .stdout(Stdio::null())
        .status();
    assert!(status.unwrap().success());
    assert_state(&dir.path().join("data"), &model(&bodies));
}

#[test]
fn too_large_is_cut_and_its_neighbours_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let good = |id: &str| {
        format!(r#"{{"id":"{id}","pipelineId":"p","status":"pending","startedAt":1772319600000}}"#).into_bytes()
    };
    let bodies = [good("a"), vec![b'x'; 5000], good("b"), [good("c"), vec![b' '; 5000]].concat(), good("d")];
    let input = write_lines(dir.path().join("input"), &bodies);
    let status = worker(dir.path(), &["run", "--embedded", "--data", "data", "--input", &input, "--strict"])
        .env("MAX_EVENT_BYTES", "2000")
        .stdout(Stdio::null())
        .status();
    assert_eq!(status.unwrap().code(), Some(3), "--strict");
    let inputs = bodies.iter().map(|body| Input { body, hint: None });
    let expected = support::model::expected_within(2000, inputs);
    assert_eq!((expected.runs.len(), expected.dead_letters.len()), (3, 2));
    assert_state(&dir.path().join("data"), &expected);
}

/// A few megabytes of nonsense must not become a million files; still nothing vanishes, and what is good is stored.
#[test]
fn beyond_many_bad_elements_the_body_is_kept_as_a_whole() {
    let dir = tempfile::tempdir().unwrap();
    let good = r#"{"id":"a","pipelineId":"p","status":"pending","startedAt":1772319600000}"#;
    let numbers: Vec<String> = (0..10_500).map(|n| n.to_string()).collect();
    let body = format!("[{},{good}]", numbers.join(",")).into_bytes();
    let input = write_lines(dir.path().join("input"), std::slice::from_ref(&body));
    let summary = work_off(dir.path(), "data", &input);
    assert_eq!((&summary["events"]["run"], &summary["deadLetters"]), (&1.into(), &10_001.into()));
    let state = read_embedded(&dir.path().join("data"));
    assert_eq!((state.runs.len(), state.dead_letters.len()), (1, 10_001));
    assert!(state.dead_letters.values().any(|letter| letter.body == body));
}

#[test]
fn one_body_over_several_lines_and_standard_input() {
    let dir = tempfile::tempdir().unwrap();
    let run = r#"{"id":"a","pipelineId":"p","status":"pending","startedAt":1772319600000}"#;
    let pretty = format!("[\n  {run},\n  7\n]\n");
    std::fs::write(dir.path().join("pretty.json"), &pretty).unwrap();
    let summary = work_off(dir.path(), "data", "pretty.json");
    assert_eq!((&summary["events"]["run"], &summary["deadLetters"]), (&1.into(), &1.into()));
    assert_state(&dir.path().join("data"), &model(&[pretty.into_bytes()]));

    let input = std::fs::File::open(dir.path().join("pretty.json")).unwrap();
    let status = worker(dir.path(), &["run", "--embedded", "--data", "data", "--input", "-"])
        .stdin(input)
        .stdout(Stdio::null())
        .status();
    assert!(status.unwrap().success());
}

/// Each is one clear sentence and the documented exit code.
#[test]
fn wrong_starts() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("events"), "[]").unwrap();
    std::fs::write(dir.path().join("a-file"), "x").unwrap();
    std::fs::create_dir(dir.path().join("not-sqlite")).unwrap();
    std::fs::write(dir.path().join("not-sqlite/xray.db"), "x".repeat(5000)).unwrap();
    for (name, sql) in [
        ("foreign", "CREATE TABLE t (x)"),
        ("foreign-and-empty", "PRAGMA application_id = 77; PRAGMA user_version = 5"),
        ("newer", "PRAGMA user_version = 999; PRAGMA application_id = 1481793913; CREATE TABLE t (x)"),
    ] {
        std::fs::create_dir(dir.path().join(name)).unwrap();
        Connection::open(dir.path().join(name).join("xray.db")).unwrap().execute_batch(sql).unwrap();
    }
    let run = |data| vec!["run", "--embedded", "--data", data, "--input", "events"];
    for (args, code, says) in [
        (vec!["run", "--embedded", "--data", "d", "--input", "nowhere"], 2, "nowhere"),
        (vec!["run", "--embedded", "--data", "d", "--input", "."], 2, "directory"),
        (vec!["run", "--embedded"], 2, "--data"),
        (vec!["run", "--strict"], 2, "--input"),
        (vec!["no-such-command"], 2, "no-such-command"),
        (run("a-file"), 1, "a-file"),
        (run("not-sqlite"), 1, "xray.db"),
        (run("foreign"), 1, "xray.db"),
        (run("foreign-and-empty"), 1, "another program"),
        (run("newer"), 1, "999"),
    ] {
        let (found, stdout, stderr) = ran(dir.path(), &args);
        assert_eq!(found, code, "{args:?}: {stderr}");
        assert!(stderr.contains(says) && stdout.is_empty(), "{args:?}: {stdout} {stderr}");
        assert!(stderr.starts_with("error: ") && (code == 2 || stderr.lines().count() == 1), "{args:?}: {stderr}");
    }
    let foreign = Connection::open(dir.path().join("foreign/xray.db")).unwrap();
    let tables: i64 = foreign.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0)).unwrap();
    assert_eq!(tables, 1, "nothing was written into it");

    let wrong = worker(dir.path(), &["run", "--data", "d"])
        .env("BATCH_SIZE", "many")
        .env("HTTP_ADDR", "nowhere")
        .env("MINIO_ROOT_USER", "x")
        .output()
        .unwrap();
    let stderr = String::from_utf8(wrong.stderr).unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    assert!(stderr.contains("BATCH_SIZE") && stderr.contains("HTTP_ADDR"), "all problems at once: {stderr}");
    assert!(stderr.contains("warning: MINIO_ROOT_USER") && stderr.contains("MINIO_ACCESS_KEY"), "{stderr}");
    let other = worker(dir.path(), &run("d")).env("QUEUE_TYPE", "kafka").output().unwrap();
    assert_eq!(other.status.code(), Some(2));
    assert!(!dir.path().join("d").exists());
    for refused in ["not-sqlite", "foreign", "newer"] {
        let left = std::fs::read_dir(dir.path().join(refused)).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(left.collect::<Vec<_>>(), ["xray.db"], "{refused}: a refused start leaves nothing behind");
    }
}

#[test]
fn a_directory_whose_name_is_not_utf8_is_refused_and_not_respelled() {
    use std::os::unix::ffi::OsStrExt;
    let dir = tempfile::tempdir().unwrap();
    for command in ["run", "demo"] {
        let odd = std::ffi::OsStr::from_bytes(b"y\xff");
        let output = worker(dir.path(), &[command, "--data"]).arg(odd).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_result_that_cannot_be_written_is_a_failure() {
    let dir = tempfile::tempdir().unwrap();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = worker(dir.path(), &["config"]).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    let output = output.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && stderr.contains("standard output"), "{stderr}");
}

#[test]
fn demo_is_quiet_unless_asked() {
    let dir = tempfile::tempdir().unwrap();
    let demo = |args: &[&str], level: &str| {
        let mut command = worker(dir.path(), &[&["demo", "--runs", "1"], args].concat());
        let output = command.env("LOG_LEVEL", level).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(demo(&[], ""), (Some(0), String::new()));
    for (args, level) in [(&["--log-level", "info"][..], "error"), (&[], "debug")] {
        assert!(demo(args, level).1.contains("store is up"));
    }
    let (code, stderr) = demo(&["--log-level", "bogus"], "");
    assert!(code == Some(2) && stderr.contains("--log-level"), "{stderr}");
}
