use std::time::{Duration, Instant};

use bytes::Bytes;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use xray_processor_worker::config::{Config, Kafka, Limits};
use xray_processor_worker::queue::kafka::{KafkaProducer, KafkaQueue};

use super::Bench;
use crate::support::servers::Server;

pub struct KafkaBench {
    settings: Kafka,
    topic: usize,
}

impl KafkaBench {
    pub fn start() -> KafkaBench {
        let server = Box::leak(Box::new(Server::start_with("kafka", &["--auto-create"])));
        let settings = Kafka { brokers: vec![server.env("KAFKA_BROKERS").to_owned()], ..Config::default().kafka };
        KafkaBench { settings, topic: 0 }
    }
}

impl Bench for KafkaBench {
    const NAME: &'static str = "kafka";
    type Queue = KafkaQueue;
    type Producer = KafkaProducer;

    /// Each time to a topic of its own.
    fn producer(&mut self) -> (KafkaProducer, String) {
        self.topic += 1;
        let name = format!("bench-{}", self.topic);
        (self.settings.topics, self.settings.group_id) = (vec![name.clone()], name.clone());
        (KafkaProducer::start(&self.settings).unwrap(), name)
    }

    /// As one would write it: copies each payload, stores each offset, lets the driver commit.
    async fn bare(&mut self, messages: usize) -> Duration {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", self.settings.brokers.join(","))
            .set("group.id", &self.settings.group_id)
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest")
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("queued.max.messages.kbytes", "16384")
            .set("fetch.queue.backoff.ms", "20");
        let topic = self.settings.topics[0].clone();
        let loops = move || {
            let consumer: BaseConsumer = config.create().unwrap();
            consumer.subscribe(&[&topic]).unwrap();
            let (mut began, mut seen, mut bytes) = (None, 0, 0);
            while seen < messages {
                let Some(record) = consumer.poll(Duration::from_secs(1)) else { continue };
                let Ok(record) = record else { continue };
                began.get_or_insert_with(Instant::now);
                bytes += Bytes::copy_from_slice(record.payload().unwrap()).len();
                consumer.store_offset_from_message(&record).unwrap();
                seen += 1;
            }
            let took = began.unwrap().elapsed();
            assert!(bytes > 0);
            took
        };
        tokio::task::spawn_blocking(loops).await.unwrap()
    }

    fn queue(&mut self, limits: &Limits) -> KafkaQueue {
        KafkaQueue::start(&self.settings, limits).unwrap()
    }
}
