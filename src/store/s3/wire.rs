//! What carries requests that are signed by ourselves: connections that are kept open, with TLS or without.

use super::failed::Failed;
use crate::aws::{CONNECT_TIMEOUT, IDLE_TIMEOUT, root_cause, unsent};
use crate::tls;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::path::Path;

/// A pool of connections.
#[derive(Debug)]
pub(super) struct Wire(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

impl Wire {
    /// To the server at `url`, whom the system or the certificates in `ca_file` vouch for. Speaks to nobody yet.
    pub(super) fn new(url: &str, ca_file: Option<&Path>) -> Result<Self, String> {
        let connector = tls::connector(url, "S3_CA_FILE", ca_file, CONNECT_TIMEOUT)?;
        let mut pool = Client::builder(TokioExecutor::new());
        pool.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE_TIMEOUT);
        Ok(Wire(pool.build(connector)))
    }

    /// Answers with an answer of any kind, whose body has not been read. There is no limit of time but that of connecting.
    pub(super) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Failed> {
        let answer = self.0.request(request).await;
        answer.map_err(|error| Failed::Unreached(unsent(&error), root_cause(&error)))
    }
}
