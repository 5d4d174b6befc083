//! What people are shown of a running worker, at `/` and by `status`: one [`Document`], put together whenever somebody asks,
//! from what is counted anyway. Only what the tables hold is asked for, seldom, and only while somebody looks.

mod document;
mod history;
mod recent;
mod terminal;
mod verdict;

pub use document::{Complete, Document, Flow, Flush, InFlight, Point, Rates, Stuck, Tables};
pub use terminal::text;
pub use verdict::{Level, Verdict};

use crate::budget::Budget;
use crate::health::Health;
use crate::metrics::Metrics;
use crate::store::MetricsStore;
use chrono::{DateTime, Utc};
use history::{History, Sample};
use recent::Cache;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// Between two points of the history.
const SAMPLES: Duration = Duration::from_secs(2);

/// What it is put together from. Cheap to clone; clones are the same.
#[derive(Debug, Clone)]
pub struct Status {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    queue: &'static str,
    started: DateTime<Utc>,
    metrics: Metrics,
    budget: Budget,
    health: Health,
    history: Mutex<History>,
    tables: Cache,
}

impl Status {
    /// Of a worker on this queue, that starts now.
    pub fn new(queue: &'static str, metrics: Metrics, budget: Budget, health: Health) -> Self {
        let (history, tables) = (Mutex::default(), Cache::default());
        Status { shared: Arc::new(Shared { queue, started: Utc::now(), metrics, budget, health, history, tables }) }
    }

    /// Keeps the history, for ever. Cancel safe.
    pub async fn watch(&self) -> Infallible {
        loop {
            self.sample();
            sleep(SAMPLES).await;
        }
    }

    /// Reads these tables, which are ready, whenever somebody has asked, for ever. Cancel safe.
    pub async fn read(&self, tables: &dyn MetricsStore) -> Infallible {
        self.shared.tables.refresh(tables).await
    }

    fn sample(&self) {
        let Shared { metrics, history, .. } = &*self.shared;
        let sample = Sample { at: Instant::now(), totals: metrics.totals(), lag: metrics.last_lag() };
        lock(history).push(sample);
    }

    /// How things stand.
    pub async fn document(&self) -> Document {
        let tables = self.shared.tables.ask().await;
        let Shared { queue, started, metrics, budget, health, history, .. } = &*self.shared;
        let now = Sample { at: Instant::now(), totals: metrics.totals(), lag: metrics.last_lag() };
        let (rates, points) = {
            let history = lock(history);
            (history.rates(&now), history.points())
        };
        let ((messages, bytes), bound) = (budget.held(), budget.bound());
        let mut document = Document {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            queue: (*queue).to_owned(),
            started: *started,
            now: Utc::now(),
            verdict: Verdict::default(),
            stuck: health.stuck().into_iter().map(|(name, silence)| Stuck::new(name, silence)).collect(),
            readiness: health.readiness(),
            complete: Complete {
                up_to: budget.oldest_event().and_then(DateTime::from_timestamp_millis),
                waiting: now.lag.map(|lag| lag.saturating_sub(messages as u64)),
            },
            flow: Flow {
                received: now.totals.received,
                stored: now.totals.stored,
                dead_letters: now.totals.dead_letters,
                redeliveries: now.totals.redeliveries,
                lag: now.lag,
                oldest_unacked_seconds: budget.oldest().as_secs_f64(),
                rates,
                points,
            },
            in_flight: InFlight {
                messages: messages as u64,
                max_messages: bound.messages as u64,
                bytes: bytes as u64,
                max_bytes: bound.bytes as u64,
                heavy_lane: metrics.heavy_lane(),
            },
            flushes: metrics.flushes().map(Flush::from).to_vec(),
            tables,
        };
        document.verdict = verdict::of(&document);
        document
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
