//! `run --input` on real servers, told of them as deployments of today are: whatever the order, the repetition, the
//! number of processes and the crashes, the objects and rows of the model, which are those of embedded mode.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::process::Stdio;
use std::time::Duration;

use support::bodies::{bodies, shuffled};
use support::clickhouse::block_on;
use support::deployment::Deployment;
use support::model::{Input, diff, expected};
use support::servers::Server;
use support::state::read_embedded;
use support::worker::{Running, output, work_off, write_lines};

/// The versions of all derived rows: the same state must have the same.
fn versions(place: &Deployment) -> Vec<std::collections::BTreeMap<String, String>> {
    [("steps", "step_id"), ("runs", "run_id")].map(|(table, key)| place.database.versions(table, key)).into()
}

fn on(objects: &str) {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let bodies = bodies(dir);
    let input = write_lines(dir.join("input"), &bodies);
    let model = expected(bodies.iter().map(|body| Input { body, hint: None }));
    let (objects, tables) = (Server::shared(objects), Server::shared("clickhouse"));

    let once = Deployment::new(objects, tables);
    let summary = once.work_off(dir, &input);
    assert_eq!(summary["rows"]["decision_events"], model.decision_events.len());
    once.assert_state(&model);
    work_off(dir, "embedded", &input);
    assert_eq!(diff(&once.state(), &read_embedded(&dir.join("embedded"))), [""; 0]);

    let before = versions(&once);
    let again = write_lines(dir.join("again"), &[shuffled(&bodies), bodies[..bodies.len() / 2].to_vec()].concat());
    once.work_off(dir, &again);
    once.assert_state(&model);
    assert_eq!(versions(&once), before, "what is known already changes no version");

    let crashed = Deployment::new(objects, tables);
    let (front, back) = bodies.split_at(bodies.len() / 2);
    let halves = [shuffled(front), shuffled(back)].map(|half| [half.clone(), half].concat());
    let halves: Vec<String> =
        halves.iter().enumerate().map(|(i, half)| write_lines(dir.join(format!("half-{i}")), half)).collect();
    let start =
        |half: &String| Running(crashed.input(dir, half).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    for pause in [150, 400, 900] {
        let mut running: Vec<_> = halves.iter().map(start).collect();
        std::thread::sleep(Duration::from_millis(pause));
        running.iter_mut().for_each(Running::kill_9);
    }
    let running: Vec<_> = halves.iter().map(start).collect();
    for mut running in running {
        assert!(running.ended().success());
    }
    crashed.assert_state(&model);
    assert_eq!(versions(&crashed), before);
}

#[test]
fn on_minio_and_clickhouse() {
    on("minio");
}

#[test]
fn on_versitygw_and_clickhouse() {
    on("versitygw");
}

/// Each is one clear sentence and the documented exit code; what a repair outside cures is waited for.
#[test]
fn wrong_starts() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    std::fs::write(dir.join("events"), "[]").unwrap();
    let place = Deployment::new(Server::shared("minio"), Server::shared("clickhouse"));
    let run = |name: &str, value: &str, more: &[&str]| {
        let mut command = place.worker(dir, &[&["run", "--input", "events", "--give-up-after", "1s"], more].concat());
        let found = output(command.env(name, value));
        (found.status.code().unwrap(), String::from_utf8(found.stderr).unwrap())
    };
    for (name, value, code, says) in [
        ("CLICKHOUSE_PASSWORD", "geheim", 1, "check CLICKHOUSE_USER and CLICKHOUSE_PASSWORD"),
        ("CLICKHOUSE_PORT", "1", 1, "refuses connections"),
        ("MINIO_SECRET_KEY", "geheimnis", 1, "MINIO_SECRET_KEY"),
        ("MINIO_BUCKET", "no-such-bucket", 1, "S3_CREATE_BUCKET"),
        ("MINIO_PORT", Server::shared("clickhouse").env("CLICKHOUSE_PORT"), 1, "right port"),
        ("CLICKHOUSE_PORT", Server::shared("minio").env("MINIO_PORT"), 1, "right port"),
        ("CLICKHOUSE_CA_FILE", "nowhere.pem", 2, "nowhere.pem"),
        ("S3_CA_FILE", "nowhere.pem", 2, "nowhere.pem"),
    ] {
        let (found, stderr) = run(name, value, &[]);
        let error = stderr.lines().last().unwrap();
        assert!(found == code && error.starts_with("error: ") && error.contains(says), "{name}={value}: {stderr}");
        assert!(!stderr.contains("geheim"), "{stderr}");
        let downs = stderr.lines().filter(|line| line.contains("store is down")).count();
        assert!(downs <= 1, "said once: {stderr}");
    }
    let tables = "SELECT count() FROM system.tables WHERE database = '{db}' FORMAT TSV";
    place.database.query("DROP DATABASE IF EXISTS {db}");
    place.database.query("CREATE DATABASE {db}");
    place.database.query("CREATE TABLE {db}.runs (run_id String) ENGINE = MergeTree ORDER BY run_id");
    let (code, stderr) = run("LOG_LEVEL", "error", &[]);
    assert!(code == 1 && stderr.starts_with("error: the table") && stderr.lines().count() == 1, "{stderr}");
    assert_eq!(place.database.query(tables), "1\n", "nothing was written");
}

#[test]
fn migrate_apart_from_the_worker() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    std::fs::write(dir.join("events"), "[]").unwrap();
    let place = Deployment::new(Server::shared("minio"), Server::shared("clickhouse"));
    let run = |args: &[&str]| {
        let found = output(place.worker(dir, args).env("MIGRATE_ON_START", "false"));
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (found.status.code().unwrap(), text(found.stdout), text(found.stderr))
    };
    let input = ["run", "--input", "events", "--give-up-after", "1s"];
    let (code, _, stderr) = run(&input);
    assert!(code == 1 && stderr.contains("xray-processor-worker migrate"), "{stderr}");
    for says in ["has schema 1 now", "is up to date"] {
        let (code, stdout, stderr) = run(&["migrate"]);
        assert!(code == 0 && stdout.contains(says), "{stdout}{stderr}");
    }
    assert_eq!(run(&input).0, 0);
    let (code, _, stderr) = run(&["migrate", "--log-level", "nonsense"]);
    assert!(code == 2 && stderr.contains("--log-level"), "{stderr}");
}

/// As a service: unready while a store is away, alive all the same, ready when it comes, and stopped at once.
#[test]
fn a_worker_waits_for_its_stores() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let (objects, mut tables) = (Server::shared("minio"), Server::start("clickhouse"));
    let place = Deployment::new(objects, &tables);
    tables.kill_9();
    let serve = || {
        let mut command = place.worker(dir, &["run"]);
        command.env("HTTP_ADDR", "127.0.0.1:0").env("LOG_FORMAT", "json").env("SHUTDOWN_TIMEOUT_MS", "60000");
        support::worker::Server::spawn(command)
    };
    let get = |url: &str| block_on(async { reqwest::get(url).await.unwrap().status().as_u16() });

    let mut worker = serve();
    assert_eq!((get(&worker.url("/readyz")), get(&worker.url("/healthz"))), (503, 200));
    worker.process.terminate();
    assert!(worker.process.ended().success(), "nothing is held, nothing is waited for");

    let mut worker = serve();
    tables.restart();
    let post = reqwest::Client::new().post(worker.url("/ingest")).body(support::events::run("r", "running"));
    assert_eq!(block_on(async { post.send().await.unwrap().status().as_u16() }), 200);
    assert_eq!(get(&worker.url("/readyz")), 200);
    worker.process.terminate();
    assert!(worker.process.ended().success());
    assert_eq!(place.state().runs.len(), 1);
}
