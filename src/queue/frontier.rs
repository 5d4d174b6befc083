//! How far everything is settled. Pure code without I/O.

use std::collections::VecDeque;

/// Positions that were given out in rising order and settle in any; gaps between them are fine. It knows the contiguous
/// frontier: the last position up to which nothing is open.
///
/// Takes 16 bytes for each position from the first open one on, so whoever gives out bounds [`span`](Self::span).
#[derive(Debug, Default)]
pub(super) struct Frontier {
    /// From the first open one on.
    given: VecDeque<(u64, bool)>,
    last: Option<u64>,
}

impl Frontier {
    /// Gives out `position`. `false`, and nothing changed, where it is not beyond all that were given out before.
    #[must_use]
    pub(super) fn give(&mut self, position: u64) -> bool {
        let beyond = self.last.is_none_or(|last| position > last);
        if beyond {
            self.last = Some(position);
            self.given.push_back((position, false));
        }
        beyond
    }

    /// Settles `position`; settling again, or what was never given out, changes nothing. Where that moved the frontier
    /// returns it: all that was given out up to and including it is settled.
    pub(super) fn settle(&mut self, position: u64) -> Option<u64> {
        let at = self.place(position)?;
        self.given[at].1 = true;
        let mut frontier = None;
        while let Some((position, true)) = self.given.front() {
            frontier = Some(*position);
            self.given.pop_front();
        }
        frontier
    }

    /// Whether it was given out and is not settled.
    pub(super) fn is_open(&self, position: u64) -> bool {
        self.place(position).is_some_and(|at| !self.given[at].1)
    }

    fn place(&self, position: u64) -> Option<usize> {
        // Where there are no gaps, it is known.
        let first = self.given.front()?.0;
        let guess = usize::try_from(position.checked_sub(first)?).ok()?;
        if self.given.get(guess).is_some_and(|(given, _)| *given == position) {
            return Some(guess);
        }
        self.given.binary_search_by_key(&position, |(given, _)| *given).ok()
    }

    /// How many were given out since the first open one, that one included, settled or not.
    pub(super) fn span(&self) -> usize {
        self.given.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn what_goes_back_is_not_given_out_again() {
        let mut frontier = Frontier::default();
        assert!(frontier.give(7) && !frontier.give(7) && !frontier.give(3) && frontier.give(9));
        assert_eq!((frontier.span(), frontier.is_open(7), frontier.is_open(8)), (2, true, false));
        assert_eq!(frontier.settle(8), None);
        assert_eq!(frontier.settle(7), Some(7));
        assert_eq!((frontier.settle(7), frontier.is_open(7)), (None, false));
        assert!(!frontier.give(8));
    }

    proptest! {
        /// Against the obvious: the frontier is below the first open one, and is told exactly when it moves.
        #[test]
        fn it_never_passes_an_open_position(
            positions in btree_set(0..500_u64, 1..60),
            order in vec((any::<prop::sample::Index>(), any::<bool>()), 0..200),
        ) {
            let all: Vec<u64> = positions.into_iter().collect();
            let (mut frontier, mut given, mut settled) = (Frontier::default(), 0, BTreeSet::new());
            let mut told = None;
            for (index, give) in order {
                if give && given < all.len() {
                    prop_assert!(frontier.give(all[given]));
                    given += 1;
                } else if given > 0 {
                    let position = all[index.index(given)];
                    settled.insert(position);
                    told = frontier.settle(position).or(told);
                }
                let open = all[..given].iter().position(|position| !settled.contains(position));
                let expected = all[..open.unwrap_or(given)].last().copied();
                prop_assert_eq!(told, expected);
                prop_assert_eq!(frontier.span(), given - open.unwrap_or(given));
                for position in &all[..given] {
                    prop_assert_eq!(frontier.is_open(*position), !settled.contains(position));
                }
            }
        }
    }
}
