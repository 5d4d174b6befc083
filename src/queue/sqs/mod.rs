//! Amazon SQS, and servers that speak like it, through AWS's SDK.
//!
//! ```text
//!  SQS ─▶ polls, as there is room ─▶ Inbox ─▶ receive ─▶ … ─▶ ack ─┐
//!   ▲     (lane, appetite)                                         │
//!   └── renew, delete, return, by tens ◀── Ledger ◀── receipts ◀───┘
//! ```
//!
//! Each queue has a task of its own, the lane, which owns all that is held of it. SQS knows no connections: what a request
//! that failed was about is tried again, and the receipts stay good as long as the messages are renewed.

mod advice;
mod appetite;
mod client;
mod failed;
mod health;
mod inspect;
mod lane;
mod ledger;
mod message;
mod producer;
mod receipt;
mod request;
mod source;
mod trouble;

pub use inspect::inspect;
pub use producer::SqsProducer;
pub use receipt::Receipt;

use super::inbox::Inbox;
use super::status::{Board, Lane as State};
use super::{QueueBackend, QueueError};
use crate::budget::Room;
use crate::config::{Limits, Sqs};
use crate::pipeline::{Delivery, Stored};
use client::Clients;
use futures_util::FutureExt;
use lane::Lane;
use receipt::{Command, settle};
use source::Source;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// For the polls under way, and to tell what is stored and what goes back.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(8);
const AFTER_PANIC: Duration = Duration::from_secs(5);

/// A consumer of one or several queues.
pub struct SqsQueue {
    shared: Arc<Shared>,
    stop: CancellationToken,
    /// A lane for each queue. Dropped with this, which lets messages come back as a crash would.
    lanes: Mutex<Option<JoinSet<()>>>,
}

struct Shared {
    settings: Sqs,
    limits: Limits,
    /// How many share the limits.
    queues: usize,
    clients: Clients,
    inbox: Inbox<Receipt>,
    /// Messages are wanted for the first time, or something was taken out of the inbox.
    relieved: Arc<Notify>,
    status: Board,
    /// How many messages each queue has, as far as that is known.
    counts: Mutex<BTreeMap<String, Option<u64>>>,
}

impl SqsQueue {
    /// Looks for its queues, and polls them from the first [`receive`](QueueBackend::receive) on. Needs no server yet: one
    /// that is away is waited for. `Err` where the settings are wrong. To be called within a runtime of Tokio.
    pub fn start(settings: &Sqs, limits: &Limits) -> Result<SqsQueue, QueueError> {
        let sources = sources(settings)?;
        let labels: Vec<String> = sources.iter().map(|source| source.label.clone()).collect();
        let relieved = Arc::new(Notify::new());
        let shared = Arc::new(Shared {
            clients: Clients::new(settings)?,
            inbox: Inbox::new({
                let relieved = relieved.clone();
                move || relieved.notify_waiters()
            }),
            relieved,
            status: Board::new(&labels, trouble::missing),
            counts: Mutex::new(labels.into_iter().map(|label| (label, None)).collect()),
            queues: sources.len(),
            settings: settings.clone(),
            limits: limits.clone(),
        });
        if let Some(first) = sources.first() {
            shared.status.connected(&shared.inbox, shared.clients.endpoint(first));
        }
        let stop = CancellationToken::new();
        let mut lanes = JoinSet::new();
        for source in sources {
            let (shared, source, stop) = (shared.clone(), Arc::new(source), stop.clone());
            lanes.spawn(async move {
                let lane = || Lane::run(shared.clone(), source.clone(), stop.clone());
                // One queue that nobody consumes any more would look like one that is empty.
                while let Err(panic) = AssertUnwindSafe(lane()).catch_unwind().await {
                    drop(panic);
                    tracing::error!(queue = source.label, "consuming failed, which is a bug; beginning anew");
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = sleep(AFTER_PANIC) => {}
                    }
                }
            });
        }
        Ok(SqsQueue { shared, stop, lanes: Mutex::new(Some(lanes)) })
    }
}

/// The queues that the settings name, each once, at least one.
fn sources(settings: &Sqs) -> Result<Vec<Source>, QueueError> {
    let sources = Source::parse_all(&settings.queue_urls).map_err(QueueError::new)?;
    if sources.is_empty() {
        return Err(QueueError::new(
            "SQS_QUEUE_URL is not set: name the queues by their URLs, separated by commas, like \
             https://sqs.eu-west-1.amazonaws.com/123456789012/xray-decisions",
        ));
    }
    Ok(sources)
}

impl QueueBackend for SqsQueue {
    const NAME: &'static str = "sqs";
    type Receipt = Receipt;

    async fn receive(&self, room: Room, wait: Duration) -> Result<Vec<Delivery<Receipt>>, QueueError> {
        self.shared.inbox.receive(room, wait).await
    }

    /// Where SQS does not take it at the first try, it is tried again in the background for as long as that may help.
    async fn ack(&self, stored: Vec<Stored<Receipt>>) -> Result<(), QueueError> {
        let (receipts, holds) = Stored::split(stored);
        settle(receipts, Command::Store).await;
        drop(holds);
        Ok(())
    }

    async fn release(&self, receipts: Vec<Receipt>) -> Result<(), QueueError> {
        settle(receipts, Command::Release).await;
        Ok(())
    }

    async fn close(&self) -> Result<(), QueueError> {
        self.stop.cancel();
        drop(self.shared.inbox.close());
        let lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut lanes) = lanes else { return Ok(()) };
        let all = async { while lanes.join_next().await.is_some() {} };
        tokio::time::timeout(CLOSE_TIMEOUT, all).await.map_err(|_| {
            QueueError::new(format!(
                "SQS was not told within {} s what goes back: it gives that out again after the visibility timeout",
                CLOSE_TIMEOUT.as_secs()
            ))
        })
    }

    fn lag(&self) -> Option<u64> {
        self.shared.inbox.lag()
    }
}

impl Shared {
    fn lane(&self, source: &Source, lane: State) {
        self.status.lane(&self.inbox, &source.label, lane);
    }

    /// So many messages are in this queue; `None`: nobody knows.
    fn count(&self, source: &Source, messages: Option<u64>) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.insert(source.label.clone(), messages);
        self.inbox.set_lag(counts.values().copied().sum());
    }
}

impl fmt::Debug for SqsQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqsQueue")
            .field("queues", &self.shared.settings.queue_urls)
            .field("inbox", &self.shared.inbox)
            .finish_non_exhaustive()
    }
}
