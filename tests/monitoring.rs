//! What is handed to those who watch: alerts, dashboard and runbook, held against the worker and against real Prometheus.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use prometheus_client::registry::Registry;
use serde_json::Value;
use support::servers::Server as Servers;
use support::worker::Server;
use xray_processor_worker::budget::Budget;
use xray_processor_worker::config::QueueType;
use xray_processor_worker::health::Health;
use xray_processor_worker::metrics::{self, Metrics};

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(file(path)).unwrap()
}

/// The names of all metrics of a worker on a broker.
fn names() -> BTreeSet<String> {
    let mut registry = Registry::default();
    Metrics::register(&mut registry, QueueType::Nats, &["s3", "clickhouse"], &Budget::new(1, 1), &Health::default());
    let text = metrics::text(&registry).unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let mut names: BTreeSet<String> = lines.map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    // Known once the broker has told.
    names.insert("xray_queue_lag_messages".into());
    names
}

/// The metrics that a text names.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|char: char| !char.is_ascii_alphanumeric() && char != '_');
    let ours = words.filter(|word| word.starts_with("xray_") || word.starts_with("process_"));
    let family = |word: &str| {
        ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word).to_owned()
    };
    ours.map(family).collect()
}

fn expressions() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&read("monitoring/dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    panels
        .flat_map(|panel| panel["targets"].as_array().unwrap())
        .map(|target| target["expr"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn the_rules_hold() {
    let promtool = &Servers::shared("prometheus").running().tools["PROMTOOL"];
    for words in [["check", "rules", "monitoring/alerts.yml"], ["test", "rules", "monitoring/alerts_test.yml"]] {
        let output = Command::new(promtool).args(&words[..2]).arg(file(words[2])).output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{said}");
    }
}

#[test]
fn each_alert_is_tested_and_has_its_paragraph() {
    let (rules, tests, runbook) =
        (read("monitoring/alerts.yml"), read("monitoring/alerts_test.yml"), read("docs/runbook.md"));
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert_eq!(alerts.len(), 11);
    for alert in alerts {
        assert!(tests.contains(&format!("alertname: {alert}")), "{alert} is not tested");
        assert!(
            rules.contains(&format!("runbook: docs/runbook.md#{}", alert.to_lowercase())),
            "{alert} names no paragraph"
        );
        let paragraph =
            runbook.split(&format!("\n### {alert}\n")).nth(1).unwrap_or_else(|| panic!("no paragraph on {alert}"));
        let paragraph = paragraph.split("\n### ").next().unwrap();
        for part in ["**Means**", "**Look**", "**Do**"] {
            assert!(paragraph.contains(part), "{alert} lacks {part}");
        }
    }
}

#[test]
fn no_metric_is_named_that_is_not_there_and_all_are_explained() {
    let there = names();
    for text in
        [read("monitoring/alerts.yml"), expressions().join("\n"), read("docs/monitoring.md"), read("docs/runbook.md")]
    {
        let missing: Vec<_> = named(&text).difference(&there).cloned().collect();
        assert_eq!(missing, [] as [&str; 0]);
    }
    let unexplained: Vec<_> = there.difference(&named(&read("docs/monitoring.md"))).cloned().collect();
    assert_eq!(unexplained, [] as [&str; 0]);
}

/// Real Prometheus scrapes a real worker; every panel is a question that it understands.
#[tokio::test]
async fn every_panel_is_a_question_that_prometheus_understands() {
    let dir = tempfile::tempdir().unwrap();
    let worker = Server::start(dir.path(), "data", &[]);
    let config = format!(
        "global: {{ scrape_interval: 1s }}\nrule_files: [{}]\nscrape_configs:\n  - job_name: xray\n    static_configs: [{{ targets: ['{}'] }}]\n",
        file("monitoring/alerts.yml").display(),
        worker.address
    );
    std::fs::write(dir.path().join("prometheus.yml"), config).unwrap();
    let config = dir.path().join("prometheus.yml");
    let prometheus = Servers::start_with("prometheus", &["--config", config.to_str().unwrap()]);
    let ask = async |expression: &str| -> Value {
        let url = format!("{}/api/v1/query", prometheus.env("PROMETHEUS_URL"));
        let body: String = expression.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let request = reqwest::Client::new().post(url).header("content-type", "application/x-www-form-urlencoded");
        let answer = request.body(format!("query={body}")).send().await.unwrap().text().await.unwrap();
        serde_json::from_str(&answer).unwrap()
    };
    let found = async |expression: &str| !ask(expression).await["data"]["result"].as_array().unwrap().is_empty();
    while !found("rate(xray_events_stored_total[1m]) and xray_queue_lag_messages").await {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let mut empty = Vec::new();
    for expression in expressions() {
        let asked = expression.replace("$job", ".*").replace("$instance", ".*").replace("$__rate_interval", "1m");
        let answer = ask(&asked).await;
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        if answer["data"]["result"].as_array().unwrap().is_empty() {
            empty.push(expression);
        }
    }
    // A queue inside the process is never away.
    assert!(empty.iter().all(|expression| expression.contains("xray_queue_up")), "{empty:#?}");
    assert!(!found("ALERTS{alertname='XrayWorkerGone'}").await && found("xray_build_info").await);
}
