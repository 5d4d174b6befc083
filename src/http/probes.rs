use super::access::Access;
use crate::health::Health;
use crate::metrics;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use prometheus_client::registry::Registry;
use std::sync::Arc;

type Probed = State<(Health, Arc<Registry>)>;

/// Whether the worker's own loops make progress. Never about a dependency: restarting the worker repairs none.
pub(super) async fn healthz(State((health, _)): Probed) -> Response {
    let stuck = health.stuck();
    if stuck.is_empty() {
        return "ok\n".into_response();
    }
    let stuck: Vec<String> =
        stuck.iter().map(|(name, silence)| format!("{name} silent for {} s", silence.as_secs())).collect();
    (StatusCode::SERVICE_UNAVAILABLE, format!("stuck: {}\n", stuck.join(", "))).into_response()
}

/// Whether the dependencies answer and the worker is not stopping. Why not is for those only who may see the status page.
pub(super) async fn readyz(State((health, access)): State<(Health, Arc<Access>)>, headers: HeaderMap) -> Response {
    let mut readiness = health.readiness();
    if access.check_browser(&headers).is_err() {
        readiness.hide_errors();
    }
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, json(&readiness)).into_response()
}

pub(super) async fn metrics(State((_, registry)): Probed) -> Response {
    match metrics::text(&registry) {
        Ok(text) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written as text\n").into_response(),
    }
}

/// An answer of JSON.
pub(super) fn json(body: &impl serde::Serialize) -> Response {
    // What is answered here is made of strings, numbers and lists, which cannot fail to serialize.
    ([(CONTENT_TYPE, "application/json")], serde_json::to_vec(body).unwrap_or_default()).into_response()
}
