//! Apache Kafka.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use xray_processor_worker::config::{Config, Kafka, Limits};
use xray_processor_worker::queue::kafka::KafkaQueue;

use crate::harness::{Harness, Refused, Whose};
use crate::rig::limits;
use crate::support::servers::Server;

pub const PARTITIONS: i32 = 4;
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// The `message.max.bytes` of a broker that nobody has changed.
const SMALL: usize = 1_048_588;

/// A topic and a consumer group, whose members agree on who has what in the way of `G`.
pub struct KafkaHarness<G> {
    pub server: Running,
    pub settings: Kafka,
    sent: AtomicUsize,
    group: PhantomData<G>,
}

/// How members of a group share its partitions.
pub trait Group: Send + Sync + 'static {
    const PROPERTIES: &[(&str, &str)];
}

/// As it is where nobody sets anything: only what moves is taken away. A killed member is missed soon.
pub struct Cooperative;

impl Group for Cooperative {
    const PROPERTIES: &[(&str, &str)] = &[("session.timeout.ms", "6000"), ("heartbeat.interval.ms", "500")];
}

/// All is taken away from everyone, and given out anew.
pub struct Eager;

impl Group for Eager {
    const PROPERTIES: &[(&str, &str)] = &[
        ("session.timeout.ms", "6000"),
        ("heartbeat.interval.ms", "500"),
        ("partition.assignment.strategy", "range,roundrobin"),
    ];
}

/// The protocol of Kafka 4 (KIP-848), in which the broker decides.
pub struct Brokered;

impl Group for Brokered {
    const PROPERTIES: &[(&str, &str)] = &[("group.protocol", "consumer")];
}

pub enum Running {
    Shared(&'static Server),
    Own(Server),
}

impl Running {
    pub fn server(&self) -> &Server {
        match self {
            Running::Shared(server) => server,
            Running::Own(server) => server,
        }
    }
}

impl<G: Group> KafkaHarness<G> {
    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.settings.brokers.join(","));
        config.set("message.max.bytes", "100000000");
        config
    }

    async fn put(&self, producer: &FutureProducer, body: &[u8], headers: OwnedHeaders) {
        let partition = (self.sent.fetch_add(1, Relaxed) % PARTITIONS as usize) as i32;
        let record = FutureRecord::<(), _>::to(&self.settings.topics[0]).partition(partition).payload(body);
        producer.send(record.headers(headers), TIMEOUT).await.map_err(|(error, _)| error).unwrap();
    }

    /// As the broker has it: what is in the log beyond what is committed.
    fn uncommitted(&self) -> KafkaResult<u64> {
        let inspector: BaseConsumer = self.client().set("group.id", &self.settings.group_id).create()?;
        let mut left = 0;
        for topic in &self.settings.topics {
            let metadata = inspector.fetch_metadata(Some(topic), TIMEOUT)?;
            let partitions: Vec<i32> = metadata.topics()[0].partitions().iter().map(|it| it.id()).collect();
            let mut list = TopicPartitionList::new();
            for partition in partitions {
                list.add_partition(topic, partition);
            }
            if list.count() == 0 {
                continue;
            }
            let committed = inspector.committed_offsets(list, TIMEOUT)?;
            for element in committed.elements() {
                let (low, high) = inspector.fetch_watermarks(topic, element.partition(), TIMEOUT)?;
                let from = match element.offset() {
                    Offset::Offset(offset) => offset,
                    _ => low,
                };
                left += u64::try_from(high - from).unwrap();
            }
        }
        Ok(left)
    }

    pub fn topic(&self) -> &str {
        &self.settings.topics[0]
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().unwrap()
    }

    pub async fn create(&self, topic: &str, largest: usize) {
        let largest = largest.to_string();
        let new = NewTopic::new(topic, PARTITIONS, TopicReplication::Fixed(1)).set("max.message.bytes", &largest);
        let options = AdminOptions::new().operation_timeout(Some(TIMEOUT));
        // One that has just been deleted may still be there for a moment.
        for _ in 0..100 {
            if self.admin().create_topics([&new], &options).await.unwrap().iter().all(Result::is_ok) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{topic} is not created");
    }

    async fn delete(&self, topic: &str) {
        let options = AdminOptions::new().operation_timeout(Some(TIMEOUT));
        let deleted = self.admin().delete_topics(&[topic], &options).await.unwrap();
        deleted.into_iter().for_each(|topic| drop(topic.unwrap()));
    }

    /// On another listener of the server.
    pub fn on(&self, listener: &str) -> Kafka {
        let port = self.server.server().running().ports[listener];
        Kafka { brokers: vec![format!("127.0.0.1:{port}")], ..self.settings.clone() }
    }
}

impl<G: Group> Harness for KafkaHarness<G> {
    type Queue = KafkaQueue;

    /// `max.poll.interval.ms`: a member that does not poll for so long is thrown out of its group.
    const LEASE: Duration = Duration::from_secs(6);
    const DELIVERIES_PER_OUTAGE: u32 = 1;
    const TELLS_REDELIVERIES: bool = false;
    /// The `message.max.bytes` of a broker that nobody has changed, less what a batch of one adds.
    const LARGEST_BODY: usize = SMALL - 100;
    const MOST_CONSUMERS: usize = PARTITIONS as usize;

    async fn start(server: Whose) -> Self {
        let server = match server {
            Whose::Shared => Running::Shared(Server::shared("kafka")),
            Whose::Own | Whose::Deployed => Running::Own(Server::start_with("kafka", &["--auto-create"])),
        };
        let name = format!("conformance-{:032x}", rand::random::<u128>());
        let ours = [&[("max.poll.interval.ms", "6000")], G::PROPERTIES].concat();
        let settings = Kafka {
            brokers: vec![server.server().env("KAFKA_BROKERS").to_owned()],
            topics: vec![name.clone()],
            group_id: name.clone(),
            properties: ours.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect(),
            ..Config::default().kafka
        };
        let harness = KafkaHarness { server, settings, sent: AtomicUsize::new(0), group: PhantomData };
        harness.create(&name, SMALL).await;
        harness
    }

    fn consumer(&self, limits: &Limits) -> KafkaQueue {
        KafkaQueue::start(&self.settings, limits).unwrap()
    }

    fn variables(&self) -> Vec<(String, String)> {
        let Kafka { brokers, topics, group_id, .. } = &self.settings;
        let mut variables = BTreeMap::from([("QUEUE_TYPE", "kafka".to_owned()), ("KAFKA_BROKERS", brokers.join(","))]);
        if topics.len() == 1 {
            variables.insert("KAFKA_TOPICS", topics.join(","));
            variables.insert("KAFKA_GROUP_ID", group_id.clone());
            let properties: Vec<_> = G::PROPERTIES.iter().map(|(name, value)| format!("{name}={value}")).collect();
            variables.insert("KAFKA_PROPERTIES", properties.join("; "));
        }
        variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn refused(&self) -> Vec<Refused<KafkaQueue>> {
        let login = |listener, mechanism, user: &str, password: &str, ca| Kafka {
            security_protocol: Some(listener),
            sasl_mechanism: mechanism,
            sasl_username: Some(user.into()),
            sasl_password: Some(password.into()),
            ssl_ca_file: ca,
            ..self.on(listener)
        };
        let ca = self.server.server().running().ca.clone();
        let cases = [
            (
                "a wrong password with SCRAM",
                login("sasl_plaintext", "SCRAM-SHA-512", "worker", "geheim", None),
                &["refuses the login of worker", "KAFKA_SASL_PASSWORD"][..],
            ),
            (
                "an unknown user with PLAIN over TLS",
                login("sasl_ssl", "PLAIN", "nobody", "geheim", ca),
                &["refuses the login of nobody", "KAFKA_SASL_USERNAME"],
            ),
            (
                "a certificate that nobody we trust has signed",
                login("sasl_ssl", "PLAIN", "plain", "geheim", None),
                &["TLS with Kafka", "KAFKA_SSL_CA_FILE", "certificate verify failed"],
            ),
            ("no TLS on a port of TLS", self.on("sasl_ssl"), &["can be reached", "KAFKA_SECURITY_PROTOCOL"]),
            (
                "TLS on a port without",
                Kafka { security_protocol: Some("ssl"), ..self.on("plaintext") },
                &["can be reached", "KAFKA_SECURITY_PROTOCOL"],
            ),
            (
                "nobody there",
                Kafka { brokers: vec!["127.0.0.1:1".into()], ..self.settings.clone() },
                &["127.0.0.1:1", "KAFKA_BROKERS", "Connection refused"],
            ),
            (
                "a name that nobody has",
                Kafka { brokers: vec!["no-such-host.invalid:9092".into()], ..self.settings.clone() },
                &["no-such-host.invalid", "resolved", "KAFKA_BROKERS"],
            ),
            (
                "no such topic",
                Kafka { topics: vec!["no-such-topic".into()], ..self.settings.clone() },
                &["none of the topics no-such-topic", "KAFKA_TOPICS"],
            ),
        ];
        cases
            .into_iter()
            .map(|(what, settings, words)| Refused {
                what,
                queue: KafkaQueue::start(&settings, &limits()).unwrap(),
                words: words.iter().map(|word| (*word).to_owned()).collect(),
                secret: "geheim",
            })
            .collect()
    }

    async fn send(&self, bodies: Vec<Bytes>) {
        let producer: FutureProducer = self.client().create().unwrap();
        let sending = bodies.iter().map(|body| self.put(&producer, body, OwnedHeaders::new()));
        futures_util::future::join_all(sending).await;
    }

    async fn send_with(&self, body: Bytes, headers: &[(&str, &str)]) {
        let producer: FutureProducer = self.client().create().unwrap();
        let add = |all: OwnedHeaders, (key, value): &(&str, &str)| all.insert(Header { key, value: Some(*value) });
        self.put(&producer, &body, headers.iter().fold(OwnedHeaders::new(), add)).await;
    }

    fn use_default_sources(&mut self) {
        let Kafka { topics, group_id, .. } = Config::default().kafka;
        (self.settings.topics, self.settings.group_id) = (topics, group_id);
    }

    async fn recreate(&self) {
        self.delete(self.topic()).await;
        self.create(self.topic(), SMALL).await;
    }

    async fn left(&self) -> u64 {
        // A broker that has just come back needs some tries.
        let mut tries = 0;
        loop {
            match tokio::task::block_in_place(|| self.uncommitted()) {
                Ok(left) => return left,
                Err(error) => assert!(tries < 5, "{error}"),
            }
            tries += 1;
        }
    }

    fn kill_9(&mut self) {
        match &mut self.server {
            Running::Own(server) => server.kill_9(),
            Running::Shared(_) => unreachable!("the others need it"),
        }
    }

    fn restart(&mut self) {
        match &mut self.server {
            Running::Own(server) => server.restart(),
            Running::Shared(_) => unreachable!("the others need it"),
        }
    }
}
