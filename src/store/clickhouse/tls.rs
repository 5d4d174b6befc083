//! The HTTP client: connect timeout, TLS with the certificates of the system and those that were named.

use super::fault::Fault;
use super::genuine::OnlyGenuine;
use crate::tls;
use clickhouse::Client;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use std::path::Path;
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Below the 10 s (before 23.6: 3 s) after which the server closes an idle connection by its defaults, or a request
/// may run into the closing: <https://clickhouse.com/docs/operations/server-configuration-parameters/settings#keep_alive_timeout>.
const IDLE: Duration = Duration::from_millis(2500);
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// A client that trusts the system's certificates and those in `ca_file`. Speaks to nobody yet.
pub(super) fn client(ca_file: Option<&Path>) -> Result<Client, Fault> {
    let tls = tls::trusting("CLICKHOUSE_CA_FILE", ca_file).map_err(Fault::us)?.with_no_client_auth();
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(KEEP_ALIVE));
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let https: HttpsConnector<HttpConnector> =
        HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp);
    let http = HyperClient::builder(TokioExecutor::new()).pool_idle_timeout(IDLE).build(OnlyGenuine(https));
    Ok(Client::with_http_client(http))
}
