use std::time::{Duration, Instant};

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::types::{DeleteMessageBatchRequestEntry, QueueAttributeName};
use bytes::Bytes;
use futures_util::future::join_all;
use xray_processor_worker::config::{self, Config, Limits, Sqs};
use xray_processor_worker::queue::sqs::{SqsProducer, SqsQueue};

use super::{Bench, send};
use crate::support::servers::Server;

const QUEUE: &str = "bench";

/// On ElasticMQ, which keeps all in memory here: what it takes for a message is far more than what we do.
pub struct SqsBench {
    settings: Sqs,
}

impl SqsBench {
    pub fn start() -> SqsBench {
        let server = Server::shared_with("elasticmq", &["--in-memory"]);
        let credentials =
            config::Credentials { access_key: "worker".into(), secret_key: "secret".into(), session_token: None };
        let settings = Sqs {
            queue_urls: vec![format!("http://127.0.0.1:{}/000000000000/{QUEUE}", server.running().port)],
            region: Some("us-east-1".into()),
            credentials: Some(credentials),
            create_queues: true,
            wait_time: Duration::from_secs(1),
            ..Config::default().sqs
        };
        SqsBench { settings }
    }

    fn client(&self) -> Client {
        let url = &self.settings.queue_urls[0];
        let settings = aws_sdk_sqs::config::Builder::new()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("worker", "secret", None, None, "bench"))
            .endpoint_url(url.strip_suffix(&format!("/000000000000/{QUEUE}")).unwrap());
        Client::from_conf(settings.build())
    }
}

impl Bench for SqsBench {
    const NAME: &'static str = "sqs";
    type Queue = SqsQueue;
    type Producer = SqsProducer;

    fn producer(&mut self) -> (SqsProducer, String) {
        (SqsProducer::start(&self.settings).unwrap(), QUEUE.into())
    }

    async fn fill(&mut self, bodies: &[Bytes]) {
        send(self.producer(), bodies).await;
        // Nothing of the round before is left.
        let url = &self.settings.queue_urls[0];
        let there = self.client().get_queue_attributes().queue_url(url).attribute_names(QueueAttributeName::All);
        let there = there.send().await.unwrap().attributes.unwrap();
        assert_eq!(there[&QueueAttributeName::ApproximateNumberOfMessages], bodies.len().to_string());
    }

    /// As one would write it: as many loops as the worker has polls, each of which receives ten and deletes them.
    async fn bare(&mut self, messages: usize) -> Duration {
        let (client, url) = (self.client(), self.settings.queue_urls[0].clone());
        let seen = std::sync::atomic::AtomicUsize::new(0);
        let began = std::sync::OnceLock::new();
        let one = async || {
            use std::sync::atomic::Ordering::Relaxed;
            while seen.load(Relaxed) < messages {
                let receive = client.receive_message().queue_url(&url).max_number_of_messages(10).wait_time_seconds(1);
                let came = receive.send().await.unwrap().messages.unwrap_or_default();
                if came.is_empty() {
                    continue;
                }
                began.get_or_init(Instant::now);
                let entry = |(at, message): (usize, &aws_sdk_sqs::types::Message)| {
                    assert!(!message.body().unwrap().is_empty());
                    let entry = DeleteMessageBatchRequestEntry::builder().id(at.to_string());
                    entry.set_receipt_handle(message.receipt_handle.clone()).build().unwrap()
                };
                let entries = came.iter().enumerate().map(entry).collect();
                let delete = client.delete_message_batch().queue_url(&url).set_entries(Some(entries));
                assert!(delete.send().await.unwrap().failed().is_empty());
                seen.fetch_add(came.len(), Relaxed);
            }
            Instant::now()
        };
        let ended = join_all((0..self.settings.polls).map(|_| one())).await;
        // Those that found nothing more have waited for it in vain.
        let first = ended.into_iter().min().unwrap();
        first - *began.get().unwrap()
    }

    fn queue(&mut self, limits: &Limits) -> SqsQueue {
        SqsQueue::start(&self.settings, limits).unwrap()
    }
}
