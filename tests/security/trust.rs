//! TLS with real servers whose certificate a private CA has signed: with that CA, without one, and with another.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication::Fixed};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;

use crate::front;
use crate::support::servers::Server;
use crate::support::worker::{Server as Worker, output, worker};

/// The certificate of a CA that has signed nothing here; its key was thrown away.
const ANOTHER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/security/another_ca.pem");

/// What `check` says about `subject`: whether it is well, and all of it.
fn checked(mut command: Command, subject: &str) -> (bool, String) {
    let text = String::from_utf8(output(&mut command).stdout).unwrap();
    let about: Vec<&str> = text.lines().filter(|line| line[6..].starts_with(subject)).collect();
    assert!(!about.is_empty(), "nothing about {subject}: {text}");
    (!about.iter().any(|line| line.starts_with("fail")), about.join("\n"))
}

/// Only who is trusted is spoken to; else the setting is named that would say so.
fn only_with_its_ca(subject: &str, setting: &str, ca: &Path, command: impl Fn(&Path) -> Command) {
    let dir = tempfile::tempdir().unwrap();
    let with = |file: Option<&Path>| {
        let mut command = command(dir.path());
        if let Some(file) = file {
            command.env(setting, file);
        }
        checked(command, subject)
    };
    let (well, said) = with(Some(ca));
    assert!(well || said.contains("lets us in"), "{subject} with its CA: {said}");
    for file in [None, Some(Path::new(ANOTHER))] {
        let (well, said) = with(file);
        assert!(!well && said.contains(setting), "{subject} with {setting}={file:?}: {said}");
    }
}

fn ca(server: &Server) -> PathBuf {
    server.running().ca.clone().unwrap()
}

#[test]
fn objects_and_tables() {
    for (name, subject, setting) in [
        ("minio", "s3", "S3_CA_FILE"),
        ("versitygw", "s3", "S3_CA_FILE"),
        ("clickhouse", "clickhouse", "CLICKHOUSE_CA_FILE"),
    ] {
        let server = Server::start_with(name, &["--tls"]);
        only_with_its_ca(subject, setting, &ca(&server), |dir| {
            let mut command = worker(dir, &["check"]);
            // The script tells of its CA in the system's way, too.
            server.tell(&mut command).env_remove("SSL_CERT_FILE");
            command
        });
    }
}

/// With everything kept in a directory, on this broker.
fn on(dir: &Path, broker: &str, env: &[(&str, &str)]) -> Command {
    let mut command = worker(dir, &["check", "--data", "data"]);
    command.env("QUEUE_TYPE", broker).envs(env.iter().copied());
    command
}

#[tokio::test]
async fn kafka() {
    let server = Server::start("kafka");
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", server.env("KAFKA_BROKERS")).create().unwrap();
    let topics = ["xray.decisions", "xray.steps", "xray.runs"].map(|name| NewTopic::new(name, 1, Fixed(1)));
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
    admin.create_topics(&topics, &options).await.unwrap().into_iter().for_each(|topic| drop(topic.unwrap()));

    let brokers = format!("127.0.0.1:{}", server.running().ports["sasl_ssl"]);
    let login = [
        ("KAFKA_BROKERS", &*brokers),
        ("KAFKA_SASL_USERNAME", "worker"),
        ("KAFKA_SASL_PASSWORD", "secret"),
        ("KAFKA_SASL_MECHANISM", "SCRAM-SHA-512"),
    ];
    only_with_its_ca("kafka", "KAFKA_SSL_CA_FILE", &ca(&server), |dir| on(dir, "kafka", &login));
}

#[test]
fn rabbitmq() {
    let server = Server::start("rabbitmq");
    let url = format!("amqps://guest:guest@127.0.0.1:{}", server.running().ports["amqps"]);
    let settings = [("AMQP_URL", &*url), ("RABBITMQ_DECLARE", "classic")];
    only_with_its_ca("rabbitmq", "RABBITMQ_CA_FILE", &ca(&server), |dir| on(dir, "rabbitmq", &settings));
}

#[test]
fn nats() {
    let server = Server::start_with("nats", &["--tls"]);
    let url = server.env("NATS_URL").replace("nats://", "tls://");
    let settings = [("NATS_URL", &*url), ("NATS_CREATE", "stream")];
    only_with_its_ca("nats", "NATS_CA_FILE", &ca(&server), |dir| on(dir, "nats", &settings));
}

/// ElasticMQ speaks no TLS, so a proxy does for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqs() {
    let (server, certified) = (Server::start("elasticmq"), Server::start_with("nats", &["--tls"]));
    let ca = ca(&certified);
    let behind = ([127, 0, 0, 1], server.running().port).into();
    let url = format!("https://{}/000000000000/xray", front::start(behind, ca.parent().unwrap()).await);
    let settings = [
        ("SQS_QUEUE_URL", url),
        ("SQS_CREATE_QUEUES", "true".into()),
        ("AWS_REGION", "us-east-1".into()),
        ("AWS_ACCESS_KEY_ID", "worker".into()),
        ("AWS_SECRET_ACCESS_KEY", "worker-secret".into()),
    ];
    tokio::task::spawn_blocking(move || {
        only_with_its_ca("sqs", "SQS_CA_FILE", &ca, |dir| {
            let mut command = on(dir, "sqs", &[]);
            command.envs(settings.clone());
            command
        });
    })
    .await
    .unwrap();
}

/// The worker's own HTTP server speaks none either; behind a proxy that does its token is asked for as before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_http_server_behind_a_proxy() {
    let dir = tempfile::tempdir().unwrap();
    let certified = Server::start_with("nats", &["--tls"]);
    let ca = ca(&certified);
    let behind = Worker::start(dir.path(), "data", &[("INGEST_TOKEN", "s3cret")]);
    let front = front::start(behind.address, ca.parent().unwrap()).await;
    let post = |token| {
        format!(
            "POST /ingest HTTP/1.1\r\nHost: xray\r\nAuthorization: Bearer {token}\r\nContent-Length: 2\r\n\
             Connection: close\r\n\r\n[]"
        )
    };
    let good = front::ask(front, &ca, &post("s3cret")).await.unwrap();
    assert!(good.starts_with("HTTP/1.1 200"), "{good}");
    let other = front::ask(front, &ca, &post("other")).await.unwrap();
    assert!(other.starts_with("HTTP/1.1 401"), "{other}");
    assert!(front::ask(front, Path::new(ANOTHER), &post("s3cret")).await.is_err());
}
