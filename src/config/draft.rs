//! From single values to the whole: what several settings decide together.

use super::endpoint::Endpoint;
use super::problems::Problems;
use super::settings;
use super::{Config, Credentials, Kafka, QueueType, S3, S3Flavor, brokers};
use secrecy::SecretString;
use std::collections::BTreeMap;

/// AWS's own names for the two keys.
const AWS_KEYS: [&str; 2] = ["s3.aws.access_key_id", "s3.aws.secret_access_key"];

/// The settings that were given, anywhere but as a default: their path, and their name as the user typed it.
pub(super) type Given = BTreeMap<&'static str, String>;

/// A [`Config`] in the making: where values go that need no other, beside those that do.
pub(super) struct Draft {
    pub(super) config: Config,
    pub(super) clickhouse_host: Endpoint,
    pub(super) clickhouse_port: u16,
    pub(super) minio: Group,
    pub(super) minio_port: u16,
    pub(super) minio_use_ssl: bool,
    pub(super) minio_region: Option<String>,
    pub(super) aws: Group,
    pub(super) aws_region: Option<String>,
    pub(super) s3_path_style: Option<bool>,
    pub(super) sqs_endpoint: Option<Endpoint>,
}

/// What `MINIO_` and `AWS_` settings have in common.
#[derive(Default)]
pub(super) struct Group {
    pub(super) endpoint: Option<Endpoint>,
    pub(super) bucket: Option<String>,
    pub(super) keys: Keys,
}

/// An access key and its secret, as far as they are there.
#[derive(Default, Clone)]
pub(super) struct Keys {
    pub(super) access: Option<SecretString>,
    pub(super) secret: Option<SecretString>,
    pub(super) session_token: Option<SecretString>,
}

impl Draft {
    /// A draft with no value of its own: the defaults come through the layers like all else.
    pub(super) fn new() -> Self {
        Draft {
            config: Config::default(),
            clickhouse_host: Endpoint::host("localhost"),
            clickhouse_port: 0,
            minio: Group::default(),
            minio_port: 0,
            minio_use_ssl: false,
            minio_region: None,
            aws: Group::default(),
            aws_region: None,
            s3_path_style: None,
            sqs_endpoint: None,
        }
    }

    /// The configuration these values make.
    pub(super) fn finish(self, given: &Given, problems: &mut Problems) -> Config {
        let mut config = self.config;
        config.clickhouse.url = {
            let https = self.clickhouse_host.tls == Some(true);
            let port = if https && !given.contains_key("clickhouse.port") { 8443 } else { self.clickhouse_port };
            self.clickhouse_host.url(false, Some(port))
        };
        kafka(&config.kafka, given, problems);
        without_login("kafka.brokers", &config.kafka.brokers, given, problems);
        without_login("sqs.queue_urls", &config.sqs.queue_urls, given, problems);
        pair(["rabbitmq.cert_file", "rabbitmq.key_file"], given, problems);
        pair(["nats.user", "nats.password"], given, problems);
        pair(["nats.cert_file", "nats.key_file"], given, problems);
        config.sqs.endpoint = self.sqs_endpoint.map(|it| it.url(true, None));
        config.sqs.region = self.aws_region.clone();
        config.sqs.credentials = both(self.aws.keys.clone());
        if config.queue.kind == QueueType::Sqs && flavor(given) == S3Flavor::Minio {
            pair(AWS_KEYS, given, problems);
        }
        let defaults = config.s3;
        config.s3 = match flavor(given) {
            S3Flavor::Minio => S3 {
                flavor: S3Flavor::Minio,
                endpoint: self.minio.endpoint.map(|it| it.url(self.minio_use_ssl, Some(self.minio_port))),
                bucket: self.minio.bucket.unwrap_or(defaults.bucket),
                region: self.minio_region,
                path_style: self.s3_path_style.unwrap_or(true),
                credentials: credentials(
                    self.minio.keys,
                    ["s3.minio.access_key", "s3.minio.secret_key"],
                    given,
                    problems,
                ),
                ..defaults
            },
            S3Flavor::Aws => S3 {
                flavor: S3Flavor::Aws,
                path_style: self.s3_path_style.unwrap_or(self.aws.endpoint.is_some()),
                endpoint: self.aws.endpoint.map(|it| it.url(true, None)),
                bucket: self.aws.bucket.unwrap_or(defaults.bucket),
                region: self.aws_region,
                credentials: credentials(self.aws.keys, AWS_KEYS, given, problems),
                ..defaults
            },
        };
        config
    }
}

/// What settings of Kafka need of each other.
fn kafka(kafka: &Kafka, given: &Given, problems: &mut Problems) {
    let name = |path: &str| given.get(path).map_or("KAFKA_PROPERTIES", String::as_str).to_owned();
    for problem in kafka.properties.keys().filter_map(|property| brokers::protected(property)) {
        problems.add(&name("kafka.properties"), problem);
    }
    for paths in [["kafka.sasl_username", "kafka.sasl_password"], ["kafka.ssl_cert_file", "kafka.ssl_key_file"]] {
        pair(paths, given, problems);
    }
    if let Some(protocol) = kafka.security_protocol
        && protocol.starts_with("sasl") != kafka.sasl_username.is_some()
        && !kafka.properties.keys().any(|property| property.starts_with("sasl."))
    {
        let problem = match kafka.sasl_username {
            None => "needs KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD as well",
            Some(_) => "does not log in: unset KAFKA_SASL_USERNAME, or choose sasl_ssl or sasl_plaintext",
        };
        problems.add(&name("kafka.security_protocol"), problem);
    }
}

/// Addresses are shown to whoever asks, so no password may stand in them.
fn without_login(path: &'static str, addresses: &[String], given: &Given, problems: &mut Problems) {
    if let Some(name) = given.get(path).filter(|_| addresses.iter().any(|address| address.contains('@'))) {
        problems.add(name, "must name no user and no password: they have settings of their own");
    }
}

/// Two settings that need each other.
fn pair(paths: [&'static str; 2], given: &Given, problems: &mut Problems) {
    for (path, other) in [(paths[0], paths[1]), (paths[1], paths[0])] {
        if let (Some(name), None) = (given.get(path), given.get(other)) {
            let other = settings::at(other).map_or(other, |setting| setting.env);
            problems.add(name, format!("needs {other} as well, or neither of them"));
        }
    }
}

/// The rule of [`S3Flavor`].
fn flavor(given: &Given) -> S3Flavor {
    let minio = given.keys().any(|path| path.starts_with("s3.minio."));
    let aws = given.contains_key("s3.aws.bucket") || given.contains_key("s3.aws.endpoint");
    if aws && !minio { S3Flavor::Aws } else { S3Flavor::Minio }
}

/// Both keys or none.
fn credentials(keys: Keys, paths: [&'static str; 2], given: &Given, problems: &mut Problems) -> Option<Credentials> {
    pair(paths, given, problems);
    both(keys)
}

fn both(keys: Keys) -> Option<Credentials> {
    Some(Credentials { access_key: keys.access?, secret_key: keys.secret?, session_token: keys.session_token })
}
