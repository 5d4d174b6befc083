//! The thread that alone owns the consumer: it keeps our membership alive, whatever the stores do.

use super::context::Context;
use super::offsets::{Given, Position};
use super::{Receipt, Shared, list, settings};
use crate::event::kind_hint;
use crate::jitter::jitter;
use crate::pipeline::{Delivery, Message, Origin};
use bytes::Bytes;
use chrono::DateTime;
use rdkafka::ClientConfig;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Headers, Message as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode as Code;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Between two looks at what else is to be done.
const TICK: Duration = Duration::from_millis(100);
/// Records that go into the inbox together.
const AT_ONCE: usize = 500;
/// How far a partition may go on beyond a record that is not settled: so many are redelivered after a crash.
const LONGEST_SPAN: usize = 100_000;
/// A group needs some seconds to come together.
const ALONE_FOR: Duration = Duration::from_secs(5);
/// A commit that failed.
const COMMIT_AGAIN: Duration = Duration::from_secs(2);
const SEEK_TIMEOUT: Duration = Duration::from_millis(500);
const METADATA_TIMEOUT: Duration = Duration::from_secs(2);
const MISSING_INTERVAL: Duration = Duration::from_secs(5);
/// Not every group protocol tells of topics that are missing.
const FIRST_LOOK: Duration = Duration::from_secs(2);
/// Between two clients, after one that could not go on.
const RESTART: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// A client, not subscribed yet.
pub(super) fn client(config: &ClientConfig, shared: &Arc<Shared>) -> KafkaResult<BaseConsumer<Context>> {
    BaseConsumer::from_config_and_context(config, Context { shared: shared.clone() })
}

/// Consumes until told to stop, through whatever happens: at first with this client.
pub(super) fn run(first: BaseConsumer<Context>, config: &ClientConfig, shared: &Arc<Shared>) {
    let (mut next, mut backoff) = (KafkaResult::Ok(first), RESTART.0);
    while !shared.stopping() {
        let began = Instant::now();
        let consumed =
            next.map_err(|error| error.to_string()).and_then(|client| Poll::new(&client, shared).until_it_ends());
        if let Err(error) = consumed {
            shared.condition(|condition| condition.fatal(error));
            shared.tell();
        }
        // The consumer is closed by now: what was stored is committed, and the group knows that we left.
        let ended: Vec<_> = {
            shared.begun().clear();
            shared.offsets().revoke_all();
            shared.inbox.take_if(|_| true)
        };
        drop(ended);
        if shared.stopping() {
            return;
        }
        if began.elapsed() > RESTART.1 {
            backoff = RESTART.0;
        }
        std::thread::park_timeout(jitter(backoff));
        backoff = (backoff * 2).min(RESTART.1);
        next = client(config, shared);
    }
}

struct Poll<'a> {
    consumer: &'a BaseConsumer<Context>,
    shared: &'a Arc<Shared>,
    pause_after: Duration,
    /// Since when there has been no room.
    full_since: Option<Instant>,
    /// There has been none for so long that nothing is to be fetched.
    full: bool,
    /// What librdkafka has paused. It goes on to be paused when it is taken away and comes back.
    paused: BTreeSet<(Arc<str>, i32)>,
    /// Since when no partition has been ours, until that is said.
    alone_since: Option<Instant>,
    /// When to commit new beginnings again.
    commit_at: Option<Instant>,
}

impl<'a> Poll<'a> {
    fn new(consumer: &'a BaseConsumer<Context>, shared: &'a Arc<Shared>) -> Self {
        let pause_after = settings::pause_after(&shared.settings);
        let (full_since, paused, alone_since, commit_at) = (None, BTreeSet::new(), None, None);
        Poll { consumer, shared, pause_after, full_since, full: false, paused, alone_since, commit_at }
    }

    /// `Err` where the client cannot go on.
    fn until_it_ends(mut self) -> Result<(), String> {
        let mut look_at: Option<Instant> = None;
        let mut subscribed = false;
        while !self.shared.stopping() {
            if !subscribed && self.shared.inbox.is_wanted() {
                subscribed = true;
                let topics: Vec<_> = self.shared.settings.topics.iter().map(String::as_str).collect();
                self.consumer.subscribe(&topics).map_err(|error| error.to_string())?;
                self.alone_since = Some(Instant::now());
                look_at = Some(Instant::now() + FIRST_LOOK);
            }
            self.shared.store(self.consumer);
            self.commit_anew();
            self.rewind();
            let wait = self.wait_for_room();
            self.pause();
            if wait {
                std::thread::park_timeout(TICK);
                continue;
            }
            let mut batch = Vec::new();
            let fetched = self.fetch(&mut batch, &mut look_at);
            if !batch.is_empty() {
                self.shared.condition(|condition| condition.works());
                self.shared.inbox.put(batch);
            }
            fetched?;
            // A worker to whom nothing of them falls is not told that they are there by now.
            if look_at.is_some_and(|due| due <= Instant::now()) {
                look_at = (!self.look_for_topics()).then(|| Instant::now() + MISSING_INTERVAL);
            }
            self.say_if_alone();
            self.shared.tell();
        }
        // What was acked up to now is committed as the consumer closes.
        self.shared.store(self.consumer);
        Ok(())
    }

    /// Waits for a tick at most, then takes what is there, up to a bound. `Err` where the client cannot go on.
    fn fetch(&mut self, batch: &mut Vec<Delivery<Receipt>>, look_at: &mut Option<Instant>) -> Result<(), String> {
        let mut bytes = 0;
        let mut polled = self.consumer.poll(TICK);
        while let Some(result) = polled {
            match result {
                Ok(record) => {
                    bytes += record.payload_len();
                    batch.extend(self.delivery(&record));
                }
                Err(error @ KafkaError::MessageConsumptionFatal(_)) => {
                    let fatal = self.consumer.client().fatal_error();
                    return Err(fatal.map_or_else(|| error.to_string(), |(_, text)| text));
                }
                Err(error) if is_unknown_topic(&error) => *look_at = look_at.or(Some(Instant::now())),
                // The context was told, and librdkafka tries again.
                Err(_) => {}
            }
            if batch.len() >= AT_ONCE || bytes >= self.shared.bound.1 {
                break;
            }
            polled = self.consumer.poll(Duration::ZERO);
        }
        Ok(())
    }

    /// Before the next poll, which may move the record's partition away: only now is it known whose it is.
    fn delivery(&mut self, record: &BorrowedMessage<'_>) -> Option<Delivery<Receipt>> {
        let (topic, partition, offset) = (record.topic(), record.partition(), record.offset());
        let Given { assignment, origin, hint, anew } = self.shared.offsets().give(topic, partition, offset)?;
        if anew {
            self.begin_anew(&Position { topic: topic.into(), partition, offset });
        }
        let header = record.headers().and_then(|headers| {
            let of_type = headers.iter().find(|header| header.key == "type");
            of_type.and_then(|header| std::str::from_utf8(header.value?).ok())
        });
        let message = Message {
            // The record lives in a buffer of librdkafka that holds many.
            body: Bytes::copy_from_slice(record.payload().unwrap_or_default()),
            cut: None,
            hint: kind_hint(header, "").or(hint),
            origin: Origin { name: origin, position: u64::try_from(offset).ok() },
            deliveries: 1,
            enqueued_at: record.timestamp().to_millis().and_then(DateTime::from_timestamp_millis),
        };
        Some(Delivery { message, receipt: Receipt { assignment, offset, shared: Some(self.shared.clone()) } })
    }

    /// A log that begins again is committed from there, lower than before. What was stored of the old one must not stand: it
    /// would skip records of the new one.
    fn begin_anew(&mut self, from: &Position) {
        tracing::warn!(
            topic = &*from.topic,
            partition = from.partition,
            offset = from.offset,
            "the log begins again: the topic was created anew, or its end was cut off; consuming from its beginning"
        );
        let stored = list(std::slice::from_ref(from)).and_then(|list| self.consumer.store_offsets(&list));
        if let Err(error) = stored {
            tracing::debug!(%error, "the new beginning is not stored");
        }
        self.shared.begins(from.clone());
        self.commit_at = None;
    }

    /// Commits where logs begin again, until the broker has it.
    fn commit_anew(&mut self) {
        let begun = self.shared.begun().clone();
        if begun.is_empty() || self.commit_at.is_some_and(|due| Instant::now() < due) {
            return;
        }
        self.commit_at = Some(Instant::now() + COMMIT_AGAIN);
        let told = list(&begun).and_then(|list| self.consumer.commit(&list, CommitMode::Async));
        if let Err(error) = told {
            tracing::debug!(%error, "a new beginning is not committed yet");
        }
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

    /// Whether nothing is to be polled now. After a while without room nothing is to be fetched, and polling goes on.
    fn wait_for_room(&mut self) -> bool {
        let full = self.shared.is_full(if self.full { 2 } else { 1 });
        if full {
            let since = *self.full_since.get_or_insert_with(Instant::now);
            self.full |= since.elapsed() >= self.pause_after;
        } else {
            (self.full_since, self.full) = (None, false);
        }
        full && !self.full
    }

    /// Pauses what is not to be fetched now, and nothing else: all partitions, or those that have gone far beyond a record
    /// that is not settled, while the others go on. To resume one that is not paused would lose what was fetched ahead.
    fn pause(&mut self) {
        let (mut pause, mut resume) = (Vec::new(), Vec::new());
        let mut offsets = self.shared.offsets();
        let newly = offsets.hold_back(LONGEST_SPAN);
        for (topic, partition, held_back) in offsets.partitions() {
            let key = (topic.clone(), partition);
            match (self.full || held_back, self.paused.contains(&key)) {
                (true, false) => pause.push(key),
                (false, true) => resume.push(key),
                _ => {}
            }
        }
        drop(offsets);
        for Position { topic, partition, .. } in newly {
            tracing::warn!(
                topic = &*topic,
                partition,
                "{LONGEST_SPAN} records beyond one that is not stored: the partition waits for it"
            );
        }
        for key in pause {
            if self.tell("pause", &key, |list| self.consumer.pause(list)) {
                self.paused.insert(key);
            }
        }
        for key in resume {
            if self.tell("resume", &key, |list| self.consumer.resume(list)) {
                self.paused.remove(&key);
            }
        }
    }

    fn tell(
        &self,
        what: &str,
        (topic, partition): &(Arc<str>, i32),
        call: impl Fn(&TopicPartitionList) -> KafkaResult<()>,
    ) -> bool {
        let mut list = TopicPartitionList::new();
        list.add_partition(topic, *partition);
        // Tried again in a moment.
        let called =
            call(&list).inspect_err(|error| tracing::debug!(%error, topic = &**topic, partition, "cannot {what}"));
        called.is_ok()
    }

    /// A worker to whom no partition falls does nothing, which looks as if it hung.
    fn say_if_alone(&mut self) {
        if !self.shared.offsets().is_empty() || self.shared.is_missing_any() {
            self.alone_since = None;
        } else if self.alone_since.is_some_and(|since| since.elapsed() >= ALONE_FOR) {
            self.alone_since = None;
            tracing::info!(
                group = self.shared.settings.group_id,
                "no partition is ours yet: other workers of the group have them all, or one that died holds them until its \
                 session times out"
            );
        }
    }

    /// It is trouble only where none is there: the SDKs create topics as they first send to them.
    ///
    /// Returns whether all are there.
    fn look_for_topics(&self) -> bool {
        let (mut missing, mut all_known) = (Vec::new(), true);
        for topic in &self.shared.settings.topics {
            match self.consumer.fetch_metadata(Some(topic), METADATA_TIMEOUT) {
                Ok(metadata) => {
                    let mut found = metadata.topics().iter();
                    if !found.any(|found| found.error().is_none() && !found.partitions().is_empty()) {
                        missing.push(topic.clone());
                    }
                }
                // Nobody knows.
                Err(_) => all_known = false,
            }
        }
        if self.shared.newly_missing(&missing) {
            tracing::warn!(topics = missing.join(", "), "topics do not exist yet; they are waited for");
        }
        let all_there = all_known && missing.is_empty();
        let none_is = missing.len() == self.shared.settings.topics.len();
        let trouble = if none_is { missing.into_iter().collect() } else { BTreeSet::new() };
        self.shared.condition(|condition| condition.missing(trouble));
        all_there
    }
}

fn is_unknown_topic(error: &KafkaError) -> bool {
    matches!(error.rdkafka_error_code(), Some(Code::UnknownTopicOrPartition | Code::UnknownTopic))
}
