//! RabbitMQ, with queues of either type.

mod erlang;

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{BasicProperties, Connection, ConnectionProperties};
use xray_processor_worker::config::{Config, Limits, Rabbitmq};
use xray_processor_worker::queue::Producer;
use xray_processor_worker::queue::rabbitmq::{RabbitmqProducer, RabbitmqQueue};

use crate::harness::{Harness, Refused, Whose};
use crate::rig::limits;
use crate::support::servers::{Server, Which};
use erlang::Erlang;

/// What the server is told, so that a test can outlast it.
pub const CONSUMER_TIMEOUT: Duration = Duration::from_secs(10);

pub type Quorum = RabbitmqHarness<true>;
pub type Classic = RabbitmqHarness<false>;

pub struct RabbitmqHarness<const QUORUM: bool> {
    pub server: Which,
    /// The first, where there are several.
    pub queue: String,
    queues: Vec<String>,
    /// `consumer_timeout`, where the server was told one.
    timeout: Option<Duration>,
}

impl<const QUORUM: bool> RabbitmqHarness<QUORUM> {
    pub const KIND: &'static str = if QUORUM { "quorum" } else { "classic" };

    /// On a server of its own, started with these arguments too.
    pub async fn own(args: &[&str]) -> Self {
        let timeout = CONSUMER_TIMEOUT.as_millis().to_string();
        let args = [&["--consumer-timeout", &timeout], args].concat();
        let server = Server::start_with("rabbitmq", &args);
        let harness = Self::on(Which::Own(Box::new(server)), Some(CONSUMER_TIMEOUT)).await;
        Erlang::of(&harness.server).save().await;
        harness
    }

    async fn on(server: Which, timeout: Option<Duration>) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let queue = format!("test-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let harness = RabbitmqHarness { server, queues: vec![queue.clone()], queue, timeout };
        harness.create(FieldTable::default()).await;
        harness
    }

    pub fn url(&self) -> &str {
        self.server.env("AMQP_URL")
    }

    /// A URL of one of its ports.
    pub fn url_at(&self, scheme: &str, port: &str) -> String {
        format!("{scheme}://guest:guest@127.0.0.1:{}", self.server.running().ports[port])
    }

    pub async fn connection(&self) -> Connection {
        Connection::connect(self.url(), ConnectionProperties::default()).await.unwrap()
    }

    /// Creates its queue, with further arguments.
    pub async fn create(&self, mut arguments: FieldTable) {
        let channel = self.connection().await.create_channel().await.unwrap();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString(LongString::from(Self::KIND)));
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(self.queue.as_str().into(), durable, arguments).await.unwrap();
    }

    pub async fn delete(&self) {
        let channel = self.connection().await.create_channel().await.unwrap();
        channel.queue_delete(self.queue.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
    }

    pub fn settings(&self) -> Rabbitmq {
        let mut settings = Config::default().rabbitmq;
        settings.url = self.url().into();
        settings.queues = self.queues.clone();
        settings.consumer_timeout = self.timeout.unwrap_or(settings.consumer_timeout);
        settings
    }

    /// A consumer with other settings.
    pub fn with(&self, change: impl FnOnce(&mut Rabbitmq)) -> RabbitmqQueue {
        let mut settings = self.settings();
        change(&mut settings);
        RabbitmqQueue::start(&settings, &limits()).unwrap()
    }

    /// Runs `rabbitmqctl`.
    pub async fn ctl(&self, words: &[&str]) {
        let mut command = tokio::process::Command::new("rabbitmqctl");
        command.args(words).envs(&self.server.running().tools);
        let output = command.output().await.unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    pub async fn publish(&self, body: Bytes, properties: BasicProperties) {
        let channel = self.connection().await.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let properties = properties.with_delivery_mode(2);
        let sent = channel.basic_publish("".into(), self.queue.as_str().into(), options, &body, properties).await;
        assert!(matches!(sent.unwrap().await.unwrap(), lapin::Confirmation::Ack(None)));
    }
}

impl<const QUORUM: bool> Harness for RabbitmqHarness<QUORUM> {
    type Queue = RabbitmqQueue;

    const LEASE: Duration = CONSUMER_TIMEOUT;
    const DELIVERIES_PER_OUTAGE: u32 = 2;
    const TELLS_REDELIVERIES: bool = true;
    /// `max_message_size`.
    const LARGEST_BODY: usize = 16 << 20;
    const MOST_CONSUMERS: usize = usize::MAX;

    async fn start(server: Whose) -> Self {
        match server {
            Whose::Own => Self::own(&[]).await,
            Whose::Deployed => {
                let server = Server::start_with("rabbitmq", &[]);
                let harness = Self::on(Which::Own(Box::new(server)), None).await;
                Erlang::of(&harness.server).save().await;
                harness
            }
            Whose::Shared => {
                let timeout = CONSUMER_TIMEOUT.as_millis().to_string();
                let server = Server::shared_with("rabbitmq", &["--consumer-timeout", &timeout]);
                Self::on(Which::Shared(server), Some(CONSUMER_TIMEOUT)).await
            }
        }
    }

    fn consumer(&self, limits: &Limits) -> RabbitmqQueue {
        RabbitmqQueue::start(&self.settings(), limits).unwrap()
    }

    fn variables(&self) -> Vec<(String, String)> {
        let timeout = self.settings().consumer_timeout.as_millis().to_string();
        let variables = [
            ("QUEUE_TYPE", "rabbitmq"),
            ("AMQP_URL", self.url()),
            ("RABBITMQ_QUEUES", &self.queues.join(",")),
            ("RABBITMQ_DECLARE", Self::KIND),
            ("RABBITMQ_CONSUMER_TIMEOUT_MS", &timeout),
        ];
        variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    fn use_default_sources(&mut self) {
        self.queues = Config::default().rabbitmq.queues;
        self.queue = self.queues[0].clone();
    }

    fn refused(&self) -> Vec<Refused<RabbitmqQueue>> {
        let refused = |what, url: String, words: &[&str]| {
            let queue = self.with(|settings| settings.url = url.into());
            Refused { what, queue, words: words.iter().map(ToString::to_string).collect(), secret: "s3cret" }
        };
        let amqp = self.server.running().port;
        let at = format!("127.0.0.1:{amqp}");
        vec![
            refused(
                "a wrong password",
                format!("amqp://guest:s3cret@{at}"),
                &[&at, "guest", "AMQP_URL", "ACCESS_REFUSED"],
            ),
            refused("no such user", format!("amqp://nobody:s3cret@{at}"), &[&at, "nobody", "password in AMQP_URL"]),
            refused("a wrong vhost", format!("{}/nowhere", self.url()), &[&at, "vhost", "nowhere", "AMQP_URL"]),
            refused("an empty vhost", format!("{}/", self.url()), &[&at, "vhost \"\"", "leave it out"]),
            refused("an unknown CA", self.url_at("amqps", "amqps"), &["127.0.0.1:", "RABBITMQ_CA_FILE"]),
            refused("plain on the port of TLS", self.url_at("amqp", "amqps"), &["127.0.0.1:", "AMQP_URL", "amqps"]),
            refused("TLS on the plain port", self.url_at("amqps", "amqp"), &[&at, "AMQP_URL", "TLS"]),
            refused("nobody there", "amqp://guest:s3cret@127.0.0.1:1".into(), &["127.0.0.1:1", "reached", "AMQP_URL"]),
            refused("no such host", "amqp://guest:s3cret@nowhere.invalid".into(), &["nowhere.invalid", "resolved"]),
            Refused {
                what: "no such queue",
                queue: self.with(|settings| settings.queues = vec!["not-there".into()]),
                words: vec![at, "not-there".into(), "RABBITMQ_QUEUES".into(), "RABBITMQ_DECLARE".into()],
                secret: "guest:",
            },
        ]
    }

    async fn send(&self, bodies: Vec<Bytes>) {
        let producer = RabbitmqProducer::start(&self.settings()).unwrap();
        for sent in join_all(bodies.into_iter().map(|body| producer.send(&self.queue, body))).await {
            sent.unwrap();
        }
    }

    async fn send_with(&self, body: Bytes, headers: &[(&str, &str)]) {
        let mut table = FieldTable::default();
        for (name, value) in headers {
            table.insert((*name).into(), AMQPValue::LongString(LongString::from(*value)));
        }
        table.insert("x-number".into(), AMQPValue::Double(0.5));
        table.insert("x-table".into(), AMQPValue::FieldTable(FieldTable::default()));
        self.publish(body, BasicProperties::default().with_headers(table)).await;
    }

    async fn recreate(&self) {
        self.delete().await;
        self.create(FieldTable::default()).await;
    }

    async fn left(&self) -> u64 {
        let node = Erlang::of(&self.server);
        let mut left = 0;
        for queue in &self.queues {
            left += node.clone().left(queue).await;
        }
        left
    }

    fn kill_9(&mut self) {
        let Which::Own(server) = &mut self.server else { panic!("it is shared") };
        server.kill_9();
    }

    fn restart(&mut self) {
        let Which::Own(server) = &mut self.server else { panic!("it is shared") };
        server.restart();
    }
}
