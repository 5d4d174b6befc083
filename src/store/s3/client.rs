//! From settings to a client of the SDK.

use super::NAME;
use super::place::Place;
use super::request::Bucket;
use super::signed::{Parts, Signed, is_plain};
use super::wire::Wire;
use crate::aws::{self, BEHAVIOR, DISCOVERY_TIMEOUT, Given, Trust};
use crate::config::{self, S3Flavor};
use crate::store::{Class, StoreError};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{
    Builder, Region, RequestChecksumCalculation, ResponseChecksumValidation, SharedHttpClient,
    StalledStreamProtectionConfig,
};

/// The certificates to trust.
pub(super) fn trust(settings: &config::S3) -> Result<Trust, StoreError> {
    // AWS's chain may have to fetch credentials over TLS even where the server speaks none.
    let chain = settings.flavor == S3Flavor::Aws && settings.credentials.is_none();
    let plain = !chain && settings.endpoint.as_deref().is_some_and(|url| url.starts_with("http://"));
    Trust::load("S3_CA_FILE", settings.ca_file.as_deref(), plain).map_err(|why| StoreError::new(NAME, Class::Us, why))
}

/// A client for the bucket. Speaks to nobody, except where AWS's own configuration has to be found.
pub(super) async fn bucket(settings: &config::S3, trust: &Trust, read_limit: u64) -> Result<Bucket, StoreError> {
    let tls = trust.context().map_err(|why| StoreError::new(NAME, Class::Us, why))?;
    let http = aws::http_client(tls);
    let Found { builder, region, endpoint, keys } = match settings.flavor {
        S3Flavor::Minio => minio(settings),
        S3Flavor::Aws => found(settings, http.clone()).await?,
    };
    let server = endpoint.unwrap_or_else(|| format!("S3 in {region}"));
    let builder = builder
        .behavior_version(BEHAVIOR())
        .http_client(http)
        .region(Region::new(region.clone()))
        .force_path_style(settings.path_style)
        .timeout_config(aws::timeouts(settings.timeout))
        // The pipeline retries, and for as long as it takes. The SDK takes each of its retries from a bucket of tokens
        // that only successes refill: after an outage there would be none left.
        .retry_config(RetryConfig::disabled())
        // Signatures cover the bodies already, and servers other than S3 may refuse checksums they do not know.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        // It watches long streams; our bodies are small, and each request has its timeout.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    let client = Client::from_conf(named(builder).build());
    let signed = match keys.filter(|_| is_plain(&settings.bucket)) {
        Some(provider) => {
            let wire = Wire::new(&server, settings.ca_file.as_deref());
            let wire = wire.map_err(|why| StoreError::new(NAME, Class::Us, why))?;
            let (keys, region) = (aws::Keys::new(provider), region.clone());
            let parts = Parts { wire, keys, region, timeout: settings.timeout };
            Signed::new(&client, &settings.bucket, parts).await.ok()
        }
        None => None,
    };
    let place = Place::new(settings, server);
    Ok(Bucket::new(client, signed, place, region, settings.timeout, read_limit))
}

/// What is known before the first request.
struct Found {
    builder: Builder,
    region: String,
    endpoint: Option<String>,
    /// `None`: requests are not signed.
    keys: Option<SharedCredentialsProvider>,
}

fn minio(settings: &config::S3) -> Found {
    let region = settings.region.clone().unwrap_or_else(|| "us-east-1".into());
    let mut builder = match &settings.credentials {
        Some(keys) => Builder::new().credentials_provider(aws::credentials(keys)),
        // Without a signature: a bucket that is open to all.
        None => Builder::new().allow_no_auth(),
    };
    builder.set_endpoint_url(settings.endpoint.clone());
    let keys = settings.credentials.as_ref().map(|keys| SharedCredentialsProvider::new(aws::credentials(keys)));
    Found { builder, region, endpoint: settings.endpoint.clone(), keys }
}

/// Our settings, and for what they leave open AWS's own.
async fn found(settings: &config::S3, http: SharedHttpClient) -> Result<Found, StoreError> {
    let given = Given {
        region: settings.region.as_deref(),
        endpoint: settings.endpoint.as_deref(),
        credentials: settings.credentials.as_ref(),
    };
    let bucket = &settings.bucket;
    let found = aws::discover(given, http).await.ok_or_else(|| {
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
    let keys = found.credentials_provider();
    Ok(Found { builder: Builder::from(&found), region: region.to_string(), endpoint, keys })
}

/// Says who we are in the server's log.
fn named(mut builder: Builder) -> Builder {
    builder.set_app_name(aws::app_name());
    builder
}
