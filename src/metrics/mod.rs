//! What the worker counts and measures, under the names that are documented for Prometheus.
//!
//! Every series is there from the start, at 0, so that a rate over it sees its first event. Ids never become labels.

mod live;
mod text;

pub use text::{CONTENT_TYPE, text};

use crate::budget::Budget;
use crate::config::QueueType;
use crate::event::{Code, Kind};
use crate::health::Health;
use live::{Lag, Live};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

const FLUSH_SECONDS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
const FLUSH_EVENTS: [f64; 10] = [1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1_000.0, 3_000.0, 10_000.0, 30_000.0];
/// Up to hours: what a store that was away does to it is what one wants to see.
const END_TO_END_SECONDS: [f64; 16] =
    [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 7_200.0, 43_200.0];

/// The counters and histograms of a worker. Cheap to clone; clones count together.
#[derive(Debug, Clone)]
pub struct Metrics {
    queue: &'static str,
    events_received: Family<Received, Counter>,
    events_stored: Counter,
    dead_letters: Family<DeadLetters, Counter>,
    redeliveries: Counter,
    flush_seconds: Family<Flush, Histogram>,
    flush_events: Histogram,
    store_errors: Family<StoreErrors, Counter>,
    end_to_end_seconds: Histogram,
    lag: Lag,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Received {
    queue: &'static str,
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DeadLetters {
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Flush {
    stage: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StoreErrors {
    store: &'static str,
    retryable: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
}

/// The steps in which a batch becomes durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Raw objects.
    Objects,
    /// Rows of events and reports.
    Facts,
    /// Rows computed from those.
    Derived,
}

impl Stage {
    /// Every stage, in the order they follow each other.
    pub const ALL: [Stage; 3] = [Stage::Objects, Stage::Facts, Stage::Derived];

    /// The label.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Objects => "objects",
            Stage::Facts => "facts",
            Stage::Derived => "derived",
        }
    }
}

impl Metrics {
    /// Registers everything. `stores` are the names under which stores report errors and
    /// are known to `health`; what is held and what is up is read off `budget` and `health` at each scrape.
    pub fn register(
        registry: &mut Registry,
        queue: QueueType,
        stores: &[&'static str],
        budget: &Budget,
        health: &Health,
    ) -> Metrics {
        let metrics = Metrics {
            queue: queue.as_str(),
            events_received: Family::default(),
            events_stored: Counter::default(),
            dead_letters: Family::default(),
            redeliveries: Counter::default(),
            flush_seconds: Family::new_with_constructor(|| Histogram::new(FLUSH_SECONDS)),
            flush_events: Histogram::new(FLUSH_EVENTS),
            store_errors: Family::default(),
            end_to_end_seconds: Histogram::new(END_TO_END_SECONDS),
            lag: Lag::default(),
        };
        metrics.create_series(stores);
        metrics.describe(registry);
        if queue.tells_redeliveries() {
            let help = "Messages that had been delivered before";
            registry.register("xray_redeliveries", help, metrics.redeliveries.clone());
        }

        let build = Family::<Build, Gauge>::default();
        build.get_or_create(&Build { version: env!("CARGO_PKG_VERSION") }).set(1);
        registry.register("xray_build_info", "Always 1; the version of the worker is the label", build);
        let (budget, health, lag) = (budget.clone(), health.clone(), metrics.lag.clone());
        let live = Live { stores: stores.to_vec(), budget, health, lag };
        registry.register_collector(Box::new(live));
        metrics
    }

    /// An event, or something that should have been one, came off the queue.
    pub fn received(&self, kind: Option<Kind>, events: u64) {
        self.events_received.get_or_create(&self.received_label(kind)).inc_by(events);
    }

    /// So many events are durable, and their messages acked.
    pub fn stored(&self, events: u64) {
        self.events_stored.inc_by(events);
    }

    /// A dead letter is durable.
    pub fn dead_letter(&self, code: Code) {
        self.dead_letters.get_or_create(&DeadLetters { code: code.as_str() }).inc();
    }

    /// A message came that had been delivered before.
    pub fn redelivered(&self) {
        self.redeliveries.inc();
    }

    /// So many messages are at the broker and not acked; `None`: nobody knows.
    pub fn lag(&self, messages: Option<u64>) {
        self.lag.set(messages);
    }

    /// A stage made so many events durable together, and it took this long.
    pub fn flush(&self, stage: Stage, seconds: f64, events: usize) {
        self.flush_seconds.get_or_create(&Flush { stage: stage.as_str() }).observe(seconds);
        // Every event passes every stage. It counts once, where the size of a group matters most: rows per insert.
        if stage == Stage::Facts {
            self.flush_events.observe(events as f64);
        }
    }

    /// A call of a store failed.
    pub fn store_failed(&self, store: &'static str, retryable: bool) {
        self.store_errors.get_or_create(&StoreErrors { store, retryable }).inc();
    }

    /// A message is acked this long after the broker took it; by a broker whose clock is ahead, that may be negative.
    pub fn end_to_end(&self, seconds: f64) {
        // A sum that falls would look like a restart.
        self.end_to_end_seconds.observe(seconds.max(0.0));
    }

    fn received_label(&self, kind: Option<Kind>) -> Received {
        Received { queue: self.queue, kind: kind.map_or("unknown", Kind::as_str) }
    }

    /// A series is there from its first look-up on.
    fn create_series(&self, stores: &[&'static str]) {
        for kind in Kind::ALL.map(Some).into_iter().chain([None]) {
            drop(self.events_received.get_or_create(&self.received_label(kind)));
        }
        for code in Code::ALL {
            drop(self.dead_letters.get_or_create(&DeadLetters { code: code.as_str() }));
        }
        for stage in Stage::ALL {
            drop(self.flush_seconds.get_or_create(&Flush { stage: stage.as_str() }));
        }
        for &store in stores {
            for retryable in [true, false] {
                drop(self.store_errors.get_or_create(&StoreErrors { store, retryable }));
            }
        }
    }

    /// Names without `_total`: the format adds it to counters.
    fn describe(&self, registry: &mut Registry) {
        let Metrics {
            queue: _,
            events_received,
            events_stored,
            dead_letters,
            redeliveries: _,
            flush_seconds,
            flush_events,
            store_errors,
            end_to_end_seconds,
            lag: _,
        } = self.clone();
        registry.register("xray_events_received", "Events that came off the queue", events_received);
        registry.register("xray_events_stored", "Events that are durable and acked", events_stored);
        registry.register("xray_dead_letters", "What was no event, by reason", dead_letters);
        registry.register("xray_flush_seconds", "How long the stages of a flush took", flush_seconds);
        registry.register("xray_flush_events", "How many events were inserted together", flush_events);
        registry.register("xray_store_errors", "Failed calls of a store", store_errors);
        registry.register(
            "xray_end_to_end_seconds",
            "From when the broker took a message to its ack",
            end_to_end_seconds,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORES: [&str; 2] = ["objects", "database"];

    fn registered() -> (Registry, Metrics, Budget, Health) {
        let (mut registry, budget, health) = (Registry::default(), Budget::new(10, 1 << 20), Health::default());
        let metrics = Metrics::register(&mut registry, QueueType::Memory, &STORES, &budget, &health);
        (registry, metrics, budget, health)
    }

    fn has(registry: &Registry, line: &str) -> bool {
        text(registry).unwrap().lines().any(|present| present == line)
    }

    #[test]
    fn every_series_is_there_at_zero_with_its_documented_name() {
        let (registry, ..) = registered();
        for line in [
            r#"xray_events_received_total{queue="memory",kind="decision"} 0"#,
            r#"xray_events_received_total{queue="memory",kind="unknown"} 0"#,
            "xray_events_stored_total 0",
            r#"xray_dead_letters_total{code="empty"} 0"#,
            r#"xray_dead_letters_total{code="store_refused"} 0"#,
            "xray_redeliveries_total 0",
            "xray_in_flight_messages 0",
            "xray_in_flight_bytes 0",
            "xray_oldest_unacked_seconds 0.0",
            r#"xray_flush_seconds_count{stage="derived"} 0"#,
            "xray_flush_events_count 0",
            r#"xray_store_errors_total{store="objects",retryable="true"} 0"#,
            r#"xray_store_errors_total{store="database",retryable="false"} 0"#,
            r#"xray_store_up{store="objects"} 0"#,
            "xray_end_to_end_seconds_count 0",
        ] {
            assert!(has(&registry, line), "{line} in\n{}", text(&registry).unwrap());
        }
    }

    #[test]
    fn every_sample_belongs_to_a_family_with_help_and_type() {
        let text = text(&registered().0).unwrap();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap();
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
            for announced in [format!("# HELP {family} "), format!("# TYPE {family} ")] {
                assert_eq!(text.lines().filter(|line| line.starts_with(&announced)).count(), 1, "{announced}");
            }
        }
    }

    #[test]
    fn kafka_does_not_tell_of_redeliveries() {
        let (mut registry, budget, health) = (Registry::default(), Budget::new(10, 1 << 20), Health::default());
        Metrics::register(&mut registry, QueueType::Kafka, &STORES, &budget, &health);
        assert!(!text(&registry).unwrap().contains("redeliveries"));
    }

    #[test]
    fn counts_arrive() {
        let (registry, metrics, budget, health) = registered();
        metrics.received(Some(Kind::Run), 1);
        metrics.received(None, 1);
        metrics.stored(7);
        metrics.dead_letter(Code::NotJson);
        metrics.redelivered();
        metrics.flush(Stage::Facts, 0.007, 42);
        metrics.flush(Stage::Derived, 0.007, 42);
        metrics.store_failed("database", true);
        metrics.end_to_end(4.0);
        metrics.end_to_end(-60.0);
        health.dependency("database").up();
        assert!(!text(&registry).unwrap().contains("xray_queue_lag_messages"), "not known yet");
        metrics.lag(Some(12));
        let hold = budget.hold(1000);
        for line in [
            r#"xray_events_received_total{queue="memory",kind="run"} 1"#,
            r#"xray_events_received_total{queue="memory",kind="unknown"} 1"#,
            "xray_events_stored_total 7",
            r#"xray_dead_letters_total{code="not_json"} 1"#,
            "xray_redeliveries_total 1",
            r#"xray_flush_seconds_bucket{le="0.005",stage="facts"} 0"#,
            r#"xray_flush_seconds_bucket{le="0.01",stage="facts"} 1"#,
            "xray_flush_events_sum 42.0",
            r#"xray_store_errors_total{store="database",retryable="true"} 1"#,
            r#"xray_end_to_end_seconds_bucket{le="2.5"} 1"#,
            r#"xray_end_to_end_seconds_bucket{le="5.0"} 2"#,
            "xray_end_to_end_seconds_sum 4.0",
            r#"xray_store_up{store="database"} 1"#,
            r#"xray_store_up{store="objects"} 0"#,
            "xray_queue_lag_messages 12",
            "xray_in_flight_messages 1",
            "xray_in_flight_bytes 2024",
        ] {
            assert!(has(&registry, line), "{line} in\n{}", text(&registry).unwrap());
        }
        drop(hold);
        assert!(has(&registry, "xray_in_flight_messages 0"));
    }
}
