//! What RabbitMQ's errors mean, in one sentence each: what failed on what, and what to do about it.

use super::connect::Stage;
use super::hosts::Host;
use crate::causes;
use crate::hidden::without_secrets;
use crate::queue::{QueueError, tls};
use lapin::{Error, ErrorKind};

const ACCESS_REFUSED: u16 = 403;
const NOT_FOUND: u16 = 404;
const RESOURCE_LOCKED: u16 = 405;
const PRECONDITION_FAILED: u16 = 406;
const NOT_ALLOWED: u16 = 530;

const OUR_CERTIFICATE: &str = "RABBITMQ_CERT_FILE and RABBITMQ_KEY_FILE";

/// Code and text of what the server itself said.
fn said(error: &Error) -> Option<(u16, &str)> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => Some((error.get_id(), error.get_message().as_str())),
        _ => None,
    }
}

/// Whether the queue is not there.
pub(super) fn is_missing(error: &Error) -> bool {
    matches!(said(error), Some((NOT_FOUND, _)))
}

/// Whether it is there with other arguments, or just now came to be so.
pub(super) fn is_other(error: &Error) -> bool {
    matches!(said(error), Some((PRECONDITION_FAILED, _)))
}

/// The cause, without the words of the driver around it.
fn cause(error: &Error) -> String {
    let text = match (said(error), error.kind()) {
        (Some((_, text)), _) => text.to_owned(),
        (None, ErrorKind::IOError(error)) => causes::chain(&**error),
        (None, _) => error.to_string(),
    };
    without_secrets(&text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Why there is no connection. `None`: nobody answered in time.
pub(super) fn not_connected(host: &Host, stage: Stage, error: Option<Error>) -> QueueError {
    let sentence = match error.as_ref().and_then(said) {
        Some((ACCESS_REFUSED, _)) if host.is_external() => external(host),
        Some((ACCESS_REFUSED, _)) => {
            format!("RabbitMQ at {host} refuses the login of {}; look at user and password in AMQP_URL", host.user())
        }
        Some((NOT_ALLOWED, _)) => format!(
            "RabbitMQ at {host} does not let {} into the vhost {:?}; look at the vhost in AMQP_URL{}",
            host.user(),
            host.vhost(),
            if host.vhost().is_empty() {
                " (a slash at its end names an empty one: leave it out, or write /%2f)"
            } else {
                ""
            }
        ),
        Some(_) => format!("RabbitMQ at {host} does not take our connection"),
        None => unanswered(host, stage, error.as_ref()),
    };
    let because = error.as_ref().map_or_else(|| "no answer in time".to_owned(), cause);
    QueueError::new(sentence).because(because)
}

fn unanswered(host: &Host, stage: Stage, error: Option<&Error>) -> String {
    match stage {
        Stage::Name => format!("the name of RabbitMQ at {host} cannot be resolved; look at AMQP_URL"),
        Stage::Tcp => format!("RabbitMQ at {host} cannot be reached; look at AMQP_URL, and whether it runs"),
        Stage::Tls => match error.and_then(tls_error).and_then(wrong_certificate) {
            Some(wrong) => format!("RabbitMQ at {host} {wrong}"),
            None => format!("TLS with RabbitMQ at {host} fails; look at AMQP_URL: does this port speak TLS (amqps)?"),
        },
        // With TLS 1.3 a server judges our certificate after we believe that all is done.
        Stage::Login if error.and_then(tls_error).is_some() => {
            format!(
                "RabbitMQ at {host} does not accept our certificate, or that we have none; look at {OUR_CERTIFICATE}"
            )
        }
        // A server without that mechanism hangs up.
        Stage::Login if host.is_external() => external(host),
        Stage::Login if host.is_tls() => format!(
            "RabbitMQ at {host} does not answer over TLS; look at AMQP_URL, and at RABBITMQ_CERT_FILE if it asks for a \
             certificate"
        ),
        Stage::Login => format!(
            "RabbitMQ at {host} does not answer; look at AMQP_URL: is this a port of AMQP, and without TLS (else amqps)?"
        ),
    }
}

fn external(host: &Host) -> String {
    format!(
        "RabbitMQ at {host} refuses our login by certificate; look at RABBITMQ_CERT_FILE, and whether the server has the \
         mechanism EXTERNAL and a user of that name"
    )
}

fn tls_error(error: &Error) -> Option<&rustls::Error> {
    let ErrorKind::IOError(error) = error.kind() else { return None };
    tls::said(&**error)
}

fn wrong_certificate(error: &rustls::Error) -> Option<String> {
    tls::wrong_certificate(error, "RABBITMQ_CA_FILE", "AMQP_URL", OUR_CERTIFICATE)
}

/// The connection was there, and is not any more.
pub(super) fn lost(host: &Host, error: Option<&Error>) -> QueueError {
    let lost = QueueError::new(format!("the connection to RabbitMQ at {host} is lost"));
    match error {
        Some(error) => lost.because(cause(error)),
        None => lost,
    }
}

/// Why a queue cannot be consumed, though the connection stands.
pub(super) fn not_consuming(host: &Host, queue: &str, error: &Error) -> QueueError {
    let sentence = match said(error) {
        Some((ACCESS_REFUSED, _)) => format!(
            "RabbitMQ at {host} does not let {} use the queue {queue}; grant read on it{}",
            host.user(),
            " (configure too, if RABBITMQ_DECLARE is to create it), or set RABBITMQ_QUEUES"
        ),
        Some((RESOURCE_LOCKED, _)) => {
            format!("the queue {queue} on RabbitMQ at {host} is exclusive to another connection; set RABBITMQ_QUEUES")
        }
        Some((PRECONDITION_FAILED, text)) if text.contains("timed out") => format!(
            "RabbitMQ at {host} closed the channel of {queue}, as a message was held for longer than its consumer_timeout; \
             set RABBITMQ_CONSUMER_TIMEOUT_MS to what it is there"
        ),
        _ => format!("the queue {queue} on RabbitMQ at {host} cannot be consumed"),
    };
    QueueError::new(sentence).because(cause(error))
}

/// The broker ended a consumer: the queue was deleted, or moved to another node.
pub(super) fn cancelled(host: &Host, queue: &str) -> QueueError {
    QueueError::new(format!("RabbitMQ at {host} ended our consumer of {queue}"))
}

/// None of what is to be consumed exists.
pub(super) fn missing(host: &str, queues: &[&str]) -> QueueError {
    let (what, them) = if queues.len() == 1 { ("no queue", "it") } else { ("none of the queues", "them") };
    QueueError::new(format!(
        "RabbitMQ at {host} has {what} {}; create {them}, or set RABBITMQ_QUEUES or RABBITMQ_DECLARE",
        queues.join(", ")
    ))
}

/// Acks did not leave.
pub(super) fn not_acked(host: &Host, queue: &str, error: &Error) -> QueueError {
    QueueError::new(format!("RabbitMQ at {host} was not told that messages of {queue} are stored"))
        .because(cause(error))
}

/// A message was not published.
pub(super) fn not_published(host: &Host, queue: &str, error: &Error) -> QueueError {
    QueueError::new(format!("RabbitMQ at {host} did not confirm a message to the queue {queue}")).because(cause(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::rabbitmq::hosts::Hosts;
    use lapin::protocol::AMQPError;
    use std::io;

    fn host(url: &str) -> Host {
        let mut settings = crate::config::Config::default().rabbitmq;
        settings.url = url.into();
        Hosts::new(&settings).unwrap().all.remove(0)
    }

    fn protocol(code: u16, text: &str) -> Error {
        ErrorKind::ProtocolError(AMQPError::from_id(code, text.into()).unwrap()).into()
    }

    fn chain(error: QueueError) -> String {
        causes::chain(&error)
    }

    #[test]
    fn what_the_server_says() {
        let host = host("amqp://worker:secret@rabbit/");
        let refused = protocol(403, "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN.");
        assert_eq!(
            chain(not_connected(&host, Stage::Login, Some(refused))),
            "RabbitMQ at rabbit:5672 refuses the login of worker; look at user and password in AMQP_URL: ACCESS_REFUSED - \
             Login was refused using authentication mechanism PLAIN."
        );
        let vhost = protocol(530, "NOT_ALLOWED - vhost  not found");
        let said = chain(not_connected(&host, Stage::Login, Some(vhost)));
        assert!(said.contains("into the vhost \"\"; look at the vhost in AMQP_URL (a slash at its end"), "{said}");
        let held = protocol(406, "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out.");
        let said = chain(not_consuming(&host, "q", &held));
        assert!(said.contains("set RABBITMQ_CONSUMER_TIMEOUT_MS"), "{said}");
        assert!(is_other(&held) && !is_missing(&held) && is_missing(&protocol(404, "NOT_FOUND")));
    }

    #[test]
    fn who_does_not_answer() {
        let (plain, tls) = (host("amqp://rabbit"), host("amqps://rabbit"));
        let io = |kind: io::ErrorKind| Some(Error::from(io::Error::from(kind)));
        let said = chain(not_connected(&plain, Stage::Tcp, io(io::ErrorKind::ConnectionRefused)));
        assert!(
            said.contains("rabbit:5672 cannot be reached; look at AMQP_URL") && said.ends_with("refused"),
            "{said}"
        );
        assert!(chain(not_connected(&plain, Stage::Login, None)).ends_with("(else amqps)?: no answer in time"));
        let certificate = |error: rustls::Error| {
            let error = Error::from(io::Error::new(io::ErrorKind::InvalidData, error));
            chain(not_connected(&tls, Stage::Tls, Some(error)))
        };
        let unknown = certificate(rustls::CertificateError::UnknownIssuer.into());
        assert!(unknown.contains("name that CA in RABBITMQ_CA_FILE"), "{unknown}");
        let name = certificate(rustls::CertificateError::NotValidForName.into());
        assert!(name.contains("for another name"), "{name}");
        let alert = certificate(rustls::Error::AlertReceived(rustls::AlertDescription::CertificateRequired));
        assert!(alert.contains("RABBITMQ_CERT_FILE"), "{alert}");
    }
}
