//! A file of certificates to trust, which a setting names.

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::fs;
use std::path::Path;

/// A file whose certificates can all be used.
#[derive(Debug)]
pub(crate) struct CaFile {
    /// As it is.
    pub(crate) pem: Vec<u8>,
    /// What is in it, at least one.
    pub(crate) certificates: Vec<CertificateDer<'static>>,
}

impl CaFile {
    /// Reads and checks it; `Err` is a sentence that names the setting and the file.
    pub(crate) fn read(setting: &str, path: &Path) -> Result<CaFile, String> {
        let read = || {
            let pem = fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
            let certificates = certificates(&pem)?;
            Ok(CaFile { pem, certificates })
        };
        read().map_err(|why: String| format!("{setting} names {}, which {why}", path.display()))
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| format!("is no PEM file: {error}"))?;
    let mut roots = RootCertStore::empty();
    for certificate in &found {
        let added = roots.add(certificate.clone());
        added.map_err(|error| format!("holds a certificate that cannot be used: {error}"))?;
    }
    if found.is_empty() {
        return Err("holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)".into());
    }
    Ok(found)
}
