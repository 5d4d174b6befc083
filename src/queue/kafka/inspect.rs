//! What `check` asks a Kafka cluster. Joins no group and takes no record.

use super::settings;
use super::trouble::Condition;
use crate::causes;
use crate::check::Findings;
use crate::config::Kafka;
use crate::queue::QueueError;
use crate::span::span;
use rdkafka::admin::{AdminClient, AdminOptions, ConfigEntry, ResourceSpecifier};
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::metadata::MetadataTopic;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::task::spawn_blocking;

const ANSWER: Duration = Duration::from_secs(10);
/// The shortest time that leaves one to mend the stores.
const SHORT_RETENTION: Duration = Duration::from_secs(24 * 3600);

/// Hears what librdkafka says is wrong.
#[derive(Default)]
struct Listener(Mutex<Condition>);

impl ClientContext for Listener {
    fn error(&self, error: KafkaError, reason: &str) {
        if let Some(code) = error.rdkafka_error_code() {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).failed(code, reason);
        }
    }

    fn log(&self, _: rdkafka::config::RDKafkaLogLevel, _: &str, _: &str) {}
}

impl ConsumerContext for Listener {}

impl Listener {
    fn sentence(&self, settings: &Kafka) -> Option<QueueError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).sentence(settings)
    }
}

/// All of it.
pub async fn inspect(settings: &Kafka) -> Findings {
    let config = match settings::consumer(settings) {
        Ok(config) => config,
        Err(error) => return failed(&causes::chain(&error)),
    };
    let (of_config, of_settings) = (config.clone(), settings.clone());
    let asked = spawn_blocking(move || ask(&of_config, &of_settings)).await;
    let (mut found, topics) = asked.unwrap_or_else(|error| (failed(&error.to_string()), Vec::new()));
    if !topics.is_empty() {
        configurations(&config, &topics, &mut found).await;
    }
    found
}

fn failed(text: &str) -> Findings {
    let mut found = Findings::about("kafka");
    found.fail(text);
    found
}

/// Blocks. Answers also with the topics that are there.
fn ask(config: &ClientConfig, settings: &Kafka) -> (Findings, Vec<String>) {
    let mut found = Findings::about("kafka");
    let at = settings.brokers.join(", ");
    let consumer: BaseConsumer<Listener> = match config.create_with_context(Listener::default()) {
        Ok(consumer) => consumer,
        Err(error) => return (failed(&causes::chain(&super::wrong(error))), Vec::new()),
    };
    let metadata = match consumer.fetch_metadata(None, ANSWER) {
        Ok(metadata) => metadata,
        Err(error) => {
            let unheard =
                || QueueError::new(format!("Kafka at {at} does not answer; look at KAFKA_BROKERS")).because(error);
            let error = reason(&consumer, settings).unwrap_or_else(unheard);
            return (failed(&causes::chain(&error)), Vec::new());
        }
    };
    found.ok(format!("{at} answers: {} brokers, and lets us in", metadata.brokers().len()));
    let mut there = Vec::new();
    for name in &settings.topics {
        let topic = metadata.topics().iter().find(|topic| topic.name() == name && !topic.partitions().is_empty());
        match topic {
            Some(topic) => {
                self::topic(topic, &mut found);
                there.push(name.clone());
            }
            None => found.warn(
                format!("there is no topic {name} that we may see"),
                "it is waited for: create it, grant Describe on it, or set KAFKA_TOPICS",
            ),
        }
    }
    if there.is_empty() {
        found.fail_with("none of the topics exists", "create them, or set KAFKA_TOPICS");
        return (found, there);
    }
    let partitions = metadata.topics().iter().filter(|topic| there.iter().any(|name| name == topic.name()));
    let partitions: Vec<(String, i32)> = partitions
        .flat_map(|topic| topic.partitions().iter().map(|part| (topic.name().to_owned(), part.id())))
        .collect();
    lag(&consumer, settings, &partitions, &mut found);
    (found, there)
}

/// Why there is no answer. Errors of connections come by way of polling, one at a time.
fn reason(consumer: &BaseConsumer<Listener>, settings: &Kafka) -> Option<QueueError> {
    (0..20).find_map(|_| {
        drop(consumer.poll(Duration::from_millis(100)));
        consumer.context().sentence(settings)
    })
}

fn topic(topic: &MetadataTopic, found: &mut Findings) {
    let partitions = topic.partitions();
    let replicas = partitions.iter().map(|partition| partition.replicas().len()).min().unwrap_or_default();
    let text = format!("topic {}: {} partitions, {replicas} replicas", topic.name(), partitions.len());
    let leaderless = partitions.iter().filter(|partition| partition.leader() < 0).count();
    match (leaderless, replicas) {
        (1.., _) => found.fail_with(format!("{text}; {leaderless} partitions have no leader"), "look at the brokers"),
        (_, 1) => {
            found.warn(text, "one broker that is gone takes its records along: use three, with min.insync.replicas=2")
        }
        _ => found.ok(text),
    }
}

/// What the group has not consumed. Lists must be gone before the consumer is, so none of them leaves this function.
fn lag(consumer: &BaseConsumer<Listener>, settings: &Kafka, partitions: &[(String, i32)], found: &mut Findings) {
    let group = &settings.group_id;
    let mut list = TopicPartitionList::new();
    for (topic, partition) in partitions {
        list.add_partition(topic, *partition);
    }
    let committed = match consumer.committed_offsets(list, ANSWER) {
        Ok(committed) => committed,
        Err(error) => {
            return found.fail_with(
                format!("the committed offsets of the group {group} cannot be read: {error}"),
                "grant Read on the group, or set KAFKA_GROUP_ID",
            );
        }
    };
    let mut waiting = 0;
    for element in committed.elements() {
        let (topic, partition) = (element.topic(), element.partition());
        match consumer.fetch_watermarks(topic, partition, ANSWER) {
            Ok((low, high)) => {
                let from = if let Offset::Offset(offset) = element.offset() { offset.max(low) } else { low };
                waiting += (high - from).max(0);
            }
            Err(error) => {
                return found.fail_with(
                    format!("the offsets of {topic} cannot be read: {error}"),
                    "grant Read and Describe on the topic",
                );
            }
        }
    }
    found.ok(format!("the group {group} may be used; {waiting} records wait for it"));
}

/// What topics do to records that nobody has consumed.
async fn configurations(config: &ClientConfig, topics: &[String], found: &mut Findings) {
    let Ok(admin) = config.create_with_context::<_, AdminClient<Silent>>(Silent) else { return };
    let wanted: Vec<_> = topics.iter().map(|topic| ResourceSpecifier::Topic(topic)).collect();
    let answers = admin.describe_configs(&wanted, &AdminOptions::new().request_timeout(Some(ANSWER))).await;
    let Ok(answers) = answers else { return };
    for (topic, answer) in topics.iter().zip(answers) {
        match answer {
            Ok(resource) => judge(topic, &resource.entries, found),
            Err(_) => found.warn(
                format!("how long records of {topic} are kept cannot be seen"),
                "grant DescribeConfigs on it to have that checked; retention.ms must be longer than your longest outage",
            ),
        }
    }
}

fn judge(topic: &str, entries: &[ConfigEntry], found: &mut Findings) {
    let value = |name: &str| {
        let entry = entries.iter().find(|entry| entry.name == name);
        entry.and_then(|entry| entry.value.clone()).unwrap_or_default()
    };
    if value("cleanup.policy").contains("compact") {
        found.fail_with(
            format!("topic {topic} is compacted: of events that share a key all but the last are removed"),
            "set its cleanup.policy to delete",
        );
    }
    let kept = value("retention.ms").parse::<u64>().map(Duration::from_millis);
    match kept {
        Ok(kept) if kept < SHORT_RETENTION => found.warn(
            format!("topic {topic} keeps records for {}: what is not stored by then is lost", span(kept.as_secs_f64())),
            "raise its retention.ms above your longest outage",
        ),
        Ok(kept) => found.ok(format!("topic {topic} keeps records for {}", span(kept.as_secs_f64()))),
        // -1: for ever.
        Err(_) => found.ok(format!("topic {topic} keeps records for ever")),
    }
    if value("retention.bytes").parse::<u64>().is_ok() {
        found.warn(
            format!("topic {topic} drops its oldest records at {} bytes a partition", value("retention.bytes")),
            "see that this is more than comes in during your longest outage",
        );
    }
}

/// The consumer has said all that is to be said.
struct Silent;

impl ClientContext for Silent {
    fn error(&self, _: KafkaError, _: &str) {}
    fn log(&self, _: rdkafka::config::RDKafkaLogLevel, _: &str, _: &str) {}
}
