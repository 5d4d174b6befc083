//! Which messages are held, and when the server has to hear that they are.

use async_nats::Subject;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Messages by their place in the stream. A message that comes again while it is held is the same message.
#[derive(Debug)]
pub(super) struct Leases {
    held: HashMap<u64, Lease>,
    /// How long the server waits for a word.
    wait: Duration,
}

#[derive(Debug)]
struct Lease {
    /// Where words about it go. Of several deliveries the last.
    reply: Subject,
    /// When the server last began to wait.
    since: Instant,
}

impl Leases {
    /// None yet.
    pub(super) fn new(wait: Duration) -> Self {
        Leases { held: HashMap::new(), wait }
    }

    /// The server waits so long from now on.
    pub(super) fn set_wait(&mut self, wait: Duration) {
        self.wait = wait;
    }

    /// How often to look for those that are [`due`](Self::due).
    pub(super) fn look_every(&self) -> Duration {
        self.wait / 8
    }

    /// A message was delivered. Whether it is news: else it is held already, and need not be worked on twice.
    pub(super) fn hold(&mut self, place: u64, reply: Subject, now: Instant) -> bool {
        self.held.insert(place, Lease { reply, since: now }).is_none()
    }

    /// It is not held any more; where to say what became of it. `None`: it was not held.
    pub(super) fn settle(&mut self, place: u64) -> Option<Subject> {
        self.held.remove(&place).map(|lease| lease.reply)
    }

    /// Nothing is held any more.
    pub(super) fn clear(&mut self) {
        self.held.clear();
    }

    /// Those the server must hear of by now, so that it does so after half of its wait. They count as said.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Subject> {
        // By the next look it would be later than half.
        let limit = self.wait / 2 - self.look_every();
        let due = self.held.values_mut().filter(|lease| now.saturating_duration_since(lease.since) >= limit);
        due.map(|lease| {
            lease.since = now;
            lease.reply.clone()
        })
        .collect()
    }

    /// All of them, whenever they were last spoken of. They count as said.
    pub(super) fn all(&mut self, now: Instant) -> Vec<Subject> {
        let said = self.held.values_mut().map(|lease| {
            lease.since = now;
            lease.reply.clone()
        });
        said.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WAIT: Duration = Duration::from_secs(8);

    #[test]
    fn what_comes_again_is_the_same() {
        let (mut leases, now) = (Leases::new(WAIT), Instant::now());
        assert!(leases.hold(7, "first".into(), now));
        assert!(!leases.hold(7, "second".into(), now));
        assert_eq!(leases.settle(7).as_deref(), Some("second"));
        assert_eq!(leases.settle(7), None);
    }

    proptest! {
        /// However messages come and go: as long as one looks as often as one should, no server waits for more than half.
        #[test]
        fn no_lease_runs_out(steps in prop::collection::vec((0_u64..20, any::<bool>(), 0_u32..10), 1..200)) {
            let mut leases = Leases::new(WAIT);
            let mut now = Instant::now();
            let mut heard: HashMap<u64, Instant> = HashMap::new();
            for (place, hold, pause) in steps {
                if hold {
                    leases.hold(place, place.to_string().into(), now);
                    heard.insert(place, now);
                } else {
                    prop_assert_eq!(leases.settle(place).is_some(), heard.remove(&place).is_some());
                }
                for _ in 0..pause {
                    now += leases.look_every();
                    for reply in leases.due(now) {
                        heard.insert(reply.parse().unwrap(), now);
                    }
                    prop_assert!(heard.values().all(|at| now - *at <= WAIT / 2));
                }
            }
        }
    }
}
