//! Puts records on topics, for `publish`.

use super::context::log;
use super::settings;
use super::trouble::plain;
use crate::config::Kafka;
use crate::queue::{Producer, QueueError};
use bytes::Bytes;
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::types::RDKafkaErrorCode as Code;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::sleep;

const QUEUE_FULL_PAUSE: Duration = Duration::from_millis(20);

/// Sends records and waits until all replicas in sync have them.
pub struct KafkaProducer {
    producer: FutureProducer<Reports>,
    reports: Reports,
    at: String,
}

/// Keeps the last thing that was said about connections: a record that is not confirmed only knows that time ran out.
#[derive(Clone, Default)]
struct Reports(Arc<Mutex<Option<String>>>);

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        log(level, fac, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() != Some(Code::AllBrokersDown) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
        }
    }
}

impl KafkaProducer {
    /// Connects in the background; where no broker answers, sends fail after `message.timeout.ms`, 30 s.
    pub fn start(settings: &Kafka) -> Result<KafkaProducer, QueueError> {
        let config = settings::producer(settings)?;
        let reports = Reports::default();
        let producer = FutureProducer::from_config_and_context(&config, reports.clone()).map_err(super::wrong)?;
        Ok(KafkaProducer { producer, reports, at: settings.brokers.join(", ") })
    }

    fn failed(&self, to: &str, error: KafkaError) -> QueueError {
        let at = &self.at;
        match error.rdkafka_error_code() {
            Some(Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition) => QueueError::new(
                format!("Kafka at {at} has no topic {to} and does not create it; create it, or set KAFKA_TOPICS"),
            ),
            Some(Code::MessageTimedOut) => {
                let said = self.reports.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
                QueueError::new(format!("Kafka at {at} did not confirm in time; look at KAFKA_BROKERS and the login"))
                    .because(said.map_or_else(|| error.to_string(), |said| plain(&said)))
            }
            _ => QueueError::new(format!("Kafka at {at} does not take a message for {to}")).because(error),
        }
    }
}

impl Producer for KafkaProducer {
    async fn send(&self, to: &str, body: Bytes) -> Result<(), QueueError> {
        let mut record = FutureRecord::<(), [u8]>::to(to).payload(&body);
        let confirmed = loop {
            match self.producer.send_result(record) {
                Ok(confirmed) => break confirmed,
                Err((error, back)) if error.rdkafka_error_code() == Some(Code::QueueFull) => {
                    record = back;
                    sleep(QUEUE_FULL_PAUSE).await;
                }
                Err((error, _)) => return Err(self.failed(to, error)),
            }
        };
        match confirmed.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err((error, _))) => Err(self.failed(to, error)),
            Err(cancelled) => Err(QueueError::new("the Kafka client ended before it confirmed").because(cancelled)),
        }
    }
}

impl fmt::Debug for KafkaProducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaProducer").field("at", &self.at).finish_non_exhaustive()
    }
}
