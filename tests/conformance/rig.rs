//! A worker in this process on a broker, with stores that can be shut.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::task::JoinHandle;
use xray_processor_worker::budget::Budget;
use xray_processor_worker::config;
use xray_processor_worker::health::Health;
use xray_processor_worker::pipeline::{Broken, Limits, Tally};
use xray_processor_worker::queue::{QueueBackend, QueueError};
use xray_processor_worker::worker::{self, Settings, Stop};

use crate::harness::Harness;
use crate::support::context::context;
use crate::support::ledger::Ledger;
pub use crate::support::ledger::PATIENCE;

/// A worker.
pub struct Worker {
    pub budget: Budget,
    pub health: Health,
    pub stop: Stop,
    pub tally: Arc<Tally>,
    running: JoinHandle<Result<(), Broken>>,
}

/// What bounds a worker where nothing else is asked for.
pub fn limits() -> config::Limits {
    config::Limits { max_event_bytes: 64 << 20, max_in_flight_messages: 10_000, max_in_flight_bytes: 64 << 20 }
}

impl Worker {
    /// Starts one that stores in `ledger`.
    pub fn start<H: Harness>(harness: &H, ledger: &Arc<Ledger>) -> Worker {
        Worker::within(harness, ledger, &limits())
    }

    pub fn within<H: Harness>(harness: &H, ledger: &Arc<Ledger>, limits: &config::Limits) -> Worker {
        Worker::on(harness.consumer(limits), ledger, limits)
    }

    /// One that consumes from this.
    pub fn on(queue: impl QueueBackend, ledger: &Arc<Ledger>, limits: &config::Limits) -> Worker {
        let stop = Stop::default();
        let context = context(ledger.stores(), Budget::new(limits.max_in_flight_messages, limits.max_in_flight_bytes));
        let (budget, health, tally) = (context.budget.clone(), context.health.clone(), context.tally.clone());
        let settings = Settings {
            batch_size: 10,
            poll_interval: Duration::from_millis(200),
            // Tests that shut the stores want no long goodbye.
            shutdown_timeout: Duration::from_millis(100),
            limits: Limits { max_event_bytes: limits.max_event_bytes, refused_for: Duration::ZERO },
        };
        let running = tokio::spawn({
            let stop = stop.clone();
            async move { worker::run(&queue, &context, settings, &stop).await }
        });
        Worker { budget, health, stop, tally, running }
    }

    /// Stops it as a signal would.
    pub async fn stop(self) {
        self.stop.drain.cancel();
        tokio::time::timeout(PATIENCE, self.running).await.expect("the worker does not stop").unwrap().unwrap();
        assert_eq!(self.budget.held(), (0, 0), "everything was settled one way or the other");
    }

    /// Drops all of it where it is: as a crash, nothing is said to the broker.
    pub async fn crash(self) {
        self.running.abort();
        assert!(self.running.await.unwrap_err().is_cancelled());
    }

    /// Events and dead letters that this worker has stored.
    pub fn done(&self) -> u64 {
        self.tally.all_events() + self.tally.dead_letters()
    }
}

/// Waits until this worker has said that its broker is away.
pub async fn said_to_be_away<H: Harness>(worker: &Worker) {
    until("it is said that the broker is away", async || {
        worker.health.readiness().dependencies.get(H::Queue::NAME).is_some_and(|broker| broker.newest_error().is_some())
    })
    .await;
}

/// An error of a queue as people read it.
pub fn said(error: &QueueError) -> String {
    let source = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    format!("{error}: {source}")
}

/// Waits until it holds.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until all these runs are stored and the broker has forgotten them.
pub async fn settled<H: Harness>(harness: &H, ledger: &Ledger, ids: &[String]) {
    let expected: BTreeSet<&String> = ids.iter().collect();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let stored = ledger.stored();
        let missing = expected.len() - stored.iter().filter(|id| expected.contains(id)).count();
        if missing == 0 {
            break;
        }
        assert!(Instant::now() < deadline, "{missing} of {} are not stored", expected.len());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    until("the broker forgets what is stored", async || harness.left().await == 0).await;
}

/// So many names.
pub fn ids(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{prefix}-{n}")).collect()
}

/// Reports of runs with these ids.
pub fn runs(ids: &[String]) -> Vec<Bytes> {
    ids.iter().map(|id| run(id, 0)).collect()
}

/// The report of a run with so many bytes of ballast.
pub fn run(id: &str, ballast: usize) -> Bytes {
    let ballast = "x".repeat(ballast);
    let body =
        format!(r#"{{"id":"{id}","pipelineId":"p","status":"running","startedAt":1772319600000,"input":"{ballast}"}}"#);
    body.into()
}

/// A decision in this step.
pub fn decision(id: &str, step: &str) -> Bytes {
    let body = format!(
        r#"{{"id":"{id}","stepId":"{step}","runId":"r","outcome":"kept","itemId":"i","timestamp":"2026-01-31T12:00:00Z"}}"#
    );
    body.into()
}
