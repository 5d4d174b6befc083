use std::time::{Duration, Instant};

use async_nats::jetstream::{self, AckKind};
use futures_util::StreamExt;
use secrecy::ExposeSecret;
use xray_processor_worker::config::{Config, Limits, Nats};
use xray_processor_worker::queue::nats::{NatsProducer, NatsQueue};

use super::Bench;
use crate::support::servers::Server;

/// Messages per request, as the backend asks for.
const BATCH: usize = 2000;
/// As the worker acks what it has stored together.
const ACK_EACH: usize = 10;

/// On a work queue in files.
pub struct NatsBench {
    settings: Nats,
}

impl NatsBench {
    pub fn start() -> NatsBench {
        let mut settings = Config::default().nats;
        settings.url = Server::shared("nats").env("NATS_URL").into();
        settings.create = "stream";
        settings.subject = "bench".into();
        NatsBench { settings }
    }
}

impl Bench for NatsBench {
    const NAME: &'static str = "nats";
    type Queue = NatsQueue;
    type Producer = NatsProducer;

    fn producer(&mut self) -> (NatsProducer, String) {
        (NatsProducer::start(&self.settings).unwrap(), "bench".into())
    }

    /// As one would write it: acks each message, and sees to it that they leave every few of them.
    async fn bare(&mut self, messages: usize) -> Duration {
        let client = async_nats::connect(self.settings.url.expose_secret()).await.unwrap();
        let stream = jetstream::new(client.clone()).get_stream(&self.settings.stream).await.unwrap();
        let config = jetstream::consumer::pull::Config {
            durable_name: Some(self.settings.consumer.clone()),
            filter_subject: "bench".into(),
            max_ack_pending: -1,
            ..Default::default()
        };
        let consumer = stream.get_or_create_consumer(&self.settings.consumer, config).await.unwrap();
        let mut coming = consumer.stream().max_messages_per_batch(BATCH).messages().await.unwrap();
        let (mut began, mut bytes) = (None, 0);
        for n in 1..=messages {
            let message = coming.next().await.unwrap().unwrap();
            began.get_or_insert_with(Instant::now);
            bytes += message.payload.len();
            message.ack_with(AckKind::Ack).await.unwrap();
            if n % ACK_EACH == 0 || n == messages {
                client.flush().await.unwrap();
            }
        }
        let took = began.unwrap().elapsed();
        assert!(bytes > 0);
        // Otherwise what it still asks for would be given to it, and wait there.
        stream.delete_consumer(&self.settings.consumer).await.unwrap();
        took
    }

    fn queue(&mut self, limits: &Limits) -> NatsQueue {
        NatsQueue::start(&self.settings, limits).unwrap()
    }
}
