//! Whose certificates are trusted.

use crate::ca_file::CaFile;
use aws_smithy_http_client::tls::{TlsContext, TrustStore};
use std::path::Path;

/// The certificates to trust: those of the system, and those of a file that a setting names.
#[derive(Debug, Clone)]
pub(crate) struct Trust(TrustStore);

impl Trust {
    /// Reads them. `setting` names `file`; what is wrong with that is said here: the SDK would panic over it. `plain`: no TLS is
    /// spoken at all, not even to fetch credentials, so that those of the system would only cost time.
    pub(crate) fn load(setting: &str, file: Option<&Path>, plain: bool) -> Result<Self, String> {
        // A minimal image has none, where the SDK would panic.
        let system = !plain && !rustls_native_certs::load_native_certs().certs.is_empty();
        let store = TrustStore::empty().with_native_roots(system);
        let Some(file) = file else { return Ok(Trust(store)) };
        Ok(Trust(store.with_pem_certificate(CaFile::read(setting, file)?.pem)))
    }

    /// For the SDK.
    pub(crate) fn context(&self) -> Result<TlsContext, String> {
        let context = TlsContext::builder().with_trust_store(self.0.clone()).build();
        context.map_err(|error| format!("cannot prepare TLS: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_file_without_use_is_one_sentence() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        let load = || Trust::load("S3_CA_FILE", Some(&path), true).map(drop);
        assert!(load().unwrap_err().contains("ca.pem, which cannot be read: No such file"), "{:?}", load());
        for (content, why) in [
            ("", "holds no certificate"),
            ("not a certificate", "holds no certificate"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "cannot be used"),
            ("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", "is no PEM file"),
        ] {
            fs::write(&path, content).unwrap();
            assert!(load().unwrap_err().contains(why), "{:?}", load());
        }
    }
}
