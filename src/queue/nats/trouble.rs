//! What keeps messages from coming, in one sentence each: what failed on what, and what to do about it.

use super::api::{PREFIX, Refusal};
use super::connect::Link;
use super::servers::{Login, Server};
use crate::causes;
use crate::config::Nats;
use crate::hidden::without_secrets;
use crate::queue::{QueueError, tls};
use async_nats::{ConnectError, ConnectErrorKind};
use std::error::Error;
use std::io;

const OUR_CERTIFICATE: &str = "NATS_CERT_FILE and NATS_KEY_FILE";

/// Where we are, and what we look for there.
pub(super) struct Place<'a> {
    pub(super) link: &'a Link,
    pub(super) settings: &'a Nats,
}

/// Why there is no connection.
pub(super) fn not_connected(server: &Server, error: &ConnectError) -> QueueError {
    let because = Error::source(error).map_or_else(|| error.to_string(), |source| one_line(&causes::chain(source)));
    let io = causes::causes(error).find_map(|part| part.downcast_ref::<io::Error>());
    let refused = io.is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    let sentence = if let Some(wrong) = tls::said(error) {
        match tls::wrong_certificate(wrong, "NATS_CA_FILE", "NATS_URL", OUR_CERTIFICATE) {
            Some(wrong) => format!("NATS at {server} {wrong}"),
            None => no_tls(server),
        }
    } else {
        match error.kind() {
            ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
                let (who, look_at) = server.login.describe();
                let what = if matches!(server.login, Login::Nobody) { "set" } else { "look at" };
                format!("NATS at {server} refuses {who}; {what} {look_at}")
            }
            ConnectErrorKind::Tls => no_tls(server),
            ConnectErrorKind::Dns => format!("the name of NATS at {server} cannot be resolved; look at NATS_URL"),
            _ if refused => format!("NATS at {server} cannot be reached; look at NATS_URL, and whether it runs"),
            _ => format!(
                "NATS at {server} does not answer; look at NATS_URL: is this a port of NATS? If it asks for a certificate, look \
                 at {OUR_CERTIFICATE}"
            ),
        }
    };
    QueueError::new(sentence).because(because)
}

fn no_tls(server: &Server) -> String {
    format!("TLS with NATS at {server} fails; look at NATS_URL: does this server speak TLS?")
}

pub(super) fn one_line(text: &str) -> String {
    without_secrets(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// It answers, and cannot do what we need.
pub(super) fn too_old(server: &Server, version: &str) -> QueueError {
    QueueError::new(format!("NATS at {server} is of version {version}, and the worker needs 2.9 or newer"))
}

/// The connection was there, and is not any more.
pub(super) fn lost(server: &Server) -> QueueError {
    QueueError::new(format!("the connection to NATS at {server} is lost"))
}

/// Acks and the like did not leave.
pub(super) fn not_said(error: impl Into<Box<dyn Error + Send + Sync>>) -> QueueError {
    QueueError::new("NATS was not told yet what became of messages; it is said again as soon as it listens")
        .because(error)
}

impl Place<'_> {
    /// Of a stream that cannot be consumed.
    pub(super) fn no_stream(&self, refusal: Refusal) -> QueueError {
        let stream = &self.settings.stream;
        match refusal {
            Refusal::Missing => QueueError::new(format!(
                "NATS at {} has no stream {stream}; create it, or set NATS_STREAM or NATS_CREATE",
                self.link.server
            )),
            other => self.refused(&format!("the stream {stream}"), other),
        }
    }

    /// Of a consumer that cannot be used.
    pub(super) fn no_consumer(&self, refusal: Refusal) -> QueueError {
        let Nats { stream, consumer, .. } = self.settings;
        match refusal {
            Refusal::Missing => QueueError::new(format!(
                "the stream {stream} on NATS at {} has no consumer {consumer}; create it, or set NATS_CONSUMER or NATS_CREATE",
                self.link.server
            )),
            other => self.refused(&format!("the consumer {consumer} of the stream {stream}"), other),
        }
    }

    fn refused(&self, what: &str, refusal: Refusal) -> QueueError {
        let server = &self.link.server;
        match (refusal, self.link.refused()) {
            // Whoever must not ask is told so beside, and gets no answer.
            (Refusal::Silence | Refusal::NoJetStream, Some(words)) if words.contains(PREFIX) => {
                let (_, look_at) = server.login.describe();
                QueueError::new(format!(
                    "NATS at {server} does not let us use {what}; grant it (docs/brokers.md says what is needed), or look at \
                     {look_at}"
                ))
                .because(one_line(&words))
            }
            (Refusal::NoJetStream, _) => QueueError::new(format!(
                "NATS at {server} has no JetStream for us; enable it on the server and for our account, or look at NATS_URL"
            )),
            (Refusal::Silence, _) => {
                QueueError::new(format!("NATS at {server} does not answer about {what}")).because("no answer in time")
            }
            (Refusal::Missing, _) => QueueError::new(format!("NATS at {server} does not have {what} any more")),
            (Refusal::Exists, _) => QueueError::new(format!("NATS at {server} has {what} already, and otherwise")),
            (Refusal::Other(words), _) => {
                QueueError::new(format!("{what} on NATS at {server} cannot be used")).because(one_line(&words))
            }
        }
    }

    /// Of what is there, and would break a promise.
    pub(super) fn unfit(&self, kind: &str, name: &str, why: &str) -> QueueError {
        QueueError::new(format!("the {kind} {name} on NATS at {} {why}", self.link.server))
    }

    /// Of a request for messages that was refused.
    pub(super) fn no_messages(&self, words: &str) -> QueueError {
        let Nats { stream, consumer, .. } = self.settings;
        QueueError::new(format!(
            "the consumer {consumer} of the stream {stream} on NATS at {} gives no messages",
            self.link.server
        ))
        .because(one_line(words))
    }
}
