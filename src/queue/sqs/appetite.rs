//! How much to ask SQS for. Pure code without I/O.

use super::ledger::BATCH;
use crate::budget::weight;
use crate::config::Limits;
use crate::queue::sizes::Sizes;

/// Where nothing was seen yet, a message counts as the largest that there are.
const UNSEEN: usize = 1 << 20;

/// How many polls of one queue to have at once and for how many messages each, so that never more comes than there is room
/// for, and one poll waits where little comes.
#[derive(Debug)]
pub(super) struct Appetite {
    most_polls: usize,
    polls: usize,
    messages: usize,
    bytes: usize,
    sizes: Sizes,
}

impl Appetite {
    /// For one of `queues` queues that share the limits.
    pub(super) fn new(most_polls: usize, limits: &Limits, queues: usize) -> Self {
        let queues = queues.max(1);
        Appetite {
            most_polls: most_polls.max(1),
            polls: 1,
            messages: (limits.max_in_flight_messages / queues).max(1),
            bytes: limits.max_in_flight_bytes / queues,
            sizes: Sizes::default(),
        }
    }

    /// A message with this body length came.
    pub(super) fn saw(&mut self, body_bytes: usize) {
        self.sizes.saw(body_bytes);
    }

    /// A poll for `asked` messages brought so many.
    pub(super) fn polled(&mut self, asked: usize, brought: usize) {
        if brought == 0 {
            self.polls = 1;
        } else if brought * 2 >= asked {
            self.polls = (self.polls + 1).min(self.most_polls);
        }
    }

    /// How many polls to have at once.
    pub(super) fn polls(&self) -> usize {
        self.polls
    }

    /// How many messages to ask for with one more poll, where so many are `held` (messages, weight) and `asked` for already.
    /// `None`: that is not worth a request yet.
    pub(super) fn next(&self, held: (usize, usize), asked: usize) -> Option<usize> {
        let each = weight(self.sizes.largest().unwrap_or(UNSEEN));
        let fits = |messages: usize, bytes: usize| messages.min(bytes / each).min(BATCH);
        // One that is larger than all the room there is comes alone.
        if held.0 == 0 && asked == 0 {
            return Some(fits(self.messages, self.bytes).max(1));
        }
        let messages = self.messages.saturating_sub(held.0 + asked);
        let bytes = self.bytes.saturating_sub(held.1 + asked * each);
        let worth = fits(self.messages, self.bytes).div_ceil(2).max(1);
        Some(fits(messages, bytes)).filter(|fitting| *fitting >= worth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn appetite(messages: usize, bytes: usize) -> Appetite {
        let limits = Limits { max_event_bytes: 1, max_in_flight_messages: messages, max_in_flight_bytes: bytes };
        Appetite::new(8, &limits, 1)
    }

    #[test]
    fn more_polls_where_they_bring_something() {
        let mut appetite = appetite(1000, 1 << 30);
        assert_eq!(appetite.polls(), 1);
        (0..20).for_each(|_| appetite.polled(10, 10));
        assert_eq!(appetite.polls(), 8);
        appetite.polled(10, 2);
        assert_eq!(appetite.polls(), 8);
        appetite.polled(10, 0);
        assert_eq!(appetite.polls(), 1);
    }

    #[test]
    fn as_much_as_fits() {
        let mut appetite = appetite(30, 3 << 20);
        assert_eq!(appetite.next((0, 0), 0), Some(2), "of the largest there are");
        assert_eq!(appetite.next((0, 0), 2), None);
        appetite.saw(1000);
        assert_eq!(appetite.next((0, 0), 0), Some(10));
        assert_eq!((appetite.next((0, 0), 20), appetite.next((20, 40_000), 5)), (Some(10), Some(5)));
        assert_eq!((appetite.next((20, 40_000), 6), appetite.next((30, 40_000), 0)), (None, None), "not bit by bit");
        let mut tiny = self::appetite(30, 100);
        assert_eq!((tiny.next((0, 0), 0), tiny.next((1, 5000), 0), tiny.next((0, 0), 1)), (Some(1), None, None));
        tiny.saw(10);
        assert_eq!(tiny.next((0, 0), 0), Some(1), "alone");
    }

    proptest! {
        /// Whatever comes is no larger than what came of late: then the room is never exceeded, but by one that is alone.
        #[test]
        fn never_more_than_there_is_room_for(messages in 1..50_usize, kib in 1..5000_usize, sizes in prop::collection::vec(0..1_usize << 20, 1..100)) {
            let mut appetite = appetite(messages, kib << 10);
            let mut held = Vec::new();
            for size in sizes {
                let total = (held.len(), held.iter().sum::<usize>());
                match appetite.next(total, 0) {
                    Some(asked) => {
                        prop_assert!((1..=BATCH).contains(&asked));
                        let largest = appetite.sizes.largest().unwrap_or(UNSEEN);
                        let size = size.min(largest);
                        held.extend(std::iter::repeat_n(weight(size), asked));
                        (0..asked).for_each(|_| appetite.saw(size));
                        let bytes: usize = held.iter().sum();
                        prop_assert!(held.len() <= messages);
                        prop_assert!(bytes <= kib << 10 || held.len() == 1, "{bytes}");
                    }
                    None => held.truncate(held.len() / 2),
                }
            }
        }
    }
}
