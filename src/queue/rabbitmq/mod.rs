//! RabbitMQ, through lapin.
//!
//! ```text
//!  broker ─▶ connection ─▶ a channel per queue ─▶ Inbox ─▶ receive ─▶ … ─▶ ack ─┐
//!     ▲      (supervisor)     (lane, channel)                                   │
//!     └── ack, nack ◀── Ledger ◀── commands of that channel ◀── receipts ◀──────┘
//! ```
//!
//! lapin's own recovery is off: it knows nothing of receipts. Whatever ends a channel, it is built anew by its lane, with
//! receipts of its own; those of the old one are ignored from then on, as the broker gives their messages out again.

mod channel;
mod connect;
mod hosts;
mod inspect;
mod lag;
mod lane;
mod ledger;
mod message;
mod prefetch;
mod producer;
mod receipt;
mod supervisor;
mod trouble;

pub use inspect::inspect;
pub use producer::RabbitmqProducer;
pub use receipt::Receipt;

use super::inbox::Inbox;
use super::status::{Board, Lane};
use super::{QueueBackend, QueueError};
use crate::budget::Room;
use crate::config::{Limits, Rabbitmq};
use crate::pipeline::{Delivery, Stored};
use futures_util::FutureExt;
use hosts::Hosts;
use lapin::types::ShortString;
use receipt::Command;
use std::collections::BTreeSet;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// For pending acks and the goodbye. A broker that hangs does not answer.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(4);

/// A competing consumer of one or several queues.
pub struct RabbitmqQueue {
    shared: Arc<Shared>,
    stop: CancellationToken,
    /// The supervisor. Dropped with the queue, which ends the connection as a crash would.
    task: Mutex<Option<JoinSet<()>>>,
}

struct Shared {
    settings: Rabbitmq,
    limits: Limits,
    /// How long a message may be unacked before it is given back.
    patience: Duration,
    inbox: Inbox<Receipt>,
    /// Something was taken out of the inbox.
    relieved: Arc<Notify>,
    /// Counts calls of `ack`: each says that the stores take messages.
    acks: watch::Sender<u64>,
    status: Board,
    consumers: AtomicU64,
}

impl RabbitmqQueue {
    /// Connects, looks for its queues, and consumes from the first [`receive`](QueueBackend::receive) on. Needs no broker yet: one that is away is
    /// waited for. `Err` where the settings are wrong. To be called within a runtime of Tokio.
    pub fn start(settings: &Rabbitmq, limits: &Limits) -> Result<RabbitmqQueue, QueueError> {
        let hosts = Hosts::new(settings)?;
        let mut settings = settings.clone();
        let mut seen = BTreeSet::new();
        settings.queues.retain(|queue| seen.insert(queue.clone()));
        let relieved = Arc::new(Notify::new());
        let shared = Arc::new(Shared {
            limits: limits.clone(),
            patience: patience(settings.consumer_timeout),
            inbox: Inbox::new({
                let relieved = relieved.clone();
                move || relieved.notify_waiters()
            }),
            relieved,
            acks: watch::Sender::new(0),
            status: Board::new(&settings.queues, trouble::missing),
            consumers: AtomicU64::new(0),
            settings,
        });
        let stop = CancellationToken::new();
        let mut task = JoinSet::new();
        let supervised = AssertUnwindSafe(supervisor::run(shared.clone(), hosts, stop.clone())).catch_unwind();
        task.spawn({
            let shared = shared.clone();
            async move {
                if supervised.await.is_err() {
                    // Without a word it would look as if nothing came.
                    let error = QueueError::new("consuming from RabbitMQ failed, which is a bug; restart the worker");
                    shared.inbox.trouble(Some(error));
                }
            }
        });
        Ok(RabbitmqQueue { shared, stop, task: Mutex::new(Some(task)) })
    }
}

/// The broker looks once a minute, and counts from when it sent the message, not from when we saw it.
fn patience(consumer_timeout: Duration) -> Duration {
    (consumer_timeout.mul_f64(0.8)).max(consumer_timeout.saturating_sub(Duration::from_secs(60)))
}

impl QueueBackend for RabbitmqQueue {
    const NAME: &'static str = "rabbitmq";
    type Receipt = Receipt;

    async fn receive(&self, room: Room, wait: Duration) -> Result<Vec<Delivery<Receipt>>, QueueError> {
        self.shared.inbox.receive(room, wait).await
    }

    async fn ack(&self, stored: Vec<Stored<Receipt>>) -> Result<(), QueueError> {
        let (receipts, holds) = Stored::split(stored);
        let answers = ask(Receipt::group(receipts), Command::Store);
        // After asking: who hears of this finds what was asked.
        self.shared.acks.send_modify(|acks| *acks += 1);
        let done = all(answers).await;
        drop(holds);
        done
    }

    async fn release(&self, receipts: Vec<Receipt>) -> Result<(), QueueError> {
        all(ask(Receipt::group(receipts), Command::Release)).await
    }

    async fn close(&self) -> Result<(), QueueError> {
        self.stop.cancel();
        drop(self.shared.inbox.close());
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut task) = task else { return Ok(()) };
        match tokio::time::timeout(CLOSE_TIMEOUT, task.join_next()).await {
            Ok(_) => Ok(()),
            Err(_) => Err(QueueError::new(format!(
                "RabbitMQ did not answer within {} s that we leave: it gives our messages to others once it notices",
                CLOSE_TIMEOUT.as_secs()
            ))),
        }
    }

    fn lag(&self) -> Option<u64> {
        self.shared.inbox.lag()
    }
}

type Answer = oneshot::Sender<Result<(), QueueError>>;

/// Asks the owners of these channels.
fn ask(
    groups: Vec<(Arc<receipt::Epoch>, Vec<u64>)>,
    command: impl Fn(Vec<u64>, Answer) -> Command,
) -> Vec<oneshot::Receiver<Result<(), QueueError>>> {
    let ask = |(epoch, tags): (Arc<receipt::Epoch>, Vec<u64>)| {
        let (answer, answered) = oneshot::channel();
        epoch.ask(command(tags, answer));
        answered
    };
    groups.into_iter().map(ask).collect()
}

/// Waits until all have done it. One that has gone meanwhile has nothing to do.
async fn all(answers: Vec<oneshot::Receiver<Result<(), QueueError>>>) -> Result<(), QueueError> {
    let mut outcome = Ok(());
    for answered in answers {
        outcome = outcome.and(answered.await.unwrap_or(Ok(())));
    }
    outcome
}

impl Shared {
    fn connected(&self, at: String) {
        self.status.connected(&self.inbox, at);
    }

    fn unconnected(&self, error: QueueError) {
        self.status.unconnected(&self.inbox, error);
    }

    fn lane(&self, queue: &str, lane: Lane) {
        self.status.lane(&self.inbox, queue, lane);
    }

    fn fine(&self, queue: &str) {
        self.lane(queue, Lane::Fine);
    }

    fn consumer_tag(&self) -> ShortString {
        format!("xray-{}-{}", std::process::id(), self.consumers.fetch_add(1, Relaxed)).into()
    }
}

impl fmt::Debug for RabbitmqQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabbitmqQueue")
            .field("queues", &self.shared.settings.queues)
            .field("inbox", &self.shared.inbox)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_back_in_time() {
        let secs = Duration::from_secs;
        assert_eq!(patience(secs(10)), secs(8));
        assert_eq!(patience(secs(1800)), secs(1740));
    }
}
