//! Whose certificates are trusted.

use super::NAME;
use crate::ca_file::CaFile;
use crate::config::{self, S3Flavor};
use crate::store::{Class, StoreError};
use aws_smithy_http_client::tls::{TlsContext, TrustStore};

/// The certificates to trust: those of the system, and those of `S3_CA_FILE`.
#[derive(Debug, Clone)]
pub(super) struct Trust(TrustStore);

impl Trust {
    /// Reads them. What is wrong with the file is said here: the SDK would panic over it.
    pub(super) fn load(settings: &config::S3) -> Result<Self, StoreError> {
        // A minimal image has none, where the SDK would panic. Without TLS they would only cost time; but AWS's chain may
        // have to fetch credentials over TLS even then.
        let plain = settings.endpoint.as_deref().is_some_and(|url| url.starts_with("http://"));
        let chain = settings.flavor == S3Flavor::Aws && settings.credentials.is_none();
        let system = (!plain || chain) && !rustls_native_certs::load_native_certs().certs.is_empty();
        let store = TrustStore::empty().with_native_roots(system);
        let Some(file) = &settings.ca_file else { return Ok(Trust(store)) };
        let trusted = CaFile::read("S3_CA_FILE", file).map_err(|why| StoreError::new(NAME, Class::Us, why))?;
        Ok(Trust(store.with_pem_certificate(trusted.pem)))
    }

    /// For the SDK.
    pub(super) fn context(&self) -> Result<TlsContext, StoreError> {
        let context = TlsContext::builder().with_trust_store(self.0.clone()).build();
        context.map_err(|error| StoreError::new(NAME, Class::Us, "cannot prepare TLS").because(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use std::fs;

    #[test]
    fn a_file_without_use_is_one_sentence() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        let load = || {
            let settings = config::S3 { ca_file: Some(path.clone()), ..Config::default().s3 };
            Trust::load(&settings).map(drop).map_err(|error| error.chain())
        };
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
