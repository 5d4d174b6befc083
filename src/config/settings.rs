//! The table of all settings: the single source of truth.

use super::brokers;
use super::draft::Draft;
use super::kind::{Kind, Wrong};

/// One setting.
pub(super) struct Setting {
    /// Its name in the environment.
    pub(super) env: &'static str,
    /// Its place in the TOML file.
    pub(super) path: &'static str,
    /// What counts where nothing is set, written as a user would.
    pub(super) default: Option<&'static str>,
    /// What is allowed and where it goes.
    pub(super) kind: Kind,
    /// For the reference: a sentence or two, in Markdown.
    pub(super) doc: &'static str,
}

impl Setting {
    /// Whether no value of it is ever shown, and it may come from a file named by `…_FILE`.
    pub(super) fn is_secret(&self) -> bool {
        matches!(self.kind, Kind::Secret(_))
    }

    /// Whether its value may hold a secret among other things.
    pub(super) fn is_private(&self) -> bool {
        self.is_secret() || matches!(self.kind, Kind::Properties(_))
    }

    /// Whether the empty text is a value; elsewhere an empty variable counts as not set.
    pub(super) fn may_be_empty(&self) -> bool {
        self.default == Some("")
    }

    /// The variable that names a file to take the secret from.
    pub(super) fn file_env(&self) -> Option<String> {
        self.is_secret().then(|| format!("{}_FILE", self.env))
    }

    /// Checks a value and puts it in its place.
    pub(super) fn store(&self, draft: &mut Draft, text: &str) -> Result<(), Wrong> {
        if text.is_empty() && !self.may_be_empty() {
            return Err(Wrong::Empty);
        }
        self.kind.store(draft, text)
    }
}

/// Settings that belong together, for people.
pub(super) struct Section {
    /// Its heading.
    pub(super) title: &'static str,
    /// For the reference: what holds for all of them, in Markdown; may be empty.
    pub(super) doc: &'static str,
    /// In the order they are shown.
    pub(super) settings: &'static [Setting],
}

/// All settings, in the order of the reference.
pub(super) fn all() -> impl Iterator<Item = &'static Setting> {
    SECTIONS.iter().flat_map(|section| section.settings)
}

/// The setting at this place in the file.
pub(super) fn at(path: &str) -> Option<&'static Setting> {
    all().find(|setting| setting.path == path)
}

/// An hour: longer waits are mistakes of unit.
pub(super) const MAX_MILLIS: u64 = 3_600_000;

/// All sections.
pub(super) static SECTIONS: &[Section] = &[
    Section {
        title: "ClickHouse",
        doc: "",
        settings: &[
            Setting {
                env: "CLICKHOUSE_HOST",
                path: "clickhouse.host",
                default: Some("localhost"),
                kind: Kind::Endpoint(|d, v| d.clickhouse_host = v),
                doc: "A host name, or the URL of the HTTP interface (`https://…` for TLS). What a URL says wins over \
                      `CLICKHOUSE_PORT`.",
            },
            Setting {
                env: "CLICKHOUSE_PORT",
                path: "clickhouse.port",
                default: Some("8123"),
                kind: Kind::Port(|d, v| d.clickhouse_port = v),
                doc: "The port of the HTTP interface. Not set and with an `https://` URL that names none: 8443.",
            },
            Setting {
                env: "CLICKHOUSE_DATABASE",
                path: "clickhouse.database",
                default: Some("xray"),
                kind: Kind::Text(|d, v| d.config.clickhouse.database = v),
                doc: "The database of the worker's tables.",
            },
            Setting {
                env: "CLICKHOUSE_USER",
                path: "clickhouse.user",
                default: Some("default"),
                kind: Kind::Text(|d, v| d.config.clickhouse.user = v),
                doc: "The user to log in as.",
            },
            Setting {
                env: "CLICKHOUSE_PASSWORD",
                path: "clickhouse.password",
                default: Some(""),
                kind: Kind::Secret(|d, v| d.config.clickhouse.password = v),
                doc: "That user's password. May be empty, also where the file sets one.",
            },
            Setting {
                env: "CLICKHOUSE_CA_FILE",
                path: "clickhouse.ca_file",
                default: None,
                kind: Kind::File(|d, v| d.config.clickhouse.ca_file = Some(v)),
                doc: "Certificates in PEM to trust beside those of the system, for `https://`.",
            },
            Setting {
                env: "CLICKHOUSE_FSYNC",
                path: "clickhouse.fsync",
                default: None,
                kind: Kind::Bool(|d, v| d.config.clickhouse.fsync = Some(v)),
                doc: "Whether the server waits for the disk before it answers an insert into our tables \
                      (`fsync_after_insert`, `fsync_part_directory`): what was acked then survives a power cut too, at a \
                      cost per insert. Not set: the tables stay as they are, at first as with `false`.",
            },
            Setting {
                env: "CLICKHOUSE_TIMEOUT_MS",
                path: "clickhouse.timeout_ms",
                default: Some("50000"),
                kind: Kind::Millis(1000..=MAX_MILLIS, |d, v| d.config.clickhouse.timeout = v),
                doc: "How long one query may take. One that takes longer is stopped and tried again; it may have taken \
                      effect, which does no harm.",
            },
            Setting {
                env: "MIGRATE_ON_START",
                path: "clickhouse.migrate_on_start",
                default: Some("true"),
                kind: Kind::Bool(|d, v| d.config.clickhouse.migrate_on_start = v),
                doc: "Whether `run` brings the tables up to date by itself. With `false` that is left to \
                      `xray-processor-worker migrate`, and `run` refuses tables that are older.",
            },
        ],
    },
    Section {
        title: "Objects: MinIO or S3",
        doc: "There are two groups, and one of them is in force, never a mixture: the `AWS_` settings where \
              `AWS_S3_BUCKET` or `AWS_S3_ENDPOINT` is set and none of the `MINIO_` settings below is, in whatever \
              source; else the `MINIO_` settings. The credentials of AWS never decide: they may be there for SQS. The \
              `S3_` settings hold for both.",
        settings: &[
            Setting {
                env: "MINIO_ENDPOINT",
                path: "s3.minio.endpoint",
                default: Some("localhost"),
                kind: Kind::Endpoint(|d, v| d.minio.endpoint = Some(v)),
                doc: "A host name or a URL. What a URL says wins over `MINIO_PORT` and `MINIO_USE_SSL`.",
            },
            Setting {
                env: "MINIO_PORT",
                path: "s3.minio.port",
                default: Some("9000"),
                kind: Kind::Port(|d, v| d.minio_port = v),
                doc: "The port of its S3 interface.",
            },
            Setting {
                env: "MINIO_ACCESS_KEY",
                path: "s3.minio.access_key",
                default: None,
                kind: Kind::Secret(|d, v| d.minio.keys.access = Some(v)),
                doc: "The access key. Set both keys or neither.",
            },
            Setting {
                env: "MINIO_SECRET_KEY",
                path: "s3.minio.secret_key",
                default: None,
                kind: Kind::Secret(|d, v| d.minio.keys.secret = Some(v)),
                doc: "The secret key.",
            },
            Setting {
                env: "MINIO_BUCKET",
                path: "s3.minio.bucket",
                default: Some("xray-raw"),
                kind: Kind::Text(|d, v| d.minio.bucket = Some(v)),
                doc: "The bucket of raw payloads and dead letters.",
            },
            Setting {
                env: "MINIO_USE_SSL",
                path: "s3.minio.use_ssl",
                default: Some("false"),
                kind: Kind::Bool(|d, v| d.minio_use_ssl = v),
                doc: "Whether to speak TLS to it.",
            },
            Setting {
                env: "MINIO_REGION",
                path: "s3.minio.region",
                default: Some("us-east-1"),
                kind: Kind::Text(|d, v| d.minio_region = Some(v)),
                doc: "The region that requests are signed for; servers other than AWS mostly have this one.",
            },
            Setting {
                env: "AWS_REGION",
                path: "s3.aws.region",
                default: None,
                kind: Kind::Text(|d, v| d.aws_region = Some(v)),
                doc: "The region of the bucket. Not set: the one of AWS's own configuration.",
            },
            Setting {
                env: "AWS_ACCESS_KEY_ID",
                path: "s3.aws.access_key_id",
                default: None,
                kind: Kind::Secret(|d, v| d.aws.keys.access = Some(v)),
                doc: "The access key. Set both keys or neither; with neither, AWS's default credential chain is used.",
            },
            Setting {
                env: "AWS_SECRET_ACCESS_KEY",
                path: "s3.aws.secret_access_key",
                default: None,
                kind: Kind::Secret(|d, v| d.aws.keys.secret = Some(v)),
                doc: "The secret key.",
            },
            Setting {
                env: "AWS_SESSION_TOKEN",
                path: "s3.aws.session_token",
                default: None,
                kind: Kind::Secret(|d, v| d.aws.keys.session_token = Some(v)),
                doc: "The third part of temporary credentials, beside the two keys.",
            },
            Setting {
                env: "AWS_S3_BUCKET",
                path: "s3.aws.bucket",
                default: None,
                kind: Kind::Text(|d, v| d.aws.bucket = Some(v)),
                doc: "The bucket of raw payloads and dead letters. With `AWS_S3_ENDPOINT` alone: `xray-raw`.",
            },
            Setting {
                env: "AWS_S3_ENDPOINT",
                path: "s3.aws.endpoint",
                default: None,
                kind: Kind::Endpoint(|d, v| d.aws.endpoint = Some(v)),
                doc: "A server other than AWS's own: a URL, or a host name (then with TLS).",
            },
            Setting {
                env: "S3_PATH_STYLE",
                path: "s3.path_style",
                default: None,
                kind: Kind::Bool(|d, v| d.s3_path_style = Some(v)),
                doc: "Whether the bucket stands in the path (`https://host/bucket/key`) or in front of the host \
                      (`https://bucket.host/key`). Not set: in front of the host for AWS itself, in the path for any \
                      other server.",
            },
            Setting {
                env: "S3_CREATE_BUCKET",
                path: "s3.create_bucket",
                default: Some("false"),
                kind: Kind::Bool(|d, v| d.config.s3.create_bucket = v),
                doc: "Whether to create the bucket where it is missing. Without, the worker waits for somebody to do so.",
            },
            Setting {
                env: "S3_CA_FILE",
                path: "s3.ca_file",
                default: None,
                kind: Kind::File(|d, v| d.config.s3.ca_file = Some(v)),
                doc: "Certificates in PEM to trust beside those of the system.",
            },
            Setting {
                env: "S3_TIMEOUT_MS",
                path: "s3.timeout_ms",
                default: Some("15000"),
                kind: Kind::Millis(100..=MAX_MILLIS, |d, v| d.config.s3.timeout = v),
                doc: "How long one request may take. One that takes longer is tried again; it may have taken effect, which \
                      does no harm.",
            },
        ],
    },
    Section {
        title: "Queue",
        doc: "",
        settings: &[
            Setting {
                env: "QUEUE_TYPE",
                path: "queue.type",
                default: Some("memory"),
                kind: Kind::Queue(|d, v| d.config.queue.kind = v),
                doc: "The broker to take messages from. The binary must be built with that feature.",
            },
            Setting {
                env: "POLL_INTERVAL_MS",
                path: "queue.poll_interval_ms",
                default: Some("1000"),
                kind: Kind::Millis(1..=MAX_MILLIS, |d, v| d.config.queue.poll_interval = v),
                doc: "How long an empty poll waits (SQS keeps its own long poll). With work waiting, polls follow each \
                      other at once.",
            },
            Setting {
                env: "BATCH_SIZE",
                path: "queue.batch_size",
                default: Some("10"),
                kind: Kind::Count(1..=10_000, |d, v| d.config.queue.batch_size = v),
                doc: "Messages per poll. What is written together is decided separately, by what is waiting.",
            },
        ],
    },
    brokers::KAFKA,
    brokers::RABBITMQ,
    brokers::NATS,
    brokers::SQS,
    Section {
        title: "Limits",
        doc: "",
        settings: &[
            Setting {
                env: "MAX_EVENT_BYTES",
                path: "limits.max_event_bytes",
                default: Some("10 MiB"),
                kind: Kind::Bytes(1 << 10..=1 << 30, |d, v| d.config.limits.max_event_bytes = v),
                doc: "A longer message becomes a dead letter.",
            },
            Setting {
                env: "MAX_IN_FLIGHT_MESSAGES",
                path: "limits.max_in_flight_messages",
                default: Some("10000"),
                kind: Kind::Count(1..=10_000_000, |d, v| d.config.limits.max_in_flight_messages = v),
                doc: "Messages held at once; at the bound the worker stops receiving.",
            },
            Setting {
                env: "MAX_IN_FLIGHT_BYTES",
                path: "limits.max_in_flight_bytes",
                default: Some("64 MiB"),
                kind: Kind::Bytes(1..=1 << 40, |d, v| d.config.limits.max_in_flight_bytes = v),
                doc: "Bytes held at once, each message counting its body and 1 KiB. One message over the whole bound is \
                      admitted alone.",
            },
        ],
    },
    Section {
        title: "Timeouts",
        doc: "",
        settings: &[
            Setting {
                env: "SHUTDOWN_TIMEOUT_MS",
                path: "timeouts.shutdown_ms",
                default: Some("25000"),
                kind: Kind::Millis(0..=MAX_MILLIS, |d, v| d.config.timeouts.shutdown = v),
                doc: "How long a shutdown may take to finish what is held; the rest is given back to the broker.",
            },
            Setting {
                env: "INGEST_TIMEOUT_MS",
                path: "timeouts.ingest_ms",
                default: Some("30000"),
                kind: Kind::Millis(1..=MAX_MILLIS, |d, v| d.config.timeouts.ingest = v),
                doc: "How long `POST /ingest` waits for its events to be durable before it answers 503.",
            },
            Setting {
                env: "STORE_REFUSED_AFTER_MS",
                path: "timeouts.store_refused_after_ms",
                default: Some("120000"),
                kind: Kind::Millis(0..=MAX_MILLIS, |d, v| d.config.timeouts.store_refused_after = v),
                doc: "How long an event that a store refuses, while it takes others, is tried again before it becomes a dead \
                      letter (`store_refused`); at least five times in any case.",
            },
        ],
    },
    Section {
        title: "Logging",
        doc: "",
        settings: &[
            Setting {
                env: "LOG_LEVEL",
                path: "log.level",
                default: Some("info"),
                kind: Kind::Level(|d, v| d.config.log.level = v),
                doc: "The least severe level that is logged. The names of the worker of before are understood: `http` \
                      and `verbose` are `debug`, `silly` is `trace`.",
            },
            Setting {
                env: "LOG_FORMAT",
                path: "log.format",
                default: None,
                kind: Kind::Format(|d, v| d.config.log.format = Some(v)),
                doc: "Not set: `text` on a terminal, `json` elsewhere.",
            },
        ],
    },
    Section {
        title: "Embedded mode",
        doc: "",
        settings: &[
            Setting {
                env: "XRAY_DATA_DIR",
                path: "embedded.data_dir",
                default: None,
                kind: Kind::Path(|d, v| d.config.embedded.data_dir = Some(v)),
                doc: "The directory of the stores inside the process, for every command. Set, it takes the place of \
                      MinIO or S3 and ClickHouse.",
            },
            Setting {
                env: "XRAY_DURABLE",
                path: "embedded.durable",
                default: Some("true"),
                kind: Kind::Bool(|d, v| d.config.embedded.durable = v),
                doc: "Whether to wait for the disk before a message is acked. With `false` what was acked survives a \
                      killed process, not a power cut.",
            },
        ],
    },
    Section {
        title: "HTTP",
        doc: "",
        settings: &[
            Setting {
                env: "HTTP_ADDR",
                path: "http.addr",
                default: Some("127.0.0.1:8080"),
                kind: Kind::Address(|d, v| d.config.http.addr = v),
                doc: "Where the endpoints for health, metrics, the status page and `/ingest` listen; `0.0.0.0:8080` for every address of \
                      the machine. Port 0 takes a free one.",
            },
            Setting {
                env: "INGEST_TOKEN",
                path: "http.ingest_token",
                default: None,
                kind: Kind::Secret(|d, v| d.config.http.ingest_token = Some(v)),
                doc: "The bearer token `POST /ingest` asks for. Not set, `/ingest` answers only on loopback, and no page in a \
                      browser.",
            },
            Setting {
                env: "STATUS_TOKEN",
                path: "http.status_token",
                default: None,
                kind: Kind::Secret(|d, v| d.config.http.status_token = Some(v)),
                doc: "The token that the status page at `/` and `/status.json` ask for: as a bearer token, or as the password \
                      that a browser asks for, with any user. Not set, they answer only on loopback. `/readyz` tells those only of errors who \
                      may see them.",
            },
        ],
    },
];
