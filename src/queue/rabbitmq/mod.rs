//! RabbitMQ, through lapin.

use super::{Producer, QueueBackend, QueueError};
use crate::budget::Room;
use crate::config;
use crate::pipeline::{Delivery, Stored};
use bytes::Bytes;
use std::time::Duration;

/// A competing consumer.
#[derive(Debug)]
pub struct RabbitmqQueue {}

/// Settles one delivery.
#[derive(Debug)]
pub struct Receipt {}

impl RabbitmqQueue {
    /// Starts to consume. Needs no broker yet: one that is away is waited for.
    pub fn start(_settings: &config::Rabbitmq, _limits: &config::Limits) -> Result<RabbitmqQueue, QueueError> {
        Err(QueueError::new("not yet"))
    }
}

impl QueueBackend for RabbitmqQueue {
    const NAME: &'static str = "rabbitmq";
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

/// Puts messages on queues.
#[derive(Debug)]
pub struct RabbitmqProducer {}

impl RabbitmqProducer {
    /// Connects in the background; a broker that is away fails the first sends.
    pub fn start(_settings: &config::Rabbitmq) -> Result<RabbitmqProducer, QueueError> {
        Err(QueueError::new("not yet"))
    }
}

impl Producer for RabbitmqProducer {
    async fn send(&self, _to: &str, _body: Bytes) -> Result<(), QueueError> {
        Err(QueueError::new("not yet"))
    }
}
