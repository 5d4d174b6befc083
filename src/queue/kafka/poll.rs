//! The thread that alone owns the consumer: it keeps our membership alive, whatever the stores do.

use super::context::Context;
use super::{Receipt, Shared};
use crate::event::kind_hint;
use crate::jitter::jitter;
use crate::pipeline::{Delivery, Message, Origin};
use bytes::Bytes;
use chrono::DateTime;
use rdkafka::ClientConfig;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Headers, Message as _};
use rdkafka::topic_partition_list::Offset;
use rdkafka::types::RDKafkaErrorCode as Code;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Between two looks at what else is to be done.
const TICK: Duration = Duration::from_millis(100);
/// Records that go into the inbox together.
const AT_ONCE: usize = 500;
/// Pausing throws away what was fetched ahead, so a short wait is better waited out. A member that does not poll for
/// `max.poll.interval.ms` is thrown out of its group, so a long one is not.
const PAUSE_AFTER: Duration = Duration::from_secs(5);
const SEEK_TIMEOUT: Duration = Duration::from_millis(500);
const METADATA_TIMEOUT: Duration = Duration::from_secs(2);
const MISSING_INTERVAL: Duration = Duration::from_secs(5);
/// Between two clients, after one that could not go on.
const RESTART: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Consumes until told to stop, through whatever happens.
pub(super) fn run(config: &ClientConfig, shared: &Arc<Shared>) {
    let mut backoff = RESTART.0;
    while !shared.stopping() {
        if let Err(error) = consume(config, shared) {
            shared.condition(|condition| condition.fatal(error));
            shared.tell();
        }
        // The consumer is closed by now: what was stored is committed, and the group knows that we left.
        let ended: Vec<_> = {
            shared.offsets().revoke_all();
            shared.inbox.take_if(|_| true)
        };
        drop(ended);
        if !shared.stopping() {
            std::thread::park_timeout(jitter(backoff));
            backoff = (backoff * 2).min(RESTART.1);
        }
    }
}

/// With one client, until told to stop. `Err` where that one cannot go on.
fn consume(config: &ClientConfig, shared: &Arc<Shared>) -> Result<(), String> {
    let context = Context { shared: shared.clone(), assigned: false.into() };
    let consumer = BaseConsumer::from_config_and_context(config, context).map_err(|error| error.to_string())?;
    let topics: Vec<_> = shared.settings.topics.iter().map(String::as_str).collect();
    consumer.subscribe(&topics).map_err(|error| error.to_string())?;
    Poll { consumer: &consumer, shared, full_since: None, paused: false }.until_it_ends()
}

struct Poll<'a> {
    consumer: &'a BaseConsumer<Context>,
    shared: &'a Arc<Shared>,
    /// Since when there has been no room.
    full_since: Option<Instant>,
    paused: bool,
}

impl Poll<'_> {
    /// `Err` where the client cannot go on.
    fn until_it_ends(mut self) -> Result<(), String> {
        let mut look_at: Option<Instant> = None;
        while !self.shared.stopping() {
            self.shared.store(self.consumer);
            self.rewind();
            if self.wait_for_room() {
                std::thread::park_timeout(TICK);
                continue;
            }
            let mut batch = Vec::new();
            let mut polled = self.consumer.poll(TICK);
            while let Some(result) = polled {
                match result {
                    Ok(record) => batch.extend(self.delivery(&record)),
                    Err(error @ KafkaError::MessageConsumptionFatal(_)) => {
                        self.shared.inbox.put(batch);
                        let fatal = self.consumer.client().fatal_error();
                        return Err(fatal.map_or_else(|| error.to_string(), |(_, text)| text));
                    }
                    Err(error) if is_unknown_topic(&error) => look_at = look_at.or(Some(Instant::now())),
                    // The context was told, and librdkafka tries again.
                    Err(_) => {}
                }
                polled = if batch.len() < AT_ONCE { self.consumer.poll(Duration::ZERO) } else { None };
            }
            if !batch.is_empty() {
                self.shared.condition(|condition| condition.works());
                self.shared.inbox.put(batch);
            }
            // A worker to whom nothing of them falls is not told that they are there by now.
            if look_at.is_some_and(|due| due <= Instant::now()) {
                look_at = (!self.look_for_topics()).then(|| Instant::now() + MISSING_INTERVAL);
            }
            self.shared.tell();
        }
        // What was acked up to now is committed as the consumer closes.
        self.shared.store(self.consumer);
        Ok(())
    }

    fn delivery(&self, record: &BorrowedMessage<'_>) -> Option<Delivery<Receipt>> {
        let (topic, partition, offset) = (record.topic(), record.partition(), record.offset());
        let (assignment, name) = self.shared.offsets().give(topic, partition, offset)?;
        let header = record.headers().and_then(|headers| {
            let of_type = headers.iter().find(|header| header.key == "type");
            of_type.and_then(|header| std::str::from_utf8(header.value?).ok())
        });
        let message = Message {
            // The record lives in a buffer of librdkafka that holds many.
            body: Bytes::copy_from_slice(record.payload().unwrap_or_default()),
            cut: None,
            hint: kind_hint(header, topic),
            origin: Origin { name, position: u64::try_from(offset).ok() },
            deliveries: 1,
            enqueued_at: record.timestamp().to_millis().and_then(DateTime::from_timestamp_millis),
        };
        Some(Delivery { message, receipt: Receipt { assignment, offset, shared: Some(self.shared.clone()) } })
    }

    /// Fetches once more what was dropped.
    fn rewind(&self) {
        let rewinds = self.shared.offsets().rewinds();
        for position in rewinds {
            let offset = Offset::Offset(position.offset);
            if let Err(error) = self.consumer.seek(&position.topic, position.partition, offset, SEEK_TIMEOUT) {
                tracing::debug!(%error, ?position, "cannot go back yet");
                self.shared.offsets().not_rewound(&position);
            }
        }
    }

    /// Whether nothing is to be polled now. After a while without room the partitions are paused, and polling goes on.
    fn wait_for_room(&mut self) -> bool {
        let full = self.shared.is_full(if self.paused { 2 } else { 1 });
        match (full, self.full_since) {
            (false, _) => {
                self.full_since = None;
                if self.paused {
                    self.paused = false;
                    self.everywhere("resume", |consumer, all| consumer.resume(all));
                }
            }
            (true, None) => self.full_since = Some(Instant::now()),
            (true, Some(since)) => {
                // What was assigned meanwhile must be paused as well.
                let assigned = self.consumer.context().assigned.swap(false, Relaxed);
                if (!self.paused && since.elapsed() >= PAUSE_AFTER) || (self.paused && assigned) {
                    self.paused = true;
                    self.everywhere("pause", |consumer, all| consumer.pause(all));
                }
            }
        }
        full && !self.paused
    }

    fn everywhere(
        &self,
        what: &str,
        call: impl Fn(&BaseConsumer<Context>, &rdkafka::TopicPartitionList) -> KafkaResult<()>,
    ) {
        // The list must not outlive this: a consumer that is dropped while one lives never ends.
        match self.consumer.assignment().and_then(|all| call(self.consumer, &all)) {
            Ok(()) => tracing::debug!("{what}d all partitions"),
            Err(error) => tracing::warn!(%error, "cannot {what} the partitions"),
        }
    }

    /// It is trouble only where none is there: the SDKs create topics as they first send to them.
    ///
    /// Returns whether all are there.
    fn look_for_topics(&self) -> bool {
        let there = |topic: &String| match self.consumer.fetch_metadata(Some(topic), METADATA_TIMEOUT) {
            Ok(metadata) => {
                metadata.topics().iter().any(|found| found.error().is_none() && !found.partitions().is_empty())
            }
            // Nobody knows.
            Err(_) => true,
        };
        let (there, missing): (Vec<_>, Vec<_>) = self.shared.settings.topics.iter().cloned().partition(there);
        if self.shared.newly_missing(&missing) {
            tracing::warn!(topics = missing.join(", "), "topics do not exist yet; they are waited for");
        }
        let all = missing.is_empty();
        let trouble = if there.is_empty() { missing.into_iter().collect() } else { BTreeSet::new() };
        self.shared.condition(|condition| condition.missing(trouble));
        all
    }
}

fn is_unknown_topic(error: &KafkaError) -> bool {
    matches!(error.rdkafka_error_code(), Some(Code::UnknownTopicOrPartition | Code::UnknownTopic))
}
