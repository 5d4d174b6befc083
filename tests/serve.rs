//! `run --embedded` as a server: what a producer is told, what survives, and how it ends.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::time::Duration;

use reqwest::{Client, Response};
use serde_json::{Value, json};
use support::model::{Input, diff, expected};
use support::state::read_embedded;
use support::worker::{Server, output, ran, worker};

const NDJSON: &str = "application/x-ndjson";

fn run(id: &str) -> String {
    support::events::run(id, "running")
}

async fn post(server: &Server, query: &str, content_type: &str, body: impl Into<reqwest::Body>) -> (u16, Value) {
    let url = server.url(&format!("/ingest{query}"));
    let response = Client::new().post(url).header("content-type", content_type).body(body).send().await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_str(&response.text().await.unwrap()).unwrap())
}

async fn get(server: &Server, path: &str) -> Response {
    reqwest::get(server.url(path)).await.unwrap()
}

#[tokio::test]
async fn what_is_acknowledged_survives_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path(), "data", &[]);
    let half_good = format!("[{}, 7, {}]", run("b"), run("c"));
    let lines = format!("{}\r\n\n{{broken\n[{},{{}}]\n", run("d"), run("e"));

    assert_eq!(post(&server, "", "application/json", run("a")).await, (200, json!({"stored": 1})));
    let (status, answer) = post(&server, "", "application/json", half_good.clone()).await;
    assert_eq!((status, &answer["stored"], answer["rejected"].as_array().unwrap().len()), (422, &json!(2), 1));
    assert_eq!((&answer["rejected"][0]["index"], &answer["rejected"][0]["code"]), (&json!(1), &json!("unknown_kind")));
    let (status, answer) = post(&server, "", NDJSON, lines.clone()).await;
    let rejected = answer["rejected"].as_array().unwrap();
    assert_eq!((status, &answer["stored"]), (422, &json!(2)));
    let told: Vec<_> = rejected.iter().map(|r| (r["index"].as_u64(), r["line"].as_u64(), r["code"].as_str())).collect();
    assert_eq!(told, [(Some(1), Some(3), Some("not_json")), (Some(3), Some(4), Some("unknown_kind"))]);
    assert_eq!(
        post(&server, "?type=steps", "application/json", run("f")).await.1["rejected"][0]["code"],
        "missing_field"
    );
    assert_eq!(post(&server, "", "application/json", "[]").await, (200, json!({"stored": 0})));
    assert_eq!(post(&server, "", "application/json", "").await.1["rejected"][0]["code"], "empty");
    server.process.kill_9();

    let whole = [run("a"), half_good, run("d"), "{broken".into(), format!("[{},{{}}]", run("e")), String::new()];
    let mut inputs: Vec<_> = whole.iter().map(|body| Input { body: body.as_bytes(), hint: None }).collect();
    let stepped = run("f");
    inputs.push(Input { body: stepped.as_bytes(), hint: Some("step") });
    let differences = diff(&expected(inputs), &read_embedded(&dir.path().join("data")));
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[tokio::test]
async fn probes_metrics_and_a_clean_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path(), "data", &[]);
    assert_eq!(get(&server, "/healthz").await.status(), 200);
    while get(&server, "/readyz").await.status() != 200 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    post(&server, "", NDJSON, format!("{}\n{}\nx\n", run("a"), run("b"))).await;
    let metrics = get(&server, "/metrics").await.text().await.unwrap();
    for line in [
        r#"xray_events_received_total{queue="memory",kind="run"} 2"#,
        r#"xray_events_received_total{queue="memory",kind="unknown"} 1"#,
        "xray_events_stored_total 2",
        r#"xray_dead_letters_total{code="not_json"} 1"#,
        "xray_in_flight_messages 0",
        r#"xray_store_up{store="objects"} 1"#,
        r#"xray_store_up{store="database"} 1"#,
        "xray_end_to_end_seconds_count 3",
    ] {
        assert!(metrics.lines().any(|present| present == line), "{line} is not in\n{metrics}");
    }

    server.process.terminate();
    assert_eq!(server.process.ended().code(), Some(0));
    assert!(reqwest::get(server.url("/healthz")).await.is_err());
}

#[tokio::test]
async fn its_status_on_a_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "data", &[("STATUS_TOKEN", "s3cret")]);
    let status = |token: &str, url: &str, more: &[&str]| {
        let mut command = worker(dir.path(), &["status", "--url", url]);
        let output = output(command.args(more).env("STATUS_TOKEN", token));
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    };
    let url = server.url("");
    while status("s3cret", &url, &[]).0 == 3 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    post(&server, "", NDJSON, format!("{}\n\u{1b}[31m\n", run("a-run"))).await;
    let shown = async || loop {
        let (code, stdout, stderr) = status("s3cret", &url, &[]);
        assert_eq!((code, &*stderr), (0, ""));
        if stdout.contains("run a-run") {
            return stdout;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let stdout = shown().await;
    for words in ["stored          ", "complete up to  now", "database        up since", "dead-letters show "] {
        assert!(stdout.contains(words), "{words} is not in {stdout}");
    }
    assert!(!stdout.contains('\u{1b}'), "{stdout}");
    let (code, stdout, _) = status("s3cret", &url, &["--output", "json"]);
    assert_eq!((code, serde_json::from_str::<Value>(&stdout).unwrap()["queue"].as_str()), (0, Some("memory")));

    let (code, _, stderr) = status("other", &url, &[]);
    assert!(code == 1 && stderr.contains("401") && stderr.contains("STATUS_TOKEN"), "{stderr}");
    let (code, _, stderr) = status("s3cret", "http://127.0.0.1:1", &[]);
    assert!(code == 1 && stderr.contains("cannot ask http://127.0.0.1:1/status.json"), "{stderr}");
}

#[tokio::test]
async fn requests_under_way_are_answered_before_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path(), "data", &[]);
    let posts: Vec<_> = (0..50)
        .map(|n| {
            let url = server.url("/ingest");
            tokio::spawn(async move { Client::new().post(url).body(run(&format!("r{n}"))).send().await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(5)).await;
    server.process.terminate();
    let mut acknowledged = 0;
    for post in posts {
        // Refused, cut off or answered, but never told what is not so.
        if let Ok(response) = post.await.unwrap() {
            match response.status().as_u16() {
                200 => acknowledged += 1,
                status => assert_eq!(status, 503),
            }
        }
    }
    assert_eq!(server.process.ended().code(), Some(0));
    let stored = read_embedded(&dir.path().join("data"));
    assert!(stored.runs.len() >= acknowledged, "{} stored, {acknowledged} acknowledged", stored.runs.len());
}

#[tokio::test]
async fn tokens_limits_and_a_port_in_use() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("token"), "s3cret\n").unwrap();
    let token = dir.path().join("token");
    let env = [("INGEST_TOKEN_FILE", token.to_str().unwrap()), ("MAX_EVENT_BYTES", "1024")];
    let server = Server::start(dir.path(), "data", &env);
    assert_eq!(post(&server, "", NDJSON, run("a")).await.0, 401);
    let send = |body: String| Client::new().post(server.url("/ingest")).bearer_auth("s3cret").body(body).send();
    assert_eq!(send(run("a")).await.unwrap().status(), 200);
    assert_eq!(send(" ".repeat(2000)).await.unwrap().status(), 413);

    let port = server.address.to_string();
    let (code, _, stderr) = ran(dir.path(), &["run", "--embedded", "--data", "other", "--http-addr", &port]);
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.starts_with("error: cannot listen on") && stderr.contains("HTTP_ADDR"), "{stderr}");
}

#[tokio::test]
async fn two_servers_share_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let servers = [Server::start(dir.path(), "data", &[]), Server::start(dir.path(), "data", &[])];
    let decision = |n: u64| {
        format!(r#"{{"id":"d{n}","stepId":"s","runId":"r","outcome":"scored","itemId":"i","timestamp":1772319600000}}"#)
    };
    let step = r#"{"id":"s","type":"score","name":"n","startedAt":1772319600000}"#.to_owned();
    let mut bodies: Vec<String> = (0..200).map(|n| decision(n % 120)).collect();
    bodies.extend([step, run("r")]);
    let posts = bodies.iter().enumerate().map(|(at, body)| post(&servers[at % 2], "", NDJSON, body.clone()));
    for (status, answer) in futures_util::future::join_all(posts).await {
        assert_eq!(status, 200, "{answer}");
    }
    let inputs = bodies.iter().map(|body| Input { body: body.as_bytes(), hint: None });
    let differences = diff(&expected(inputs), &read_embedded(&dir.path().join("data")));
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Whatever it waits for, a second signal ends it at once, and what was not stored was not acknowledged.
#[tokio::test]
async fn a_second_signal() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path(), "data", &[("SHUTDOWN_TIMEOUT_MS", "3600000")]);
    let locked = rusqlite::Connection::open(dir.path().join("data/xray.db")).unwrap();
    locked.execute_batch("BEGIN IMMEDIATE").unwrap();
    let url = server.url("/ingest");
    let posting = tokio::spawn(async move { Client::new().post(url).body(run("a")).send().await });
    while get(&server, "/metrics").await.text().await.unwrap().contains("xray_in_flight_messages 0") {}
    server.process.terminate();
    while get(&server, "/readyz").await.status().is_success() {}
    assert!(!posting.is_finished());
    server.process.terminate();
    assert_eq!(server.process.ended().code(), Some(1));
    assert!(posting.await.unwrap().is_err(), "no answer");
}
