//! The status page in a real browser: what it shows, how it changes, and what becomes of markup in what others sent.
//!
//! `UPDATE_DOCS=1` renews the picture in the README.

#![allow(unreachable_pub, missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod browser;

use std::path::{Path, PathBuf};
use std::time::Duration;

use browser::Browser;
use reqwest::Client;
use serde_json::{Value, json};
use support::events::run;
use support::worker::Server;
use tokio::time::sleep;
use xray_processor_worker::generate::{Lines, Plan};

const NDJSON: &str = "application/x-ndjson";

async fn post(server: &Server, body: impl Into<reqwest::Body>) {
    let request = Client::new().post(server.url("/ingest")).header("content-type", NDJSON).body(body);
    let status = request.send().await.unwrap().status().as_u16();
    assert!(matches!(status, 200 | 422), "{status}");
}

/// Pictures of what tests saw, to look at.
fn picture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("page").join(name)
}

fn pipelines(seed: u64) -> Vec<u8> {
    let plan = Plan { runs: 6, seed, days: 1, ..Plan::default() };
    let lines: Vec<_> = Lines::new(plan).collect();
    lines.join(&b'\n')
}

#[tokio::test]
async fn what_comes_in_is_shown_as_it_comes() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "data", &[]);
    let browser = Browser::start(1100, 900, false).await;
    browser.open(&server.url("/")).await;
    browser.shows("#verdict", "All is well; nothing comes in at the moment.").await;
    browser.shows("#runs", "None yet.").await;
    assert_eq!(browser.text("#complete").await, "now");

    post(&server, pipelines(11)).await;
    browser.shows("#verdict", "events a second come in").await;
    browser.shows("#runs", "candidate-matching").await;
    browser.shows("#letters", "xray-processor-worker dead-letters show ").await;
    browser.shows("#dependencies", "up").await;
    browser.shows("#flushes", "derived").await;
    let status: Value =
        serde_json::from_str(&reqwest::get(server.url("/status.json")).await.unwrap().text().await.unwrap()).unwrap();
    let newest = &status["tables"]["runs"][0];
    let step = newest["steps"].as_array().unwrap().iter().find(|step| step["inputCount"] != 0).unwrap();
    let funnel = format!("{} → {}", step["inputCount"], step["outputCount"]);
    browser.shows("#runs details[open] .funnel", &funnel).await;
    browser.picture(&picture("well.png"), true).await;

    // It is the page that changes, not somebody who loads it again.
    browser.run("window.mark = 1").await;
    post(&server, run("a-later-run", "running")).await;
    sleep(Duration::from_secs(6)).await;
    browser.shows("#stored-all", "events").await;
    assert_eq!(browser.run("return window.mark").await, 1);
    assert_eq!(browser.complaints().await, [] as [&str; 0]);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        for seed in 1..60 {
            post(&server, pipelines(seed)).await;
            sleep(Duration::from_millis(500 + 977 * (seed % 3))).await;
        }
        browser.picture(&Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/status.png"), false).await;
    }
}

#[tokio::test]
async fn an_outage_is_shown_with_its_cause_and_a_worker_that_is_gone_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path(), "data", &[]);
    post(&server, pipelines(11)).await;
    let browser = Browser::start(1100, 900, true).await;
    browser.open(&server.url("/")).await;
    browser.shows("#verdict", "All is well").await;

    let locked = rusqlite::Connection::open(dir.path().join("data/xray.db")).unwrap();
    locked.execute_batch("BEGIN IMMEDIATE").unwrap();
    let url = server.url("/ingest");
    let posting = tokio::spawn(async move { Client::new().post(url).body(run("held", "running")).send().await });
    browser.shows("#verdict.bad", "database has been down for").await;
    browser.shows("#dependencies", "another process").await;
    assert!(browser.run("return document.title").await.as_str().unwrap().starts_with('✖'));
    browser.picture(&picture("outage-dark.png"), true).await;
    drop(locked);
    browser.shows("#verdict.good", "All is well").await;
    browser.shows("#dependencies", "before that down for").await;
    posting.await.unwrap().unwrap();

    server.process.kill_9();
    browser.shows("#verdict.bad", "The worker does not answer this page").await;
}

/// Ids, names, errors and reasons are what anybody sent.
#[tokio::test]
async fn markup_is_text() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "data", &[]);
    let evil = "<script>window.hacked=1</script><img src=x onerror='window.hacked=2'>\u{202e}\"'&amp;";
    let at = "2026-01-31T12:00:00Z";
    let events = [
        json!({ "id": evil, "pipelineId": evil, "status": "failed", "startedAt": at, "error": evil }),
        json!({ "id": "s", "runId": evil, "type": evil, "name": evil, "startedAt": at, "inputCount": 2, "outputCount": 1 }),
        json!({ "id": "x", "runId": evil, "type": "filter", "name": 7, "startedAt": evil }),
    ];
    post(&server, events.map(|event| event.to_string()).join("\n")).await;
    let browser = Browser::start(360, 740, false).await;
    browser.open(&server.url("/")).await;
    for css in ["#runs summary", "#runs .error", "#runs .funnel"] {
        browser.shows(css, "<script>window.hacked=1</script>").await;
    }
    browser.shows("#letters", "name").await;
    assert!(!browser.text("main").await.contains('\u{202e}'), "nothing turns the text");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(browser.run("return window.hacked").await, Value::Null);
    assert_eq!(browser.run("return document.querySelectorAll('main script, main img').length").await, 0);
    assert_eq!(browser.complaints().await, [] as [&str; 0]);
    // Nor would a script that got in by another way be run.
    let smuggled =
        "const s = document.createElement('script'); s.textContent = 'window.hacked = 3'; document.body.append(s);
                    return window.hacked";
    assert_eq!(browser.run(smuggled).await, Value::Null);
    assert!(browser.complaints().await[0].contains("Content Security Policy"));

    let wide = browser.run("return document.documentElement.scrollWidth").await;
    assert!(wide.as_u64().unwrap() <= 360, "{wide}: it does not fit on a phone");
    browser.picture(&picture("phone.png"), true).await;
}

#[tokio::test]
async fn with_a_token_a_browser_is_asked_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "data", &[("STATUS_TOKEN", "s3cret")]);
    let browser = Browser::start(800, 600, false).await;
    browser.open(&server.url("/")).await;
    let refused = browser.run("return document.body.innerText").await;
    assert!(!refused.as_str().unwrap().contains("Stored"), "{refused}");
    browser.open(&server.url("/").replace("http://", "http://me:s3cret@")).await;
    browser.shows("#verdict", "All is well").await;
}
