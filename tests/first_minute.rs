//! A first start that goes wrong says what to do, in one line and by the name of the setting.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;
use support::servers::Server;
use support::worker::{self, Running, worker};

/// Long enough for whoever waits for a server that says nothing.
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until a started worker logs a line with all of these words.
fn says(command: &mut Command, words: &[&str]) {
    let mut child = command.env("LOG_FORMAT", "json").stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let log = BufReader::new(child.stderr.take().unwrap());
    let _running = Running(child);
    let (lines, received) = mpsc::channel();
    std::thread::spawn(move || log.lines().map_while(Result::ok).try_for_each(|line| lines.send(line)));
    let mut seen = String::new();
    while let Ok(line) = received.recv_timeout(PATIENCE) {
        let entry: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let text = format!("{} {}", entry["message"].as_str().unwrap(), entry["error"].as_str().unwrap_or_default());
        if words.iter().all(|word| text.contains(word)) {
            return;
        }
        seen.push_str(&format!("{text}\n"));
    }
    panic!("{words:?} is not said, but:\n{seen}");
}

/// A worker with these variables: with its stores in a directory, so that only the broker is amiss.
fn on_broker(env: &[(&str, &str)], words: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let mut command = worker(dir.path(), &[]);
    command.envs(env.iter().copied()).env("XRAY_DATA_DIR", "data").env("HTTP_ADDR", "127.0.0.1:0");
    says(&mut command, words);
}

fn on_stores(env: &[(&str, &str)], words: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let mut command = worker(dir.path(), &[]);
    says(command.envs(env.iter().copied()).env("HTTP_ADDR", "127.0.0.1:0"), words);
}

/// Each broker at this port of this machine, with the setting that is to be looked at.
fn brokers(port: u16) -> Vec<(Vec<(&'static str, String)>, &'static str)> {
    vec![
        (vec![("QUEUE_TYPE", "kafka".into()), ("KAFKA_BROKERS", format!("127.0.0.1:{port}"))], "KAFKA_BROKERS"),
        (vec![("QUEUE_TYPE", "rabbitmq".into()), ("AMQP_URL", format!("amqp://a:b@127.0.0.1:{port}"))], "AMQP_URL"),
        (vec![("QUEUE_TYPE", "nats".into()), ("NATS_URL", format!("nats://127.0.0.1:{port}"))], "NATS_URL"),
        (
            vec![
                ("QUEUE_TYPE", "sqs".into()),
                ("SQS_QUEUE_URL", format!("http://127.0.0.1:{port}/000000000000/q")),
                ("AWS_REGION", "us-east-1".into()),
                ("AWS_ACCESS_KEY_ID", "a".into()),
                ("AWS_SECRET_ACCESS_KEY", "b".into()),
            ],
            "SQS_QUEUE_URL",
        ),
    ]
}

fn each_broker_says(port: u16, words: &[&str]) {
    std::thread::scope(|scope| {
        for (env, setting) in brokers(port) {
            scope.spawn(move || {
                let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
                on_broker(&env, &[&["queue is down", setting], words].concat());
            });
        }
    });
}

/// A port where nothing listens.
fn nobody() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn nothing_is_set() {
    on_stores(&[], &["nothing is set", "xray-processor-worker demo", "--embedded", "check", "localhost:8123"]);
}

#[test]
fn what_is_set_needs_no_beginning() {
    let dir = tempfile::tempdir().unwrap();
    let server = worker::Server::start(dir.path(), "data", &[]);
    let (code, stdout, _) = worker::ran(dir.path(), &["health", "--url", &server.url("/")]);
    assert_eq!((code, stdout.as_str()), (0, "ok\n"));
}

#[test]
fn no_broker() {
    each_broker_says(nobody(), &[]);
}

/// Another worker listens there, which speaks HTTP.
#[test]
fn the_wrong_port_of_a_broker() {
    let dir = tempfile::tempdir().unwrap();
    let other = worker::Server::start(dir.path(), "data", &[]);
    each_broker_says(other.address.port(), &[]);
}

#[test]
fn no_stores() {
    let port = nobody().to_string();
    on_stores(
        &[("MINIO_ENDPOINT", "127.0.0.1"), ("MINIO_PORT", &port)],
        &["bucket xray-raw", "MINIO_ENDPOINT", "nothing listens"],
    );
    on_stores(&[("CLICKHOUSE_PORT", &port)], &["is the server up, and is that its port?", &port]);
}

#[test]
fn the_wrong_port_of_a_store() {
    let dir = tempfile::tempdir().unwrap();
    let other = worker::Server::start(dir.path(), "data", &[]);
    let port = other.address.port().to_string();
    let http = [
        ("MINIO_ENDPOINT", "127.0.0.1"),
        ("MINIO_PORT", &port),
        ("CLICKHOUSE_HOST", "127.0.0.1"),
        ("CLICKHOUSE_PORT", &port),
    ];
    on_stores(&http, &["does not answer like an S3 server", "is that the right port?", "MINIO_PORT"]);
    on_stores(&http, &["does not answer as ClickHouse's HTTP interface", "not the right port"]);
    // A server that speaks first, and no HTTP.
    let nats = Server::shared("nats").running().port.to_string();
    let other = [
        ("MINIO_ENDPOINT", "127.0.0.1"),
        ("MINIO_PORT", &nats),
        ("CLICKHOUSE_HOST", "127.0.0.1"),
        ("CLICKHOUSE_PORT", &nats),
    ];
    on_stores(&other, &["does not answer in HTTP: is that the right port?", "MINIO_PORT"]);
    on_stores(&other, &["does not answer in HTTP: is that the right port?", "settings of the server"]);
}

#[test]
fn no_bucket() {
    let s3 = Server::start_with("versitygw", &["--bucket", "another"]);
    let env: Vec<(&str, &str)> = s3.running().env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    on_stores(&env, &["bucket xray-raw", "S3_CREATE_BUCKET"]);
}

#[test]
fn no_stream() {
    let url = Server::shared("nats").env("NATS_URL");
    on_broker(&[("QUEUE_TYPE", "nats"), ("NATS_URL", url), ("NATS_STREAM", "NONE")], &["NATS_STREAM", "NATS_CREATE"]);
}

/// It works, and nothing comes.
#[test]
fn a_queue_that_stays_empty() {
    let url = Server::start("nats");
    let env = [("QUEUE_TYPE", "nats"), ("NATS_URL", url.env("NATS_URL")), ("NATS_CREATE", "stream")];
    on_broker(&env, &["no message has come", "NATS_STREAM (XRAY)", "generate"]);
}

#[test]
fn nothing_is_posted() {
    on_broker(&[], &["no message has come", "QUEUE_TYPE", "/ingest"]);
}
