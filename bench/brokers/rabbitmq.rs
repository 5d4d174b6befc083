use std::time::{Duration, Instant};

use futures_util::StreamExt;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use secrecy::ExposeSecret;
use xray_processor_worker::config::{Config, Limits, Rabbitmq};
use xray_processor_worker::queue::rabbitmq::{RabbitmqProducer, RabbitmqQueue};

use super::Bench;
use crate::support::servers::Server;

/// What the backend comes to with bodies of this size.
const PREFETCH: u16 = 2000;
/// As the worker acks what it has stored together.
const ACK_EACH: usize = 10;

/// On a quorum queue.
pub struct RabbitmqBench {
    settings: Rabbitmq,
}

impl RabbitmqBench {
    pub fn start() -> RabbitmqBench {
        let mut settings = Config::default().rabbitmq;
        settings.url = Server::shared("rabbitmq").env("AMQP_URL").into();
        settings.queues = vec!["bench".into()];
        settings.declare = "quorum";
        RabbitmqBench { settings }
    }
}

impl Bench for RabbitmqBench {
    const NAME: &'static str = "rabbitmq";
    type Queue = RabbitmqQueue;
    type Producer = RabbitmqProducer;

    fn producer(&mut self) -> (RabbitmqProducer, String) {
        (RabbitmqProducer::start(&self.settings).unwrap(), "bench".into())
    }

    /// As one would write it: acks each few of them together.
    async fn bare(&mut self, messages: usize) -> Duration {
        let url = self.settings.url.expose_secret();
        let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.basic_qos(PREFETCH, BasicQosOptions { global: false }).await.unwrap();
        let options = BasicConsumeOptions::default();
        let mut consumer =
            channel.basic_consume("bench".into(), "bare".into(), options, FieldTable::default()).await.unwrap();
        let (mut began, mut bytes) = (None, 0);
        for n in 1..=messages {
            let delivery = consumer.next().await.unwrap().unwrap();
            began.get_or_insert_with(Instant::now);
            bytes += delivery.data.len();
            if n % ACK_EACH == 0 || n == messages {
                channel.basic_ack(delivery.delivery_tag, BasicAckOptions { multiple: true }).await.unwrap();
            }
        }
        let took = began.unwrap().elapsed();
        assert!(bytes > 0);
        connection.close(200, "OK".into()).await.unwrap();
        took
    }

    fn queue(&mut self, limits: &Limits) -> RabbitmqQueue {
        RabbitmqQueue::start(&self.settings, limits).unwrap()
    }
}
