//! What the worker counts and measures, under the names that are documented for Prometheus.
//!
//! Every series is there from the start, at 0, so that a rate over it sees its first event. Ids never become labels.

mod lately;
mod live;
mod process;
mod text;

pub use lately::Flushes;
pub use text::{CONTENT_TYPE, text};

use crate::budget::Budget;
use crate::config::QueueType;
use crate::event::{Code, Kind};
use crate::health::Health;
use crate::version::{COMPILED_IN, REVISION, VERSION};
use lately::Lately;
use live::{Lag, Live};
use process::Process;
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
    /// Those of all stores that are repeated.
    repeated: Counter,
    end_to_end_seconds: Histogram,
    heavy_lane: Gauge,
    lag: Lag,
    lately: Lately,
}

/// What was counted since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Events that came off the queue, or should have been some.
    pub received: u64,
    /// Events that are durable and acked.
    pub stored: u64,
    /// Dead letters.
    pub dead_letters: u64,
    /// Messages that had been delivered before.
    pub redeliveries: u64,
    /// Calls of stores that failed and were repeated.
    pub repeated: u64,
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
    /// What it was built from, where whoever built it said so.
    revision: &'static str,
    /// The backends that are compiled in.
    queues: String,
}

/// One message in the lane of heavy keys, until it is dropped.
#[derive(Debug)]
pub struct InHeavyLane(Gauge);

impl Drop for InHeavyLane {
    fn drop(&mut self) {
        self.0.dec();
    }
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
            repeated: Counter::default(),
            end_to_end_seconds: Histogram::new(END_TO_END_SECONDS),
            heavy_lane: Gauge::default(),
            lag: Lag::default(),
            lately: Lately::default(),
        };
        metrics.create_series(stores);
        metrics.describe(registry);
        if queue.tells_redeliveries() {
            let help = "Messages that had been delivered before";
            registry.register("xray_redeliveries", help, metrics.redeliveries.clone());
        }

        register_build(registry);
        registry.register_collector(Box::new(Process::started_now()));
        let broker = (queue != QueueType::Memory).then_some(metrics.queue);
        let (budget, health, lag) = (budget.clone(), health.clone(), metrics.lag.clone());
        registry.register_collector(Box::new(Live { stores: stores.to_vec(), broker, budget, health, lag }));
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
        self.lately.flush(stage, seconds, events);
        self.flush_seconds.get_or_create(&Flush { stage: stage.as_str() }).observe(seconds);
        // Every event passes every stage. It counts once, where the size of a group matters most: rows per insert.
        if stage == Stage::Facts {
            self.flush_events.observe(events as f64);
        }
    }

    /// A call of a store failed.
    pub fn store_failed(&self, store: &'static str, retryable: bool) {
        self.store_errors.get_or_create(&StoreErrors { store, retryable }).inc();
        if retryable {
            self.repeated.inc();
        }
    }

    /// A message is acked this long after the broker took it; by a broker whose clock is ahead, that may be negative.
    pub fn end_to_end(&self, seconds: f64) {
        // A sum that falls would look like a restart.
        self.end_to_end_seconds.observe(seconds.max(0.0));
    }

    /// A message goes into the lane of heavy keys, and leaves it when what comes back is dropped.
    pub fn enter_heavy_lane(&self) -> InHeavyLane {
        self.heavy_lane.inc();
        InHeavyLane(self.heavy_lane.clone())
    }

    /// How many are in it.
    pub fn heavy_lane(&self) -> u64 {
        u64::try_from(self.heavy_lane.get()).unwrap_or_default()
    }

    /// What the broker last told, see [`lag`](Self::lag).
    pub fn last_lag(&self) -> Option<u64> {
        self.lag.get()
    }

    /// The flushes of the last minute, by stage.
    pub fn flushes(&self) -> [Flushes; 3] {
        self.lately.flushes()
    }

    /// What was counted since the start.
    pub fn totals(&self) -> Totals {
        let kinds = Kind::ALL.map(Some).into_iter().chain([None]);
        Totals {
            received: kinds.map(|kind| self.events_received.get_or_create(&self.received_label(kind)).get()).sum(),
            stored: self.events_stored.get(),
            dead_letters: Code::ALL
                .iter()
                .map(|code| self.dead_letters.get_or_create(&DeadLetters { code: code.as_str() }).get())
                .sum(),
            redeliveries: self.redeliveries.get(),
            repeated: self.repeated.get(),
        }
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
            repeated: _,
            end_to_end_seconds,
            heavy_lane,
            lag: _,
            lately: _,
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
        let help = "Messages that wait for rows which take long to recompute";
        registry.register("xray_heavy_lane_messages", help, heavy_lane);
    }
}

fn register_build(registry: &mut Registry) {
    let build = Family::<Build, Gauge>::default();
    let label = Build { version: VERSION, revision: REVISION, queues: COMPILED_IN.join(",") };
    build.get_or_create(&label).set(1);
    registry.register("xray_build_info", "Always 1; the labels say which build this is", build);
}

#[cfg(test)]
mod tests;
