//! From settings to a client of the SDK.

use super::NAME;
use super::place::Place;
use super::request::Bucket;
use super::trust::Trust;
use crate::config::{self, S3Flavor};
use crate::store::{Class, StoreError};
use aws_config::BehaviorVersion;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    AppName, Builder, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation, SharedHttpClient,
    StalledStreamProtectionConfig,
};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use secrecy::ExposeSecret;
use std::time::Duration;
use tokio::time::timeout;

/// What a release of the SDK takes for granted must not change under us.
const BEHAVIOR: fn() -> BehaviorVersion = BehaviorVersion::v2026_01_12;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Shorter than what servers and load balancers between allow, so that it is seldom they who close a connection just as
/// it is used.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);
/// To find AWS's own configuration: files, the environment and, where these name no region, the instance's metadata.
const DISCOVERY_TIMEOUT: Duration = Duration::from_secs(20);

/// A client for the bucket. Speaks to nobody, except where AWS's own configuration has to be found.
pub(super) async fn bucket(settings: &config::S3, trust: &Trust, read_limit: u64) -> Result<Bucket, StoreError> {
    let http = http_client(trust)?;
    let (builder, region, endpoint) = match settings.flavor {
        S3Flavor::Minio => minio(settings),
        S3Flavor::Aws => aws(settings, http.clone()).await?,
    };
    let server = endpoint.unwrap_or_else(|| format!("S3 in {region}"));
    let builder = builder
        .behavior_version(BEHAVIOR())
        .http_client(http)
        .region(Region::new(region.clone()))
        .force_path_style(settings.path_style)
        .timeout_config(timeouts(settings.timeout))
        // The pipeline retries, and for as long as it takes. The SDK takes each of its retries from a bucket of tokens
        // that only successes refill: after an outage there would be none left.
        .retry_config(RetryConfig::disabled())
        // Signatures cover the bodies already, and servers other than S3 may refuse checksums they do not know.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        // It watches long streams; our bodies are small, and each request has its timeout.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    let client = Client::from_conf(named(builder).build());
    Ok(Bucket::new(client, Place::new(settings, server), region, settings.timeout, read_limit))
}

fn minio(settings: &config::S3) -> (Builder, String, Option<String>) {
    let region = settings.region.clone().unwrap_or_else(|| "us-east-1".into());
    let mut builder = match &settings.credentials {
        Some(keys) => Builder::new().credentials_provider(credentials(keys)),
        // Without a signature: a bucket that is open to all.
        None => Builder::new().allow_no_auth(),
    };
    builder.set_endpoint_url(settings.endpoint.clone());
    (builder, region, settings.endpoint.clone())
}

/// Our settings, and for what they leave open AWS's own: environment, profile, web identity, container, instance, SSO.
async fn aws(settings: &config::S3, http: SharedHttpClient) -> Result<(Builder, String, Option<String>), StoreError> {
    let mut loader = aws_config::defaults(BEHAVIOR()).http_client(http);
    if let Some(region) = &settings.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(endpoint) = &settings.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    if let Some(keys) = &settings.credentials {
        loader = loader.credentials_provider(credentials(keys));
    }
    let bucket = &settings.bucket;
    let found = timeout(DISCOVERY_TIMEOUT, loader.load()).await.map_err(|_| {
        let seconds = DISCOVERY_TIMEOUT.as_secs();
        let text = format!("cannot find AWS's configuration for bucket {bucket} within {seconds} s: set AWS_REGION");
        StoreError::new(NAME, Class::Transient, text)
    })?;
    let region = found.region().ok_or_else(|| {
        let text = format!(
            "the region of bucket {bucket} is not known: set AWS_REGION, or the region of AWS's own configuration"
        );
        StoreError::new(NAME, Class::Us, text)
    })?;
    let endpoint = found.endpoint_url().map(str::to_owned);
    Ok((Builder::from(&found), region.to_string(), endpoint))
}

fn credentials(keys: &config::Credentials) -> Credentials {
    let token = keys.session_token.as_ref().map(|token| token.expose_secret().to_owned());
    Credentials::new(keys.access_key.expose_secret(), keys.secret_key.expose_secret(), token, None, "settings")
}

fn timeouts(attempt: Duration) -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).operation_attempt_timeout(attempt).build()
}

fn http_client(trust: &Trust) -> Result<SharedHttpClient, StoreError> {
    Ok(aws_smithy_http_client::Builder::new()
        .pool_idle_timeout(IDLE_TIMEOUT)
        .tls_provider(Provider::rustls(CryptoMode::Ring))
        .tls_context(trust.context()?)
        .build_https())
}

/// Says who we are in the server's log.
fn named(mut builder: Builder) -> Builder {
    builder.set_app_name(AppName::new(env!("CARGO_PKG_NAME")).ok());
    builder
}
