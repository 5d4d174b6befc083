//! The bound on what is held: messages and bytes.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// What each message counts beyond its body, and each further event in it once it is decoded: receipts, parsed facts,
/// bookkeeping. Measured: an event of 100 bytes takes about 1 KiB on its way through the stages.
pub const MESSAGE_OVERHEAD: usize = 1024;

/// Bounds the messages that are held by count and by bytes (body + 1 KiB each). Cheap to clone; clones share the bound.
#[derive(Debug, Clone)]
pub struct Budget {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    max: Room,
    held: Mutex<Held>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Held {
    messages: usize,
    bytes: usize,
    /// How many are held since when: messages that came together count together.
    since: BTreeMap<Instant, usize>,
    /// The same by the time of the oldest event in each.
    events: BTreeMap<i64, usize>,
}

/// How much may still be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Messages.
    pub messages: usize,
    /// Bytes, counted as [`weight`].
    pub bytes: usize,
    /// Nothing is held: a single message may exceed `bytes`, so that it is not stuck for ever.
    pub idle: bool,
}

impl Room {
    /// Takes a message with this body length off the room; `false`, and nothing taken, where it does not fit.
    pub fn take(&mut self, body_bytes: usize) -> bool {
        let weight = weight(body_bytes);
        if self.messages == 0 || (weight > self.bytes && !self.idle) {
            return false;
        }
        self.messages -= 1;
        self.bytes = self.bytes.saturating_sub(weight);
        self.idle = false;
        true
    }
}

/// What a message counts.
pub fn weight(body_bytes: usize) -> usize {
    body_bytes.saturating_add(MESSAGE_OVERHEAD)
}

impl Budget {
    /// A budget of `messages` and `bytes`.
    pub fn new(messages: usize, bytes: usize) -> Self {
        let max = Room { messages, bytes, idle: true };
        Budget { shared: Arc::new(Shared { max, held: Mutex::default(), freed: Notify::new() }) }
    }

    /// Waits until a message can be taken and returns what is free. Cancel safe; takes nothing.
    pub async fn room(&self) -> Room {
        loop {
            let freed = self.shared.freed.notified();
            let room = self.shared.room(&self.shared.held());
            if room.messages > 0 && (room.bytes > 0 || room.idle) {
                return room;
            }
            freed.await;
        }
    }

    /// Waits until there is more room than this. Cancel safe; takes nothing.
    pub async fn more_than(&self, room: Room) {
        loop {
            let freed = self.shared.freed.notified();
            let now = self.shared.room(&self.shared.held());
            if now.bytes > room.bytes || (now.idle && !room.idle) {
                return;
            }
            freed.await;
        }
    }

    /// Takes the share of a message, even over the bound: for what has already been received.
    pub fn hold(&self, body_bytes: usize) -> Hold {
        self.shared.take(&mut self.shared.held(), body_bytes, Instant::now(), &self.shared)
    }

    /// The same for messages that came together, by the lengths of their bodies.
    pub fn hold_all(&self, bodies: impl Iterator<Item = usize>) -> Vec<Hold> {
        let (mut held, now) = (self.shared.held(), Instant::now());
        bodies.map(|body_bytes| self.shared.take(&mut held, body_bytes, now, &self.shared)).collect()
    }

    /// Takes the share of a message if there is room for it.
    pub fn try_hold(&self, body_bytes: usize) -> Option<Hold> {
        let mut held = self.shared.held();
        let fits = self.shared.room(&held).take(body_bytes);
        fits.then(|| self.shared.take(&mut held, body_bytes, Instant::now(), &self.shared))
    }

    /// Waits for room for a message and takes its share. Cancel safe.
    pub async fn acquire(&self, body_bytes: usize) -> Hold {
        loop {
            let freed = self.shared.freed.notified();
            if let Some(hold) = self.try_hold(body_bytes) {
                return hold;
            }
            freed.await;
        }
    }

    /// Waits until the bound is kept, or no more than these `waiting` messages are held, whose holder this is. Messages
    /// [grow](Hold::grow) beyond it when they are decoded, so each of many is decoded only then. Cancel safe.
    pub async fn relieved(&self, waiting: usize) {
        loop {
            let freed = self.shared.freed.notified();
            if self.is_relieved(waiting) {
                return;
            }
            freed.await;
        }
    }

    /// Whether [`relieved`](Self::relieved) would return at once.
    pub fn is_relieved(&self, waiting: usize) -> bool {
        let (messages, bytes) = self.held();
        messages <= waiting || bytes <= self.shared.max.bytes
    }

    /// Waits until nothing is held.
    pub async fn emptied(&self) {
        loop {
            let freed = self.shared.freed.notified();
            if self.shared.held().messages == 0 {
                return;
            }
            freed.await;
        }
    }

    /// How much may be held at most.
    pub fn bound(&self) -> Room {
        self.shared.max
    }

    /// Messages and bytes held now.
    pub fn held(&self) -> (usize, usize) {
        let held = self.shared.held();
        (held.messages, held.bytes)
    }

    /// The time of the oldest event that is held, in milliseconds; `None` where none is.
    pub fn oldest_event(&self) -> Option<i64> {
        self.shared.held().events.first_key_value().map(|(millis, _)| *millis)
    }

    /// For how long the oldest message has been held; zero where none is.
    pub fn oldest(&self) -> Duration {
        self.shared.held().since.first_key_value().map(|(since, _)| since.elapsed()).unwrap_or_default()
    }
}

impl Shared {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn room(&self, held: &Held) -> Room {
        Room {
            messages: self.max.messages.saturating_sub(held.messages),
            bytes: self.max.bytes.saturating_sub(held.bytes),
            idle: held.messages == 0,
        }
    }

    fn less<K: Ord>(counts: &mut BTreeMap<K, usize>, key: K) {
        if let Entry::Occupied(mut count) = counts.entry(key) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }

    fn take(&self, held: &mut Held, body_bytes: usize, now: Instant, shared: &Arc<Shared>) -> Hold {
        let hold = Hold { weight: weight(body_bytes), since: now, oldest_event: None, shared: shared.clone() };
        held.messages += 1;
        held.bytes += hold.weight;
        *held.since.entry(now).or_default() += 1;
        hold
    }
}

/// A message's share of a [`Budget`]; dropping it gives it back.
#[derive(Debug)]
#[must_use]
pub struct Hold {
    weight: usize,
    since: Instant,
    oldest_event: Option<i64>,
    shared: Arc<Shared>,
}

impl Hold {
    /// When it was taken.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Counts the parts found in its message, of which the first is counted already, and notes the time of its oldest
    /// event, in milliseconds. May go over the bound.
    pub fn grow(&mut self, parts: usize, oldest_event: Option<i64>) {
        let more = parts.saturating_sub(1).saturating_mul(MESSAGE_OVERHEAD);
        let mut held = self.shared.held();
        self.weight += more;
        held.bytes += more;
        if let (Some(millis), None) = (oldest_event, self.oldest_event) {
            self.oldest_event = Some(millis);
            *held.events.entry(millis).or_default() += 1;
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut held = self.shared.held();
        held.messages -= 1;
        held.bytes -= self.weight;
        Shared::less(&mut held.since, self.since);
        if let Some(millis) = self.oldest_event {
            Shared::less(&mut held.events, millis);
        }
        drop(held);
        self.shared.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test]
    async fn a_hold_grows_and_gives_all_of_it_back() {
        let budget = Budget::new(10, 10 * MESSAGE_OVERHEAD);
        let mut hold = budget.hold(0);
        hold.grow(1, None);
        assert_eq!(budget.held(), (1, MESSAGE_OVERHEAD));
        hold.grow(20, None);
        assert_eq!(budget.held(), (1, 20 * MESSAGE_OVERHEAD));
        assert!(budget.room().now_or_never().is_none(), "nothing more is received");

        let next = budget.hold(0);
        assert!(budget.relieved(1).now_or_never().is_none(), "nor decoded");
        drop(hold);
        assert_eq!(budget.held(), (1, MESSAGE_OVERHEAD));
        assert!(budget.relieved(1).now_or_never().is_some());
        drop(next);
        let mut alone = budget.hold(20 * MESSAGE_OVERHEAD);
        assert!(budget.relieved(1).now_or_never().is_some(), "one message over the whole budget is not stuck");
        alone.grow(0, None);
    }

    #[tokio::test]
    async fn more_room_is_told_of() {
        let budget = Budget::new(10, 4 * MESSAGE_OVERHEAD);
        let (first, second) = (budget.hold(0), budget.hold(0));
        let room = budget.room().await;
        let mut more = Box::pin(budget.more_than(room));
        assert!((&mut more).now_or_never().is_none());
        drop(first);
        assert!(more.now_or_never().is_some(), "more bytes");
        let room = budget.room().await;
        drop(second);
        assert!(budget.more_than(room).now_or_never().is_some(), "and one alone may have any size");
        assert!(budget.more_than(budget.room().await).now_or_never().is_none());
    }

    #[tokio::test]
    async fn what_came_together_is_held_each_for_itself() {
        let budget = Budget::new(10, 10 * MESSAGE_OVERHEAD);
        let mut holds = budget.hold_all([0, 10, 0].into_iter());
        assert_eq!(budget.held(), (3, 3 * MESSAGE_OVERHEAD + 10));
        drop(holds.remove(1));
        std::thread::sleep(Duration::from_millis(2));
        assert!(budget.oldest() >= Duration::from_millis(2));
        drop(holds);
        assert_eq!((budget.held(), budget.oldest()), ((0, 0), Duration::ZERO));
    }

    #[tokio::test]
    async fn the_oldest_event_is_that_of_what_is_still_held() {
        let budget = Budget::new(10, 10 * MESSAGE_OVERHEAD);
        let mut holds = budget.hold_all([0, 0, 0].into_iter());
        assert_eq!(budget.oldest_event(), None);
        for (hold, millis) in holds.iter_mut().zip([Some(20), Some(10), None]) {
            hold.grow(1, millis);
        }
        assert_eq!(budget.oldest_event(), Some(10));
        drop(holds.remove(1));
        assert_eq!(budget.oldest_event(), Some(20));
        drop(holds);
        assert_eq!(budget.oldest_event(), None);
    }
}
