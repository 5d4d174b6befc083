//! `/metrics` as Prometheus reads it: valid by its own tool, and bounded whatever comes in.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use reqwest::Client;
use support::servers::Server as Servers;
use support::worker::Server;

async fn scrape(server: &Server) -> String {
    reqwest::get(server.url("/metrics")).await.unwrap().text().await.unwrap()
}

/// The names of series, labels included.
fn series(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
}

/// What promtool says about a text; nothing where all is well.
fn lint(text: &str) -> String {
    let promtool = &Servers::shared("prometheus").running().tools["PROMTOOL"];
    let mut tool = Command::new(promtool);
    tool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = tool.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

/// Ids, kinds, names and reasons are what anybody sends: none of them makes a series.
#[tokio::test]
async fn whatever_comes_the_series_are_the_same_and_valid() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "data", &[]);
    let before = loop {
        let text = scrape(&server).await;
        // It is not there until it is known.
        if text.contains("\nxray_queue_lag_messages ") {
            break text;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(lint(&before), "", "{before}");

    let client = Client::new();
    for n in 0..300 {
        let kind = format!("kind-{n}");
        let body = match n % 3 {
            0 => support::events::run(&format!("run-{n}\u{2028}\\\"}}"), "completed"),
            1 => format!(r#"{{"type":"{kind}","data":{{"id":"{n}"}}}}"#),
            _ => format!("{{{n}"),
        };
        client.post(server.url(&format!("/ingest?type={kind}"))).body(body).send().await.unwrap();
        // Neither do the paths that are asked for.
        client.get(server.url(&format!("/{kind}"))).send().await.unwrap();
    }
    let after = scrape(&server).await;
    assert_eq!(lint(&after), "", "{after}");
    let new: Vec<_> = series(&after).symmetric_difference(&series(&before)).cloned().collect();
    assert_eq!(new, [] as [&str; 0]);
    assert!(after.contains("xray_events_stored_total 100\n"), "{after}");
}
