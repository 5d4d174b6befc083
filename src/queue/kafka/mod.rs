//! Apache Kafka, through librdkafka.

use super::{Producer, QueueBackend, QueueError};
use crate::budget::Room;
use crate::config;
use crate::pipeline::{Delivery, Stored};
use bytes::Bytes;
use std::time::Duration;

/// A member of a consumer group.
#[derive(Debug)]
pub struct KafkaQueue {}

/// Settles one record.
#[derive(Debug)]
pub struct Receipt {}

impl KafkaQueue {
    /// Starts to consume. Needs no broker yet: one that is away is waited for.
    pub fn start(_settings: &config::Kafka, _limits: &config::Limits) -> Result<KafkaQueue, QueueError> {
        Err(QueueError::new("not yet"))
    }
}

impl QueueBackend for KafkaQueue {
    const NAME: &'static str = "kafka";
    type Receipt = Receipt;

    async fn receive(&self, _room: Room, _wait: Duration) -> Result<Vec<Delivery<Receipt>>, QueueError> {
        Err(QueueError::new("not yet"))
    }

    async fn ack(&self, _stored: Vec<Stored<Receipt>>) -> Result<(), QueueError> {
        Err(QueueError::new("not yet"))
    }

    async fn release(&self, _receipts: Vec<Receipt>) -> Result<(), QueueError> {
        Err(QueueError::new("not yet"))
    }

    async fn close(&self) -> Result<(), QueueError> {
        Err(QueueError::new("not yet"))
    }
}

/// Puts records on topics.
#[derive(Debug)]
pub struct KafkaProducer {}

impl KafkaProducer {
    /// Connects in the background; a broker that is away fails the first sends.
    pub fn start(_settings: &config::Kafka) -> Result<KafkaProducer, QueueError> {
        Err(QueueError::new("not yet"))
    }
}

impl Producer for KafkaProducer {
    async fn send(&self, _to: &str, _body: Bytes) -> Result<(), QueueError> {
        Err(QueueError::new("not yet"))
    }
}
