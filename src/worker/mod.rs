//! The loop around the pipeline: receive, store, ack; and how it stops.

mod receive;

use crate::budget::Budget;
use crate::health::{Health, Pulse};
use crate::kill_point;
use crate::metrics::Metrics;
use crate::pipeline::{self, Broken, Limits, Outlet, Stored, StoredReceiver, Stores, Tally};
use crate::queue::{QueueBackend, QueueError};
use chrono::Utc;
use futures_util::FutureExt;
use receive::Receiver;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// How the worker polls, and how it stops.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Messages per poll, at most.
    pub batch_size: usize,
    /// How long an empty poll waits.
    pub poll_interval: Duration,
    /// After being told to stop, how long what is held may take to become durable.
    pub shutdown_timeout: Duration,
    /// What the pipeline takes.
    pub limits: Limits,
}

/// What the worker works with.
#[derive(Debug, Clone)]
pub struct Context {
    /// Where events end.
    pub stores: Stores,
    /// Bounds what is held.
    pub budget: Budget,
    /// Counters and histograms.
    pub metrics: Metrics,
    /// What `/healthz` and `/readyz` answer from.
    pub health: Health,
    /// What has been done so far.
    pub tally: Arc<Tally>,
}

/// How the worker is told to stop.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Receive no more, finish what is held.
    pub drain: CancellationToken,
    /// Finish nothing more: what is not durable goes back. The worker cancels it itself at the shutdown timeout.
    pub give_up: CancellationToken,
}

/// Between two looks at what waits at the broker.
const LAG_INTERVAL: Duration = Duration::from_secs(1);
/// How long the broker has to take acks and releases at the end.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// And to say goodbye: the backend has a limit of its own, which is shorter.
const GOODBYE: Duration = Duration::from_secs(10);

/// Works until told to stop, then finishes what is held within the shutdown timeout, gives the rest back and closes the
/// queue. Never ends because of an error of a store or of the broker; `Err` only where a stage panicked, and then at
/// once: a worker that lost a part would look healthy and do nothing.
///
/// Not cancel safe in one respect only: dropped, it leaves unacked what was in flight, to be redelivered.
pub async fn run<Q: QueueBackend>(queue: &Q, context: &Context, settings: Settings, stop: &Stop) -> Result<(), Broken> {
    let Stop { drain, give_up } = stop;
    let Context { stores, budget, metrics, health, tally } = context;
    let (intake, Outlet { stored, unstored, mut stages }) =
        pipeline::start(stores.clone(), settings.limits, metrics.clone(), health, tally.clone(), drain, give_up);
    let drained = CancellationToken::new();

    let receiver = Receiver::new(queue, intake, context, settings, stop);
    let observe = async {
        loop {
            metrics.lag(queue.lag());
            tokio::select! {
                () = drained.cancelled() => return,
                () = sleep(LAG_INTERVAL) => {}
            }
        }
    };
    let settle = async {
        let pulse = health.pulse("ack");
        tokio::join!(ack(queue, stored, metrics, &pulse, stop), release(queue, unstored));
        drained.cancel();
    };
    let deadline = async {
        drain.cancelled().await;
        health.drain();
        let (messages, _) = budget.held();
        tracing::info!(held = messages, "stopping: finishing what is held");
        tokio::select! {
            () = drained.cancelled() => {}
            () = sleep(settings.shutdown_timeout) => {
                let (messages, _) = budget.held();
                tracing::warn!(held = messages, "shutdown timeout reached: giving back what is not durable");
                give_up.cancel();
            }
        }
    };
    let supervise = async {
        let mut outcome = Ok(());
        while let Some(ended) = stages.ended().await {
            if ended.is_err() {
                drain.cancel();
                give_up.cancel();
                outcome = outcome.and(ended);
            }
        }
        outcome
    };
    let ((), (), (), (), outcome) = tokio::join!(receiver.run(), settle, deadline, observe, supervise);
    last_words(queue.close(), GOODBYE, "closing the queue").await;
    outcome
}

async fn ack<Q: QueueBackend>(
    queue: &Q,
    mut stored: StoredReceiver<Q::Receipt>,
    metrics: &Metrics,
    pulse: &Pulse,
    stop: &Stop,
) {
    let too_late = async {
        stop.give_up.cancelled().await;
        sleep(LAST_WORDS).await;
    };
    let too_late = too_late.shared();
    pulse.idle();
    while let Some(mut batch) = stored.recv().await {
        pulse.beat();
        kill_point::reached("before the ack");
        if stop.drain.is_cancelled() {
            kill_point::reached("shutdown");
        }
        if kill_point::is_due("half of the acks") {
            drop(queue.ack(batch.drain(..batch.len() / 2).collect()).await);
            // Kafka's leave once a second.
            sleep(Duration::from_secs(2)).await;
            kill_point::die();
        }
        let events = batch.iter().map(|stored| stored.settlement().stored).sum();
        let enqueued: Vec<_> = batch.iter().filter_map(Stored::enqueued_at).collect();
        let acked = tokio::select! {
            acked = queue.ack(batch) => acked,
            // A broker that does not take acks must not hold up the exit.
            () = too_late.clone() => {
                Err(QueueError::new("the broker did not take the acks before the end"))
            }
        };
        match acked {
            Ok(()) => {
                metrics.stored(events);
                let now = Utc::now();
                enqueued.into_iter().for_each(|at| metrics.end_to_end((now - at).as_seconds_f64()));
            }
            Err(error) => tracing::warn!(
                queue = Q::NAME,
                error = &error as &dyn std::error::Error,
                "ack failed: the messages are stored and will be delivered again"
            ),
        }
        pulse.idle();
    }
}

async fn release<Q: QueueBackend>(queue: &Q, mut unstored: UnboundedReceiver<Vec<Q::Receipt>>) {
    while let Some(receipts) = unstored.recv().await {
        last_words(queue.release(receipts), LAST_WORDS, "giving messages back").await;
    }
}

/// Runs a call at the end of the worker's life, where a failure only means later redelivery.
async fn last_words(call: impl Future<Output = Result<(), QueueError>>, within: Duration, what: &str) {
    match timeout(within, call).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(error = &error as &dyn std::error::Error, "{what} failed"),
        Err(_) => tracing::warn!("{what} took too long; the broker gives the messages out again by itself"),
    }
}
