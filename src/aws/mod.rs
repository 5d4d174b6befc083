//! What S3 and SQS have in common: whose certificates are trusted, how long to wait, where AWS's own configuration is found,
//! and why there was no answer.

mod keys;
mod trust;
mod unreached;

pub(crate) use keys::Keys;
pub(crate) use trust::Trust;
pub(crate) use unreached::{Unreached, broken_body, root_cause, unreached, unsent};

use crate::causes::causes;
use crate::config::Credentials;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_http_client::tls::{Provider, TlsContext, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use secrecy::ExposeSecret;
use std::error::Error;
use std::time::Duration;
use tokio::time::timeout;

/// What a release of the SDK takes for granted must not change under us.
pub(crate) const BEHAVIOR: fn() -> BehaviorVersion = BehaviorVersion::v2026_01_12;
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Shorter than what servers and load balancers between allow, so that it is seldom they who close a connection just as
/// it is used.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(15);
/// To find AWS's own configuration: files, the environment and, where these name no region, the instance's metadata.
pub(crate) const DISCOVERY_TIMEOUT: Duration = Duration::from_secs(20);

/// What of AWS's own configuration the settings replace.
#[derive(Debug, Default)]
pub(crate) struct Given<'a> {
    pub(crate) region: Option<&'a str>,
    pub(crate) endpoint: Option<&'a str>,
    pub(crate) credentials: Option<&'a Credentials>,
}

/// What is given, and for what that leaves open AWS's own: environment, profile, web identity, container, instance, SSO.
/// `None`: that took longer than [`DISCOVERY_TIMEOUT`].
pub(crate) async fn discover(given: Given<'_>, http: SharedHttpClient) -> Option<SdkConfig> {
    let mut loader = aws_config::defaults(BEHAVIOR()).http_client(http);
    if let Some(region) = given.region {
        loader = loader.region(Region::new(region.to_owned()));
    }
    if let Some(endpoint) = given.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    if let Some(keys) = given.credentials {
        loader = loader.credentials_provider(credentials(keys));
    }
    timeout(DISCOVERY_TIMEOUT, loader.load()).await.ok()
}

/// For the SDK.
pub(crate) fn credentials(keys: &Credentials) -> aws_credential_types::Credentials {
    let token = keys.session_token.as_ref().map(|token| token.expose_secret().to_owned());
    aws_credential_types::Credentials::new(
        keys.access_key.expose_secret(),
        keys.secret_key.expose_secret(),
        token,
        None,
        "settings",
    )
}

/// For one attempt of a request.
pub(crate) fn timeouts(attempt: Duration) -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).operation_attempt_timeout(attempt).build()
}

/// What clients send their requests through.
pub(crate) fn http_client(tls: TlsContext) -> SharedHttpClient {
    aws_smithy_http_client::Builder::new()
        .pool_idle_timeout(IDLE_TIMEOUT)
        .tls_provider(Provider::rustls(CryptoMode::Ring))
        .tls_context(tls)
        .build_https()
}

/// Why a request could not be signed, where that is so: the chain found no credentials.
pub(crate) fn no_credentials(error: &(dyn Error + 'static)) -> Option<String> {
    causes(error).find(|cause| cause.is::<CredentialsError>()).map(root_cause)
}

/// Who we are in the server's log.
pub(crate) fn app_name() -> Option<AppName> {
    AppName::new(env!("CARGO_PKG_NAME")).ok()
}
