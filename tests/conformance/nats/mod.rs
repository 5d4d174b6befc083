//! NATS JetStream, on a current server and on the oldest that the worker knows.

use std::marker::PhantomData;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use async_nats::jetstream::consumer::{self, FromConsumer, pull};
use async_nats::jetstream::stream::{self, RetentionPolicy};
use async_nats::jetstream::{self, Context};
use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use futures_util::future::join_all;
use xray_processor_worker::config::{Config, Limits, Nats};
use xray_processor_worker::queue::Producer;
use xray_processor_worker::queue::nats::{NatsProducer, NatsQueue};

use crate::harness::{Harness, Refused, Whose};
use crate::rig::limits;
use crate::support::servers::{Server, Which};

/// What consumers are told, so that a test can outlast it.
pub const ACK_WAIT: Duration = Duration::from_secs(2);

/// A version of the server, and how its streams keep messages.
pub trait Version: Send + Sync + 'static {
    const SERVER: &'static str;
    const RETENTION: RetentionPolicy;
}

/// As the worker creates streams.
pub struct Current;
/// As most others do.
pub struct Oldest;

impl Version for Current {
    const SERVER: &'static str = "nats";
    const RETENTION: RetentionPolicy = RetentionPolicy::WorkQueue;
}

impl Version for Oldest {
    const SERVER: &'static str = "nats-2.9";
    const RETENTION: RetentionPolicy = RetentionPolicy::Limits;
}

pub struct NatsHarness<V> {
    pub server: Which,
    pub stream: String,
    pub subject: String,
    pub ack_wait: Duration,
    /// Servers that other consumers are refused by.
    others: Mutex<Vec<Server>>,
    version: PhantomData<V>,
}

impl<V: Version> NatsHarness<V> {
    pub async fn on(server: Which, ack_wait: Duration) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let stream = format!("TEST-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let subject = format!("{}.events", stream.to_lowercase());
        let harness = NatsHarness { server, stream, subject, ack_wait, others: Mutex::default(), version: PhantomData };
        harness.create().await;
        harness.create_consumer(|_| {}).await;
        harness
    }

    pub fn url(&self) -> &str {
        self.server.env("NATS_URL")
    }

    pub async fn client(&self) -> Client {
        async_nats::connect(self.url()).await.unwrap()
    }

    pub async fn jetstream(&self) -> Context {
        jetstream::new(self.client().await)
    }

    /// Creates its stream.
    pub async fn create(&self) {
        self.create_keeping(V::RETENTION).await;
    }

    pub async fn create_keeping(&self, retention: RetentionPolicy) {
        let config = stream::Config {
            name: self.stream.clone(),
            subjects: vec![self.subject.clone()],
            retention,
            ..stream::Config::default()
        };
        self.jetstream().await.create_stream(config).await.unwrap();
    }

    /// Creates its consumer, as somebody else might have done.
    pub async fn create_consumer(&self, change: impl FnOnce(&mut pull::Config)) {
        let mut config = pull::Config {
            durable_name: Some("workers".into()),
            ack_wait: self.ack_wait,
            max_ack_pending: -1,
            filter_subject: self.subject.clone(),
            ..pull::Config::default()
        };
        change(&mut config);
        self.stream().await.create_consumer(config).await.unwrap();
    }

    /// Changes its consumer, as somebody else might do.
    pub async fn edit_consumer(&self, change: impl FnOnce(&mut pull::Config)) {
        let consumer = self.stream().await.get_consumer::<pull::Config>("workers").await.unwrap();
        let mut config = pull::Config::try_from_consumer_config(consumer.cached_info().config.clone()).unwrap();
        change(&mut config);
        self.stream().await.update_consumer(config).await.unwrap();
    }

    pub async fn stream(&self) -> stream::Stream {
        self.jetstream().await.get_stream(&self.stream).await.unwrap()
    }

    pub async fn delete(&self) {
        self.jetstream().await.delete_stream(&self.stream).await.unwrap();
    }

    pub async fn delete_consumer(&self) {
        self.stream().await.delete_consumer("workers").await.unwrap();
    }

    pub async fn info(&self) -> consumer::Info {
        self.stream().await.consumer_info("workers").await.unwrap()
    }

    pub fn settings(&self) -> Nats {
        let mut settings = Config::default().nats;
        settings.url = self.url().into();
        settings.stream = self.stream.clone();
        settings.subject = self.subject.clone();
        settings.consumer = "workers".into();
        settings.ack_wait = self.ack_wait;
        settings
    }

    /// A consumer with other settings.
    pub fn with(&self, change: impl FnOnce(&mut Nats)) -> NatsQueue {
        let mut settings = self.settings();
        change(&mut settings);
        NatsQueue::start(&settings, &limits()).unwrap()
    }

    /// Another server, which goes when this does; its URL.
    pub fn other(&self, args: &[&str]) -> String {
        let server = Server::start_with(V::SERVER, args);
        let url = server.env("NATS_URL").to_owned();
        self.others.lock().unwrap().push(server);
        url
    }
}

impl<V: Version> Harness for NatsHarness<V> {
    type Queue = NatsQueue;

    const LEASE: Duration = ACK_WAIT;
    const DELIVERIES_PER_OUTAGE: u32 = 1;
    const TELLS_REDELIVERIES: bool = true;
    /// `max_payload` of these servers.
    const LARGEST_BODY: usize = 8 << 20;
    const MOST_CONSUMERS: usize = usize::MAX;

    async fn start(server: Whose) -> Self {
        let ack_wait = if server == Whose::Deployed { Config::default().nats.ack_wait } else { ACK_WAIT };
        let server = match server {
            Whose::Shared => Which::Shared(Server::shared(V::SERVER)),
            Whose::Own | Whose::Deployed => Which::Own(Box::new(Server::start(V::SERVER))),
        };
        Self::on(server, ack_wait).await
    }

    fn consumer(&self, limits: &Limits) -> NatsQueue {
        NatsQueue::start(&self.settings(), limits).unwrap()
    }

    fn variables(&self) -> Vec<(String, String)> {
        let settings = self.settings();
        let ack_wait = settings.ack_wait.as_millis().to_string();
        let variables = [
            ("QUEUE_TYPE", "nats"),
            ("NATS_URL", self.url()),
            ("NATS_STREAM", &settings.stream),
            ("NATS_CONSUMER", &settings.consumer),
            ("NATS_SUBJECT", &settings.subject),
            ("NATS_CREATE", "stream"),
            ("NATS_ACK_WAIT_MS", &ack_wait),
        ];
        variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    fn use_default_sources(&mut self) {
        let defaults = Config::default().nats;
        (self.stream, self.subject) = (defaults.stream, defaults.subject);
    }

    fn refused(&self) -> Vec<Refused<NatsQueue>> {
        let at = format!("127.0.0.1:{}", self.server.running().port);
        let refused = |what, change: &dyn Fn(&mut Nats), words: &[&str]| Refused {
            what,
            queue: self.with(change),
            words: words.iter().map(ToString::to_string).collect(),
            secret: "s3cret",
        };
        let guarded = self.other(&["--user", "worker:secret", "--poor", "poor:s3cret"]);
        let as_user = |user: &str| guarded.replace("nats://", &format!("nats://{user}@"));
        let (wrong, poor) = (as_user("worker:s3cret"), as_user("poor:s3cret"));
        let token = self.other(&["--token", "open"]);
        let tls = self.other(&["--tls"]);
        let bare = self.other(&["--no-jetstream"]);
        let plain_tls = format!("tls://{at}");
        vec![
            refused("a wrong password", &|it| it.url = wrong.as_str().into(), &["worker", "password in NATS_URL"]),
            refused("no user at all", &|it| it.url = guarded.as_str().into(), &["without user", "NATS_USER"]),
            refused(
                "a wrong token",
                &|it| {
                    it.url = token.as_str().into();
                    it.token = Some("s3cret".into());
                },
                &["our token", "NATS_TOKEN"],
            ),
            refused(
                "no rights",
                &|it| it.url = poor.as_str().into(),
                &["does not let us", "grant", "Permissions Violation"],
            ),
            refused("an unknown CA", &|it| it.url = tls.as_str().into(), &["127.0.0.1:", "NATS_CA_FILE"]),
            refused("TLS where there is none", &|it| it.url = plain_tls.as_str().into(), &[&at, "TLS", "NATS_URL"]),
            refused("no JetStream", &|it| it.url = bare.as_str().into(), &["no JetStream", "enable it"]),
            refused(
                "nobody there",
                &|it| it.url = "nats://a:s3cret@127.0.0.1:1".into(),
                &["127.0.0.1:1", "reached", "NATS_URL"],
            ),
            refused(
                "no such host",
                &|it| it.url = "nats://a:s3cret@nowhere.invalid".into(),
                &["nowhere.invalid", "resolved", "NATS_URL"],
            ),
            refused(
                "no such stream",
                &|it| it.stream = "NOT-THERE".into(),
                &[&at, "no stream NOT-THERE", "NATS_STREAM", "NATS_CREATE"],
            ),
            refused(
                "no such consumer",
                &|it| {
                    it.consumer = "not-there".into();
                    it.create = "no";
                },
                &[&at, "no consumer not-there", "NATS_CONSUMER", "NATS_CREATE"],
            ),
            refused(
                "subjects that the stream does not have",
                &|it| it.subject = "elsewhere.>".into(),
                &[&at, "NATS_SUBJECT", "elsewhere.>", &self.subject],
            ),
        ]
    }

    async fn send(&self, bodies: Vec<Bytes>) {
        let producer = NatsProducer::start(&self.settings()).unwrap();
        for sent in join_all(bodies.into_iter().map(|body| producer.send(&self.subject, body))).await {
            sent.unwrap();
        }
    }

    async fn send_with(&self, body: Bytes, headers: &[(&str, &str)]) {
        let mut map = HeaderMap::new();
        // Names in NATS are printable ASCII, and there are none without a letter.
        for (name, value) in headers.iter().filter(|(name, _)| !name.is_empty() && name.is_ascii()) {
            map.append(*name, *value);
        }
        map.append("twice", "a");
        map.append("twice", "b");
        let jetstream = self.jetstream().await;
        let sent = jetstream.publish_with_headers(self.subject.clone(), map, body).await;
        sent.unwrap().await.unwrap();
    }

    async fn recreate(&self) {
        self.delete().await;
        self.create().await;
    }

    async fn left(&self) -> u64 {
        let Ok(mut stream) = self.jetstream().await.get_stream(&self.stream).await else { return 0 };
        match stream.consumer_info(self.settings().consumer).await {
            Ok(info) => info.num_pending + info.num_ack_pending as u64,
            // All of it is still to come.
            Err(_) => stream.info().await.unwrap().state.messages,
        }
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
