//! From settings to clients of the SDK.

use super::source::Source;
use crate::aws::{self, DISCOVERY_TIMEOUT, Given, Trust};
use crate::config::Sqs;
use crate::queue::QueueError;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::{Region, SdkConfig};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{Builder, SharedHttpClient};
use std::time::Duration;
use tokio::sync::OnceCell;

/// Where nothing names one: servers other than AWS's mostly have this.
const REGION: &str = "us-east-1";

/// Makes clients that share connections and credentials.
pub(super) struct Clients {
    settings: Sqs,
    http: SharedHttpClient,
    found: OnceCell<SdkConfig>,
}

/// Clients for one queue, which differ in how long they wait for an answer.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    pub(super) calls: Client,
    /// For polls, which SQS answers only when something is there.
    pub(super) polls: Client,
}

impl Clients {
    /// Speaks to nobody. `Err` where a file that the settings name is of no use.
    pub(super) fn new(settings: &Sqs) -> Result<Clients, QueueError> {
        let trust = Trust::load("SQS_CA_FILE", settings.ca_file.as_deref(), false).map_err(QueueError::new)?;
        let http = aws::http_client(trust.context().map_err(QueueError::new)?);
        Ok(Clients { settings: settings.clone(), http, found: OnceCell::new() })
    }

    /// Clients for this queue. AWS's own configuration, where that is needed, may have to be asked for over the network.
    pub(super) async fn of(&self, source: &Source) -> Result<Connection, QueueError> {
        let settings = &self.settings;
        // A queue of AWS's is where its URL says, whatever else is configured.
        let region = source.region.as_deref().or(settings.region.as_deref());
        let found = self.found.get_or_try_init(async || {
            let given = Given { region, credentials: settings.credentials.as_ref(), ..Given::default() };
            aws::discover(given, self.http.clone()).await.ok_or_else(|| {
                let seconds = DISCOVERY_TIMEOUT.as_secs();
                let text = format!("cannot find AWS's configuration for SQS within {seconds} s: set AWS_REGION");
                QueueError::new(text)
            })
        });
        let found = found.await?;
        let region = region.or(found.region().map(Region::as_ref)).unwrap_or(REGION).to_owned();
        let client = |attempt: Duration| {
            let mut builder = Builder::from(found)
                .region(Region::new(region.clone()))
                .endpoint_url(self.endpoint(source))
                .timeout_config(aws::timeouts(attempt))
                // We retry, each entry of a batch by itself and for as long as it takes.
                .retry_config(RetryConfig::disabled())
                .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
            builder.set_app_name(aws::app_name());
            Client::from_conf(builder.build())
        };
        Ok(Connection { calls: client(settings.timeout), polls: client(settings.timeout + settings.wait_time) })
    }

    /// Where requests about this queue go.
    pub(super) fn endpoint(&self, source: &Source) -> String {
        self.settings.endpoint.clone().unwrap_or_else(|| source.origin.clone())
    }
}
