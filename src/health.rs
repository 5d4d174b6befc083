//! Whether the worker makes progress, and whether it can do its work: what `/healthz` and `/readyz` answer from.

use crate::iso;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::time::Instant;

/// How long a loop that has work may be silent. While one waits for a store, which has an end, it beats every 10 s;
/// twelve times that is no longer slowness.
pub const SILENCE_LIMIT: Duration = Duration::from_secs(120);
/// How often it is news that a dependency fails now and then.
const STUMBLES: Duration = Duration::from_secs(600);

/// The state of the worker's loops and dependencies. Cheap to clone; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Health {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    draining: AtomicBool,
    /// Weak: a loop that has ended, and so dropped its pulse, is nobody's worry.
    loops: Mutex<Vec<Weak<Loop>>>,
    dependencies: Mutex<BTreeMap<&'static str, Watched>>,
}

#[derive(Debug)]
struct Watched {
    status: Status,
    /// When the state began, by a clock that nobody sets.
    since: Instant,
    /// How many pieces of work it keeps failing just now.
    failing: usize,
    /// When it was last news that it fails now and then.
    stumbled: Option<Instant>,
}

#[derive(Debug)]
struct Loop {
    name: &'static str,
    /// The last beat; `None` while it waits for work.
    busy_since: Mutex<Option<Instant>>,
}

impl Health {
    /// The pulse of a loop that starts now. It counts until its last clone is dropped.
    pub fn pulse(&self, name: &'static str) -> Pulse {
        let watched = Arc::new(Loop { name, busy_since: Mutex::new(Some(Instant::now())) });
        let mut loops = lock(&self.shared.loops);
        loops.retain(|other| other.strong_count() > 0);
        loops.push(Arc::downgrade(&watched));
        Pulse { watched }
    }

    /// The handle of a store or of the queue, by the name people see. Its state is unknown, which is not ready, until it is first
    /// reported; handles of one name report on the same.
    pub fn dependency(&self, name: &'static str) -> Dependency {
        lock(&self.shared.dependencies).entry(name).or_insert_with(Watched::unknown);
        Dependency { name, health: self.clone() }
    }

    /// The worker takes no more work and finishes what it holds. There is no way back.
    pub fn drain(&self) {
        self.shared.draining.store(true, Ordering::Relaxed);
    }

    /// Whether [`drain`](Self::drain) was called.
    pub fn draining(&self) -> bool {
        self.shared.draining.load(Ordering::Relaxed)
    }

    /// Whether the last report on this dependency was good.
    pub fn is_up(&self, name: &str) -> bool {
        lock(&self.shared.dependencies).get(name).is_some_and(|watched| watched.status.state == State::Up)
    }

    /// The running loops that have been silent for longer than [`SILENCE_LIMIT`], and for how long. Healthy is when
    /// there is none.
    pub fn stuck(&self) -> Vec<(&'static str, Duration)> {
        let loops = lock(&self.shared.loops);
        let silent = loops.iter().filter_map(Weak::upgrade).filter_map(|watched| {
            let since = (*lock(&watched.busy_since))?;
            Some((watched.name, since.elapsed()))
        });
        silent.filter(|(_, silence)| *silence > SILENCE_LIMIT).collect()
    }

    /// The dependencies that are down, for how long, and the newest error of each.
    pub fn outages(&self) -> Vec<(&'static str, Duration, String)> {
        let dependencies = lock(&self.shared.dependencies);
        let down = dependencies.iter().filter(|(_, watched)| watched.status.state == State::Down);
        down.map(|(name, Watched { status, since, .. })| {
            (*name, since.elapsed(), status.last_error.clone().unwrap_or_default())
        })
        .collect()
    }

    /// Whether the worker is ready, and why not.
    pub fn readiness(&self) -> Readiness {
        let dependencies: BTreeMap<_, _> = lock(&self.shared.dependencies)
            .iter()
            .map(|(name, watched)| ((*name).to_owned(), watched.status.clone()))
            .collect();
        let draining = self.draining();
        let all_up = dependencies.values().all(|status| status.state == State::Up);
        Readiness { ready: all_up && !draining, draining, dependencies }
    }
}

/// The sign of life of one loop; its clones are the same. Dropping the last says that the loop has ended.
#[derive(Debug, Clone)]
#[must_use]
pub struct Pulse {
    watched: Arc<Loop>,
}

impl Pulse {
    /// The loop is alive and at work.
    pub fn beat(&self) {
        *lock(&self.watched.busy_since) = Some(Instant::now());
    }

    /// The loop waits for work: until its next beat, silence is fine.
    pub fn idle(&self) {
        *lock(&self.watched.busy_since) = None;
    }
}

/// Reports on one dependency. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Dependency {
    name: &'static str,
    health: Health,
}

impl Dependency {
    /// The name people see.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// It answers. Returns whether that is news: log then, and only then. While it [fails work](Self::failing) this
    /// says nothing: a store may answer a question and still refuse every write.
    pub fn up(&self) -> bool {
        self.report(State::Up, None)
    }

    /// A piece of work failed and will be tried again. Until that has ended, well or not, nothing else sets the
    /// dependency up; drop the answer then, before any [`up`](Self::up).
    pub fn failing(&self) -> Failing {
        self.watched(|watched| watched.failing += 1);
        Failing { dependency: self.clone() }
    }

    /// It does not answer, or refuses us; `error` is the sentence for the person who reads it. Returns whether that is
    /// news; another error while it is down already is none, but is the one that is shown from now on.
    pub fn down(&self, error: impl Into<String>) -> bool {
        self.report(State::Down, Some(error.into()))
    }

    /// It failed, and may well succeed the next time, which leaves its state as it is. Returns whether that is news: once in
    /// ten minutes, and not while it is down.
    pub fn stumbles(&self) -> bool {
        self.watched(|Watched { status, stumbled, .. }| {
            let news = status.state != State::Down && stumbled.is_none_or(|last| last.elapsed() >= STUMBLES);
            if news {
                *stumbled = Some(Instant::now());
            }
            news
        })
    }

    fn report(&self, state: State, error: Option<String>) -> bool {
        self.watched(|Watched { status, since, failing, .. }| {
            let news = status.state != state && (state != State::Up || *failing == 0);
            if news {
                status.state = state;
                let began = std::mem::replace(&mut status.since, Utc::now());
                *since = Instant::now();
                if let Some(error) = status.last_error.take() {
                    status.last_outage = Some(Outage { began, ended: status.since, error });
                }
            }
            if error.is_some() {
                status.last_error = error;
            }
            news
        })
    }

    fn watched<T>(&self, change: impl FnOnce(&mut Watched) -> T) -> T {
        let mut dependencies = lock(&self.health.shared.dependencies);
        change(dependencies.entry(self.name).or_insert_with(Watched::unknown))
    }
}

/// A piece of work that a dependency keeps failing.
#[derive(Debug)]
#[must_use]
pub struct Failing {
    dependency: Dependency,
}

impl Drop for Failing {
    fn drop(&mut self) {
        self.dependency.watched(|watched| watched.failing -= 1);
    }
}

/// The answer of `/readyz`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Readiness {
    /// Every dependency is up and the worker is not draining.
    pub ready: bool,
    /// The worker is stopping.
    pub draining: bool,
    /// The dependencies by name.
    pub dependencies: BTreeMap<String, Status>,
}

impl Readiness {
    /// Leaves the states and their times: errors name servers, users and buckets.
    pub fn hide_errors(&mut self) {
        for status in self.dependencies.values_mut() {
            (status.last_error, status.last_outage) = (None, None);
        }
    }
}

/// What is known of a dependency.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The last report.
    pub state: State,
    /// The first report of this state in a row.
    #[serde(with = "iso")]
    pub since: DateTime<Utc>,
    /// The newest error, while it is down.
    pub last_error: Option<String>,
    /// The newest outage that is over.
    pub last_outage: Option<Outage>,
}

impl Status {
    /// The newest error, also of an outage that is over.
    pub fn newest_error(&self) -> Option<&str> {
        self.last_error.as_deref().or(self.last_outage.as_ref().map(|outage| outage.error.as_str()))
    }
}

/// A dependency was down for a while.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outage {
    /// When that was first reported.
    #[serde(with = "iso")]
    pub began: DateTime<Utc>,
    /// When it was up again.
    #[serde(with = "iso")]
    pub ended: DateTime<Utc>,
    /// Its last error.
    pub error: String,
}

impl Watched {
    fn unknown() -> Self {
        let status = Status { state: State::Unknown, since: Utc::now(), last_error: None, last_outage: None };
        Watched { status, since: Instant::now(), failing: 0, stumbled: None }
    }
}

/// The state of a dependency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Not reported on yet.
    Unknown,
    /// It answers.
    Up,
    /// It does not answer, or refuses us.
    Down,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn pass(time: Duration) {
        tokio::time::advance(time).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_loop_that_falls_silent_is_stuck_until_it_beats() {
        let health = Health::default();
        let pulse = health.pulse("receive");
        pass(SILENCE_LIMIT).await;
        assert_eq!(health.stuck(), []);
        pass(Duration::from_secs(1)).await;
        assert_eq!(health.stuck(), [("receive", SILENCE_LIMIT + Duration::from_secs(1))]);
        pulse.beat();
        assert_eq!(health.stuck(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_loop_may_be_silent_and_an_ended_one_too() {
        let health = Health::default();
        let (waiting, ended) = (health.pulse("receive"), health.pulse("flush"));
        waiting.idle();
        drop(ended);
        pass(SILENCE_LIMIT * 10).await;
        assert_eq!(health.stuck(), []);
        waiting.beat();
        pass(SILENCE_LIMIT * 2).await;
        assert_eq!(health.stuck().len(), 1);
    }

    #[test]
    fn ready_is_when_all_are_up_and_nothing_drains() {
        let health = Health::default();
        let (objects, database) = (health.dependency("objects"), health.dependency("database"));
        assert!(objects.up());
        assert!(!health.readiness().ready, "the database is unknown yet");
        assert!(database.up());
        assert!(health.readiness().ready);
        assert!(health.is_up("database") && !health.is_up("no such thing"));

        assert!(database.down("refused"));
        assert!(!health.readiness().ready);
        assert!(!health.is_up("database"));
        assert!(database.up());
        health.drain();
        let readiness = health.readiness();
        assert!(readiness.draining && !readiness.ready);
    }

    #[test]
    fn only_a_change_is_news_and_keeps_its_time() {
        let health = Health::default();
        let database = health.dependency("database");
        assert!(database.down("refused"));
        let since = health.readiness().dependencies["database"].since;
        std::thread::sleep(Duration::from_millis(2));
        assert!(!health.dependency("database").down("timed out"));
        let status = health.readiness().dependencies["database"].clone();
        assert_eq!((status.since, status.last_error.as_deref()), (since, Some("timed out")));

        assert!(database.up());
        assert!(!database.up());
        let status = health.readiness().dependencies["database"].clone();
        assert!(status.since > since);
        assert_eq!((status.last_error.as_deref(), status.newest_error()), (None, Some("timed out")));
        let outage = status.last_outage.unwrap();
        assert_eq!((outage.began, outage.ended, &*outage.error), (since, status.since, "timed out"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_now_and_then_is_news_seldom_and_never_while_it_is_down() {
        let health = Health::default();
        let (database, other) = (health.dependency("database"), health.dependency("objects"));
        assert!(database.up() && database.stumbles() && other.stumbles());
        pass(STUMBLES - Duration::from_secs(1)).await;
        assert!(!health.dependency("database").stumbles() && health.is_up("database"));
        pass(Duration::from_secs(1)).await;
        assert!(database.stumbles() && !database.stumbles());
        pass(STUMBLES).await;
        assert!(database.down("gone") && !database.stumbles());
    }

    #[test]
    fn only_work_that_succeeds_ends_an_outage_of_work() {
        let health = Health::default();
        let (probe, work) = (health.dependency("database"), health.dependency("database"));
        assert!(work.down("disk full"));
        let since = health.readiness().dependencies["database"].since;
        let (one, other) = (work.failing(), work.failing());
        assert!(!probe.up() && !health.is_up("database"));
        drop(one);
        assert!(!work.up() && !health.is_up("database"), "the other still fails");
        assert_eq!(health.readiness().dependencies["database"].since, since);
        drop(other);
        assert!(work.up() && health.is_up("database"));
        assert!(probe.down("gone") && probe.up(), "while no work fails the probe knows best");
    }
}
