//! Whose certificates are trusted.

use super::NAME;
use crate::config::{self, S3Flavor};
use crate::store::{Class, StoreError};
use aws_smithy_http_client::tls::{TlsContext, TrustStore};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::fs;

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
        let unusable =
            |why: String| StoreError::new(NAME, Class::Us, format!("S3_CA_FILE names {}, which {why}", file.display()));
        let pem = fs::read(file).map_err(|error| unusable(format!("cannot be read: {error}")))?;
        check(&pem).map_err(unusable)?;
        Ok(Trust(store.with_pem_certificate(pem)))
    }

    /// For the SDK.
    pub(super) fn context(&self) -> Result<TlsContext, StoreError> {
        let context = TlsContext::builder().with_trust_store(self.0.clone()).build();
        context.map_err(|error| StoreError::new(NAME, Class::Us, "cannot prepare TLS").because(error))
    }
}

fn check(pem: &[u8]) -> Result<(), String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| format!("is no PEM file: {error}"))?;
        roots.add(certificate).map_err(|error| format!("holds a certificate that cannot be used: {error}"))?;
    }
    if roots.is_empty() { Err("holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)".into()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

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
