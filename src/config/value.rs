//! Parsing of values: pure, each from the text a user wrote.

use super::kind::Wrong;
use super::{LogFormat, QueueType};
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;
use tracing::Level;

/// The names of a choice and what they stand for.
pub(super) type Choices<T> = &'static [(&'static str, T)];

/// The values of `QUEUE_TYPE`.
pub(super) const QUEUE_TYPES: Choices<QueueType> = &[
    (QueueType::Memory.as_str(), QueueType::Memory),
    (QueueType::Kafka.as_str(), QueueType::Kafka),
    (QueueType::Rabbitmq.as_str(), QueueType::Rabbitmq),
    (QueueType::Nats.as_str(), QueueType::Nats),
    (QueueType::Sqs.as_str(), QueueType::Sqs),
];

/// The values of `LOG_LEVEL`; the last three are those of the worker of before, between its `info` and its `debug`, and
/// below it.
pub(super) const LOG_LEVELS: Choices<Level> = &[
    ("error", Level::ERROR),
    ("warn", Level::WARN),
    ("info", Level::INFO),
    ("debug", Level::DEBUG),
    ("trace", Level::TRACE),
    ("http", Level::DEBUG),
    ("verbose", Level::DEBUG),
    ("silly", Level::TRACE),
];

/// The values of `LOG_FORMAT`.
pub(super) const LOG_FORMATS: Choices<LogFormat> = &[("text", LogFormat::Text), ("json", LogFormat::Json)];

/// The values of `KAFKA_SECURITY_PROTOCOL`.
pub(super) const SECURITY_PROTOCOLS: Choices<&str> =
    &[("plaintext", "plaintext"), ("ssl", "ssl"), ("sasl_plaintext", "sasl_plaintext"), ("sasl_ssl", "sasl_ssl")];

/// The values of `KAFKA_SASL_MECHANISM`.
pub(super) const SASL_MECHANISMS: Choices<&str> =
    &[("PLAIN", "PLAIN"), ("SCRAM-SHA-256", "SCRAM-SHA-256"), ("SCRAM-SHA-512", "SCRAM-SHA-512")];

/// The values of `NATS_CREATE`.
pub(super) const CREATE: Choices<&str> = &[("no", "no"), ("consumer", "consumer"), ("stream", "stream")];

/// The values of `RABBITMQ_DECLARE`.
pub(super) const DECLARE: Choices<&str> = &[("no", "no"), ("quorum", "quorum"), ("classic", "classic")];

/// Names separated by commas, each once.
pub(super) fn list(text: &str) -> Result<Vec<String>, Wrong> {
    let mut names: Vec<String> = Vec::new();
    for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    if names.is_empty() { Err(Wrong::Value) } else { Ok(names) }
}

/// `name=value` on lines or separated by semicolons; blank lines and those that start with `#` are skipped.
pub(super) fn properties(text: &str) -> Result<BTreeMap<String, SecretString>, Wrong> {
    let lines = text.split([';', '\n']).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| match line.split_once('=') {
            Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.trim().into())),
            _ => Err(Wrong::Value),
        })
        .collect()
}

/// One of these, in any case.
pub(super) fn choice<T: Copy>(text: &str, choices: Choices<T>) -> Result<T, Wrong> {
    choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, value)| *value).ok_or(Wrong::Value)
}

/// The names of a choice: `one of a, b, c`.
pub(super) fn names<T>(choices: Choices<T>) -> String {
    let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
    format!("one of {}", names.join(", "))
}

/// True or false, as people write it.
pub(super) fn boolean(text: &str) -> Result<bool, Wrong> {
    const NAMES: Choices<bool> = &[
        ("true", true),
        ("false", false),
        ("yes", true),
        ("no", false),
        ("on", true),
        ("off", false),
        ("1", true),
        ("0", false),
    ];
    choice(text, NAMES)
}

/// The port of a server.
pub(super) fn port(text: &str) -> Result<u16, Wrong> {
    if text.starts_with("tcp://") {
        return Err(Wrong::ServiceLink);
    }
    text.parse().ok().filter(|port| *port != 0).ok_or(Wrong::Value)
}

/// Where to listen. No name but `localhost` is resolved.
pub(super) fn address(text: &str) -> Result<SocketAddr, Wrong> {
    match text.split_once(':') {
        Some(("localhost", port)) => port.parse().map(|port| (Ipv4Addr::LOCALHOST, port).into()).ok(),
        _ => text.parse().ok(),
    }
    .ok_or(Wrong::Value)
}

/// A whole number.
pub(super) fn count(text: &str, range: &RangeInclusive<u64>) -> Result<usize, Wrong> {
    within(text.parse().ok(), range)?.try_into().map_err(|_| Wrong::Value)
}

/// Milliseconds.
pub(super) fn millis(text: &str, range: &RangeInclusive<u64>) -> Result<Duration, Wrong> {
    within(text.parse().ok(), range).map(Duration::from_millis)
}

/// The units of [`bytes`]. A bare `K` or `M` is none of them: it means 1000 to some and 1024 to others.
const UNITS: Choices<u64> = &[
    ("", 1),
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

/// Bytes, or a whole number of a unit, in any case and with or without a space before it.
pub(super) fn bytes(text: &str, range: &RangeInclusive<u64>) -> Result<usize, Wrong> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let unit = choice(unit.trim_start(), UNITS)?;
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    within(bytes, range)?.try_into().map_err(|_| Wrong::Value)
}

/// Bytes in the largest unit that leaves a whole number.
pub(super) fn size(bytes: u64) -> String {
    let unit = UNITS.iter().rfind(|(name, unit)| name.ends_with("iB") && bytes.is_multiple_of(*unit));
    match unit {
        Some((name, unit)) => format!("{} {name}", bytes / unit),
        None => bytes.to_string(),
    }
}

fn within(number: Option<u64>, range: &RangeInclusive<u64>) -> Result<u64, Wrong> {
    number.filter(|number| range.contains(number)).ok_or(Wrong::Value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let any = 0..=u64::MAX;
        for (text, expected) in [
            ("0", 0),
            ("10485760", 10 << 20),
            ("64MiB", 64 << 20),
            ("10 MB", 10_000_000),
            ("1 kib", 1024),
            ("2GB", 2_000_000_000),
            ("7 b", 7),
        ] {
            assert_eq!(bytes(text, &any), Ok(expected), "{text}");
        }
        for text in ["", "MiB", "1.5 MiB", "-1", "1 M", "1 Mi", "1 MiB extra", "99999999999 GiB", "0x10", "1_000"] {
            assert_eq!(bytes(text, &any), Err(Wrong::Value), "{text}");
        }
        assert_eq!(bytes("1 KiB", &(1..=1023)), Err(Wrong::Value));
        assert_eq!([size(1), size(1536), size(1 << 30)], ["1", "1536", "1 GiB"]);
    }

    #[test]
    fn booleans_in_any_case() {
        for text in ["true", "TRUE", "1", "yes", "On"] {
            assert_eq!(boolean(text), Ok(true), "{text}");
        }
        for text in ["false", "False", "0", "no", "OFF"] {
            assert_eq!(boolean(text), Ok(false), "{text}");
        }
        assert_eq!(boolean("enabled"), Err(Wrong::Value));
    }

    #[test]
    fn ports_and_addresses() {
        assert_eq!(port("8123"), Ok(8123));
        assert_eq!(port("tcp://10.0.0.1:8123"), Err(Wrong::ServiceLink));
        for text in ["0", "65536", "-1", "http", "81 23"] {
            assert_eq!(port(text), Err(Wrong::Value), "{text}");
        }
        for (text, expected) in
            [("0.0.0.0:8080", "0.0.0.0:8080"), ("[::1]:0", "[::1]:0"), ("localhost:9", "127.0.0.1:9")]
        {
            assert_eq!(address(text).map(|addr| addr.to_string()), Ok(expected.to_owned()));
        }
        for text in ["8080", ":8080", "example.com:80", "127.0.0.1", "localhost"] {
            assert_eq!(address(text), Err(Wrong::Value), "{text}");
        }
    }

    #[test]
    fn levels_of_the_worker_of_before() {
        let level = |text| choice(text, LOG_LEVELS);
        assert_eq!(
            [level("http"), level("verbose"), level("silly")],
            [Ok(Level::DEBUG), Ok(Level::DEBUG), Ok(Level::TRACE)]
        );
        assert_eq!(level("INFO"), Ok(Level::INFO));
        assert_eq!(level("loud"), Err(Wrong::Value));
    }
}
