//! Why there was no answer, from the errors of sockets, TLS and HTTP.

use crate::causes::causes;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::{ConnectorError, SdkError};
use rustls::{AlertDescription, CertificateError};
use std::error::Error;
use std::io::{self, ErrorKind};

/// Why there was no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreached {
    /// Nothing listens there.
    Refused,
    /// The name has no address.
    Unresolved,
    /// No connection came about in time.
    NoConnection,
    /// There was a connection, and no answer in time.
    Late,
    /// The connection broke, before the answer or in it.
    Broken,
    /// The very first request was cut off, without TLS: many servers do so where they expect it.
    HungUp,
    /// TLS was asked for and something else came back.
    NotTls,
    /// The certificate is signed by nobody we trust.
    UnknownIssuer,
    /// The certificate is for another name.
    WrongName,
    /// The certificate is not valid now.
    Expired,
    /// TLS failed in another way.
    Tls,
    /// What came back is not HTTP.
    NotHttp,
    /// The request could not even be made.
    Unsendable,
    /// None of the above.
    Unknown,
}

/// Sorts an error that is no answer of the server.
pub(crate) fn unreached<E: Error + 'static>(error: &SdkError<E, HttpResponse>) -> Unreached {
    if let Some(known) = by_causes(error) {
        return known;
    }
    match error {
        SdkError::ConstructionFailure(_) => Unreached::Unsendable,
        SdkError::ResponseError(_) => Unreached::Broken,
        SdkError::DispatchFailure(failure) => failure.as_connector_error().map_or(Unreached::Unknown, by_connector),
        _ => Unreached::Unknown,
    }
}

/// The same for what was sent without the SDK.
pub(crate) fn unsent(error: &hyper_util::client::legacy::Error) -> Unreached {
    if let Some(known) = by_causes(error) {
        return known;
    }
    match causes(error).find_map(|cause| cause.downcast_ref::<hyper::Error>()) {
        Some(error) if error.is_user() => Unreached::Unsendable,
        Some(error) if error.is_closed() || error.is_canceled() || error.is_incomplete_message() => Unreached::Broken,
        Some(_) => Unreached::NotHttp,
        None if error.is_connect() => Unreached::NoConnection,
        None => Unreached::Broken,
    }
}

fn by_causes(error: &(dyn Error + 'static)) -> Option<Unreached> {
    if let Some(tls) = causes(error).find_map(|cause| cause.downcast_ref::<rustls::Error>()) {
        return Some(by_tls(tls));
    }
    causes(error).filter_map(|cause| cause.downcast_ref::<io::Error>()).last().and_then(by_io)
}

/// The same for what broke off in the middle of a body.
pub(crate) fn broken_body(error: &(dyn Error + 'static)) -> Unreached {
    let io = causes(error).filter_map(|cause| cause.downcast_ref::<io::Error>()).last();
    io.and_then(by_io).unwrap_or(Unreached::Broken)
}

fn by_io(error: &io::Error) -> Option<Unreached> {
    Some(match error.kind() {
        ErrorKind::ConnectionRefused => Unreached::Refused,
        ErrorKind::TimedOut | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => Unreached::NoConnection,
        ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::BrokenPipe
        | ErrorKind::NotConnected
        | ErrorKind::UnexpectedEof => Unreached::Broken,
        // The resolver of the system has no kind of its own.
        _ if error.to_string().contains("lookup address") => Unreached::Unresolved,
        _ => return None,
    })
}

fn by_tls(error: &rustls::Error) -> Unreached {
    match error {
        rustls::Error::InvalidMessage(_) => Unreached::NotTls,
        rustls::Error::InvalidCertificate(why) => match why {
            CertificateError::UnknownIssuer => Unreached::UnknownIssuer,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Unreached::WrongName,
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Unreached::Expired,
            _ => Unreached::Tls,
        },
        rustls::Error::AlertReceived(AlertDescription::UnrecognisedName) => Unreached::WrongName,
        _ => Unreached::Tls,
    }
}

/// The SDK's own sorting: what it has no word for is what hyper could not parse.
fn by_connector(error: &ConnectorError) -> Unreached {
    if error.is_timeout() {
        Unreached::NoConnection
    } else if error.is_user() {
        Unreached::Unsendable
    } else if error.is_io() || error.as_other().is_some() {
        Unreached::Broken
    } else {
        Unreached::NotHttp
    }
}

/// What lies at the bottom of an error, in one line. What is above it says only that a request failed.
pub(crate) fn root_cause(error: &(dyn Error + 'static)) -> String {
    let text = causes(error).last().unwrap_or(error).to_string();
    text.lines().next().unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets() {
        for (kind, expected) in [
            (ErrorKind::ConnectionRefused, Some(Unreached::Refused)),
            (ErrorKind::ConnectionReset, Some(Unreached::Broken)),
            (ErrorKind::TimedOut, Some(Unreached::NoConnection)),
            (ErrorKind::InvalidData, None),
        ] {
            assert_eq!(by_io(&io::Error::from(kind)), expected);
        }
        let dns = io::Error::other("failed to lookup address information: Name or service not known");
        assert_eq!(by_io(&dns), Some(Unreached::Unresolved));
    }

    #[test]
    fn certificates() {
        let of = |why| by_tls(&rustls::Error::InvalidCertificate(why));
        assert_eq!(of(CertificateError::UnknownIssuer), Unreached::UnknownIssuer);
        assert_eq!(of(CertificateError::NotValidForName), Unreached::WrongName);
        assert_eq!(of(CertificateError::Expired), Unreached::Expired);
        assert_eq!(of(CertificateError::Revoked), Unreached::Tls);
    }

    #[test]
    fn wrapped_causes_are_found() {
        let inner =
            io::Error::new(ErrorKind::InvalidData, rustls::Error::InvalidCertificate(CertificateError::Expired));
        let error = io::Error::other(inner);
        assert!(causes(&error).any(|cause| cause.is::<rustls::Error>()));
        assert!(root_cause(&error).contains("xpired"), "{}", root_cause(&error));
    }
}
