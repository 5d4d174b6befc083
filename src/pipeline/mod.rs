//! The one shared, idempotent processor: from deliveries to proof that they are stored.
//!
//! ```text
//!  Delivery ─▶ decode ─▶ objects ─▶ facts ─┬▶ derived ────────┬▶ Stored
//!                          │                 └▶ derived (heavy) ─┘
//!                          └── Unstored, where the worker is told to stop first
//! ```
//!
//! Each stage is a group commit: what has come while it was writing is written together next. Stages overlap:
//! while the facts of one group are inserted, the objects of the next are written. A delivery reaches the end only
//! through all of them, in this order, and only there is a [`Stored`] made. Stages of different workers may interleave
//! in any way; that the result is the same rests on the stores' conditions and on [`numbers`](crate::numbers), not on
//! order.

mod attempt;
mod batch;
mod delivery;
mod facts;
mod heat;
mod objects;
mod prepare;
mod refusals;
mod resolve;
mod stage;
mod tally;

pub use delivery::{Cut, Delivery, Message, Origin, RejectedPart, Settlement, Stored};
pub use prepare::{Prepared, prepare};
pub use tally::Tally;

use crate::budget::Hold;
use crate::health::{Health, Pulse};
use crate::metrics::{Metrics, Stage};
use crate::store::{MetricsStore, RawStore};
use attempt::Attempts;
use batch::{Batch, InFlight, Received};
use facts::{Derived, Facts};
use heat::Heat;
use objects::Objects;
use refusals::Refusals;
use stage::Ends;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The pair of stores that events end in.
#[derive(Debug, Clone)]
pub struct Stores {
    /// Raw objects and the objects of dead letters.
    pub raw: Arc<dyn RawStore>,
    /// The tables.
    pub metrics: Arc<dyn MetricsStore>,
}

/// What the pipeline takes.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// A longer body is no event.
    pub max_event_bytes: usize,
    /// An item that a store refuses is tried again for so long before it becomes a dead letter.
    pub refused_for: Duration,
}

/// Where deliveries go in. Dropping it lets the stages run empty.
#[derive(Debug)]
pub struct Intake<R> {
    limits: Limits,
    metrics: Metrics,
    first: UnboundedSender<Batch<R>>,
}

/// Where they come out. Both ends close once the intake is dropped and every delivery came out.
#[derive(Debug)]
pub struct Outlet<R> {
    /// Deliveries that are durable.
    pub stored: StoredReceiver<R>,
    /// Receipts of deliveries that were given up, to be released.
    pub unstored: UnboundedReceiver<Vec<R>>,
    /// Ends when the stages do.
    pub stages: Stages,
}

/// The running stages. Dropping it drops them, with all they hold.
#[derive(Debug)]
pub struct Stages(JoinSet<()>);

/// A stage ended before its input did. What it held is not acked.
#[derive(Debug, Clone, thiserror::Error)]
#[error("a stage of the pipeline failed, which is a bug; what it held stays with the queue, unacked: {0}")]
pub struct Broken(String);

impl Stages {
    /// Waits for the next stage to end; `None` once all have. Cancel safe.
    pub async fn ended(&mut self) -> Option<Result<(), Broken>> {
        let ended = self.0.join_next().await?;
        Some(ended.map_err(|error| Broken(error.to_string())))
    }
}

/// The end of the last stage.
#[derive(Debug)]
pub struct StoredReceiver<R> {
    finished: UnboundedReceiver<Batch<R>>,
}

/// So many batches are acked together.
const MOST_TOGETHER: usize = 256;

/// The share of the time that heavy keys may be recomputed in: one in so many.
const HEAVY_SHARE: u32 = 4;

/// Starts the stages. Once `hurry` is cancelled, heavy keys are recomputed without a rest and what a store refuses is tried
/// only once more; once `give_up` is, what is not durable comes out as unstored, at once.
pub fn start<R: Send + 'static>(
    stores: Stores,
    limits: Limits,
    metrics: Metrics,
    health: &Health,
    tally: Arc<Tally>,
    hurry: &CancellationToken,
    give_up: &CancellationToken,
) -> (Intake<R>, Outlet<R>) {
    let Stores { raw, metrics: table } = stores;
    let [objects_pulse, facts_pulse, derived_pulse] = Stage::ALL.map(|stage| health.pulse(stage.as_str()));
    let heavy_pulse = health.pulse("derived, heavy");
    let attempts = |store, pulse: &Pulse| Attempts::new(store, health, pulse, &metrics, give_up);
    let refusals = |store| Arc::new(Refusals::new(health.dependency(store), limits.refused_for));
    let on_raw = (raw.name(), raw.patience());
    let on_table = (table.name(), table.patience());
    let objects = |pulse| {
        Arc::new(Objects {
            raw_attempts: attempts(on_raw, pulse),
            table_attempts: attempts(on_table, pulse),
            raw: raw.clone(),
            table: table.clone(),
            refusals: refusals(raw.name()),
            row_refusals: refusals(table.name()),
            metrics: metrics.clone(),
            tally: tally.clone(),
        })
    };
    let facts = Arc::new(Facts {
        attempts: attempts(on_table, &facts_pulse),
        store: table.clone(),
        refusals: refusals(table.name()),
        objects: objects(&facts_pulse),
    });
    let heat = Arc::new(Heat::default());
    let [derived, heavy] = [(&derived_pulse, 1), (&heavy_pulse, HEAVY_SHARE)].map(|(pulse, share)| {
        Arc::new(Derived {
            attempts: attempts(on_table, pulse),
            store: table.clone(),
            refusals: refusals(table.name()),
            objects: objects(pulse),
            tally: tally.clone(),
            heat: heat.clone(),
            share,
            took: 0.into(),
        })
    });

    let (first, to_objects) = unbounded_channel();
    let (objects_out, to_facts) = unbounded_channel();
    let (facts_out, to_lanes) = unbounded_channel();
    let (light_out, to_derived) = unbounded_channel();
    let (heavy_out, to_heavy) = unbounded_channel();
    let (derived_out, finished) = unbounded_channel();
    let (unstored_in, unstored) = unbounded_channel();
    let ends = |pulse| Ends { unstored: unstored_in.clone(), metrics: metrics.clone(), pulse };
    let mut stages = JoinSet::new();
    let objects = objects(&objects_pulse);
    stages.spawn(stage::run(objects, to_objects, objects_out, ends(objects_pulse), hurry.clone()));
    stages.spawn(stage::run(facts, to_facts, facts_out, ends(facts_pulse), hurry.clone()));
    stages.spawn(heat::part(heat, metrics.clone(), to_lanes, light_out, heavy_out));
    stages.spawn(stage::run(derived, to_derived, derived_out.clone(), ends(derived_pulse), hurry.clone()));
    stages.spawn(stage::run(heavy, to_heavy, derived_out, ends(heavy_pulse), hurry.clone()));

    let stored = StoredReceiver { finished };
    (Intake { limits, metrics, first }, Outlet { stored, unstored, stages: Stages(stages) })
}

/// A delivery that was decoded, and is to be [sent](Intake::send) on its way. Dropping it is dropping its receipt.
#[derive(Debug)]
#[must_use]
pub struct Decoded<R>(InFlight<R>);

impl<R> Intake<R> {
    /// Decodes a delivery. `hold` is its share of the budget, and grows by what is found in it.
    pub fn decode(&self, delivery: Delivery<R>, hold: Hold) -> Decoded<R> {
        Decoded(InFlight::open(delivery, hold, self.limits))
    }

    /// Sends what was decoded on its way.
    pub fn send(&self, decoded: Vec<Decoded<R>>) {
        let mut received = Received::default();
        for Decoded(delivery) in &decoded {
            delivery.work.received.counts().for_each(|(kind, events)| received.add(kind, events));
        }
        received.counts().for_each(|(kind, events)| self.metrics.received(kind, events));
        // Stages end only after the intake; if one is gone all the same, the receipts drop here, unacked.
        self.first.send(Batch(decoded.into_iter().map(|Decoded(delivery)| delivery).collect())).ok();
    }
}

impl<R> StoredReceiver<R> {
    /// The next deliveries that are durable: what became so while the ones before were acked comes together, as the broker
    /// may be far. `None` once all came out. Cancel safe.
    pub async fn recv(&mut self) -> Option<Vec<Stored<R>>> {
        let mut batches = Vec::new();
        if self.finished.recv_many(&mut batches, MOST_TOGETHER).await == 0 {
            return None;
        }
        Some(batches.into_iter().flat_map(|Batch(deliveries)| deliveries).map(InFlight::into_stored).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;
    use bytes::Bytes;

    /// Else a broker that takes 50 ms for an ack would be told of twenty groups a second, however small they are.
    #[tokio::test]
    async fn what_became_durable_meanwhile_is_acked_together() {
        let (sender, finished) = unbounded_channel();
        let budget = Budget::new(10, 1 << 20);
        let limits = Limits { max_event_bytes: 1, refused_for: Duration::ZERO };
        for receipt in 0..3 {
            let origin = Origin { name: "q".into(), position: None };
            let (body, cut, hint, deliveries, enqueued_at) = (Bytes::new(), None, None, 1, None);
            let message = Message { body, cut, hint, origin, deliveries, enqueued_at };
            let delivery = InFlight::open(Delivery { message, receipt }, budget.hold(0), limits);
            sender.send(Batch(vec![delivery])).unwrap();
        }
        let mut stored = StoredReceiver { finished };
        let (receipts, _holds) = Stored::split(stored.recv().await.unwrap());
        assert_eq!(receipts, [0, 1, 2]);
        drop(sender);
        assert!(stored.recv().await.is_none());
    }
}
