//! Every call of a store goes through here: its timeout, its retries, what is said about it.

use super::refusals::Refusal;
use crate::chance::Chance;
use crate::health::{Dependency, Failing, Health, Pulse};
use crate::jitter::jitter;
use crate::metrics::Metrics;
use crate::store::{Class, StoreError};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Items of one call. However slow a store is on each, so many must be done while its
/// [`patience`](crate::store::RawStore::patience) lasts, or none of what was achieved would ever count.
const AT_ONCE: usize = 512;
/// How often a loop that waits for a store says that it is alive: the wait has an end, so it is not stuck.
const BEAT: Duration = Duration::from_secs(10);
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);
/// After so many items in a row that are refused, each alone, and none that is taken, nobody asks about the others.
const ENOUGH: usize = 64;

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
    /// refused on its own account. `call` answers item by item, in order; it is given at most [`AT_ONCE`]. Where all
    /// failed a single one asks for them next time: a store that comes back is not met by all that every worker holds.
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
        let mut one_asks = false;
        while !open.is_empty() {
            let waiting = if one_asks { open.split_off(1) } else { Vec::new() };
            let group: Arc<[I]> = open.iter().map(|&at| items[at].clone()).collect();
            let (asked, began) = (group.len(), Instant::now());
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
            one_asks = failed.len() == asked;
            // The next time another one asks: what is wrong may be wrong with this one alone.
            open = [waiting, failed].concat();
            let Some(error) = error else {
                (retries.backoff, retries.chance) = Default::default();
                continue;
            };
            let may_be_chance = match one_asks {
                true => retries.chance.failed(error.class, began),
                false => retries.chance.failed_in_part(error.class),
            };
            self.again(&mut retries, &error, may_be_chance).await?;
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

    /// The same for items that are written in one call, of at most `at_once`: a call that is refused is halved until the
    /// refused item is alone, so that its neighbours are not held up. Answers with those that are refused, by their place.
    pub(super) async fn isolate<'i, T, F, Fut>(
        &self,
        items: &'i [T],
        at_once: usize,
        call: F,
    ) -> Result<BTreeMap<usize, Refusal>, GivenUp>
    where
        T: Sync,
        F: Fn(&'i [T]) -> Fut + Send + Sync,
        Fut: Future<Output = Result<(), StoreError>> + Send,
    {
        let mut refused = BTreeMap::new();
        let starts = (0..items.len()).step_by(at_once);
        let mut open: Vec<_> = starts.map(|start| start..items.len().min(start + at_once)).rev().collect();
        let mut in_a_row = 0;
        while let Some(part) = open.pop() {
            let Err(error) = self.one(|| call(&items[part.clone()])).await? else {
                in_a_row = 0;
                continue;
            };
            if part.len() == 1 {
                in_a_row += 1;
                refused.insert(part.start, Refusal { error, alone: true });
            } else if in_a_row >= ENOUGH {
                refused.extend(part.map(|at| (at, Refusal { error: error.again(), alone: false })));
            } else {
                let middle = part.start + part.len() / 2;
                open.extend([middle..part.end, part.start..middle]);
            }
        }
        Ok(refused)
    }

    /// The same for what makes a store ready: only [`Class::Foreign`], which no retry cures, comes out as an error.
    pub(super) async fn unless_foreign<T, F, Fut>(&self, call: F) -> Result<Result<T, StoreError>, GivenUp>
    where
        T: Send,
        F: Fn() -> Fut + Send + Sync,
        Fut: Future<Output = Result<T, StoreError>> + Send,
    {
        let mut retries = Retries::default();
        loop {
            let began = Instant::now();
            match self.once(call()).await?.flatten() {
                Ok(done) => {
                    self.up(retries);
                    return Ok(Ok(done));
                }
                Err(error) if error.class == Class::Foreign => return Ok(Err(error)),
                Err(error) => {
                    self.count(&error);
                    let may_be_chance = retries.chance.failed(error.class, began);
                    self.again(&mut retries, &error, may_be_chance).await?;
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
        // Of a call that fails at once, nothing below is ever polled.
        self.pulse.beat();
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
        let Retries { outage, failed, .. } = retries;
        if let (None, Some((class, error))) = (&outage, failed)
            && self.dependency.stumbles()
        {
            let store = self.store;
            tracing::warn!(store, class, error, "attempts fail now and then, and succeed when they are repeated");
        }
        drop(outage);
        if self.dependency.up() {
            tracing::info!(store = self.store, "store is up");
        }
    }

    /// Says what failed and waits before the next attempt.
    async fn again(&self, retries: &mut Retries, error: &StoreError, may_be_chance: bool) -> Result<(), GivenUp> {
        let (store, class, text) = (self.store, error.class.as_str(), error.chain());
        tracing::debug!(store, class, error = text, "attempt failed");
        if !may_be_chance {
            retries.outage.get_or_insert_with(|| self.dependency.failing());
            if self.dependency.down(text.as_str()) {
                tracing::warn!(store, class, error = text, "store is down");
            }
        }
        retries.failed.get_or_insert((class, text));
        tokio::select! {
            () = self.give_up.cancelled() => Err(GivenUp),
            () = sleep(retries.backoff.pause()) => Ok(()),
        }
    }
}

/// What has failed of one piece of work so far.
#[derive(Debug, Default)]
struct Retries {
    backoff: Backoff,
    chance: Chance,
    /// The first error.
    failed: Option<(&'static str, String)>,
    /// While it is there, only this work may say that the store is up again.
    outage: Option<Failing>,
}

/// Pauses between tries: longer each time, and by chance, so that workers do not come together.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    tries: u32,
}

impl Backoff {
    pub(super) fn pause(&mut self) -> Duration {
        let pause = FIRST_BACKOFF.saturating_mul(1 << self.tries.min(16)).min(LONGEST_BACKOFF);
        self.tries += 1;
        jitter(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;
    use crate::config::QueueType;
    use prometheus_client::registry::Registry;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    fn attempts(health: &Health) -> Attempts {
        let metrics =
            Metrics::register(&mut Registry::default(), QueueType::Memory, &["db"], &Budget::new(1, 1), health);
        let pulse = health.pulse("test");
        Attempts::new(("db", Duration::from_secs(60)), health, &pulse, &metrics, &CancellationToken::new())
    }

    /// A full disk: questions are answered, writes are not.
    #[tokio::test(start_paused = true)]
    async fn a_store_that_answers_but_fails_work_stays_down() {
        let health = Health::default();
        let attempts = attempts(&health);
        let (probe, calls) = (health.dependency("db"), AtomicU32::new(0));
        probe.up();
        let write = || async {
            if calls.fetch_add(1, Relaxed) > 0 {
                probe.up();
                assert!(!health.is_up("db"), "the probe knows less than the work");
            }
            if calls.load(Relaxed) > 3 { Ok(()) } else { Err(StoreError::new("db", Class::Us, "the disk is full")) }
        };
        assert!(attempts.unless_foreign(write).await.unwrap().is_ok() && health.is_up("db"));
        calls.store(0, Relaxed);
        assert!(attempts.one(write).await.unwrap().is_ok() && health.is_up("db"));
    }

    /// A server that sheds load refuses one in ten.
    #[tokio::test(start_paused = true)]
    async fn a_store_that_takes_most_of_it_is_up() {
        let health = Health::default();
        let (attempts, asked) = (attempts(&health), AtomicU32::new(0));
        health.dependency("db").up();
        let away = || StoreError::new("db", Class::Transient, "slow down");
        let call = |items: Arc<[u32]>| {
            assert!(health.is_up("db"));
            let answer = |item: &u32| if asked.fetch_add(1, Relaxed) % 10 == 9 { Err(away()) } else { Ok(*item) };
            let answers = items.iter().map(answer).collect();
            async { answers }
        };
        for len in [1, 10, 300].repeat(10) {
            assert_eq!(attempts.each((0..len).collect(), call).await.unwrap().len(), len as usize);
        }
        asked.store(0, Relaxed);
        let gone = async || if asked.fetch_add(1, Relaxed) < 3 { Err(away()) } else { Ok(health.is_up("db")) };
        assert!(!attempts.one(gone).await.unwrap().unwrap(), "the third in a row is no chance");
        assert!(health.is_up("db"));
    }

    /// However much waits for a store that is away, one request asks for all of it.
    #[tokio::test(start_paused = true)]
    async fn one_asks_for_all() {
        let health = Health::default();
        let attempts = attempts(&health);
        let calls = Mutex::new(Vec::new());
        let call = |items: Arc<[u32]>| {
            calls.lock().unwrap().push(items.to_vec());
            let answers = match calls.lock().unwrap().len() {
                1..=3 => items.iter().map(|_| Err(StoreError::new("db", Class::Transient, "away"))).collect(),
                _ => items.iter().map(|item| Ok(*item)).collect(),
            };
            async { answers }
        };
        let done: Vec<u32> = attempts.each(vec![1, 2, 3], call).await.unwrap().into_iter().flatten().collect();
        assert_eq!(done, [1, 2, 3]);
        assert_eq!(*calls.lock().unwrap(), [vec![1, 2, 3], vec![1], vec![2], vec![3], vec![1, 2]]);
    }
}
