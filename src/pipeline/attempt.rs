//! Every call of a store goes through here: its timeout, its retries, what is said about it.

use crate::health::{Dependency, Failing, Health, Pulse};
use crate::jitter::jitter;
use crate::metrics::Metrics;
use crate::store::{Class, StoreError};
use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Items of one call. However slow a store is on each, so many must be done while its
/// [`patience`](crate::store::RawStore::patience) lasts, or none of what was achieved would ever count.
const AT_ONCE: usize = 512;
/// How often a loop that waits for a store says that it is alive: the wait has an end, so it is not stuck.
const BEAT: Duration = Duration::from_secs(10);
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(15);

/// The worker was told to stop before the store took it. What was to be written stays unacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GivenUp;

/// Calls one store, for as long as it takes.
#[derive(Debug, Clone)]
pub(super) struct Attempts {
    store: &'static str,
    patience: Duration,
    dependency: Dependency,
    pulse: Pulse,
    metrics: Metrics,
    give_up: CancellationToken,
}

/// An item's own result: refused for good, or done.
pub(super) type ItemResult<T> = Result<T, StoreError>;

impl Attempts {
    /// Attempts on the store of this name, each given up after `patience`: it may still have taken effect.
    pub(super) fn new(
        (store, patience): (&'static str, Duration),
        health: &Health,
        pulse: &Pulse,
        metrics: &Metrics,
        give_up: &CancellationToken,
    ) -> Self {
        Attempts {
            store,
            patience,
            dependency: health.dependency(store),
            pulse: pulse.clone(),
            metrics: metrics.clone(),
            give_up: give_up.clone(),
        }
    }

    /// Calls with all items, then again with those that failed for a time or because of us, until each is done or
    /// refused on its own account. `call` answers item by item, in order; it is given at most [`AT_ONCE`].
    pub(super) async fn each<I, T, F, Fut>(&self, items: Vec<I>, call: F) -> Result<Vec<ItemResult<T>>, GivenUp>
    where
        I: Clone + Send + Sync,
        T: Send,
        F: Fn(Arc<[I]>) -> Fut + Send + Sync,
        Fut: Future<Output = Vec<ItemResult<T>>> + Send,
    {
        let mut results = Vec::with_capacity(items.len());
        for items in items.chunks(AT_ONCE) {
            results.extend(self.some(items, &call).await?);
        }
        Ok(results)
    }

    async fn some<I, T, F, Fut>(&self, items: &[I], call: &F) -> Result<Vec<ItemResult<T>>, GivenUp>
    where
        I: Clone + Send + Sync,
        T: Send,
        F: Fn(Arc<[I]>) -> Fut + Send + Sync,
        Fut: Future<Output = Vec<ItemResult<T>>> + Send,
    {
        let mut results: Vec<Option<ItemResult<T>>> = items.iter().map(|_| None).collect();
        let mut open: Vec<usize> = (0..items.len()).collect();
        let mut retries = Retries::default();
        while !open.is_empty() {
            let group: Arc<[I]> = open.iter().map(|&at| items[at].clone()).collect();
            let answers = self.once(call(group)).await?;
            let mut failed = Vec::new();
            let mut error = None;
            match answers {
                Err(late) => {
                    self.count(&late);
                    failed = std::mem::take(&mut open);
                    error = Some(late);
                }
                Ok(answers) => {
                    for (at, answer) in open.drain(..).zip(answers) {
                        answer.as_ref().err().inspect(|error| self.count(error));
                        match answer {
                            Err(again) if again.class != Class::Item => {
                                failed.push(at);
                                error = Some(again);
                            }
                            done => results[at] = Some(done),
                        }
                    }
                }
            }
            open = failed;
            if let Some(error) = error {
                self.again(&mut retries, &error).await?;
            }
        }
        self.up(retries);
        Ok(results.into_iter().flatten().collect())
    }

    /// The same for a call that succeeds or fails as one.
    pub(super) async fn one<T, F, Fut>(&self, call: F) -> Result<ItemResult<T>, GivenUp>
    where
        T: Send,
        F: Fn() -> Fut + Send + Sync,
        Fut: Future<Output = Result<T, StoreError>> + Send,
    {
        let results = self.each(vec![()], |_| async { vec![call().await] }).await?;
        // One item in, one result out; the store answering nothing at all cannot happen here.
        results.into_iter().next().ok_or(GivenUp)
    }

    /// The same for what has no item to blame: every failure is retried.
    pub(super) async fn insist<T, F, Fut>(&self, call: F) -> Result<T, GivenUp>
    where
        T: Send,
        F: Fn() -> Fut + Send + Sync,
        Fut: Future<Output = Result<T, StoreError>> + Send,
    {
        loop {
            if let Ok(done) = self.unless(|_| false, &call).await? {
                return Ok(done);
            }
        }
    }

    /// The same for what makes a store ready: only [`Class::Foreign`], which no retry cures, comes out as an error.
    pub(super) async fn unless_foreign<T, F, Fut>(&self, call: F) -> Result<Result<T, StoreError>, GivenUp>
    where
        T: Send,
        F: Fn() -> Fut + Send + Sync,
        Fut: Future<Output = Result<T, StoreError>> + Send,
    {
        self.unless(|error| error.class == Class::Foreign, &call).await
    }

    /// Retries all but the errors that `comes_out`.
    async fn unless<T, F, Fut>(
        &self,
        comes_out: impl Fn(&StoreError) -> bool + Send + Sync,
        call: &F,
    ) -> Result<Result<T, StoreError>, GivenUp>
    where
        T: Send,
        F: Fn() -> Fut + Send + Sync,
        Fut: Future<Output = Result<T, StoreError>> + Send,
    {
        let mut retries = Retries::default();
        loop {
            match self.once(call()).await?.flatten() {
                Ok(done) => {
                    self.up(retries);
                    return Ok(Ok(done));
                }
                Err(error) if comes_out(&error) => return Ok(Err(error)),
                Err(error) => {
                    self.count(&error);
                    self.again(&mut retries, &error).await?;
                }
            }
        }
    }

    /// One attempt. The outer `Err` ends it all, the inner one is a timeout.
    async fn once<T: Send>(&self, call: impl Future<Output = T> + Send) -> Result<Result<T, StoreError>, GivenUp> {
        let late = || {
            let seconds = self.patience.as_secs();
            StoreError::new(self.store, Class::Transient, format!("{} gave no answer within {seconds} s", self.store))
        };
        tokio::select! {
            biased;
            () = self.give_up.cancelled() => Err(GivenUp),
            answer = timeout(self.patience, call) => Ok(answer.map_err(|_| late())),
            never = self.beat() => match never {},
        }
    }

    async fn beat(&self) -> Infallible {
        loop {
            self.pulse.beat();
            sleep(BEAT).await;
        }
    }

    fn count(&self, error: &StoreError) {
        self.metrics.store_failed(error.store, error.class != Class::Item);
    }

    /// The work is done, after these retries.
    fn up(&self, retries: Retries) {
        drop(retries);
        if self.dependency.up() {
            tracing::info!(store = self.store, "store is up");
        }
    }

    fn down(&self, error: &StoreError) {
        let error_text = error.chain();
        if self.dependency.down(error_text.as_str()) {
            tracing::warn!(store = self.store, class = error.class.as_str(), error = error_text, "store is down");
        } else {
            tracing::debug!(store = self.store, class = error.class.as_str(), error = error_text, "attempt failed");
        }
    }

    /// Says what failed and waits before the next attempt.
    async fn again(&self, retries: &mut Retries, error: &StoreError) -> Result<(), GivenUp> {
        retries.outage.get_or_insert_with(|| self.dependency.failing());
        self.down(error);
        tokio::select! {
            () = self.give_up.cancelled() => Err(GivenUp),
            () = sleep(retries.pause()) => Ok(()),
        }
    }
}

/// What has failed of one piece of work so far.
#[derive(Debug, Default)]
struct Retries {
    failures: u32,
    /// While it is there, only this work may say that the store is up again.
    outage: Option<Failing>,
}

impl Retries {
    /// Exponential, with jitter.
    fn pause(&mut self) -> Duration {
        let pause = FIRST_BACKOFF.saturating_mul(1 << self.failures.min(16)).min(LONGEST_BACKOFF);
        self.failures += 1;
        jitter(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;
    use crate::config::QueueType;
    use prometheus_client::registry::Registry;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    /// A full disk: questions are answered, writes are not.
    #[tokio::test(start_paused = true)]
    async fn a_store_that_answers_but_fails_work_stays_down() {
        let health = Health::default();
        let metrics =
            Metrics::register(&mut Registry::default(), QueueType::Memory, &["db"], &Budget::new(1, 1), &health);
        let pulse = health.pulse("test");
        let attempts =
            Attempts::new(("db", Duration::from_secs(60)), &health, &pulse, &metrics, &CancellationToken::new());
        let (probe, calls) = (health.dependency("db"), AtomicU32::new(0));
        probe.up();
        let write = || async {
            if calls.fetch_add(1, Relaxed) > 0 {
                probe.up();
                assert!(!health.is_up("db"), "the probe knows less than the work");
            }
            if calls.load(Relaxed) > 3 { Ok(()) } else { Err(StoreError::new("db", Class::Us, "the disk is full")) }
        };
        attempts.insist(write).await.unwrap();
        assert!(health.is_up("db"));
        calls.store(0, Relaxed);
        assert!(attempts.one(write).await.unwrap().is_ok() && health.is_up("db"));
    }
}
