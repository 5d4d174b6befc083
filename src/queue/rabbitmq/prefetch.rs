//! How many messages a broker may push at one queue's channel. Pure code without I/O.

use crate::budget::weight;
use crate::config::Limits;
use crate::queue::sizes::{Sizes, WINDOW};
use std::time::Duration;

/// Where nothing was seen yet, a message counts as much as this, as long as there is room for [`FEWEST`].
const UNSEEN: usize = 1 << 20;
const FEWEST: usize = 10;
/// More than this does not make a consumer faster, and quorum queues allow no more.
const MOST: usize = 2000;
/// What is unacked should be done within this part of the time that a message may be held.
const SHARE_OF_PATIENCE: f64 = 0.25;

/// Follows the messages of one queue, so that what is unacked fits into its share of the limits.
#[derive(Debug)]
pub(super) struct Prefetch {
    fixed: Option<u16>,
    messages: usize,
    bytes: usize,
    sizes: Sizes,
    seen: usize,
    /// How long a message may be held.
    patience: Duration,
    /// Messages that were done per second of late, while there was no lack of them.
    rate: Option<f64>,
}

impl Prefetch {
    /// For one of `queues` queues that share the limits. `fixed`: what was asked for, whatever comes.
    pub(super) fn new(fixed: Option<usize>, limits: &Limits, queues: usize, patience: Duration) -> Self {
        let queues = queues.max(1);
        Prefetch {
            fixed: fixed.map(|fixed| u16::try_from(fixed).unwrap_or(u16::MAX).max(1)),
            messages: limits.max_in_flight_messages / queues,
            bytes: limits.max_in_flight_bytes / queues,
            sizes: Sizes::default(),
            seen: 0,
            patience,
            rate: None,
        }
    }

    /// So many were done in this time, and more were waiting. None at all is an outage, and says nothing.
    pub(super) fn worked(&mut self, done: usize, within: Duration) {
        if done > 0 && !within.is_zero() {
            let now = done as f64 / within.as_secs_f64();
            self.rate = Some(self.rate.map_or(now, |rate| 0.7 * rate + 0.3 * now));
        }
    }

    /// A message with this body length came.
    pub(super) fn saw(&mut self, body_bytes: usize) {
        self.sizes.saw(body_bytes);
        self.seen = self.seen.saturating_add(1);
    }

    /// How many may be unacked.
    pub(super) fn target(&self) -> u16 {
        if let Some(fixed) = self.fixed {
            return fixed;
        }
        let by_bytes = match self.sizes.largest() {
            Some(largest) => self.bytes / weight(largest),
            None => (self.bytes / UNSEEN).max(FEWEST),
        };
        // What waits too long here has to be given back undone.
        let by_rate = self.rate.map_or(MOST, |rate| (rate * self.patience.as_secs_f64() * SHARE_OF_PATIENCE) as usize);
        let target = by_bytes.min(self.messages).min(by_rate.max(FEWEST)).clamp(1, MOST);
        u16::try_from(target).unwrap_or(u16::MAX)
    }

    /// What to change `now` to, if that is worth the trouble of consuming anew: it would at least double or halve.
    pub(super) fn change(&self, now: u16) -> Option<u16> {
        let target = self.target();
        // A few small ones are no reason to ask for many more: as many as may be unacked, or a window, must have been seen.
        let grown = target >= now.saturating_mul(2) && self.seen >= WINDOW.min(now.into());
        let shrunk = target <= now / 2;
        (grown || shrunk).then_some(target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn limits(max_in_flight_messages: usize, max_in_flight_bytes: usize) -> Limits {
        Limits { max_event_bytes: 10 << 20, max_in_flight_messages, max_in_flight_bytes }
    }

    fn seen(prefetch: &mut Prefetch, count: usize, body_bytes: usize) {
        (0..count).for_each(|_| prefetch.saw(body_bytes));
    }

    const LONG: Duration = Duration::from_secs(1740);

    #[test]
    fn starts_small_and_follows_the_largest() {
        let mut prefetch = Prefetch::new(None, &limits(10_000, 64 << 20), 3, LONG);
        assert_eq!(prefetch.target(), 21);
        seen(&mut prefetch, 20, 1024);
        assert_eq!((prefetch.change(21), prefetch.target()), (None, 2000), "too few to tell");
        seen(&mut prefetch, 1, 1024);
        assert_eq!(prefetch.change(21), Some(2000));
        seen(&mut prefetch, 1, 1 << 20);
        assert_eq!(prefetch.change(2000), Some(21), "one large one is enough");
        seen(&mut prefetch, 300, 1024);
        assert_eq!(prefetch.change(21), None, "and is remembered for a while");
        seen(&mut prefetch, 300, 1024);
        assert_eq!(prefetch.change(21), Some(2000));
        assert_eq!(prefetch.change(1500), None, "not for so little");
    }

    #[test]
    fn small_limits_and_what_was_asked_for() {
        assert_eq!(Prefetch::new(None, &limits(10_000, 1 << 20), 1, LONG).target(), 10);
        assert_eq!(Prefetch::new(None, &limits(4, 64 << 20), 1, LONG).target(), 4);
        assert_eq!(Prefetch::new(None, &limits(1, 64 << 20), 3, LONG).target(), 1);
        let mut fixed = Prefetch::new(Some(50), &limits(4, 1), 3, LONG);
        seen(&mut fixed, 500, 1 << 20);
        assert_eq!((fixed.target(), fixed.change(50)), (50, None));
        let mut large = Prefetch::new(None, &limits(10_000, 10_000), 1, LONG);
        large.saw(20_000);
        assert_eq!((large.target(), large.change(10)), (1, Some(1)));
    }

    #[test]
    fn where_work_is_slow_little_is_asked_for() {
        let mut prefetch = Prefetch::new(None, &limits(10_000, 64 << 20), 1, Duration::from_secs(8));
        seen(&mut prefetch, 300, 100);
        assert_eq!(prefetch.target(), 2000);
        (0..20).for_each(|_| prefetch.worked(100, Duration::from_secs(1)));
        assert_eq!(prefetch.target(), 200);
        (0..20).for_each(|_| prefetch.worked(0, Duration::from_secs(1)));
        assert_eq!(prefetch.target(), 200, "an outage says nothing");
        (0..40).for_each(|_| prefetch.worked(1, Duration::from_secs(1)));
        assert_eq!(prefetch.target(), 10);
        let mut patient = Prefetch::new(None, &limits(10_000, 64 << 20), 1, LONG);
        seen(&mut patient, 300, 100);
        (0..20).for_each(|_| patient.worked(5, Duration::from_secs(1)));
        assert_eq!(patient.target(), 2000);
    }

    proptest! {
        /// As many as the target of messages as large as those last seen stay within the share.
        #[test]
        fn what_was_seen_fits(sizes in vec(0..3_000_000_usize, 1..500), bytes in 1..(256_usize << 20)) {
            let mut prefetch = Prefetch::new(None, &limits(10_000, bytes), 1, LONG);
            sizes.iter().for_each(|size| prefetch.saw(*size));
            let largest = sizes.iter().rev().take(WINDOW).max().copied().unwrap_or(0);
            let target = usize::from(prefetch.target());
            prop_assert!(target == 1 || target * weight(largest) <= bytes);
            prop_assert!((1..=MOST).contains(&target));
        }
    }
}
