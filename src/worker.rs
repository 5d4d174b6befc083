//! The loop around the pipeline: receive, store, ack; and how it stops.

use crate::budget::Budget;
use crate::health::{Health, Pulse};
use crate::metrics::Metrics;
use crate::pipeline::{self, Broken, Intake, Limits, Outlet, Stored, StoredReceiver, Stores, Tally};
use crate::queue::{QueueBackend, QueueError};
use chrono::Utc;
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

/// Pause after a failed receive; the backend has its own backoff for connections.
const RECEIVE_PAUSE: Duration = Duration::from_secs(1);
/// A broker that does not take acks or releases at the end must not hold up the exit.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Works until told to stop, then finishes what is held within the shutdown timeout, gives the rest back and closes the
/// queue. Never ends because of an error of a store or of the broker; `Err` only where a stage panicked, and then at
/// once: a worker that lost a part would look healthy and do nothing.
///
/// Not cancel safe in one respect only: dropped, it leaves unacked what was in flight, to be redelivered.
pub async fn run<Q: QueueBackend>(queue: &Q, context: &Context, settings: Settings, stop: &Stop) -> Result<(), Broken> {
    let Stop { drain: stop, give_up } = stop;
    let Context { stores, budget, metrics, health, tally } = context;
    let (intake, Outlet { stored, unstored, mut stages }) =
        pipeline::start(stores.clone(), settings.limits, metrics.clone(), health, tally.clone(), stop, give_up);
    let drained = CancellationToken::new();

    let receive = async {
        let pulse = health.pulse("receive");
        receive(queue, intake, budget, settings, (stop, give_up), metrics, &pulse).await;
    };
    let settle = async {
        let pulse = health.pulse("ack");
        tokio::join!(ack(queue, stored, metrics, &pulse), release(queue, unstored));
        drained.cancel();
    };
    let deadline = async {
        stop.cancelled().await;
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
                stop.cancel();
                give_up.cancel();
                outcome = outcome.and(ended);
            }
        }
        outcome
    };
    let ((), (), (), outcome) = tokio::join!(receive, settle, deadline, supervise);
    last_words(queue.close(), "closing the queue").await;
    outcome
}

async fn receive<Q: QueueBackend>(
    queue: &Q,
    intake: Intake<Q::Receipt>,
    budget: &Budget,
    settings: Settings,
    (stop, give_up): (&CancellationToken, &CancellationToken),
    metrics: &Metrics,
    pulse: &Pulse,
) {
    let mut failing = false;
    loop {
        pulse.idle();
        let mut room = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            room = budget.room() => room,
        };
        pulse.beat();
        room.messages = room.messages.min(settings.batch_size);
        let received = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            received = queue.receive(room, settings.poll_interval) => received,
        };
        match received {
            Ok(deliveries) => {
                if std::mem::take(&mut failing) {
                    tracing::info!(queue = Q::NAME, "receiving again");
                }
                let held = deliveries.into_iter().map(|delivery| {
                    let hold = budget.hold(delivery.message.body.len());
                    (delivery, hold)
                });
                let held: Vec<_> = held.collect();
                for (waiting, (delivery, hold)) in (1..=held.len()).rev().zip(held) {
                    if delivery.message.deliveries > 1 {
                        metrics.redelivered();
                    }
                    pulse.idle();
                    // Once all is given up it only passes through, to be given back.
                    tokio::select! {
                        () = budget.relieved(waiting) => {}
                        () = give_up.cancelled() => {}
                    }
                    pulse.beat();
                    intake.put(delivery, hold);
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(queue = Q::NAME, error = &error as &dyn std::error::Error, "receive failed");
                }
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = sleep(RECEIVE_PAUSE) => {}
                }
            }
        }
    }
}

async fn ack<Q: QueueBackend>(queue: &Q, mut stored: StoredReceiver<Q::Receipt>, metrics: &Metrics, pulse: &Pulse) {
    while let Some(batch) = stored.recv().await {
        pulse.beat();
        let events = batch.iter().map(|stored| stored.settlement().stored).sum();
        let enqueued: Vec<_> = batch.iter().filter_map(Stored::enqueued_at).collect();
        match queue.ack(batch).await {
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
        last_words(queue.release(receipts), "giving messages back").await;
    }
}

/// Runs a call at the end of the worker's life, where a failure only means later redelivery.
async fn last_words(call: impl Future<Output = Result<(), QueueError>>, what: &str) {
    match timeout(LAST_WORDS, call).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(error = &error as &dyn std::error::Error, "{what} failed"),
        Err(_) => tracing::warn!("{what} took too long; the broker gives the messages out again by itself"),
    }
}
