//! What librdkafka is told.

use crate::config::Kafka;
use crate::queue::QueueError;
use rdkafka::ClientConfig;
use secrecy::ExposeSecret;
use std::path::Path;
use std::time::Duration;

/// What librdkafka fetches ahead of us, in kilobytes.
const FETCHED_AHEAD_KB: &str = "16384";
const PAUSE_AFTER: Duration = Duration::from_secs(5);
/// Larger than any record a broker takes, so that the broker decides.
const LARGEST_RECORD: &str = "268435456";

/// The properties that name files, and our settings for them.
pub(super) const FILES: [(&str, &str); 3] = [
    ("ssl.ca.location", "KAFKA_SSL_CA_FILE"),
    ("ssl.certificate.location", "KAFKA_SSL_CERT_FILE"),
    ("ssl.key.location", "KAFKA_SSL_KEY_FILE"),
];

/// A consumer that commits nothing but the offsets we store.
///
/// Stored offsets are committed by librdkafka once a second, when a partition is taken away, and when it is closed.
pub(super) fn consumer(settings: &Kafka) -> Result<ClientConfig, QueueError> {
    let mut config = ClientConfig::new();
    // The group protocol of Kafka 4 brings an assignor of its own, and refuses to be told one.
    if settings.properties.get("group.protocol").is_none_or(|it| it.expose_secret() != "consumer") {
        config.set("partition.assignment.strategy", "cooperative-sticky");
    }
    config
        .set("queued.max.messages.kbytes", FETCHED_AHEAD_KB)
        // With so small a queue the default of a second between two looks at it would be most of the time.
        .set("fetch.queue.backoff.ms", "20")
        .set("fetch.max.bytes", "16777216")
        .set("receive.message.max.bytes", "536870912")
        // New topics and partitions are found so soon.
        .set("topic.metadata.refresh.interval.ms", "5000")
        .set("auto.commit.interval.ms", "1000");
    common(&mut config, settings)?;
    if config.get("auto.commit.interval.ms").and_then(|it| it.trim().parse().ok()) == Some(0) {
        let what = "KAFKA_PROPERTIES: auto.commit.interval.ms must not be 0: nothing would ever be committed";
        return Err(QueueError::new(what));
    }
    config
        .set("group.id", &settings.group_id)
        .set("enable.auto.commit", "true")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .set("enable.partition.eof", "false")
        .set("statistics.interval.ms", "1000");
    Ok(config)
}

/// How long to wait without polling before partitions are paused. Pausing throws away what was fetched ahead, so a short
/// wait is better waited out. A member that does not poll for `max.poll.interval.ms` is thrown out of its group, so a long
/// one is not.
pub(super) fn pause_after(settings: &Kafka) -> Duration {
    let interval = settings.properties.get("max.poll.interval.ms").and_then(|it| it.expose_secret().parse().ok());
    interval.map_or(PAUSE_AFTER, |millis| PAUSE_AFTER.min(Duration::from_millis(millis) / 3))
}

/// A producer whose messages are there once and on all replicas in sync when they are confirmed.
pub(super) fn producer(settings: &Kafka) -> Result<ClientConfig, QueueError> {
    let mut config = ClientConfig::new();
    config
        .set("message.max.bytes", LARGEST_RECORD)
        .set("message.timeout.ms", "30000")
        .set("linger.ms", "5")
        // A topic that is created as it is first sent to is there sooner; without, one that is missing is waited for.
        .set("topic.metadata.propagation.max.ms", "5000")
        .set("allow.auto.create.topics", "true");
    common(&mut config, settings)?;
    config.set("enable.idempotence", "true").set("acks", "all");
    Ok(config)
}

/// Where the brokers are and how to log in; and what the user sets beyond, which goes over our own preferences.
fn common(config: &mut ClientConfig, settings: &Kafka) -> Result<(), QueueError> {
    config
        .set("client.id", "xray-processor-worker")
        .set("reconnect.backoff.ms", "100")
        .set("reconnect.backoff.max.ms", "3000")
        .set("socket.keepalive.enable", "true");
    for (name, value) in &settings.properties {
        config.set(name, value.expose_secret());
    }
    config.set("bootstrap.servers", settings.brokers.join(",")).set("security.protocol", protocol(settings));
    if let Some(username) = &settings.sasl_username {
        config.set("sasl.mechanism", settings.sasl_mechanism).set("sasl.username", username);
    }
    if let Some(password) = &settings.sasl_password {
        config.set("sasl.password", password.expose_secret());
    }
    let files = [&settings.ssl_ca_file, &settings.ssl_cert_file, &settings.ssl_key_file];
    for ((name, setting), file) in FILES.into_iter().zip(files) {
        if let Some(file) = file {
            config.set(name, readable(file, setting)?);
        }
    }
    if let Some(password) = &settings.ssl_key_password {
        config.set("ssl.key.password", password.expose_secret());
    }
    Ok(())
}

/// What librdkafka says of a file it cannot read does not name it.
fn readable<'a>(file: &'a Path, setting: &str) -> Result<&'a str, QueueError> {
    let shown = file.display();
    std::fs::File::open(file)
        .map_err(|error| QueueError::new(format!("cannot read {setting} {shown}")).because(error))?;
    file.to_str().ok_or_else(|| QueueError::new(format!("{setting} {shown} is not UTF-8, which librdkafka needs")))
}

/// As the documentation of `KAFKA_SECURITY_PROTOCOL` has it.
pub(super) fn protocol(settings: &Kafka) -> &'static str {
    let files = [&settings.ssl_ca_file, &settings.ssl_cert_file, &settings.ssl_key_file];
    match settings.security_protocol {
        Some(protocol) => protocol,
        None if settings.sasl_username.is_some() => "sasl_ssl",
        None if files.iter().any(|file| file.is_some()) => "ssl",
        None => "plaintext",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn kafka() -> Kafka {
        Config::default().kafka
    }

    #[test]
    fn what_is_promised_is_not_for_others_to_set() {
        let mut settings = kafka();
        settings.properties.insert("enable.auto.offset.store".into(), "true".into());
        settings.properties.insert("fetch.max.bytes".into(), "1000".into());
        let config = consumer(&settings).unwrap();
        assert_eq!(config.get("enable.auto.offset.store"), Some("false"));
        assert_eq!(config.get("fetch.max.bytes"), Some("1000"), "our preferences are");
        assert_eq!(config.get("partition.assignment.strategy"), Some("cooperative-sticky"));
        settings.properties.insert("group.protocol".into(), "consumer".into());
        assert_eq!(consumer(&settings).unwrap().get("partition.assignment.strategy"), None);
    }

    #[test]
    fn a_member_polls_often_enough() {
        let mut settings = kafka();
        assert_eq!(pause_after(&settings), PAUSE_AFTER);
        settings.properties.insert("max.poll.interval.ms".into(), "3000".into());
        assert_eq!(pause_after(&settings), Duration::from_secs(1));
        settings.properties.insert("auto.commit.interval.ms".into(), "00".into());
        assert!(consumer(&settings).unwrap_err().to_string().contains("auto.commit.interval.ms must not be 0"));
    }

    #[test]
    fn the_protocol_follows_what_else_is_set() {
        let mut settings = kafka();
        assert_eq!(protocol(&settings), "plaintext");
        settings.ssl_ca_file = Some("/nowhere.pem".into());
        assert_eq!(protocol(&settings), "ssl");
        let error = consumer(&settings).unwrap_err().to_string();
        assert_eq!(error, "cannot read KAFKA_SSL_CA_FILE /nowhere.pem");
        settings.sasl_username = Some("u".into());
        assert_eq!(protocol(&settings), "sasl_ssl");
        settings.security_protocol = Some("sasl_plaintext");
        assert_eq!(protocol(&settings), "sasl_plaintext");
    }
}
