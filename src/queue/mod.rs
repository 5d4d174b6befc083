//! Where messages come from: one trait, one folder per broker.
//!
//! `cfg(feature)` for a broker stands here and in the composition root, nowhere else.

#[cfg(any(feature = "rabbitmq", feature = "nats", feature = "sqs"))]
mod epochs;
#[cfg(feature = "kafka")]
mod frontier;
#[cfg(feature = "_broker")]
mod inbox;
#[cfg(feature = "kafka")]
pub mod kafka;
#[cfg(feature = "nats")]
pub mod nats;
#[cfg(any(feature = "rabbitmq", feature = "nats", feature = "sqs"))]
mod pace;
#[cfg(feature = "rabbitmq")]
pub mod rabbitmq;
#[cfg(any(feature = "rabbitmq", feature = "sqs"))]
mod sizes;
#[cfg(feature = "sqs")]
pub mod sqs;
#[cfg(any(feature = "rabbitmq", feature = "sqs"))]
mod status;
#[cfg(any(feature = "rabbitmq", feature = "nats"))]
mod tls;

// What `--input` and `demo` work through, so it is there in every build; the feature makes it a QUEUE_TYPE of `run`.
pub mod memory;

use crate::budget::Room;
use crate::pipeline::{Delivery, Stored};
use bytes::Bytes;
use std::error::Error;
use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// A broker, as the worker sees it.
///
/// # Contract
///
/// *Settling.* A delivery is settled by exactly one of [`ack`](Self::ack), [`release`](Self::release), or dropping its
/// receipt. Until it is acked, nothing may let the broker forget the message: a dropped receipt, a crash, a lost
/// connection, partition or process all end in redelivery. Deliveries settle in any order; a broker that can only
/// commit a position commits the contiguous frontier and never passes an unsettled message.
///
/// *Leases.* From `receive` until a delivery is settled the backend itself keeps its lease alive (visibility, ack
/// wait, group membership), however long that takes, without using up delivery attempts.
///
/// *Connections.* The backend reconnects by itself with backoff and jitter, and logs once per change of state. An `Err`
/// of `receive` is never the end: the worker waits and calls again.
///
/// *Beginning.* Before the first `receive` it may connect, but takes no message from the broker.
///
/// *Sharing.* Any number of workers may consume from the same queue, consumer group or durable.
pub trait QueueBackend: Debug + Send + Sync + 'static {
    /// The value of `QUEUE_TYPE`, and the label `queue` of metrics.
    const NAME: &'static str;

    /// Whether it is inside this process: then there is nothing that could be away.
    const LOCAL: bool = false;

    /// What settles a delivery. Not `Clone`: a message is settled once.
    type Receipt: Debug + Send + Sync + 'static;

    /// Waits up to `wait` for a first delivery, then returns what is ready, in the order it came, without exceeding
    /// `room`. What the broker pushed beyond that stays in the backend, itself bounded. Empty where nothing came; it may
    /// return so before `wait` is over.
    ///
    /// `Err` where nothing is there and the broker cannot be reached or refuses us: at once, with a sentence that says
    /// what to do about it. So `Ok` also says that the broker was well when it was last heard of.
    ///
    /// Cancel safe: what a dropped call had taken is redelivered, never acked.
    fn receive(
        &self,
        room: Room,
        wait: Duration,
    ) -> impl Future<Output = Result<Vec<Delivery<Self::Receipt>>, QueueError>> + Send;

    /// Lets the broker forget these messages. `Ok` may still mean that some are redelivered (a lost connection, an
    /// older assignment); receipts that are no longer valid are ignored.
    fn ack(&self, stored: Vec<Stored<Self::Receipt>>) -> impl Future<Output = Result<(), QueueError>> + Send;

    /// Gives deliveries back for somebody else to receive at once. Used at shutdown.
    fn release(&self, receipts: Vec<Self::Receipt>) -> impl Future<Output = Result<(), QueueError>> + Send;

    /// Completes pending acks, then disconnects: what is not acked is free for other workers at once. No call follows.
    fn close(&self) -> impl Future<Output = Result<(), QueueError>> + Send;

    /// How many messages of our sources are at the broker and not acked, as it last told; `None` while that is unknown.
    fn lag(&self) -> Option<u64> {
        None
    }
}

/// Puts messages on a broker, for `publish`.
pub trait Producer: Debug + Send + Sync + 'static {
    /// Sends one body, without any header, and returns once the broker has confirmed that it has it. Calls may run at
    /// the same time; to one destination messages go in the order in which these futures are first polled.
    ///
    /// `Err`: it may or may not be there; sending it again does no harm to this worker. A dropped call likewise.
    fn send(&self, to: &str, body: Bytes) -> impl Future<Output = Result<(), QueueError>> + Send;

    /// Why no message of this broker could ever have such a body, where that is so.
    fn refuses(&self, _body: &[u8]) -> Option<&'static str> {
        None
    }
}

/// A failed call of a broker: what failed, on what.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct QueueError {
    message: Arc<str>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl QueueError {
    /// An error whose `message` says what failed on what, and if possible what to do.
    pub fn new(message: impl Into<Arc<str>>) -> Self {
        QueueError { message: message.into(), source: None }
    }

    /// The same with its cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }
}
