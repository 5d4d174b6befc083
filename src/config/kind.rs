//! The kinds of settings: what each allows, and the place its value goes to.

use super::draft::Draft;
use super::endpoint::Endpoint;
use super::value::{self, Choices, LOG_FORMATS, LOG_LEVELS, QUEUE_TYPES};
use super::{LogFormat, QueueType};
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;
use tracing::Level;

/// Stores a parsed value.
type Set<T> = fn(&mut Draft, T);

/// What a setting allows, and where its value goes.
pub(super) enum Kind {
    /// Text, kept to the letter.
    Text(Set<String>),
    /// Text nobody may see.
    Secret(Set<SecretString>),
    /// A directory.
    Path(Set<PathBuf>),
    /// A file.
    File(Set<PathBuf>),
    /// A server: host or URL.
    Endpoint(Set<Endpoint>),
    /// A TCP port of a server.
    Port(Set<u16>),
    /// Where to listen.
    Address(Set<SocketAddr>),
    /// Yes or no.
    Bool(Set<bool>),
    /// A whole number.
    Count(RangeInclusive<u64>, Set<usize>),
    /// A size.
    Bytes(RangeInclusive<u64>, Set<usize>),
    /// A time in milliseconds.
    Millis(RangeInclusive<u64>, Set<Duration>),
    /// Names, separated by commas; at least one.
    List(Set<Vec<String>>),
    /// One of these words.
    Word(Choices<&'static str>, Set<&'static str>),
    /// Names and values of a driver.
    Properties(Set<BTreeMap<String, SecretString>>),
    /// One of the brokers.
    Queue(Set<QueueType>),
    /// A level of logging.
    Level(Set<Level>),
    /// A format of logging.
    Format(Set<LogFormat>),
}

/// What is wrong with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    /// It is none of what [`Kind::allowed`] says.
    Value,
    /// It is empty.
    Empty,
    /// It is the address of a Service, put there by Kubernetes.
    ServiceLink,
    /// It is a URL with more than host, port and path: what it has there may be a password.
    Private,
}

impl Kind {
    /// Parses a value and puts it in its place.
    pub(super) fn store(&self, draft: &mut Draft, text: &str) -> Result<(), Wrong> {
        match self {
            Kind::Text(set) => set(draft, text.to_owned()),
            Kind::Secret(set) => set(draft, text.into()),
            Kind::Path(set) | Kind::File(set) => set(draft, text.into()),
            Kind::Endpoint(set) => set(draft, Endpoint::parse(text.trim())?),
            Kind::Port(set) => set(draft, value::port(text.trim())?),
            Kind::Address(set) => set(draft, value::address(text.trim())?),
            Kind::Bool(set) => set(draft, value::boolean(text.trim())?),
            Kind::Count(range, set) => set(draft, value::count(text.trim(), range)?),
            Kind::Bytes(range, set) => set(draft, value::bytes(text.trim(), range)?),
            Kind::Millis(range, set) => set(draft, value::millis(text.trim(), range)?),
            Kind::List(set) => set(draft, value::list(text)?),
            Kind::Word(words, set) => set(draft, value::choice(text.trim(), words)?),
            Kind::Properties(set) => set(draft, value::properties(text)?),
            Kind::Queue(set) => set(draft, value::choice(text.trim(), QUEUE_TYPES)?),
            Kind::Level(set) => set(draft, value::choice(text.trim(), LOG_LEVELS)?),
            Kind::Format(set) => set(draft, value::choice(text.trim(), LOG_FORMATS)?),
        }
        Ok(())
    }

    /// What is allowed, to follow "must be".
    pub(super) fn allowed(&self) -> String {
        match self {
            Kind::Text(_) | Kind::Secret(_) => "text".into(),
            Kind::Path(_) => "a directory".into(),
            Kind::File(_) => "a file".into(),
            Kind::Endpoint(_) => "a host name or an http(s) URL".into(),
            Kind::Port(_) => "a port from 1 to 65535".into(),
            Kind::Address(_) => "an IP address and a port, like 127.0.0.1:8080".into(),
            Kind::Bool(_) => "true or false (also yes, no, on, off, 1, 0)".into(),
            Kind::Count(range, _) => format!("a whole number from {} to {}", range.start(), range.end()),
            Kind::Bytes(range, _) => format!(
                "bytes or a size like 512 KiB or 10 MB, from {} to {}",
                value::size(*range.start()),
                value::size(*range.end())
            ),
            Kind::Millis(range, _) => format!("whole milliseconds from {} to {}", range.start(), range.end()),
            Kind::List(_) => "names separated by commas".into(),
            Kind::Word(words, _) => value::names(words),
            Kind::Properties(_) => "name=value, separated by semicolons or line ends".into(),
            Kind::Queue(_) => value::names(QUEUE_TYPES),
            Kind::Level(_) => value::names(LOG_LEVELS),
            Kind::Format(_) => value::names(LOG_FORMATS),
        }
    }

    /// Whether a number of the TOML file is a value of it. A number is none for text: TOML has already respelled it
    /// (`1_000`, `0x10`), so that what was meant is lost.
    pub(super) fn takes_numbers(&self) -> bool {
        matches!(self, Kind::Port(_) | Kind::Count(..) | Kind::Bytes(..) | Kind::Millis(..))
    }

    /// Whether a boolean of the TOML file is a value of it.
    pub(super) fn takes_booleans(&self) -> bool {
        matches!(self, Kind::Bool(_))
    }
}
