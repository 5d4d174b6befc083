//! Secrets stand in every setting that takes one, and in no word that the binary says: not where it ends, not where it runs
//! and fails, not on any page, at the most talkative level of the log, and not where a server repeats what it was sent.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use crate::support::clickhouse::block_on;
use crate::support::servers::Server;
use crate::support::worker::{Running, output, worker};

/// Part of each secret.
const MARK: &str = "hunter2";

/// All that gives a secret away: in words, as part of a login in base64, in hexadecimal digits.
fn traces() -> Vec<String> {
    // Where it begins within a group of three bytes decides how it looks; what neighbours change is cut off.
    let encoded = (0..3).map(|at| {
        let text = BASE64_STANDARD.encode([&b"xx"[..at], MARK.as_bytes()].concat());
        let text = text.trim_end_matches('=');
        text[(at * 8).div_ceil(6)..text.len() - 1].to_owned()
    });
    encoded.chain([MARK.to_owned(), hex::encode(MARK)]).collect()
}

fn assert_silent(what: &str, said: &str) {
    for trace in traces() {
        let at = said.find(&trace);
        assert!(at.is_none(), "{what} says {trace}: …{}…", &said[at.unwrap_or(0).saturating_sub(300)..]);
    }
}

/// Every setting that the reference calls a secret, each with one of its own.
fn planted() -> Vec<(String, String)> {
    let reference = include_str!("../../docs/configuration.md");
    let secret = reference.lines().filter(|line| line.starts_with("| `") && line.contains("*secret*"));
    let names: Vec<&str> = secret.map(|line| line.split('`').nth(1).unwrap()).collect();
    assert!(names.len() >= 15 && names.contains(&"INGEST_TOKEN"), "{names:?}");
    names.iter().map(|name| ((*name).to_owned(), secret_of(name))).collect()
}

fn secret_of(name: &str) -> String {
    match name {
        "AMQP_URL" => format!("amqp://worker:a{MARK}%40%2F@127.0.0.1:1/v,amqps://worker:b-{MARK}@127.0.0.1:1/v"),
        "NATS_URL" => format!("nats://worker:c{MARK}%40@127.0.0.1:1,tls://d-{MARK}@127.0.0.1:1"),
        _ => format!("{name}-{MARK}").to_lowercase(),
    }
}

/// A setting, with what is in force for it where others are planted too.
type Settings = Vec<(String, String)>;

fn settings(pairs: &[(&str, &str)]) -> Settings {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// These secrets, planted.
fn secrets(names: &[&str]) -> Settings {
    names.iter().map(|name| ((*name).to_owned(), secret_of(name))).collect()
}

/// Answers every request with a refusal that repeats it, in words that both stores have for a wrong login.
fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(|| repeat(stream.unwrap()));
        }
    });
    port
}

fn repeat(stream: TcpStream) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    loop {
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if line.trim().is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap();
            }
            // What is interesting comes first, where it is not cut off.
            let line = line.trim().replace('<', "");
            let line = line.strip_prefix("user-agent").unwrap_or(&line).to_owned();
            head = if line.contains(MARK) { format!("{line} {head}") } else { format!("{head} {line}") };
        }
        reader.read_exact(&mut vec![0; length]).ok()?;
        let body = format!(
            "<Error><Code>SignatureDoesNotMatch</Code><Message>Code: 516. DB::Exception: {head}</Message></Error>"
        );
        let answer = format!(
            "HTTP/1.1 403 Forbidden\r\nX-ClickHouse-Exception-Code: 516\r\nContent-Type: application/xml\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        (&stream).write_all(answer.as_bytes()).ok()?;
    }
}

fn command(dir: &Path, args: &[&str], settings: &Settings) -> Command {
    let mut command = worker(dir, args);
    command.envs(settings.iter().cloned()).env("LOG_LEVEL", "trace").env("RUST_BACKTRACE", "1");
    command
}

/// Commands that end by themselves, and soon.
const COMMANDS: &[&[&str]] =
    &[&["config"], &["config", "--output", "json"], &["check"], &["check", "--output", "json"], &["migrate"]];
/// Those that wait for stores.
const PATIENT: &[&[&str]] = &[&["run", "--input", "events", "--give-up-after", "1s"], &["lookup", "x"]];

fn assert_commands_silent(dir: &Path, commands: &[&[&str]], settings: &Settings) {
    std::fs::write(dir.join("events"), "[]\nnonsense\n").unwrap();
    for args in commands {
        let found = output(&mut command(dir, args, settings));
        let said = [found.stdout, found.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        assert_silent(&format!("{args:?}"), &said);
    }
}

/// Everything that a worker says in its log and over HTTP, until each of its dependencies has failed.
fn assert_worker_silent(dir: &Path, settings: &Settings, failing: &[&str]) {
    let mut starting = command(dir, &["run"], settings);
    starting.env("HTTP_ADDR", "127.0.0.1:0").env("LOG_FORMAT", "json").env("SHUTDOWN_TIMEOUT_MS", "1000");
    for token in ["INGEST_TOKEN", "STATUS_TOKEN"] {
        starting.env(token, secret_of(token));
    }
    let log = std::fs::File::create(dir.join("log")).unwrap();
    let mut process = Running(starting.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
    let read = || std::fs::read_to_string(dir.join("log")).unwrap();
    let address = loop {
        let lines = read();
        let lines = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut up = lines.filter(|line| line["message"] == "http server is up");
        if let Some(line) = up.next() {
            break line["address"].as_str().unwrap().to_owned();
        }
        assert!(process.0.try_wait().unwrap().is_none(), "it ended: {}", read());
    };
    let ask = |path: &str, token: Option<&str>| {
        let request = reqwest::Client::new().get(format!("http://{address}{path}"));
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        block_on(async { request.send().await.unwrap().text().await.unwrap() })
    };
    let status = secret_of("STATUS_TOKEN");
    let mut seen = String::new();
    while !failing.iter().all(|name| {
        let ready: Value = serde_json::from_str(&seen).unwrap_or_default();
        ready["dependencies"][*name]["lastError"].is_string()
    }) {
        seen = ask("/readyz", Some(&status));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_silent("/readyz", &seen);
    for path in ["/", "/status.json", "/readyz", "/healthz", "/metrics", "/ingest", "/nothing"] {
        for token in [None, Some("other"), Some(&*status), Some(&*secret_of("INGEST_TOKEN"))] {
            assert_silent(path, &ask(path, token));
        }
    }
    process.terminate();
    process.ended();
    assert_silent("the log", &read());
}

#[test]
fn settings_that_are_all_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let planted = planted();
    let commands = [COMMANDS, PATIENT, &[&["publish", "events"], &["status"], &["health"]]].concat();
    for broker in ["memory", "kafka", "rabbitmq", "nats", "sqs", "other"] {
        let settings = [planted.clone(), settings(&[("QUEUE_TYPE", broker), ("BATCH_SIZE", "none")])].concat();
        assert_commands_silent(dir, &commands, &settings);
    }
    // From files, from the file of settings, and where they have no place at all.
    let files = planted.iter().map(|(name, secret)| {
        std::fs::write(dir.join(name), secret).unwrap();
        (format!("{name}_FILE"), dir.join(name).to_str().unwrap().to_owned())
    });
    assert_commands_silent(dir, COMMANDS, &files.collect());
    let text: String = planted.iter().map(|(name, secret)| format!("{name} = \"{secret}\"\n")).collect();
    std::fs::write(dir.join("xray.toml"), format!("{text}[clickhouse]\npassword = \"{MARK}\nhost = 7\n")).unwrap();
    assert_commands_silent(dir, COMMANDS, &Vec::new());
    std::fs::remove_file(dir.join("xray.toml")).unwrap();
    let url = format!("https://me:x-{MARK}%40@localhost:1/");
    for name in ["CLICKHOUSE_HOST", "MINIO_ENDPOINT", "AWS_S3_ENDPOINT", "SQS_ENDPOINT"] {
        assert_commands_silent(dir, COMMANDS, &settings(&[(name, &url)]));
    }
    for (broker, name) in [("sqs", "SQS_QUEUE_URL"), ("kafka", "KAFKA_BROKERS")] {
        assert_commands_silent(dir, &COMMANDS[..3], &settings(&[(name, &url), ("QUEUE_TYPE", broker)]));
    }
    for command in ["status", "health"] {
        let found = output(&mut worker(dir, &[command, "--url", &url.replace("https", "http")]));
        assert_silent(command, &String::from_utf8(found.stderr).unwrap());
    }
}

/// A broker, with everything else kept in a directory.
fn on_broker(broker: &str, more: &[(&str, &str)], planted: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let settings = [settings(&[("QUEUE_TYPE", broker), ("XRAY_DATA_DIR", "data")]), settings(more), secrets(planted)];
    let settings = settings.concat();
    assert_commands_silent(dir.path(), &[&["config"], &["check"], &["check", "--output", "json"]], &settings);
    if broker != "kafka" {
        assert_commands_silent(dir.path(), &[&["publish", "events"]], &settings);
    }
    assert_worker_silent(dir.path(), &settings, &[broker]);
}

/// Stores, with no broker.
fn on_stores(more: &[(&str, &str)], planted: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let settings = [settings(more), secrets(planted)].concat();
    assert_commands_silent(dir.path(), COMMANDS, &settings);
    assert_commands_silent(dir.path(), PATIENT, &settings);
    assert_worker_silent(dir.path(), &settings, &["s3", "clickhouse"]);
}

const AWS_KEYS: &[&str] = &["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];

#[test]
fn nobody_there() {
    let minio = ["MINIO_ACCESS_KEY", "MINIO_SECRET_KEY", "CLICKHOUSE_PASSWORD"];
    on_stores(&[("MINIO_PORT", "1"), ("CLICKHOUSE_PORT", "1")], &minio);
    let kafka = [("KAFKA_BROKERS", "127.0.0.1:1"), ("KAFKA_SASL_USERNAME", "worker")];
    on_broker("kafka", &kafka, &["KAFKA_SASL_PASSWORD"]);
    on_broker("rabbitmq", &[], &["AMQP_URL"]);
    on_broker("nats", &[], &["NATS_URL"]);
    on_broker("sqs", &[("AWS_REGION", "us-east-1"), ("SQS_QUEUE_URL", "http://127.0.0.1:1/1/q")], AWS_KEYS);
}

#[test]
fn logins_that_are_refused() {
    let all = [Server::shared("minio"), Server::shared("clickhouse")].map(|server| server.running().env.clone());
    let stores: Vec<(&str, &str)> = all.iter().flatten().map(|(name, value)| (&**name, &**value)).collect();
    on_stores(&stores, &["MINIO_SECRET_KEY", "CLICKHOUSE_PASSWORD"]);
    on_stores(&stores, &["MINIO_ACCESS_KEY", "MINIO_SECRET_KEY", "CLICKHOUSE_PASSWORD"]);

    let sasl = format!("127.0.0.1:{}", Server::shared("kafka").running().ports["sasl_plaintext"]);
    for mechanism in ["PLAIN", "SCRAM-SHA-256"] {
        let kafka = [
            ("KAFKA_BROKERS", &*sasl),
            ("KAFKA_SASL_USERNAME", "worker"),
            ("KAFKA_SASL_MECHANISM", mechanism),
            ("KAFKA_SECURITY_PROTOCOL", "sasl_plaintext"),
        ];
        on_broker("kafka", &kafka, &["KAFKA_SASL_PASSWORD"]);
    }
    let amqp = format!("amqp://guest:x{MARK}%40@127.0.0.1:{}", Server::shared("rabbitmq").running().port);
    on_broker("rabbitmq", &[("AMQP_URL", &amqp)], &[]);
    let nats = Server::start_with("nats", &["--user", "worker:right"]);
    let at = format!("nats://127.0.0.1:{}", nats.running().port);
    on_broker("nats", &[("NATS_URL", &at.replace("//", &format!("//worker:y{MARK}%2F@")))], &[]);
    on_broker("nats", &[("NATS_URL", &at), ("NATS_USER", "worker")], &["NATS_PASSWORD"]);
    on_broker("nats", &[("NATS_URL", &at)], &["NATS_TOKEN"]);
}

#[test]
fn servers_that_repeat_what_they_are_sent() {
    let at = format!("http://127.0.0.1:{}", echo());
    let queue = format!("{at}/1/q");
    let s3 = [("AWS_S3_ENDPOINT", &*at), ("AWS_S3_BUCKET", "b"), ("AWS_REGION", "us-east-1"), ("CLICKHOUSE_HOST", &at)];
    on_stores(&s3, &[AWS_KEYS, &["CLICKHOUSE_PASSWORD"]].concat());
    on_broker("sqs", &[("AWS_REGION", "us-east-1"), ("SQS_QUEUE_URL", &queue)], AWS_KEYS);
    let dir = tempfile::tempdir().unwrap();
    let found = output(worker(dir.path(), &["status", "--url", &at]).env("STATUS_TOKEN", secret_of("STATUS_TOKEN")));
    let said = String::from_utf8(found.stderr).unwrap();
    assert!(said.contains("403"), "{said}");
    assert_silent("status", &said);
}
