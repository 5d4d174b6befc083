//! What a broker has pushed and the worker has not received yet.

use super::QueueError;
use crate::budget::{Room, weight};
use crate::pipeline::Delivery;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// How long to wait for the first word of a broker.
/// Longer than a server has to answer when we connect, or this would be said in place of what is wrong with it.
const FIRST_CONTACT: Duration = Duration::from_secs(15);

/// Between the task or thread that talks to a broker and the worker's `receive`: deliveries in the order they came, and
/// what is wrong with the broker, if anything. It does not bound itself: whoever puts in looks at [`held`](Self::held).
pub(super) struct Inbox<R> {
    state: Mutex<State<R>>,
    changed: Notify,
    /// Called after something was taken, and when messages are wanted for the first time.
    relieved: Box<dyn Fn() + Send + Sync>,
}

struct State<R> {
    waiting: VecDeque<Delivery<R>>,
    /// Counted as the budget does.
    bytes: usize,
    trouble: Option<QueueError>,
    lag: Option<u64>,
    /// Whether anything has been heard of the broker yet.
    known: bool,
    /// Whether anybody has ever asked for messages.
    wanted: bool,
    closed: bool,
}

impl<R> Inbox<R> {
    /// An empty one. `relieved` is called whenever something was taken, and when [`is_wanted`](Self::is_wanted) becomes true;
    /// under no lock, and it must not block.
    pub(super) fn new(relieved: impl Fn() + Send + Sync + 'static) -> Self {
        let state = State {
            waiting: VecDeque::new(),
            bytes: 0,
            trouble: None,
            lag: None,
            known: false,
            wanted: false,
            closed: false,
        };
        Inbox { state: Mutex::new(state), changed: Notify::new(), relieved: Box::new(relieved) }
    }

    fn state(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts deliveries in, behind all others. After [`close`](Self::close) they are dropped.
    pub(super) fn put(&self, deliveries: impl IntoIterator<Item = Delivery<R>>) {
        let mut state = self.state();
        if state.closed {
            drop(state);
            // Receipts may lock what the caller's queue locks: never drop them under our lock.
            deliveries.into_iter().for_each(drop);
            return;
        }
        for delivery in deliveries {
            state.bytes += weight(delivery.message.body.len());
            state.waiting.push_back(delivery);
        }
        state.known = true;
        drop(state);
        self.changed.notify_one();
    }

    /// Whether messages have been asked for. Before that none is to be taken from the broker: where the stores are not ready
    /// yet they would only be kept from others, and time out here.
    pub(super) fn is_wanted(&self) -> bool {
        self.state().wanted
    }

    /// Messages and bytes that wait, counted as the budget does.
    pub(super) fn held(&self) -> (usize, usize) {
        let state = self.state();
        (state.waiting.len(), state.bytes)
    }

    /// Takes out what answers to this, for its owner to drop: deliveries that are no longer ours.
    pub(super) fn take_if(&self, mut is: impl FnMut(&R) -> bool) -> Vec<Delivery<R>> {
        let mut state = self.state();
        let (taken, kept): (Vec<_>, Vec<_>) = state.waiting.drain(..).partition(|delivery| is(&delivery.receipt));
        state.waiting = kept.into();
        state.bytes -= taken.iter().map(|delivery| weight(delivery.message.body.len())).sum::<usize>();
        taken
    }

    /// What keeps messages from coming, for the person who reads it; `None`: nothing does. Returns whether that changed
    /// from one to the other: log then, and only then.
    pub(super) fn trouble(&self, trouble: Option<QueueError>) -> bool {
        let mut state = self.state();
        let news = !state.known || state.trouble.is_some() != trouble.is_some();
        state.known = true;
        state.trouble = trouble;
        drop(state);
        if news {
            self.changed.notify_one();
        }
        news
    }

    /// How many messages are at the broker and not acked, as it last told; `None`: nobody knows.
    pub(super) fn set_lag(&self, lag: Option<u64>) {
        self.state().lag = lag;
    }

    /// What was last set.
    pub(super) fn lag(&self) -> Option<u64> {
        self.state().lag
    }

    /// Nothing is put in from now on. Returns what was not received.
    pub(super) fn close(&self) -> Vec<Delivery<R>> {
        let mut state = self.state();
        state.closed = true;
        state.bytes = 0;
        std::mem::take(&mut state.waiting).into()
    }

    /// As [`QueueBackend::receive`](super::QueueBackend::receive). Where nothing waits and there is trouble, that is the
    /// error, at once.
    pub(super) async fn receive(&self, room: Room, wait: Duration) -> Result<Vec<Delivery<R>>, QueueError> {
        if !std::mem::replace(&mut self.state().wanted, true) {
            (self.relieved)();
        }
        let ready = self.take(room)?;
        if !ready.is_empty() {
            return Ok(ready);
        }
        // Before anything was heard of the broker, nobody can say that all is well.
        let wait = if self.state().known { wait } else { wait.max(FIRST_CONTACT) };
        // A permit left over from earlier only makes this return early, with nothing.
        match tokio::time::timeout(wait, self.changed.notified()).await {
            Ok(()) => self.take(room),
            Err(_) if !self.state().known => Err(QueueError::new("nothing has been heard of the broker yet")),
            Err(_) => Ok(Vec::new()),
        }
    }

    fn take(&self, mut room: Room) -> Result<Vec<Delivery<R>>, QueueError> {
        let mut state = self.state();
        if let (true, Some(trouble)) = (state.waiting.is_empty(), &state.trouble) {
            return Err(trouble.clone());
        }
        let mut fitting = 0;
        while let Some(delivery) = state.waiting.get(fitting)
            && room.take(delivery.message.body.len())
        {
            fitting += 1;
        }
        let taken: Vec<_> = state.waiting.drain(..fitting).collect();
        state.bytes -= taken.iter().map(|delivery| weight(delivery.message.body.len())).sum::<usize>();
        drop(state);
        if !taken.is_empty() {
            (self.relieved)();
        }
        Ok(taken)
    }
}

impl<R> fmt::Debug for Inbox<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (messages, bytes) = self.held();
        f.debug_struct("Inbox").field("messages", &messages).field("bytes", &bytes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;
    use crate::pipeline::{Message, Origin};
    use bytes::Bytes;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    const LONG: Duration = Duration::from_secs(3600);

    fn delivery(receipt: u32) -> Delivery<u32> {
        let message = Message {
            body: Bytes::from_static(&[b'x'; 1000]),
            cut: None,
            hint: None,
            origin: Origin { name: "q".into(), position: None },
            deliveries: 1,
            enqueued_at: None,
        };
        Delivery { message, receipt }
    }

    async fn room(messages: usize, bytes: usize) -> Room {
        Budget::new(messages, bytes).room().await
    }

    fn receipts(deliveries: Vec<Delivery<u32>>) -> Vec<u32> {
        deliveries.into_iter().map(|delivery| delivery.receipt).collect()
    }

    #[tokio::test]
    async fn in_order_and_within_the_room() {
        let relieved = Arc::new(AtomicUsize::new(0));
        let inbox = Inbox::new({
            let relieved = relieved.clone();
            move || {
                relieved.fetch_add(1, Relaxed);
            }
        });
        inbox.put((0..5).map(delivery));
        assert_eq!((inbox.held(), inbox.is_wanted()), ((5, 5 * 2024), false));
        assert_eq!(receipts(inbox.receive(room(2, 1 << 20).await, LONG).await.unwrap()), [0, 1]);
        assert_eq!(receipts(inbox.receive(room(9, 2024).await, LONG).await.unwrap()), [2]);
        assert!(inbox.is_wanted());
        assert_eq!(receipts(inbox.take_if(|receipt| *receipt == 3)), [3]);
        assert_eq!((inbox.held(), relieved.load(Relaxed)), ((1, 2024), 3), "once for the first time");
        assert_eq!(receipts(inbox.close()), [4]);
        inbox.put([delivery(5)]);
        assert_eq!(inbox.held(), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn an_empty_one_waits_and_says_what_is_wrong() {
        let inbox = Arc::new(Inbox::new(|| {}));
        let plenty = room(9, 1 << 20).await;
        assert!(inbox.receive(plenty, LONG).await.is_err(), "nobody knows");
        assert!(inbox.trouble(None));
        assert!(inbox.receive(plenty, LONG).await.unwrap().is_empty());
        let receive = tokio::spawn({
            let inbox = inbox.clone();
            async move { inbox.receive(plenty, LONG).await }
        });
        tokio::task::yield_now().await;
        assert!(inbox.trouble(Some(QueueError::new("gone"))) && !inbox.trouble(Some(QueueError::new("still gone"))));
        assert_eq!(receive.await.unwrap().unwrap_err().to_string(), "still gone");
        inbox.put([delivery(1)]);
        assert_eq!(receipts(inbox.receive(plenty, LONG).await.unwrap()), [1], "what is there comes first");
        assert!(inbox.receive(plenty, LONG).await.is_err());
        assert!(inbox.trouble(None));
        assert!(inbox.receive(plenty, LONG).await.unwrap().is_empty());
    }
}
