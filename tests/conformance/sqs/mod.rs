//! SQS, as ElasticMQ speaks it, with queues of either type.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::error::ProvideErrorMetadata;
use aws_sdk_sqs::types::{MessageAttributeValue, QueueAttributeName};
use bytes::Bytes;
use futures_util::future::join_all;
use serde_json::json;
use xray_processor_worker::config::{self, Config, Limits, Sqs};
use xray_processor_worker::queue::Producer;
use xray_processor_worker::queue::sqs::{SqsProducer, SqsQueue};

use crate::harness::{Harness, Refused, Whose};
use crate::rig::{PATIENCE, limits};
use crate::support::servers::{Server, Which};

/// What the tests outlast.
pub const VISIBILITY: Duration = Duration::from_secs(10);
pub const SECRET: &str = "s3cret-key";

pub type Standard = SqsHarness<false>;
pub type Fifo = SqsHarness<true>;

pub struct SqsHarness<const FIFO: bool> {
    pub server: Which,
    /// The first, where there are several.
    pub queue: String,
    pub queues: Vec<String>,
    pub deployed: bool,
    /// Its queues come into being when the first message is sent.
    later: bool,
}

impl<const FIFO: bool> SqsHarness<FIFO> {
    pub async fn on(server: Which, deployed: bool) -> Self {
        let queue = Self::new_name("test");
        let harness = SqsHarness { server, queues: vec![queue.clone()], queue, deployed, later: false };
        harness.create(&harness.queue, &[]).await;
        harness
    }

    /// A name that no queue has.
    pub fn new_name(what: &str) -> String {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let suffix = if FIFO { ".fifo" } else { "" };
        format!("{what}-{}-{}{suffix}", std::process::id(), NEXT.fetch_add(1, Relaxed))
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.server.running().port)
    }

    pub fn url(&self, queue: &str) -> String {
        format!("{}/000000000000/{queue}", self.endpoint())
    }

    /// The driver alone.
    pub fn client(&self) -> Client {
        let settings = aws_sdk_sqs::config::Builder::new()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("worker", SECRET, None, None, "test"))
            .endpoint_url(self.endpoint());
        Client::from_conf(settings.build())
    }

    /// Creates a queue with these attributes besides.
    pub async fn create(&self, queue: &str, attributes: &[(QueueAttributeName, &str)]) {
        let mut request = self.client().create_queue().queue_name(queue);
        if FIFO {
            request = request.attributes(QueueAttributeName::FifoQueue, "true");
        }
        for (name, value) in attributes {
            request = request.attributes(name.clone(), *value);
        }
        request.send().await.unwrap();
    }

    pub fn settings(&self) -> Sqs {
        let defaults = Config::default().sqs;
        let short = if self.deployed {
            defaults.clone()
        } else {
            Sqs { visibility_timeout: VISIBILITY, wait_time: Duration::from_secs(1), ..defaults }
        };
        let credentials =
            config::Credentials { access_key: "worker".into(), secret_key: SECRET.into(), session_token: None };
        Sqs {
            queue_urls: self.queues.iter().map(|queue| self.url(queue)).collect(),
            region: Some("us-east-1".into()),
            credentials: Some(credentials),
            ..short
        }
    }

    /// A consumer with other settings.
    pub fn with(&self, change: impl FnOnce(&mut Sqs)) -> SqsQueue {
        let mut settings = self.settings();
        change(&mut settings);
        SqsQueue::start(&settings, &limits()).unwrap()
    }

    /// Messages of a queue, given out or not.
    pub async fn count(&self, queue: &str) -> u64 {
        let request = self.client().get_queue_attributes().queue_url(self.url(queue));
        let attributes = match request.attribute_names(QueueAttributeName::All).send().await {
            Ok(answer) => answer.attributes.unwrap(),
            Err(error) if error.code().is_some_and(|code| code.contains("QueueDoesNotExist")) => return 0,
            Err(error) => panic!("{error:?}"),
        };
        let number = |name| attributes[&name].parse::<u64>().unwrap();
        number(QueueAttributeName::ApproximateNumberOfMessages)
            + number(QueueAttributeName::ApproximateNumberOfMessagesNotVisible)
    }
}

/// Whether ElasticMQ has said so since it was started last.
fn is_restored(log: &Path, queue: &str) -> bool {
    let log = std::fs::read_to_string(log).unwrap();
    let since = log.rsplit("Starting ElasticMQ server").next().unwrap();
    since.lines().any(|line| line.contains("Restored") && line.ends_with(&format!("in queue {queue}")))
}

/// What SQS does not take as it is still comes by SNS, in its wrapper.
fn carried(body: &Bytes) -> Bytes {
    match (Standard::carries(body), std::str::from_utf8(body)) {
        (true, _) => body.clone(),
        (false, Ok(text)) => json!({ "Type": "Notification", "Message": text }).to_string().into(),
        (false, Err(_)) => panic!("nothing carries this: {body:?}"),
    }
}

impl<const FIFO: bool> Harness for SqsHarness<FIFO> {
    type Queue = SqsQueue;

    const LEASE: Duration = VISIBILITY;
    const DELIVERIES_PER_OUTAGE: u32 = 1;
    const TELLS_REDELIVERIES: bool = true;
    const LARGEST_BODY: usize = 1 << 20;
    const MOST_CONSUMERS: usize = usize::MAX;

    fn carries(body: &[u8]) -> bool {
        let control = |char: char| char < ' ' && !matches!(char, '\t' | '\n' | '\r');
        let other = |char: char| matches!(char, '\u{fffe}' | '\u{ffff}');
        let text = std::str::from_utf8(body);
        !body.is_empty() && text.is_ok_and(|text| !text.contains(control) && !text.contains(other))
    }

    async fn start(server: Whose) -> Self {
        match server {
            Whose::Own => Self::on(Which::Own(Box::new(Server::start("elasticmq"))), false).await,
            Whose::Deployed => {
                // On disk, as whoever has it may kill it.
                Self::on(Which::Own(Box::new(Server::start("elasticmq"))), true).await
            }
            Whose::Shared => Self::on(Which::Shared(Server::shared_with("elasticmq", &["--in-memory"])), false).await,
        }
    }

    fn consumer(&self, limits: &Limits) -> SqsQueue {
        SqsQueue::start(&self.settings(), limits).unwrap()
    }

    fn variables(&self) -> Vec<(String, String)> {
        let variables = [
            ("QUEUE_TYPE", "sqs"),
            ("SQS_QUEUE_URL", &self.settings().queue_urls.join(",")),
            // ElasticMQ answers before it has restored its queues, and ends where one of them is created meanwhile.
            ("SQS_CREATE_QUEUES", if self.later { "true" } else { "false" }),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "worker"),
            ("AWS_SECRET_ACCESS_KEY", SECRET),
        ];
        variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    fn use_default_sources(&mut self) {
        let suffix = if FIFO { ".fifo" } else { "" };
        self.queues = ["xray-decisions", "xray-steps", "xray-runs"].map(|name| format!("{name}{suffix}")).into();
        self.queue = self.queues[0].clone();
        self.later = true;
    }

    async fn recreate(&self) {
        self.client().delete_queue().queue_url(self.url(&self.queue)).send().await.unwrap();
        self.create(&self.queue, &[]).await;
    }

    fn refused(&self) -> Vec<Refused<SqsQueue>> {
        let refused = |what, endpoint: String, words: &[&str]| {
            let words = words.iter().map(ToString::to_string).collect();
            let queue = self.with(|settings| settings.endpoint = Some(endpoint));
            Refused { what, queue, words, secret: SECRET }
        };
        let at = format!("127.0.0.1:{}", self.server.running().port);
        let other = Server::shared("versitygw").running().port;
        vec![
            refused("nobody there", "http://127.0.0.1:1".into(), &["127.0.0.1:1", "nothing listens", "SQS_ENDPOINT"]),
            refused("no such host", "http://nowhere.invalid".into(), &["nowhere.invalid", "resolved", "SQS_QUEUE_URL"]),
            refused("TLS on a plain port", format!("https://{at}"), &[&at, "TLS", "http://"]),
            refused("an S3 server", format!("http://127.0.0.1:{other}"), &["is not SQS", "SQS_ENDPOINT"]),
            Refused {
                what: "no such queue",
                queue: self.with(|settings| settings.queue_urls = vec![self.url("not-there")]),
                words: vec![at, "not-there".into(), "SQS_QUEUE_URL".into(), "SQS_CREATE_QUEUES".into()],
                secret: SECRET,
            },
        ]
    }

    async fn send(&self, bodies: Vec<Bytes>) {
        let producer = SqsProducer::start(&self.settings()).unwrap();
        for sent in join_all(bodies.iter().map(|body| producer.send(&self.queue, carried(body)))).await {
            sent.unwrap();
        }
    }

    async fn send_with(&self, body: Bytes, headers: &[(&str, &str)]) {
        let value = |kind: &str| MessageAttributeValue::builder().data_type(kind);
        let mut request = self.client().send_message().queue_url(self.url(&self.queue));
        request = request.message_body(String::from_utf8(body.to_vec()).unwrap());
        // SQS itself takes no other names.
        let taken =
            |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        for (name, text) in headers.iter().filter(|(name, _)| taken(name)) {
            request = request.message_attributes(*name, value("String.x").string_value(*text).build().unwrap());
        }
        request = request.message_attributes("x-number", value("Number").string_value("0.5").build().unwrap());
        let bytes = aws_sdk_sqs::primitives::Blob::new(vec![0, 255]);
        request = request.message_attributes("x-bytes", value("Binary").binary_value(bytes).build().unwrap());
        if FIFO {
            request = request.message_group_id("g").message_deduplication_id(Self::new_name("once"));
        }
        request.send().await.unwrap();
    }

    async fn left(&self) -> u64 {
        let mut left = 0;
        for queue in &self.queues {
            left += self.count(queue).await;
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
        // It is ready before it has restored anything.
        let deadline = Instant::now() + PATIENCE;
        while !self.queues.iter().all(|queue| is_restored(&self.server.running().log, queue)) {
            assert!(Instant::now() < deadline, "{} are not restored", self.queues.join(", "));
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
