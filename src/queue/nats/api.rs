//! Questions to JetStream, and what its answers mean.

use super::connect::Link;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::RequestErrorKind;
use async_nats::jetstream::response::Response;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What subjects of JetStream begin with.
pub(super) const PREFIX: &str = "$JS.API";

/// Why there is no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// What is asked about does not exist.
    Missing,
    /// What is to be created is there, and otherwise.
    Exists,
    /// The server, or our account, has no JetStream.
    NoJetStream,
    /// No answer in time. Who is not allowed to ask gets none.
    Silence,
    /// In the server's words, or the driver's.
    Other(String),
}

/// Asks, and waits for the answer.
pub(super) async fn ask<T: DeserializeOwned>(link: &Link, what: String, with: &impl Serialize) -> Result<T, Refusal> {
    match link.jetstream.request(what, with).await {
        Ok(Response::Ok(answer)) => Ok(answer),
        Ok(Response::Err { error }) => Err(match error.error_code() {
            ErrorCode::STREAM_NOT_FOUND | ErrorCode::CONSUMER_NOT_FOUND => Refusal::Missing,
            ErrorCode::STREAM_NAME_EXIST | ErrorCode::CONSUMER_NAME_EXIST | ErrorCode::CONSUMER_ALREADY_EXISTS => {
                Refusal::Exists
            }
            ErrorCode::JETSTREAM_NOT_ENABLED | ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT => Refusal::NoJetStream,
            _ => Refusal::Other(error.to_string()),
        }),
        Err(error) => Err(match error.kind() {
            RequestErrorKind::NoResponders => Refusal::NoJetStream,
            RequestErrorKind::TimedOut => Refusal::Silence,
            RequestErrorKind::InvalidSubject | RequestErrorKind::Other => Refusal::Other(error.to_string()),
        }),
    }
}
