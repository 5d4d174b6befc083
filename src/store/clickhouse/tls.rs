//! The HTTP client: connect timeout, TLS with the certificates of the system and those that were named.

use super::fault::Fault;
use super::genuine::OnlyGenuine;
use crate::tls;
use clickhouse::Client;
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::rt::TokioExecutor;
use std::path::Path;
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Below the 10 s (before 23.6: 3 s) after which the server closes an idle connection by its defaults, or a request
/// may run into the closing: <https://clickhouse.com/docs/operations/server-configuration-parameters/settings#keep_alive_timeout>.
const IDLE: Duration = Duration::from_millis(2500);

/// A client for the server at `url`, which trusts the system's certificates and those in `ca_file`. Speaks to nobody yet.
pub(super) fn client(url: &str, ca_file: Option<&Path>) -> Result<Client, Fault> {
    let connector = tls::connector(url, "CLICKHOUSE_CA_FILE", ca_file, CONNECT_TIMEOUT).map_err(Fault::us)?;
    let http = HyperClient::builder(TokioExecutor::new()).pool_idle_timeout(IDLE).build(OnlyGenuine(connector));
    Ok(Client::with_http_client(http))
}
