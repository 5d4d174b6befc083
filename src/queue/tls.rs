//! TLS for the drivers that leave it to rustls.

use crate::ca_file::CaFile;
use crate::causes;
use crate::tls;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::{CertificateError, ClientConfig};
use std::error::Error;
use std::path::Path;

/// The files that settings name, each beside the name of its setting.
pub(super) struct Files<'a> {
    /// Whom to trust beside the system's.
    pub(super) ca: (&'static str, Option<&'a Path>),
    /// Our own certificate.
    pub(super) certificate: (&'static str, Option<&'a Path>),
    /// Its key. The two come together.
    pub(super) key: (&'static str, Option<&'a Path>),
}

/// What to speak TLS with. `Err` is a sentence that names the setting and the file.
pub(super) fn client(files: &Files<'_>) -> Result<ClientConfig, String> {
    let config = tls::trusting(files.ca.0, files.ca.1, false)?;
    let ((certificate_setting, Some(certificate)), (key_setting, Some(key))) = (files.certificate, files.key) else {
        return Ok(config.with_no_client_auth());
    };
    let chain = CaFile::read(certificate_setting, certificate)?.certificates;
    config.with_client_auth_cert(chain, private_key(key_setting, key)?).map_err(|error| {
        format!("the certificate of {certificate_setting} and the key of {key_setting} do not work: {error}")
    })
}

fn private_key(setting: &str, path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let why = match std::fs::read(path) {
        Err(error) => format!("cannot be read: {error}"),
        Ok(pem) => match PrivateKeyDer::from_pem_slice(&pem) {
            Ok(key) => return Ok(key),
            Err(_) if pem.windows(9).any(|window| window == b"ENCRYPTED") => {
                "is encrypted; take off its password with `openssl pkey`".into()
            }
            Err(error) => format!("holds no private key in PEM form: {error}"),
        },
    };
    Err(format!("{setting} names {}, which {why}", path.display()))
}

/// What rustls said, if it is behind this error.
pub(super) fn said<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    causes::causes(error).find_map(|part| part.downcast_ref())
}

/// What is wrong with the certificates of either side, in words that follow the name of a server; `None` where it is
/// something else. The settings to look at: that of the CA, that of the address, those of our own certificate.
pub(super) fn wrong_certificate(error: &rustls::Error, ca: &str, address: &str, ours: &str) -> Option<String> {
    Some(match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            format!("has a certificate of a CA that we do not trust; name that CA in {ca}")
        }
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => format!("has a certificate for another name; write the name it is for in {address}"),
        rustls::Error::InvalidCertificate(_) => {
            format!("has a certificate that is not valid; look at it, and at {ca}")
        }
        rustls::Error::AlertReceived(_) => {
            format!("does not accept our certificate, or that we have none; look at {ours}")
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_without_use() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.pem");
        let with = |ca: Option<&Path>, both: Option<&Path>| {
            let files = Files { ca: ("CA", ca), certificate: ("CERT", both), key: ("KEY", both) };
            client(&files).err().unwrap_or_default()
        };
        assert_eq!(with(None, None), "");
        let said = with(Some(Path::new("/nowhere")), None);
        assert!(said.starts_with("CA names /nowhere, which cannot be read"), "{said}");
        std::fs::write(&path, "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n")
            .unwrap();
        assert!(private_key("KEY", &path).unwrap_err().contains("encrypted"));
        std::fs::write(&path, "").unwrap();
        let said = private_key("KEY", &path).unwrap_err();
        assert!(said.starts_with("KEY names") && said.contains("no private key"), "{said}");
        assert!(with(None, Some(&path)).starts_with("CERT names"));
    }
}
