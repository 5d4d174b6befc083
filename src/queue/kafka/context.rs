//! What librdkafka tells us between records: assignments, failures, statistics, its log.

use super::Shared;
use super::offsets::Offsets;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::statistics::{Partition, Statistics};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::sync::Arc;
use std::time::Duration;

const COMMITTED_TIMEOUT: Duration = Duration::from_secs(3);

/// All callbacks run on the thread that polls.
pub(super) struct Context {
    pub(super) shared: Arc<Shared>,
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(partitions) => {
                // Asked for before any record comes: one before it tells that its log has begun again meanwhile.
                let committed = consumer.committed_offsets((*partitions).clone(), COMMITTED_TIMEOUT);
                let committed =
                    committed.inspect_err(|error| tracing::debug!(%error, "committed offsets are not known"));
                let mut offsets = self.shared.offsets();
                for element in committed.as_ref().unwrap_or(partitions).elements() {
                    let committed = match element.offset() {
                        Offset::Offset(offset) => Some(offset),
                        _ => None,
                    };
                    offsets.assign(element.topic(), element.partition(), committed);
                }
                drop(offsets);
                tracing::debug!(partitions = ?names(partitions), "partitions are assigned");
                self.shared.condition(|condition| condition.works());
            }
            Rebalance::Revoke(partitions) => {
                // What we store now is committed as the partitions go; somebody else may own lost ones already.
                if !consumer.assignment_lost() {
                    self.shared.store(consumer);
                }
                let mut offsets = self.shared.offsets();
                let ended: Vec<_> = partitions
                    .elements()
                    .iter()
                    .filter_map(|element| offsets.revoke(element.topic(), element.partition()))
                    .collect();
                drop(offsets);
                tracing::debug!(partitions = ?names(partitions), "partitions are taken away");
                drop(self.shared.inbox.take_if(|receipt| ended.contains(&receipt.assignment)));
            }
            Rebalance::Error(error) => tracing::warn!(%error, "rebalance failed"),
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, offsets: &TopicPartitionList) {
        match result {
            // Offsets stay stored, and are committed with the next ones.
            Err(error) => tracing::debug!(%error, "offsets are not committed yet"),
            Ok(()) => self.shared.committed(offsets),
        }
    }
}

fn names(partitions: &TopicPartitionList) -> Vec<String> {
    partitions.elements().iter().map(|it| format!("{}/{}", it.topic(), it.partition())).collect()
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        log(level, fac, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if let Some(code) = error.rdkafka_error_code() {
            self.shared.condition(|condition| condition.failed(code, reason));
        }
        tracing::debug!(%error, reason, "librdkafka");
    }

    fn stats(&self, statistics: Statistics) {
        let up = statistics.brokers.values().any(|broker| matches!(broker.state.as_str(), "UP" | "UPDATE"));
        self.shared.condition(|condition| condition.connections(up));
        let lag = lag(&statistics, &self.shared.offsets());
        self.shared.inbox.set_lag(lag);
    }
}

/// What is at the broker in the partitions that are ours, and not acked. `None` while none is ours, or one does not know.
fn lag(statistics: &Statistics, offsets: &Offsets) -> Option<u64> {
    if offsets.is_empty() {
        return None;
    }
    let partitions = statistics.topics.values().flat_map(|topic| {
        // Partition -1 is librdkafka's own; one that is not fetched is somebody else's.
        let ours = topic.partitions.values().filter(|it| it.partition >= 0 && it.desired && it.fetch_state != "none");
        ours.map(|it| (topic.topic.as_str(), it))
    });
    let lag_of = |(topic, it): (&str, &Partition)| {
        let committed = Some(it.committed_offset).filter(|offset| *offset >= 0);
        let from = offsets.unsettled_from(topic, it.partition).or(committed).unwrap_or(it.lo_offset);
        u64::try_from(it.hi_offset - from).ok().filter(|_| it.hi_offset >= 0 && from >= 0)
    };
    partitions.map(lag_of).try_fold(0, |sum, lag| Some(sum + lag?))
}

/// What matters of it is said in our own words, once per change.
pub(super) fn log(level: RDKafkaLogLevel, fac: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(fac, "librdkafka: {message}");
        }
        _ => tracing::debug!(fac, "librdkafka: {message}"),
    }
}
