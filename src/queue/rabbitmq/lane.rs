//! One queue, over all the connections and channels it takes.

use super::Shared;
use super::channel::{Channel, End};
use super::connect::Connected;
use super::ledger::Ledger;
use super::prefetch::Prefetch;
use super::receipt::{Command, Epoch};
use super::status::Lane as State;
use super::trouble;
use crate::jitter::jitter;
use crate::queue::pace::Pace;
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{Connection, Error};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

/// Between two looks for a queue that is not there: at first, and at most. Each is an error in the log of the broker.
const MISSING: (Duration, Duration) = (Duration::from_millis(1500), Duration::from_secs(12));
/// After so long the pipeline will not do more of what it holds. An attempt of a slow store may take as long.
const QUIET: Duration = Duration::from_secs(2);
/// For one question.
const ANSWER: Duration = Duration::from_secs(10);
/// The news that a connection is lost may come a moment after its channels are.
const MOMENT: Duration = Duration::from_millis(50);

/// Consumes one queue until told to stop, whatever happens to it.
pub(super) struct Lane {
    shared: Arc<Shared>,
    queue: Arc<str>,
    connections: watch::Receiver<Option<Arc<Connected>>>,
    prefetch: Prefetch,
    unacked: Arc<AtomicUsize>,
    stop: CancellationToken,
}

impl Lane {
    pub(super) fn new(
        shared: Arc<Shared>,
        queue: &str,
        connections: watch::Receiver<Option<Arc<Connected>>>,
        unacked: Arc<AtomicUsize>,
        stop: CancellationToken,
    ) -> Self {
        let queues = shared.settings.queues.len();
        let prefetch = Prefetch::new(shared.settings.prefetch, &shared.limits, queues, shared.patience);
        Lane { shared, queue: queue.into(), connections, prefetch, unacked, stop }
    }

    pub(super) async fn run(mut self) {
        let stop = self.stop.clone();
        let (mut pace, mut missing) = (Pace::default(), MISSING.0);
        loop {
            let connected = tokio::select! {
                () = stop.cancelled() => return,
                connected = connected(&mut self.connections) => connected,
            };
            let pause = match in_time(open(&connected.connection, &self.queue, self.shared.settings.declare)).await {
                Ok(channel) => {
                    missing = MISSING.0;
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = self.wanted() => {}
                    }
                    let (ends, held) = self.consume(channel, &connected).await;
                    self.unacked.store(0, Relaxed);
                    if let End::Stopped = ends {
                        return;
                    }
                    self.ended(&ends, &connected).await;
                    self.rest(held, ends).await;
                    pace.next()
                }
                Err(error) if trouble::is_missing(&error) => {
                    self.shared.lane(&self.queue, State::Missing);
                    let pause = jitter(missing);
                    missing = (missing * 2).min(MISSING.1);
                    pause
                }
                Err(error) => {
                    self.failed(&error, &connected).await;
                    pace.next()
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(pause) => {}
            }
        }
    }

    /// Waits until messages are asked for.
    async fn wanted(&self) {
        loop {
            let relieved = self.shared.relieved.notified();
            if self.shared.inbox.is_wanted() {
                return;
            }
            relieved.await;
        }
    }

    async fn consume(&mut self, channel: lapin::Channel, connected: &Connected) -> (End, UnboundedReceiver<Command>) {
        let (sender, mut commands) = unbounded_channel();
        let epoch = Epoch::new(sender);
        let mut consuming = Channel {
            shared: &self.shared,
            connected,
            queue: &self.queue,
            prefetch: &mut self.prefetch,
            unacked: &self.unacked,
            channel,
            epoch: epoch.clone(),
            ledger: Ledger::default(),
            consumer: None,
            quota: 0,
            done: 0,
        };
        let end = consuming.run(&mut commands, &self.stop).await;
        drop(consuming);
        // These were never received, so nobody holds on to them.
        drop(self.shared.inbox.take_if(|receipt| receipt.is_of(&epoch)));
        (end, commands)
    }

    async fn ended(&self, end: &End, connected: &Connected) {
        match end {
            End::Stopped | End::Overdue(_) => {}
            End::Cancelled => {
                let error = trouble::cancelled(&connected.host, &self.queue);
                tracing::info!(error = &error as &dyn std::error::Error, "looking for the queue again");
                self.shared.lane(&self.queue, State::Starting);
            }
            End::Failed(error) => {
                if let State::Failing(error) = self.failed(error, connected).await {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(queue = &*self.queue, error, "consuming stopped, beginning anew");
                }
            }
        }
    }

    /// A lost connection is nothing about this queue.
    async fn failed(&self, error: &Error, connected: &Connected) -> State {
        sleep(MOMENT).await;
        let state = match connected.stands() {
            true => State::Failing(trouble::not_consuming(&connected.host, &self.queue, error)),
            false => State::Starting,
        };
        self.shared.lane(&self.queue, state.clone());
        state
    }

    /// Messages of a channel that is gone are with the broker again, and with the pipeline as well. To fetch them at once
    /// would use up a delivery attempt each time something happens to the channel while the stores take nothing; and
    /// where they are slow, the pipeline would be full of what it has had before, and never get to what can still be
    /// acked. So it waits until nothing of them is held any more; or, where something is stuck, until there was an ack,
    /// of any queue, and for a while nothing more was done of what is held.
    ///
    /// Where messages were held for too long, that there was an ack is needed in any case: they may all have waited in
    /// the inbox, because what another queue sent had filled the pipeline.
    async fn rest(&mut self, mut held: UnboundedReceiver<Command>, end: End) {
        let (overdue, mut acks) = match end {
            End::Overdue(acks) => (true, acks),
            _ => (false, self.shared.acks.subscribe()),
        };
        if overdue {
            tracing::warn!(
                queue = &*self.queue,
                "messages are held for almost as long as the broker allows: they are given back, and fetched again when the \
                 stores have caught up"
            );
        }
        let (mut said, mut any_held, mut back, mut last) = (false, true, false, Instant::now());
        while any_held || (overdue && !back) {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                _ = acks.changed(), if !back => back = true,
                command = held.recv(), if any_held => {
                    last = Instant::now();
                    match command {
                        None => any_held = false,
                        Some(Command::Store(_, answer)) => {
                            back = true;
                            answer.send(Ok(())).ok();
                        }
                        Some(Command::Release(_, answer)) => {
                            answer.send(Ok(())).ok();
                        }
                        Some(Command::Drop(_)) => {}
                    }
                }
                () = sleep_until(last + QUIET), if back => break,
                // It is we who do not want anything now.
                _ = connected(&mut self.connections), if !said => {
                    said = true;
                    self.shared.fine(&self.queue);
                }
            }
        }
        if overdue {
            tracing::info!(queue = &*self.queue, "messages are fetched again");
        }
    }
}

/// The connection, as soon as there is one.
async fn connected(connections: &mut watch::Receiver<Option<Arc<Connected>>>) -> Arc<Connected> {
    loop {
        let now = connections.borrow_and_update().clone();
        match now {
            Some(connected) if connected.stands() => return connected,
            _ => {
                // Without a sender we are about to be told to stop.
                if connections.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        }
    }
}

/// A queue without a leader, or a node that hangs, does not answer.
pub(super) async fn in_time<T>(call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let silence = |_| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time").into());
    timeout(ANSWER, call).await.unwrap_or_else(silence)
}

/// A channel on which the queue was seen. One that is there is taken as it is; a missing one is created where that is
/// asked for.
pub(super) async fn open(connection: &Connection, queue: &str, declare: &str) -> Result<lapin::Channel, Error> {
    let channel = connection.create_channel().await?;
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let missing = match channel.queue_declare(queue.into(), passive, FieldTable::default()).await {
        Ok(_) => return Ok(channel),
        Err(error) if trouble::is_missing(&error) && declare != "no" => error,
        Err(error) => return Err(error),
    };
    drop(missing);
    // The error has closed that channel.
    let channel = connection.create_channel().await?;
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString(LongString::from(declare)));
    match channel.queue_declare(queue.into(), durable, arguments).await {
        Ok(_) => {
            tracing::info!(queue, kind = declare, "created the queue");
            Ok(channel)
        }
        // Somebody else was faster, and wanted it otherwise.
        Err(error) if trouble::is_other(&error) => connection.create_channel().await,
        Err(error) => Err(error),
    }
}
