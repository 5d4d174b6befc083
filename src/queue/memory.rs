//! The queue inside the process: what `POST /ingest`, `--input` and `demo` put in.

use super::{QueueBackend, QueueError};
use crate::budget::{Budget, Hold, Room};
use crate::pipeline::{Delivery, Message, Settlement, Stored};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};

/// A bounded queue in memory. Cheap to clone; clones are the same queue.
///
/// A message counts against the bound from the moment it is offered until it is settled, so that what waits here and
/// what is in flight together stay within it. Its ack resolves the [`Wait`] of whoever offered it. What is in it does
/// not survive the process: nobody was told that it is stored.
#[derive(Clone)]
pub struct MemoryQueue {
    shared: Arc<Shared>,
}

struct Shared {
    budget: Budget,
    state: Mutex<State>,
    arrived: Notify,
}

#[derive(Default)]
struct State {
    closed: bool,
    next_id: u64,
    /// In the order they were offered; what comes back goes to the front again.
    waiting: VecDeque<u64>,
    entries: BTreeMap<u64, Entry>,
}

struct Entry {
    message: Message,
    reply: oneshot::Sender<Settlement>,
    _hold: Hold,
}

/// Why an offered message was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The bound is reached.
    #[error("the queue is full")]
    Full,
    /// The worker is stopping.
    #[error("the worker is stopping")]
    Closed,
}

/// The wait of a producer for its message.
#[derive(Debug)]
#[must_use]
pub struct Wait(oneshot::Receiver<Settlement>);

impl Wait {
    /// What became of the message once it is durable. `Err(Closed)` where the worker stopped before: then it may or may
    /// not be stored, and offering it again is right. Cancel safe; dropping it does not take the message back.
    pub async fn settled(&mut self) -> Result<Settlement, Refused> {
        (&mut self.0).await.map_err(|_| Refused::Closed)
    }
}

impl MemoryQueue {
    /// An empty queue bounded by `messages` and `bytes`.
    pub fn new(messages: usize, bytes: usize) -> Self {
        let shared = Shared { budget: Budget::new(messages, bytes), state: Mutex::default(), arrived: Notify::new() };
        MemoryQueue { shared: Arc::new(shared) }
    }

    /// Puts a message in if there is room for it now.
    pub fn offer(&self, message: Message) -> Result<Wait, Refused> {
        let hold = self.shared.budget.try_hold(message.body.len());
        match hold {
            Some(hold) => self.shared.put(message, hold),
            None if self.shared.state().closed => Err(Refused::Closed),
            None => Err(Refused::Full),
        }
    }

    /// Puts a message in as soon as there is room for it. Cancel safe: a dropped call put nothing in.
    pub async fn push(&self, message: Message) -> Result<Wait, Refused> {
        let hold = self.shared.budget.acquire(message.body.len()).await;
        self.shared.put(message, hold)
    }

    /// Waits until nothing is in it: all that was put in so far is settled. Cancel safe.
    pub async fn drained(&self) {
        self.shared.budget.emptied().await;
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, message: Message, hold: Hold) -> Result<Wait, Refused> {
        let (reply, settled) = oneshot::channel();
        let mut state = self.state();
        if state.closed {
            return Err(Refused::Closed);
        }
        let id = state.next_id;
        state.next_id += 1;
        state.entries.insert(id, Entry { message, reply, _hold: hold });
        state.waiting.push_back(id);
        drop(state);
        self.arrived.notify_one();
        Ok(Wait(settled))
    }

    /// What is ready and fits. What was received and dropped before stands at the front.
    fn take(self: &Arc<Self>, mut room: Room) -> Vec<Delivery<Receipt>> {
        let mut state = self.state();
        let mut taken = Vec::new();
        while let Some(&id) = state.waiting.front() {
            match state.entries.get_mut(&id) {
                None => {}
                Some(entry) if room.take(entry.message.body.len()) => {
                    let message = entry.message.clone();
                    entry.message.deliveries += 1;
                    taken.push(Delivery { message, receipt: Receipt { id, shared: self.clone() } });
                }
                Some(_) => break,
            }
            state.waiting.pop_front();
        }
        taken
    }
}

/// Settles one delivery; dropped, its message is received again.
pub struct Receipt {
    id: u64,
    shared: Arc<Shared>,
}

impl Drop for Receipt {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        if state.entries.contains_key(&self.id) {
            // Ids are in the order of arrival, and what comes back keeps its place in it.
            let at = state.waiting.partition_point(|&waiting| waiting < self.id);
            state.waiting.insert(at, self.id);
            drop(state);
            self.shared.arrived.notify_one();
        }
    }
}

impl QueueBackend for MemoryQueue {
    const NAME: &'static str = "memory";
    const LOCAL: bool = true;
    type Receipt = Receipt;

    async fn receive(&self, room: Room, wait: Duration) -> Result<Vec<Delivery<Receipt>>, QueueError> {
        let ready = self.shared.take(room);
        if !ready.is_empty() {
            return Ok(ready);
        }
        // A permit left over from earlier only makes this return early, with nothing.
        let arrived = tokio::time::timeout(wait, self.shared.arrived.notified()).await;
        Ok(if arrived.is_ok() { self.shared.take(room) } else { Vec::new() })
    }

    async fn ack(&self, stored: Vec<Stored<Receipt>>) -> Result<(), QueueError> {
        for stored in stored {
            let (receipt, settlement, hold) = stored.into_parts();
            let entry = self.shared.state().entries.remove(&receipt.id);
            if let Some(entry) = entry {
                // Nobody may be waiting any more; the message is stored all the same.
                entry.reply.send(settlement).ok();
            }
            drop(hold);
        }
        Ok(())
    }

    async fn release(&self, receipts: Vec<Receipt>) -> Result<(), QueueError> {
        drop(receipts);
        Ok(())
    }

    fn lag(&self) -> Option<u64> {
        Some(self.shared.budget.held().0 as u64)
    }

    async fn close(&self) -> Result<(), QueueError> {
        let entries = {
            let mut state = self.shared.state();
            state.closed = true;
            state.waiting.clear();
            std::mem::take(&mut state.entries)
        };
        drop(entries);
        Ok(())
    }
}

impl fmt::Debug for MemoryQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (messages, bytes) = self.shared.budget.held();
        f.debug_struct("MemoryQueue").field("messages", &messages).field("bytes", &bytes).finish()
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Receipt({})", self.id)
    }
}
