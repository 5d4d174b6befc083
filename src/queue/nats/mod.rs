//! NATS JetStream, through async-nats.
//!
//! ```text
//!  server ─▶ connection ─▶ stream, consumer ─▶ Pull ─▶ Inbox ─▶ receive ─▶ … ─▶ ack ─┐
//!     ▲      (supervisor)       (open)                                              │
//!     └── ack, nak, progress ◀── Voice ◀── Leases ◀───────────── receipts ◀─────────┘
//! ```
//!
//! The server knows a message by its place in the stream, whoever speaks of it: a message outlives the connection that
//! brought it, and its ack goes over the next one. It does not outlive its stream or consumer. So both are looked at anew
//! whenever something might have happened to them, and until then nothing is said.

mod api;
mod connect;
mod inspect;
mod leases;
mod message;
mod open;
mod producer;
mod pull;
mod receipt;
mod request;
mod servers;
mod subject;
mod supervisor;
mod terms;
mod trouble;
mod voice;

pub use inspect::inspect;
pub use producer::NatsProducer;
pub use receipt::Receipt;

use super::inbox::Inbox;
use super::{QueueBackend, QueueError};
use crate::budget::Room;
use crate::config::{Limits, Nats};
use crate::pipeline::{Delivery, Stored};
use futures_util::FutureExt;
use receipt::GiveBack;
use servers::Servers;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use voice::{Voice, Word};

/// What may wait to be received, at most.
const WAITING: (usize, usize) = (2000, 16 << 20);
/// For pending acks and the goodbye. A server that hangs does not answer.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(4);
/// While there is no connection to say the last words over.
const BETWEEN_TRIES: Duration = Duration::from_millis(50);

/// One of the workers that share a durable pull consumer.
pub struct NatsQueue {
    shared: Arc<Shared>,
    orders: UnboundedSender<GiveBack>,
    stop: CancellationToken,
    /// Dropped with the queue, which ends the connection as a crash would.
    tasks: Mutex<Option<JoinSet<()>>>,
}

struct Shared {
    settings: Nats,
    inbox: Inbox<Receipt>,
    /// Messages and bytes that may wait in it.
    bound: (usize, usize),
    /// Something was taken out of the inbox.
    relieved: Arc<Notify>,
    voice: Voice,
    /// No messages are to come any more.
    quiet: CancellationToken,
    /// Whether a request for messages is out.
    asking: watch::Sender<bool>,
}

impl NatsQueue {
    /// Connects, looks for its stream and consumer, and asks for messages from the first [`receive`](QueueBackend::receive) on.
    /// Needs no server yet: one that is away is waited for. `Err` where the settings are wrong. To be called within a runtime
    /// of Tokio.
    pub fn start(settings: &Nats, limits: &Limits) -> Result<NatsQueue, QueueError> {
        let servers = Servers::new(settings)?;
        let relieved = Arc::new(Notify::new());
        let shared = Arc::new(Shared {
            settings: settings.clone(),
            inbox: Inbox::new({
                let relieved = relieved.clone();
                move || relieved.notify_one()
            }),
            bound: (limits.max_in_flight_messages.clamp(1, WAITING.0), limits.max_in_flight_bytes.clamp(1, WAITING.1)),
            relieved,
            voice: Voice::default(),
            quiet: CancellationToken::new(),
            asking: watch::Sender::new(false),
        });
        let (orders, ordered) = unbounded_channel();
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn({
            let (shared, orders, stop) = (shared.clone(), orders.clone(), stop.clone());
            async move {
                let run = supervisor::run(shared.clone(), servers, orders, stop);
                if AssertUnwindSafe(run).catch_unwind().await.is_err() {
                    // Without a word it would look as if nothing came.
                    shared.voice.shut();
                    shared.asking.send_replace(false);
                    shared
                        .tell(Some(QueueError::new("consuming from NATS failed, which is a bug; restart the worker")));
                }
            }
        });
        tasks.spawn(supervisor::give_back(shared.clone(), ordered));
        Ok(NatsQueue { shared, orders, stop, tasks: Mutex::new(Some(tasks)) })
    }
}

impl QueueBackend for NatsQueue {
    const NAME: &'static str = "nats";
    type Receipt = Receipt;

    async fn receive(&self, room: Room, wait: Duration) -> Result<Vec<Delivery<Receipt>>, QueueError> {
        self.shared.inbox.receive(room, wait).await
    }

    /// What cannot be said now is owed, and said over the next connection: it is as good as acked.
    async fn ack(&self, stored: Vec<Stored<Receipt>>) -> Result<(), QueueError> {
        let (receipts, _holds) = Stored::split(stored);
        for (epoch, to) in Receipt::settle(receipts) {
            if let Err(error) = self.shared.voice.say(&epoch, to, Word::Ack).await {
                tracing::debug!(error = &error as &dyn std::error::Error, "acks wait for the next connection");
            }
        }
        Ok(())
    }

    async fn release(&self, receipts: Vec<Receipt>) -> Result<(), QueueError> {
        self.shared.quiet.cancel();
        self.shared.give_back(Receipt::settle(receipts)).await
    }

    async fn close(&self) -> Result<(), QueueError> {
        self.shared.quiet.cancel();
        let goodbye = async {
            self.shared.still().await;
            drop(self.shared.inbox.close());
            let (answer, answered) = oneshot::channel();
            self.orders.send(GiveBack::Flush(answer)).ok();
            answered.await.ok();
            while self.shared.voice.owes() {
                self.shared.voice.flush().await.ok();
                sleep(BETWEEN_TRIES).await;
            }
        };
        let said = timeout(CLOSE_TIMEOUT, goodbye).await;
        self.stop.cancel();
        drop(self.tasks.lock().unwrap_or_else(PoisonError::into_inner).take());
        said.map_err(|_| {
            QueueError::new(format!(
                "NATS was not reached within {} s to hear that we leave: it gives our messages to others once their ack_wait is \
                 over",
                CLOSE_TIMEOUT.as_secs()
            ))
        })
    }

    fn lag(&self) -> Option<u64> {
        self.shared.inbox.lag()
    }
}

impl Shared {
    /// Lets the worker know what keeps messages from coming, if anything.
    fn tell(&self, trouble: Option<QueueError>) {
        self.inbox.trouble(trouble);
    }
}

impl fmt::Debug for NatsQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsQueue").field("inbox", &self.shared.inbox).finish_non_exhaustive()
    }
}
