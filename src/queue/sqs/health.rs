//! How it goes with SQS: when to ask it, and how much at once.

use super::ledger::Act;
use crate::queue::pace::Pace;
use std::time::{Duration, Instant};

/// How it goes with SQS.
pub(super) struct Health {
    /// It is known to be well.
    pub(super) fine: bool,
    pub(super) missing: Option<Duration>,
    /// Failures one after the other. Of requests that were under way at the same time one counts.
    pub(super) failures: u32,
    last_failure: Option<Instant>,
    /// Of what becomes of messages, what SQS refused to be told the last time. That it gives out more does not make up for it.
    untold: Vec<Act>,
    /// Until then nothing is asked.
    pub(super) quiet: Instant,
    /// Nor are messages renewed.
    pub(super) no_renewals: Instant,
    /// How long that is at most.
    soon: Duration,
    pace: Pace,
}

impl Health {
    pub(super) fn new(visibility: Duration, now: Instant) -> Self {
        Health {
            fine: false,
            missing: None,
            failures: 0,
            last_failure: None,
            untold: Vec::new(),
            quiet: now,
            no_renewals: now,
            soon: visibility / 20,
            pace: Pace::default(),
        }
    }

    /// A request that was sent then failed: nothing is asked for a while.
    pub(super) fn pause(&mut self, sent: Instant) {
        if self.last_failure.is_none_or(|last| sent > last) {
            let now = Instant::now();
            self.failures += 1;
            self.last_failure = Some(now);
            let pause = self.pace.next();
            self.quiet = now + pause;
            self.no_renewals = now + pause.min(self.soon);
        }
    }

    /// One that was sent then did not. Whether all is well now.
    pub(super) fn well(&mut self, sent: Instant) -> bool {
        if self.untold.is_empty() && self.last_failure.is_none_or(|last| sent > last) {
            self.failures = 0;
            self.pace = Pace::default();
        }
        self.missing.is_none() && self.failures == 0
    }

    /// SQS was told, or refused to be. Renewals do not count: none may be due for long after one that failed.
    pub(super) fn told(&mut self, act: Act, taken: bool) {
        self.untold.retain(|other| *other != act);
        if !taken && act != Act::Renew {
            self.untold.push(act);
        }
    }

    /// Whether it can be told what becomes of what it gives out. Where nothing is `held` nobody knows until it is tried.
    pub(super) fn listens(&mut self, held: usize) -> bool {
        if held == 0 {
            self.untold.clear();
        }
        self.untold.is_empty()
    }

    /// How many requests to have under way: one by one, where it does not work.
    pub(super) fn at_once(&self, well: usize) -> usize {
        if self.failures == 0 { well } else { 1 }
    }
}
