use super::share::NoShare;
use crate::http::access::Denied;
use crate::http::probes::json;
use crate::queue::memory::Refused;
use axum::http::StatusCode;
use axum::http::header::{HeaderMap, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use std::net::SocketAddr;
use std::time::Duration;

/// Why a request as a whole got no result. What it had put in the queue may be stored all the same.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error(
        "events are taken only with the token that is set as INGEST_TOKEN, sent as \"Authorization: Bearer TOKEN\""
    )]
    NoToken,
    #[error(
        "the worker listens on {address}, which others can reach, and takes events there only with a token: set \
         INGEST_TOKEN, or set HTTP_ADDR to a loopback address"
    )]
    OffLoopback { address: SocketAddr },
    #[error(
        "the request is for another host, or comes from a page in a browser: pages may send events only where INGEST_TOKEN \
         is set"
    )]
    OtherHost,
    #[error(
        "the body is longer than MAX_EVENT_BYTES, {max} bytes; as NDJSON (Content-Type: application/x-ndjson) the limit \
         is for each line"
    )]
    TooLarge { max: usize },
    #[error("the body broke off: {0}")]
    BrokenOff(axum::Error),
    #[error("the worker holds as much as MAX_IN_FLIGHT_MESSAGES and MAX_IN_FLIGHT_BYTES let it; send this again later")]
    Full,
    #[error("the worker is stopping; send this again when it is back, what is stored already does no harm")]
    Stopping,
    #[error(
        "not all of it was stored within INGEST_TIMEOUT_MS, {} ms; it may still be, and sending it again is harmless",
        .timeout.as_millis()
    )]
    Late { timeout: Duration },
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Refusal::NoToken => StatusCode::UNAUTHORIZED,
            Refusal::OffLoopback { .. } | Refusal::OtherHost => StatusCode::FORBIDDEN,
            Refusal::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::BrokenOff(_) => StatusCode::BAD_REQUEST,
            Refusal::Full => StatusCode::TOO_MANY_REQUESTS,
            Refusal::Stopping | Refusal::Late { .. } => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut headers = HeaderMap::new();
        match self {
            Refusal::NoToken => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Refusal::Full | Refusal::Stopping | Refusal::Late { .. } => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        (self.status(), headers, json(&json!({ "error": self.to_string() }))).into_response()
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::NoToken => Refusal::NoToken,
            Denied::OffLoopback(address) => Refusal::OffLoopback { address },
            Denied::OtherHost => Refusal::OtherHost,
        }
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Full => Refusal::Full,
            Refused::Closed => Refusal::Stopping,
        }
    }
}

impl From<NoShare> for Refusal {
    fn from(NoShare: NoShare) -> Self {
        Refusal::Full
    }
}
