//! `POST /ingest`: events into the memory queue, answered only once they are durable.

mod intake;
mod refusal;
mod report;
mod share;

use crate::event::kind_hint;
use crate::health::Health;
use crate::http::access::Access;
use crate::ndjson::Lines;
use crate::queue::memory::MemoryQueue;
use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::routing::post;
use bytes::Bytes;
use futures_util::StreamExt;
use intake::Intake;
use refusal::Refusal;
use report::Report;
use secrecy::SecretString;
use share::{Share, Shares};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Takes events in over HTTP.
#[derive(Debug, Clone)]
pub struct Ingest {
    queue: MemoryQueue,
    settings: Settings,
    shares: Shares,
    origin: Arc<str>,
}

/// Who may send how much.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `INGEST_TOKEN`: the bearer token to ask for. Without one, only a loopback address takes events.
    pub token: Option<SecretString>,
    /// `MAX_EVENT_BYTES`.
    pub max_event_bytes: usize,
    /// `MAX_IN_FLIGHT_BYTES`: also bounds what all requests together have read and not put in the queue yet.
    pub max_in_flight_bytes: usize,
    /// `INGEST_TIMEOUT_MS`: how long a request may take, from its head to its answer.
    pub timeout: Duration,
}

#[derive(Debug)]
struct Endpoint {
    ingest: Ingest,
    access: Access,
    health: Health,
}

impl Ingest {
    /// Puts what it takes into `queue`.
    pub fn new(queue: MemoryQueue, settings: Settings) -> Self {
        let shares = Shares::new(settings.max_in_flight_bytes.max(settings.max_event_bytes));
        Ingest { queue, settings, shares, origin: "ingest".into() }
    }

    /// The route, for a server that listens on `address` and takes nothing any more while it drains.
    pub(super) fn routes(self, health: Health, address: SocketAddr) -> Router {
        let access = Access::new(self.settings.token.as_ref(), address);
        let endpoint = Endpoint { ingest: self, access, health };
        Router::new().route("/ingest", post(handle)).with_state(Arc::new(endpoint))
    }

    /// One body, one message.
    async fn take_body(&self, body: Body, mut intake: Intake) -> Result<Report, Refusal> {
        let max = self.settings.max_event_bytes;
        // The Content-Length, where there is one.
        let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        if announced > max {
            return Err(Refusal::TooLarge { max });
        }
        let mut share = self.share()?;
        share.cover(announced)?;
        let mut whole = Vec::with_capacity(announced);
        let mut chunks = body.into_data_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(Refusal::BrokenOff)?;
            let bytes = whole.len() + chunk.len();
            if bytes > max {
                return Err(Refusal::TooLarge { max });
            }
            share.cover(bytes)?;
            whole.extend_from_slice(&chunk);
        }
        intake.put_body(Bytes::from(whole.into_boxed_slice())).await?;
        drop(share);
        intake.settled().await
    }

    /// Each line one message, put in the queue as soon as it is read.
    async fn take_lines(&self, body: Body, mut intake: Intake) -> Result<Report, Refusal> {
        let mut share = self.share()?;
        let mut lines = Lines::new(self.settings.max_event_bytes);
        let mut chunks = body.into_data_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(Refusal::BrokenOff)?;
            share.cover(lines.held() + chunk.len())?;
            let mut rest = &chunk[..];
            while let Some(line) = lines.next(&mut rest) {
                intake.put_line(line).await?;
            }
        }
        if let Some(line) = lines.finish() {
            intake.put_line(line).await?;
        }
        drop(share);
        intake.settled().await
    }

    fn share(&self) -> Result<Share, Refusal> {
        Ok(self.shares.take()?)
    }
}

async fn handle(
    State(endpoint): State<Arc<Endpoint>>,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Report, Refusal> {
    let Endpoint { ingest, access, health } = &*endpoint;
    access.check(&headers)?;
    if health.draining() {
        return Err(Refusal::Stopping);
    }
    let word = query.iter().find(|(name, _)| name == "type").map(|(_, word)| word.as_str());
    let intake = Intake::new(ingest.queue.clone(), ingest.origin.clone(), kind_hint(word, ""));
    let report = async {
        if is_ndjson(&headers) { ingest.take_lines(body, intake).await } else { ingest.take_body(body, intake).await }
    };
    let timeout = ingest.settings.timeout;
    tokio::time::timeout(timeout, report).await.unwrap_or(Err(Refusal::Late { timeout }))
}

fn is_ndjson(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    ["application/x-ndjson", "application/ndjson", "application/jsonl"]
        .iter()
        .any(|name| essence.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests;
