//! The configuration: documented plain data, with no I/O but that of reading it.
//!
//! One table (`settings.rs`) says of every setting its environment name, its place in the TOML file, its default, what
//! is allowed and where it goes; loading, `config`, the warnings and `docs/configuration.md` all come from it. figment
//! lays the sources over each other and remembers which one a value came from.

mod brokers;
mod draft;
mod endpoint;
mod environment;
mod file;
mod kind;
mod layer;
mod load;
mod names;
mod problems;
mod reference;
mod render;
mod settings;
mod sources;
#[cfg(test)]
mod tests;
mod value;

pub use load::{Loaded, Resolved, load, warnings};
pub use problems::Problems;
pub use reference::reference_markdown;
pub use render::{render_json, render_text};
pub use sources::{Flag, Sources};

use secrecy::SecretString;
use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use tracing::Level;

/// Everything that can be set, checked and complete. `Debug` shows no secret.
#[derive(Debug, Clone)]
#[allow(missing_docs)] // one field per section, documented there
pub struct Config {
    pub clickhouse: ClickHouse,
    pub s3: S3,
    pub queue: Queue,
    pub kafka: Kafka,
    pub rabbitmq: Rabbitmq,
    pub nats: Nats,
    pub sqs: Sqs,
    pub limits: Limits,
    pub timeouts: Timeouts,
    pub log: Log,
    pub embedded: Embedded,
    pub http: Http,
}

/// The database of metrics.
#[derive(Debug, Clone)]
pub struct ClickHouse {
    /// Its HTTP interface: scheme, host, port and path if any, without a slash at the end.
    pub url: String,
    /// The database of our tables.
    pub database: String,
    /// Who we are.
    pub user: String,
    /// May be empty.
    pub password: SecretString,
    /// PEM certificates to trust beside those of the system.
    pub ca_file: Option<PathBuf>,
    /// Whether an insert waits for the disk; `None`: as the tables are.
    pub fsync: Option<bool>,
    /// For one query.
    pub timeout: Duration,
    /// Whether `run` migrates, or leaves that to `migrate`.
    pub migrate_on_start: bool,
}

/// The store of raw payloads.
#[derive(Debug, Clone)]
pub struct S3 {
    /// Which group of settings the rest comes from.
    pub flavor: S3Flavor,
    /// Scheme, host, port if any and path if any, without a slash at the end; `None`: AWS's own for the region.
    pub endpoint: Option<String>,
    /// Where objects go.
    pub bucket: String,
    /// `None`: the region of AWS's own configuration.
    pub region: Option<String>,
    /// Whether the bucket stands in the path of a URL, or in front of its host.
    pub path_style: bool,
    /// Whether to create a missing bucket.
    pub create_bucket: bool,
    /// PEM certificates to trust beside those of the system.
    pub ca_file: Option<PathBuf>,
    /// For one request.
    pub timeout: Duration,
    /// `None`: AWS's default credential chain, or with MinIO no signature.
    pub credentials: Option<Credentials>,
}

/// Which of the two groups of settings is in force, never a mixture of both: [`Aws`](Self::Aws) where `AWS_S3_BUCKET` or
/// `AWS_S3_ENDPOINT` is set and no `MINIO_` setting is (in whatever source), else [`Minio`](Self::Minio). Credentials
/// of AWS never decide: they may be there for SQS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum S3Flavor {
    /// The `MINIO_` settings: MinIO and what speaks like it, addressed by path.
    Minio,
    /// The `AWS_` settings: S3 itself, or what `AWS_S3_ENDPOINT` names.
    Aws,
}

/// Who we are for AWS, or for a server that speaks like it.
#[derive(Debug, Clone)]
#[allow(missing_docs)] // the names say it
pub struct Credentials {
    pub access_key: SecretString,
    pub secret_key: SecretString,
    /// Of temporary credentials only.
    pub session_token: Option<SecretString>,
}

/// Where messages come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// Which broker. It need not be compiled in.
    pub kind: QueueType,
    /// How long an empty poll waits.
    pub poll_interval: Duration,
    /// Messages per poll, at least 1.
    pub batch_size: usize,
}

/// A value of `QUEUE_TYPE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the names are the documented values
pub enum QueueType {
    Memory,
    Kafka,
    Rabbitmq,
    Nats,
    Sqs,
}

impl QueueType {
    /// The value as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            QueueType::Memory => "memory",
            QueueType::Kafka => "kafka",
            QueueType::Rabbitmq => "rabbitmq",
            QueueType::Nats => "nats",
            QueueType::Sqs => "sqs",
        }
    }

    /// Whether it tells that a message had been delivered before.
    pub const fn tells_redeliveries(self) -> bool {
        !matches!(self, QueueType::Kafka)
    }
}

impl fmt::Display for QueueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where Kafka is, and what of it to consume.
#[derive(Debug, Clone)]
pub struct Kafka {
    /// `host:port` each.
    pub brokers: Vec<String>,
    /// At least one.
    pub topics: Vec<String>,
    /// The consumer group.
    pub group_id: String,
    /// As librdkafka calls it; `None`: by what else is set.
    pub security_protocol: Option<&'static str>,
    /// As librdkafka calls it.
    pub sasl_mechanism: &'static str,
    /// Who we are, where SASL is used.
    pub sasl_username: Option<String>,
    /// That user's password.
    pub sasl_password: Option<SecretString>,
    /// PEM certificates to trust in place of those of the system.
    pub ssl_ca_file: Option<PathBuf>,
    /// Our own certificate in PEM.
    pub ssl_cert_file: Option<PathBuf>,
    /// Its key in PEM.
    pub ssl_key_file: Option<PathBuf>,
    /// What the key is encrypted with.
    pub ssl_key_password: Option<SecretString>,
    /// Further properties of librdkafka, none of them ours. Some may be secrets.
    pub properties: BTreeMap<String, SecretString>,
}

/// Where RabbitMQ is, and what of it to consume.
#[derive(Debug, Clone)]
pub struct Rabbitmq {
    /// One URL, or several separated by commas.
    pub url: SecretString,
    /// At least one.
    pub queues: Vec<String>,
    /// `no`, or the type that missing queues are created with: `quorum`, `classic`.
    pub declare: &'static str,
    /// Unacked messages per queue; `None`: by the limits.
    pub prefetch: Option<usize>,
    /// That of the broker.
    pub consumer_timeout: Duration,
    /// PEM certificates to trust beside those of the system.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate in PEM.
    pub cert_file: Option<PathBuf>,
    /// Its key in PEM.
    pub key_file: Option<PathBuf>,
}

/// Where NATS is, and what of it to consume.
#[derive(Debug, Clone)]
pub struct Nats {
    /// One URL, or several separated by commas.
    pub url: SecretString,
    /// The name of the stream.
    pub stream: String,
    /// The name of the durable consumer.
    pub consumer: String,
    /// Which of the stream's subjects; may hold wildcards.
    pub subject: String,
    /// What to create where it is missing: `no`thing, the `consumer`, or the `stream` as well.
    pub create: &'static str,
    /// That of a consumer we create.
    pub ack_wait: Duration,
    /// Who we are, where that is not in the URL.
    pub user: Option<String>,
    /// That user's password.
    pub password: Option<SecretString>,
    /// What logs in in place of a user.
    pub token: Option<SecretString>,
    /// The seed of an NKey that logs in.
    pub nkey: Option<SecretString>,
    /// A file with a JWT and the seed of its key.
    pub creds_file: Option<PathBuf>,
    /// PEM certificates to trust beside those of the system.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate in PEM.
    pub cert_file: Option<PathBuf>,
    /// Its key in PEM.
    pub key_file: Option<PathBuf>,
}

/// Which queues of SQS to consume, and how.
#[derive(Debug, Clone)]
pub struct Sqs {
    /// Empty where nobody has named any.
    pub queue_urls: Vec<String>,
    /// Scheme, host, port if any and path if any, without a slash at the end; `None`: that of each queue's URL.
    pub endpoint: Option<String>,
    /// `None`: that of the queue's URL, else of AWS's own configuration.
    pub region: Option<String>,
    /// `None`: AWS's default credential chain.
    pub credentials: Option<Credentials>,
    /// Whether to create missing queues.
    pub create_queues: bool,
    /// How long a message is hidden from others at a time.
    pub visibility_timeout: Duration,
    /// How long a poll waits for a first message.
    pub wait_time: Duration,
    /// Polls of a queue at once, at most.
    pub polls: usize,
    /// For one request.
    pub timeout: Duration,
    /// PEM certificates to trust beside those of the system.
    pub ca_file: Option<PathBuf>,
}

/// What bounds memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// A longer message is a dead letter.
    pub max_event_bytes: usize,
    /// Messages held at once.
    pub max_in_flight_messages: usize,
    /// Bytes held at once, each message counting its body and 1 KiB.
    pub max_in_flight_bytes: usize,
}

/// How long something may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// To finish at shutdown what is held; the rest is given back.
    pub shutdown: Duration,
    /// For `POST /ingest` to see its events durable.
    pub ingest: Duration,
    /// How long an item that a store refuses is tried again.
    pub store_refused_after: Duration,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// The least severe level that is logged.
    pub level: Level,
    /// `None`: text on a terminal, JSON elsewhere.
    pub format: Option<LogFormat>,
}

/// A value of `LOG_FORMAT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// The stores inside the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Embedded {
    /// Where they are; `None`: embedded mode is off unless a flag asks for it.
    pub data_dir: Option<PathBuf>,
    /// Whether what is acked survives a power cut, not only the process.
    pub durable: bool,
}

/// The worker's own HTTP server.
#[derive(Debug, Clone)]
pub struct Http {
    /// Where it listens.
    pub addr: SocketAddr,
    /// What `POST /ingest` asks for, never empty.
    pub ingest_token: Option<SecretString>,
    /// What the status page asks for, never empty.
    pub status_token: Option<SecretString>,
}

impl Default for Config {
    /// What is in force where nothing is set. A test holds it against the table.
    fn default() -> Self {
        Config {
            clickhouse: ClickHouse {
                url: "http://localhost:8123".into(),
                database: "xray".into(),
                user: "default".into(),
                password: SecretString::default(),
                ca_file: None,
                fsync: None,
                timeout: Duration::from_secs(50),
                migrate_on_start: true,
            },
            s3: S3 {
                flavor: S3Flavor::Minio,
                endpoint: Some("http://localhost:9000".into()),
                bucket: "xray-raw".into(),
                region: Some("us-east-1".into()),
                path_style: true,
                create_bucket: false,
                ca_file: None,
                timeout: Duration::from_secs(15),
                credentials: None,
            },
            queue: Queue { kind: QueueType::Memory, poll_interval: Duration::from_secs(1), batch_size: 10 },
            kafka: Kafka {
                brokers: vec!["localhost:9092".into()],
                topics: default_sources(),
                group_id: "xray-processor-worker".into(),
                security_protocol: None,
                sasl_mechanism: "PLAIN",
                sasl_username: None,
                sasl_password: None,
                ssl_ca_file: None,
                ssl_cert_file: None,
                ssl_key_file: None,
                ssl_key_password: None,
                properties: BTreeMap::new(),
            },
            rabbitmq: Rabbitmq {
                url: "amqp://guest:guest@localhost:5672".into(),
                queues: default_sources(),
                declare: "no",
                prefetch: None,
                consumer_timeout: Duration::from_secs(1800),
                ca_file: None,
                cert_file: None,
                key_file: None,
            },
            nats: Nats {
                url: "nats://localhost:4222".into(),
                stream: "XRAY".into(),
                consumer: "xray-processor-worker".into(),
                subject: "xray.>".into(),
                create: "consumer",
                ack_wait: Duration::from_secs(30),
                user: None,
                password: None,
                token: None,
                nkey: None,
                creds_file: None,
                ca_file: None,
                cert_file: None,
                key_file: None,
            },
            sqs: Sqs {
                queue_urls: Vec::new(),
                endpoint: None,
                region: None,
                credentials: None,
                create_queues: false,
                visibility_timeout: Duration::from_secs(30),
                wait_time: Duration::from_secs(5),
                polls: 8,
                timeout: Duration::from_secs(5),
                ca_file: None,
            },
            limits: Limits { max_event_bytes: 10 << 20, max_in_flight_messages: 10_000, max_in_flight_bytes: 64 << 20 },
            timeouts: Timeouts {
                shutdown: Duration::from_secs(25),
                ingest: Duration::from_secs(30),
                store_refused_after: Duration::from_secs(120),
            },
            log: Log { level: Level::INFO, format: None },
            embedded: Embedded { data_dir: None, durable: true },
            http: Http { addr: (Ipv4Addr::LOCALHOST, 8080).into(), ingest_token: None, status_token: None },
        }
    }
}

/// The topics and queues that SDKs send to.
fn default_sources() -> Vec<String> {
    ["xray.decisions", "xray.steps", "xray.runs"].map(str::to_owned).to_vec()
}
