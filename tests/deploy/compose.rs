//! The compose files as Compose itself reads them.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::files::{VERSION, file, read, said, tool};

/// Everything that is put together from them.
pub const DEPLOYMENTS: &[&[&str]] = &[
    &["base"],
    &["base", "kafka"],
    &["base", "rabbitmq"],
    &["base", "nats"],
    &["base", "sqs"],
    &["base", "minio"],
    &["base", "kafka", "minio"],
    &["base", "rabbitmq", "minio"],
    &["base", "nats", "minio"],
    &["base", "sqs", "minio"],
    &["embedded"],
];

/// The services of a deployment.
pub struct Composed(pub BTreeMap<String, Value>);

impl Composed {
    pub fn of(files: &[&str]) -> Composed {
        let files: Vec<String> = files.iter().map(|name| format!("compose/{name}.yml")).collect();
        let mut words: Vec<&str> = files.iter().flat_map(|file| ["-f", file]).collect();
        words.extend(["--profile", "*", "config", "--format", "json"]);
        let whole: Value = serde_json::from_str(&said(&mut tool("docker-compose", &words))).unwrap();
        Composed(serde_json::from_value(whole["services"].clone()).unwrap())
    }

    /// Those that run the worker's image.
    pub fn ours(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.0.iter().filter(|(_, service)| image(service).starts_with("xray-processor-worker:"))
    }

    /// The variables of a service.
    pub fn variables(&self, service: &str) -> BTreeMap<String, String> {
        let variables = &self.0.get(service).unwrap_or_else(|| panic!("no service {service}"))["environment"];
        serde_json::from_value(variables.clone()).unwrap()
    }

    /// What a service runs, as one text.
    pub fn command(&self, service: &str) -> String {
        let words: Vec<String> = serde_json::from_value(self.0[service]["command"].clone()).unwrap();
        words.join(" ")
    }
}

pub fn image(service: &Value) -> &str {
    service["image"].as_str().unwrap()
}

/// What the tests pin of a server.
fn pinned(server: &str) -> String {
    let text = read(&format!("tests/servers/lib/{server}.py"));
    let line = text.lines().find_map(|line| line.trim().strip_prefix("version = ")).unwrap();
    line.trim_matches('"').to_owned()
}

#[test]
fn each_service_is_pinned_waited_for_and_kept_to_this_machine() {
    for files in DEPLOYMENTS {
        let composed = Composed::of(files);
        assert!(composed.ours().count() == 2, "{files:?}");
        for (name, service) in &composed.0 {
            let (_, tag) = image(service).rsplit_once(':').unwrap_or_else(|| panic!("{name} has no tag"));
            assert!(tag.contains(|char: char| char.is_ascii_digit()) && !tag.contains("latest"), "{name}: {tag}");
            for port in service["ports"].as_array().into_iter().flatten() {
                assert_eq!(port["host_ip"], "127.0.0.1", "{name}");
            }
            for (dependency, how) in service["depends_on"].as_object().into_iter().flatten() {
                let ends = how["condition"] == "service_completed_successfully";
                assert!(ends || how["condition"] == "service_healthy", "{name}: {dependency}");
                let theirs = &composed.0[dependency];
                // The worker's own is in its image.
                assert!(
                    ends || theirs["healthcheck"].is_object() || dependency == "worker",
                    "{dependency} has no health check"
                );
            }
        }
        for (name, service) in composed.ours() {
            assert_eq!(image(service), format!("xray-processor-worker:{VERSION}"));
            assert_eq!((&service["read_only"], &service["cap_drop"][0]), (&true.into(), &"ALL".into()), "{name}");
            assert_eq!(service["profiles"][0] == "generate", name == "generate");
        }
    }
}

#[test]
fn servers_are_those_that_the_tests_run() {
    let s3 = |files: &[&str]| image(&Composed::of(files).0["s3"]).to_owned();
    assert_eq!(s3(&["base"]), format!("versity/versitygw:v{}", pinned("versitygw")));
    for (files, service, server) in [
        (["base", "kafka"], "kafka", "kafka"),
        (["base", "rabbitmq"], "rabbitmq", "rabbitmq"),
        (["base", "nats"], "nats", "nats"),
        (["base", "sqs"], "sqs", "elasticmq"),
    ] {
        let composed = Composed::of(&files);
        let (_, tag) = image(&composed.0[service]).rsplit_once(':').unwrap();
        assert!(tag.split('-').next() == Some(&pinned(server)), "{service}: {tag}, tested: {}", pinned(server));
    }
    let engine = read("tests/servers/lib/clickhouse.py");
    let minor: Vec<&str> = engine.split("chdb-core==").nth(1).unwrap().split('.').take(2).collect();
    let clickhouse = image(&Composed::of(&["base"]).0["clickhouse"]).to_owned();
    assert!(clickhouse.contains(&format!(":{}.", minor.join("."))), "{clickhouse}, tested: {minor:?}");
}

/// What Prometheus and Grafana are given is there, and Prometheus takes its configuration.
#[test]
fn what_is_mounted_is_there() {
    for (name, service) in &Composed::of(&["base"]).0 {
        for volume in service["volumes"].as_array().into_iter().flatten().filter(|volume| volume["type"] == "bind") {
            let source = volume["source"].as_str().unwrap();
            assert!(file(source).exists(), "{name}: {source}");
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let config = read("compose/prometheus.yml").replace("/etc/prometheus/alerts.yml", "alerts.yml");
    std::fs::write(dir.path().join("prometheus.yml"), config).unwrap();
    std::fs::copy(file("monitoring/alerts.yml"), dir.path().join("alerts.yml")).unwrap();
    let promtool = &crate::support::servers::Server::shared("prometheus").running().tools["PROMTOOL"];
    said(std::process::Command::new(promtool).args(["check", "config", "prometheus.yml"]).current_dir(dir.path()));
}

/// One that is not there, or not for us, is refused; so is a file that Compose does not understand.
#[test]
fn compose_is_strict() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("compose.yml");
    std::fs::write(&path, "services:\n  worker:\n    image: a:1\n    enviroment: {}\n").unwrap();
    let output = tool("docker-compose", &["-f", path.to_str().unwrap(), "config", "-q"]).output().unwrap();
    assert!(!output.status.success());
}
