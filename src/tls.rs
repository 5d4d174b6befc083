//! TLS, as we speak it to stores and brokers.

use crate::ca_file::CaFile;
use rustls::client::WantsClientCert;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};
use std::path::Path;
use std::sync::Arc;

/// A configuration that lacks nothing but what we ourselves are known by. Trusted are the system's certificates and those of
/// `file`, which `setting` names. `Err` is a sentence that names both.
pub(crate) fn trusting(
    setting: &str,
    file: Option<&Path>,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, String> {
    let mut roots = RootCertStore::empty();
    // Those of the system that cannot be read are not fatal: without any, TLS fails by saying whom it does not know.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(file) = file {
        roots.add_parsable_certificates(CaFile::read(setting, file)?.certificates);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(versions.map_err(|error| format!("cannot set up TLS: {error}"))?.with_root_certificates(roots))
}
