//! What is unacked on one channel, and which acks say so in the fewest words. Pure code without I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// The deliveries of one channel by their tags, which rise.
///
/// Its size is bounded by what is unacked: a message that is held for hours costs nothing but itself, as everything
/// beyond it is acked singly.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Not settled, with the time they came.
    open: BTreeMap<u64, Instant>,
    /// Stored, and the broker has not been told yet.
    stored: BTreeSet<u64>,
}

/// Acks that cover everything that is stored, each message once, and nothing else.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Acks {
    /// All up to and including this one.
    pub(super) up_to: Option<u64>,
    /// Those beyond the first that is open.
    pub(super) single: Vec<u64>,
}

impl Ledger {
    /// A delivery came.
    pub(super) fn give(&mut self, tag: u64, now: Instant) {
        self.open.insert(tag, now);
    }

    /// It is stored. What is not open is not ours to ack.
    pub(super) fn store(&mut self, tag: u64) {
        if self.open.remove(&tag).is_some() {
            self.stored.insert(tag);
        }
    }

    /// The broker was told to take it back. Not before: a multiple ack would cover it. `false`: it was not open.
    pub(super) fn gone(&mut self, tag: u64) -> bool {
        self.open.remove(&tag).is_some()
    }

    /// Whether it is neither stored nor given back.
    pub(super) fn is_open(&self, tag: u64) -> bool {
        self.open.contains_key(&tag)
    }

    /// What to tell the broker now; it counts as told.
    ///
    /// The tag of a multiple ack must itself be unacked: the broker closes the channel over one it does not know.
    pub(super) fn acks(&mut self) -> Acks {
        let single = match self.open.first_key_value() {
            Some((open, _)) => self.stored.split_off(open),
            None => BTreeSet::new(),
        };
        let up_to = self.stored.last().copied();
        self.stored.clear();
        Acks { up_to, single: single.into_iter().collect() }
    }

    /// When the oldest of those came that are open.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.open.first_key_value().map(|(_, since)| *since)
    }

    /// How many are open.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    #[test]
    fn a_stuck_message_does_not_hold_up_acks() {
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        (1..=5).for_each(|tag| ledger.give(tag, now));
        [1, 2, 4, 5].into_iter().for_each(|tag| ledger.store(tag));
        assert_eq!(ledger.acks(), Acks { up_to: Some(2), single: vec![4, 5] });
        assert_eq!(ledger.acks(), Acks::default());
        ledger.store(3);
        // 5 is beyond, but the broker does not know it any more.
        assert_eq!(ledger.acks(), Acks { up_to: Some(3), single: vec![] });
        ledger.store(3);
        ledger.store(77);
        assert_eq!((ledger.acks(), ledger.len(), ledger.oldest()), (Acks::default(), 0, None));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Give,
        Store(usize),
        Drop(usize),
        Tell,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => Just(Step::Give),
            4 => (0..40_usize).prop_map(Step::Store),
            1 => (0..40_usize).prop_map(Step::Drop),
            2 => Just(Step::Tell),
        ]
    }

    proptest! {
        /// Against a broker that keeps the list of what is unacked, and a client that keeps the list of what is stored.
        #[test]
        fn what_is_stored_is_acked_once_and_nothing_else_ever(steps in vec(step(), 0..300)) {
            let (mut ledger, start) = (Ledger::default(), Instant::now());
            let (mut next, mut unacked, mut stored) = (1_u64, Vec::<u64>::new(), BTreeSet::new());
            for step in steps.into_iter().chain([Step::Tell]) {
                let open: Vec<u64> = unacked.iter().filter(|tag| !stored.contains(*tag)).copied().collect();
                match step {
                    Step::Give => {
                        ledger.give(next, start);
                        unacked.push(next);
                        next += 1;
                    }
                    Step::Store(at) => if let Some(tag) = open.get(at) {
                        ledger.store(*tag);
                        stored.insert(*tag);
                    },
                    Step::Drop(at) => if let Some(tag) = open.get(at) {
                        prop_assert!(ledger.is_open(*tag) && ledger.gone(*tag));
                        unacked.retain(|unacked| unacked != tag);
                    },
                    Step::Tell => {
                        let Acks { up_to, single } = ledger.acks();
                        if let Some(up_to) = up_to {
                            prop_assert!(unacked.contains(&up_to), "the channel would be closed");
                            let (acked, kept) = unacked.iter().partition(|tag| **tag <= up_to);
                            unacked = kept;
                            let acked: Vec<u64> = acked;
                            prop_assert!(acked.iter().all(|tag| stored.contains(tag)), "an open one was acked");
                        }
                        for tag in single {
                            prop_assert!(unacked.contains(&tag) && stored.contains(&tag));
                            unacked.retain(|unacked| *unacked != tag);
                        }
                        prop_assert!(unacked.iter().all(|tag| !stored.contains(tag)), "a stored one was not acked");
                    }
                }
                let open = unacked.iter().filter(|tag| !stored.contains(*tag)).count();
                prop_assert_eq!(ledger.len(), open);
                prop_assert_eq!(ledger.oldest().is_some(), open > 0);
            }
        }
    }
}
