//! Which broker messages are put on.

use super::not_compiled_in;
use crate::config::{Config, QueueType};
use crate::exit::Failure;
#[cfg(feature = "kafka")]
use crate::queue::kafka::KafkaProducer;
#[cfg(feature = "nats")]
use crate::queue::nats::NatsProducer;
#[cfg(feature = "rabbitmq")]
use crate::queue::rabbitmq::RabbitmqProducer;
#[cfg(feature = "sqs")]
use crate::queue::sqs::SqsProducer;
use crate::queue::{Producer, QueueError};
use bytes::Bytes;

/// A producer of the configured broker. In a build without one there is none.
#[derive(Debug)]
pub(super) enum AnyProducer {
    #[cfg(feature = "kafka")]
    Kafka(KafkaProducer),
    #[cfg(feature = "rabbitmq")]
    Rabbitmq(Box<RabbitmqProducer>),
    #[cfg(feature = "nats")]
    Nats(Box<NatsProducer>),
    #[cfg(feature = "sqs")]
    Sqs(SqsProducer),
}

impl AnyProducer {
    /// That of `QUEUE_TYPE`, and the topics, queues or subjects of it. `without` is what to say where that is no broker.
    pub(super) fn start(config: &Config, without: &str) -> Result<(AnyProducer, Vec<String>), Failure> {
        match config.queue.kind {
            QueueType::Memory => Err(Failure::usage(without)),
            #[cfg(feature = "kafka")]
            QueueType::Kafka => {
                let producer = KafkaProducer::start(&config.kafka).map_err(super::queue_failure)?;
                Ok((AnyProducer::Kafka(producer), config.kafka.topics.clone()))
            }
            #[cfg(feature = "rabbitmq")]
            QueueType::Rabbitmq => {
                let producer = RabbitmqProducer::start(&config.rabbitmq).map_err(super::queue_failure)?;
                Ok((AnyProducer::Rabbitmq(Box::new(producer)), config.rabbitmq.queues.clone()))
            }
            #[cfg(feature = "nats")]
            QueueType::Nats => {
                let to = NatsProducer::destinations(&config.nats).map_err(super::queue_failure)?;
                let producer = NatsProducer::start(&config.nats).map_err(super::queue_failure)?;
                Ok((AnyProducer::Nats(Box::new(producer)), to))
            }
            #[cfg(feature = "sqs")]
            QueueType::Sqs => {
                let producer = SqsProducer::start(&config.sqs).map_err(super::queue_failure)?;
                let names = producer.names().to_vec();
                Ok((AnyProducer::Sqs(producer), names))
            }
            #[allow(unreachable_patterns)] // where all are
            other => Err(not_compiled_in(other)),
        }
    }
}

impl Producer for AnyProducer {
    #[cfg_attr(not(feature = "_broker"), allow(unused_variables))]
    async fn send(&self, to: &str, body: Bytes) -> Result<(), QueueError> {
        match *self {
            #[cfg(feature = "kafka")]
            AnyProducer::Kafka(ref producer) => producer.send(to, body).await,
            #[cfg(feature = "rabbitmq")]
            AnyProducer::Rabbitmq(ref producer) => producer.send(to, body).await,
            #[cfg(feature = "nats")]
            AnyProducer::Nats(ref producer) => producer.send(to, body).await,
            #[cfg(feature = "sqs")]
            AnyProducer::Sqs(ref producer) => producer.send(to, body).await,
        }
    }

    #[cfg_attr(not(feature = "_broker"), allow(unused_variables))]
    fn refuses(&self, body: &[u8]) -> Option<&'static str> {
        match *self {
            #[cfg(feature = "kafka")]
            AnyProducer::Kafka(ref producer) => producer.refuses(body),
            #[cfg(feature = "rabbitmq")]
            AnyProducer::Rabbitmq(ref producer) => producer.refuses(body),
            #[cfg(feature = "nats")]
            AnyProducer::Nats(ref producer) => producer.refuses(body),
            #[cfg(feature = "sqs")]
            AnyProducer::Sqs(ref producer) => producer.refuses(body),
        }
    }
}
