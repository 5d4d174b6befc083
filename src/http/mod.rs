//! The HTTP side of the worker: probes, metrics, the status page and, with the memory queue, the way in for events.

mod access;
pub mod ingest;
mod page;
mod probes;
mod server;

use crate::health::Health;
use crate::status::Status;
use access::Access;
use axum::Router;
use axum::http::{Method, StatusCode, Uri};
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::registry::Registry;
use secrecy::SecretString;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;

/// What the endpoints answer from.
#[derive(Debug, Clone)]
pub struct AppState {
    /// For `/healthz` and `/readyz`.
    pub health: Health,
    /// For `/metrics`.
    pub registry: Arc<Registry>,
    /// For the status page.
    pub status: Status,
    /// `STATUS_TOKEN`: what the status page asks for, and `/readyz` for its errors. Without one both are shown on loopback only.
    pub status_token: Option<SecretString>,
    /// For `/ingest`, which is there only with the memory queue.
    pub ingest: Option<ingest::Ingest>,
}

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {}", why(.cause))]
pub struct BindError {
    address: String,
    cause: io::Error,
}

fn why(cause: &io::Error) -> String {
    match cause.kind() {
        ErrorKind::AddrInUse => "the port is in use; stop what uses it, or set HTTP_ADDR to another address".to_owned(),
        _ => format!("{cause}; HTTP_ADDR sets another address"),
    }
}

/// Listens on `address`, a host or IP address and a port.
pub async fn bind(address: &str) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|cause| BindError { address: address.to_owned(), cause })
}

/// Serves until `shutdown`, and then until the requests that are under way are answered. How long those may take is
/// for the caller to bound: a message that was taken in is answered when it is acked or its queue is closed, but a
/// client may also never finish what it is sending.
pub async fn serve(
    listener: TcpListener,
    state: AppState,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let routes = routes(state, listener.local_addr()?);
    server::serve(listener, routes, shutdown).await;
    Ok(())
}

fn routes(state: AppState, address: SocketAddr) -> Router {
    let access = Arc::new(Access::new(state.status_token.as_ref(), address));
    let routes = Router::new()
        .route("/healthz", get(probes::healthz))
        .route("/metrics", get(probes::metrics))
        .with_state((state.health.clone(), state.registry))
        .route("/readyz", get(probes::readyz).with_state((state.health.clone(), access.clone())))
        .merge(page::routes(state.status, access));
    let routes = match state.ingest {
        Some(ingest) => routes.merge(ingest.routes(state.health, address)),
        None => routes,
    };
    routes.fallback(no_such_path).method_not_allowed_fallback(no_such_method)
}

async fn no_such_path(uri: Uri) -> impl IntoResponse {
    (StatusCode::NOT_FOUND, format!("there is nothing at {}\n", uri.path()))
}

async fn no_such_method(method: Method, uri: Uri) -> impl IntoResponse {
    (StatusCode::METHOD_NOT_ALLOWED, format!("{} does not take {method}\n", uri.path()))
}

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod tests;
