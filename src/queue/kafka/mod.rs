//! Apache Kafka, through librdkafka.
//!
//! ```text
//!  broker ─▶ librdkafka ─▶ poll thread ─▶ Inbox ─▶ receive ─▶ … ─▶ ack ─┐
//!     ▲                        │ ▲                                      │
//!     └── commit ◀── store ◀───┘ └───────────── Offsets ◀───────────────┘
//! ```
//!
//! What is committed of a partition is the frontier of its present assignment: the offset up to which every record that
//! was given out since then is stored. No record that is held is ever passed.

mod context;
mod inspect;
mod offsets;
mod poll;
mod producer;
mod settings;
mod trouble;

pub use inspect::inspect;
pub use producer::KafkaProducer;

use super::inbox::Inbox;
use super::{QueueBackend, QueueError};
use crate::budget::Room;
use crate::config::{Kafka, Limits};
use crate::pipeline::{Delivery, Stored};
use context::Context;
use offsets::{Assignment, Offsets, Position};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaConfRes;
use std::collections::BTreeSet;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::Duration;
use tokio::sync::watch;
use trouble::Condition;

/// What may wait to be received, at most. librdkafka fetches ahead of it by itself.
const WAITING: (usize, usize) = (2000, 16 << 20);
/// For leaving the group. While its members come together, that waits until the others have had their next heartbeat; and
/// brokers that are away do not answer.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(9);

/// A member of a consumer group.
pub struct KafkaQueue {
    shared: Arc<Shared>,
    ended: watch::Receiver<bool>,
}

struct Shared {
    settings: Kafka,
    offsets: Mutex<Offsets>,
    inbox: Inbox<Receipt>,
    /// Messages and bytes that may wait in it.
    bound: (usize, usize),
    condition: Mutex<Condition>,
    missing: Mutex<BTreeSet<String>>,
    /// Where logs have begun again, as long as that is not committed: librdkafka never commits a lower offset by itself.
    begun: Mutex<Vec<Position>>,
    stop: AtomicBool,
    poller: Arc<OnceLock<Thread>>,
}

/// Settles one record; dropped, it is fetched again.
pub struct Receipt {
    assignment: Assignment,
    offset: i64,
    /// `None` once it is settled.
    shared: Option<Arc<Shared>>,
}

impl KafkaQueue {
    /// Joins the group at the first [`receive`](QueueBackend::receive). Needs no broker yet: one that is away is waited for.
    /// `Err` where the settings are wrong.
    pub fn start(settings: &Kafka, limits: &Limits) -> Result<KafkaQueue, QueueError> {
        let config = settings::consumer(settings)?;
        let poller = Arc::new(OnceLock::<Thread>::new());
        let shared = Arc::new(Shared {
            settings: settings.clone(),
            offsets: Mutex::default(),
            inbox: Inbox::new({
                let poller = poller.clone();
                move || wake(&poller)
            }),
            bound: (limits.max_in_flight_messages.clamp(1, WAITING.0), limits.max_in_flight_bytes.clamp(1, WAITING.1)),
            condition: Mutex::default(),
            missing: Mutex::default(),
            begun: Mutex::default(),
            stop: AtomicBool::new(false),
            poller,
        });
        // Refuses what librdkafka does not take, now rather than for ever.
        let first = poll::client(&config, &shared).map_err(wrong)?;
        let (end, ended) = watch::channel(false);
        let thread = std::thread::Builder::new().name("kafka".into()).spawn({
            let shared = shared.clone();
            move || {
                if catch_unwind(AssertUnwindSafe(|| poll::run(first, &config, &shared))).is_err() {
                    // Without a word it would look as if nothing came.
                    let error = QueueError::new("consuming from Kafka failed, which is a bug; restart the worker");
                    shared.inbox.trouble(Some(error));
                }
                end.send_replace(true);
            }
        });
        let thread = thread.map_err(|error| QueueError::new("cannot start a thread for Kafka").because(error))?;
        shared.poller.set(thread.thread().clone()).ok();
        Ok(KafkaQueue { shared, ended })
    }
}

impl QueueBackend for KafkaQueue {
    const NAME: &'static str = "kafka";
    type Receipt = Receipt;

    async fn receive(&self, room: Room, wait: Duration) -> Result<Vec<Delivery<Receipt>>, QueueError> {
        self.shared.inbox.receive(room, wait).await
    }

    async fn ack(&self, stored: Vec<Stored<Receipt>>) -> Result<(), QueueError> {
        let mut offsets = self.shared.offsets();
        let mut holds = Vec::with_capacity(stored.len());
        for stored in stored {
            let (receipt, _, hold) = stored.into_parts();
            offsets.settle(receipt.assignment, receipt.offset);
            receipt.forget();
            holds.push(hold);
        }
        drop(offsets);
        drop(holds);
        Ok(())
    }

    /// They stay uncommitted. Whoever has their partitions next begins with them.
    async fn release(&self, receipts: Vec<Receipt>) -> Result<(), QueueError> {
        receipts.into_iter().for_each(Receipt::forget);
        Ok(())
    }

    async fn close(&self) -> Result<(), QueueError> {
        self.shared.stop();
        let mut ended = self.ended.clone();
        match tokio::time::timeout(CLOSE_TIMEOUT, ended.wait_for(|ended| *ended)).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(QueueError::new(format!(
                "Kafka at {} did not hear within {} s that we leave: our partitions go to others once the session times out",
                self.shared.settings.brokers.join(", "),
                CLOSE_TIMEOUT.as_secs()
            ))),
        }
    }

    fn lag(&self) -> Option<u64> {
        self.shared.inbox.lag()
    }
}

impl Shared {
    fn offsets(&self) -> MutexGuard<'_, Offsets> {
        self.offsets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn condition(&self, change: impl FnOnce(&mut Condition)) {
        change(&mut self.condition.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Lets the worker know how things stand.
    fn tell(&self) {
        let condition = self.condition.lock().unwrap_or_else(PoisonError::into_inner);
        if !condition.is_unknown() {
            let sentence = condition.sentence(&self.settings);
            drop(condition);
            self.inbox.trouble(sentence);
        }
    }

    /// Stores what may be committed.
    fn store(&self, consumer: &BaseConsumer<Context>) {
        let positions = self.offsets().storable();
        if positions.is_empty() {
            return;
        }
        if let Err(error) = list(&positions).and_then(|list| consumer.store_offsets(&list)) {
            // A partition that is being taken away: its records come again, to whoever has it next.
            tracing::debug!(%error, "offsets are not stored");
            self.offsets().not_stored(&positions);
        }
    }

    /// From here on the log of this partition begins again.
    fn begins(&self, position: Position) {
        let mut begun = self.begun();
        begun.retain(|other| (&other.topic, other.partition) != (&position.topic, position.partition));
        begun.push(position);
    }

    fn begun(&self) -> MutexGuard<'_, Vec<Position>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The broker has these offsets now.
    fn committed(&self, offsets: &TopicPartitionList) {
        self.begun().retain(|begun| {
            let found = offsets.find_partition(&begun.topic, begun.partition);
            found.is_none_or(|element| element.error().is_err() || element.offset() != Offset::Offset(begun.offset))
        });
    }

    /// Whether what waits has reached an `n`th of its bound.
    fn is_full(&self, n: usize) -> bool {
        let (messages, bytes) = self.inbox.held();
        messages > 0 && (messages * n >= self.bound.0.max(n) || bytes * n >= self.bound.1)
    }

    /// Notes which topics do not exist; whether any of them is news.
    fn newly_missing(&self, topics: &[String]) -> bool {
        let now: BTreeSet<_> = topics.iter().cloned().collect();
        let mut known = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        let news = !now.is_subset(&known);
        *known = now;
        news
    }

    /// Whether topics were missing when that was last looked at.
    fn is_missing_any(&self) -> bool {
        !self.missing.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn stopping(&self) -> bool {
        self.stop.load(Relaxed)
    }

    fn stop(&self) {
        self.stop.store(true, Relaxed);
        wake(&self.poller);
        drop(self.inbox.close());
    }
}

/// These positions as librdkafka wants them.
fn list(positions: &[Position]) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::with_capacity(positions.len());
    for position in positions {
        list.add_partition_offset(&position.topic, position.partition, Offset::Offset(position.offset))?;
    }
    Ok(list)
}

fn wake(poller: &OnceLock<Thread>) {
    if let Some(thread) = poller.get() {
        thread.unpark();
    }
}

/// librdkafka does not take the settings. Its own words would repeat values, which may be secrets.
fn wrong(error: KafkaError) -> QueueError {
    match error {
        KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, _, property, _) => {
            QueueError::new(format!("KAFKA_PROPERTIES: librdkafka has no property {property}"))
        }
        KafkaError::ClientConfig(_, _, property, _) => QueueError::new(format!(
            "librdkafka refuses the value of its property {property}; look at KAFKA_PROPERTIES and the settings of Kafka"
        )),
        error => {
            let files = settings::FILES.iter().filter(|(property, _)| error.to_string().contains(property));
            let mut files: Vec<_> = files.map(|(_, setting)| *setting).collect();
            if files.contains(&"KAFKA_SSL_KEY_FILE") {
                files.push("KAFKA_SSL_KEY_PASSWORD");
            }
            let look_at =
                if files.is_empty() { "KAFKA_PROPERTIES and the KAFKA_SSL_ files".into() } else { files.join(", ") };
            QueueError::new(format!("librdkafka refuses the settings of Kafka; look at {look_at}")).because(error)
        }
    }
}

impl Drop for KafkaQueue {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl Receipt {
    /// Drops it without fetching its record again.
    fn forget(mut self) {
        self.shared = None;
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            shared.offsets().dropped(self.assignment, self.offset);
        }
    }
}

impl fmt::Debug for KafkaQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaQueue").field("inbox", &self.shared.inbox).finish_non_exhaustive()
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Receipt({})", self.offset)
    }
}
