//! Where objects go and by which settings, for sentences about it.

use crate::config::{self, S3Flavor};
use std::fmt;

/// The bucket and its server as the operator knows them. Holds no secret.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) bucket: String,
    /// A URL, or `S3 in {region}`.
    pub(super) server: String,
    pub(super) flavor: S3Flavor,
    /// Whether requests are signed; otherwise they come from nobody.
    pub(super) signed: bool,
    /// Whether the keys are in our own settings, rather than found by AWS's chain.
    own_keys: bool,
}

const CHAIN: &str = "the credentials that AWS's default chain finds here";

impl Place {
    pub(super) fn new(settings: &config::S3, server: String) -> Self {
        Place {
            bucket: settings.bucket.clone(),
            server,
            flavor: settings.flavor,
            signed: settings.credentials.is_some() || settings.flavor == S3Flavor::Aws,
            own_keys: settings.credentials.is_some(),
        }
    }

    /// Whether we speak TLS to it.
    pub(super) fn tls(&self) -> bool {
        !self.server.starts_with("http://")
    }

    fn pick(&self, minio: &'static str, aws: &'static str) -> &'static str {
        match self.flavor {
            S3Flavor::Minio => minio,
            S3Flavor::Aws => aws,
        }
    }

    /// The settings that say where the server is.
    pub(super) fn address_setting(&self) -> &'static str {
        self.pick("MINIO_ENDPOINT and MINIO_PORT", "AWS_S3_ENDPOINT")
    }

    pub(super) fn region_setting(&self) -> &'static str {
        self.pick("MINIO_REGION", "AWS_REGION")
    }

    pub(super) fn bucket_setting(&self) -> &'static str {
        self.pick("MINIO_BUCKET", "AWS_S3_BUCKET")
    }

    /// Where the access key comes from.
    pub(super) fn access_key(&self) -> &'static str {
        self.pick("MINIO_ACCESS_KEY", if self.own_keys { "AWS_ACCESS_KEY_ID" } else { CHAIN })
    }

    /// Where its secret comes from.
    pub(super) fn secret_key(&self) -> &'static str {
        self.pick("MINIO_SECRET_KEY", if self.own_keys { "AWS_SECRET_ACCESS_KEY" } else { CHAIN })
    }

    /// How to speak TLS, or not to.
    pub(super) fn tls_setting(&self, on: bool) -> &'static str {
        match on {
            true => self.pick("set MINIO_USE_SSL=true", "begin AWS_S3_ENDPOINT with https://"),
            false => self.pick("set MINIO_USE_SSL=false", "begin AWS_S3_ENDPOINT with http://"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bucket {} at {}", self.bucket, self.server)
    }
}
