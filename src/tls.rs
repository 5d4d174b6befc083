//! TLS, as we speak it to stores and brokers.

use crate::ca_file::CaFile;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::client::WantsClientCert;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A peer that vanished is noticed on idle connections too.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// A configuration that lacks nothing but what we ourselves are known by. Trusted are the system's certificates and those of
/// `file`, which `setting` names. `Err` is a sentence that names both. `plain`: no TLS is spoken, so that the system's would
/// only cost time.
pub(crate) fn trusting(
    setting: &str,
    file: Option<&Path>,
    plain: bool,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, String> {
    let mut roots = RootCertStore::empty();
    if !plain {
        // Those of the system that cannot be read are not fatal: without any, TLS fails by saying whom it does not know.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    if let Some(file) = file {
        roots.add_parsable_certificates(CaFile::read(setting, file)?.certificates);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(versions.map_err(|error| format!("cannot set up TLS: {error}"))?.with_root_certificates(roots))
}

/// What makes the connections of an HTTP client to `url`, in no more than `timeout` each, trusting as [`trusting`] does. Speaks
/// to nobody yet.
pub(crate) fn connector(
    url: &str,
    setting: &str,
    file: Option<&Path>,
    timeout: Duration,
) -> Result<HttpsConnector<HttpConnector>, String> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(KEEP_ALIVE));
    tcp.set_connect_timeout(Some(timeout));
    let tls = trusting(setting, file, url.starts_with("http://"))?.with_no_client_auth();
    Ok(HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp))
}
