//! Embedded stores that block, fail and refuse as a test tells them, and a worker in this process on them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Semaphore;
use xray_processor_worker::budget::Budget;
use xray_processor_worker::dead_letter::DeadLetter;
use xray_processor_worker::health::Health;
use xray_processor_worker::object::{Object, Record};
use xray_processor_worker::pipeline::{Broken, Limits, Stores};
use xray_processor_worker::queue::memory::MemoryQueue;
use xray_processor_worker::store::{
    Class, Created, Existing, Heavy, MetricsStore, RawStore, Replaced, RowCounts, StoreError, Tag, Touched, embedded,
};
use xray_processor_worker::worker::{self, Settings, Stop};

use super::context::context;

/// Longer than any test.
pub const FOREVER: Duration = Duration::from_secs(60);

/// What a call of a store does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    /// Fails without effect.
    Before,
    /// Takes effect, then fails.
    After,
}

/// Decides about calls, one after the other.
#[derive(Debug)]
pub struct Faults {
    pub script: Vec<Fault>,
    pub calls: AtomicU64,
    /// Each call of the named operation takes a permit first.
    pub gates: BTreeMap<&'static str, Semaphore>,
    /// In this operation, refuses for good whatever names this id.
    pub poison: Mutex<Option<(&'static str, &'static str)>>,
    /// Refuses larger objects for good.
    pub max_object: usize,
    /// Panics in this operation.
    pub bug: Option<&'static str>,
    pub log: Mutex<Vec<&'static str>>,
}

impl Faults {
    pub fn none() -> Faults {
        Faults {
            script: Vec::new(),
            calls: AtomicU64::new(0),
            gates: BTreeMap::new(),
            poison: Mutex::default(),
            max_object: usize::MAX,
            bug: None,
            log: Mutex::default(),
        }
    }

    /// Refuses what names `id` in this operation.
    pub fn poison(operation: &'static str, id: &'static str) -> Faults {
        Faults { poison: Mutex::new(Some((operation, id))), ..Faults::none() }
    }

    fn refuse<'i>(&self, operation: &'static str, mut ids: impl Iterator<Item = &'i String>) -> Result<(), StoreError> {
        match *self.poison.lock().unwrap() {
            Some((poisoned, id)) if poisoned == operation && ids.any(|other| other.contains(id)) => {
                Err(StoreError::new("database", Class::Item, "no such thing goes in here"))
            }
            _ => Ok(()),
        }
    }

    async fn next(&self, operation: &'static str) -> Fault {
        if let Some(gate) = self.gates.get(operation) {
            gate.acquire().await.unwrap().forget();
        }
        self.log.lock().unwrap().push(operation);
        assert_ne!(Some(operation), self.bug, "a bug for a test");
        let call = self.calls.fetch_add(1, Relaxed) as usize;
        // The script ends; then all is well, or nothing would ever finish.
        self.script.get(call).copied().unwrap_or(Fault::None)
    }
}

fn away(store: &'static str) -> StoreError {
    StoreError::new(store, Class::Transient, "away for a test")
}

#[derive(Debug)]
struct FaultyRaw<S>(S, Arc<Faults>);

impl<S: RawStore> FaultyRaw<S> {
    async fn call<T>(
        &self,
        operation: &'static str,
        len: usize,
        call: impl Future<Output = Vec<Result<T, StoreError>>>,
    ) -> Vec<Result<T, StoreError>> {
        let fail = || (0..len).map(|_| Err(away("objects"))).collect();
        match self.1.next(operation).await {
            Fault::None => call.await,
            Fault::Before => fail(),
            Fault::After => {
                call.await;
                fail()
            }
        }
    }
}

#[async_trait]
impl<S: RawStore> RawStore for FaultyRaw<S> {
    fn name(&self) -> &'static str {
        self.0.name()
    }
    async fn prepare(&self) -> Result<(), StoreError> {
        self.0.prepare().await
    }
    async fn create(&self, objects: &[Arc<Object>]) -> Vec<Result<Created, StoreError>> {
        let small: Vec<_> = objects.iter().filter(|object| object.body.len() <= self.1.max_object).cloned().collect();
        let mut answers = self.call("create", small.len(), self.0.create(&small)).await.into_iter();
        let refused = || StoreError::new("objects", Class::Item, "too large");
        let answer = |object: &Arc<Object>| match object.body.len() <= self.1.max_object {
            true => answers.next().unwrap_or_else(|| Err(refused())),
            false => Err(refused()),
        };
        objects.iter().map(answer).collect()
    }
    async fn read(&self, keys: &[String]) -> Vec<Result<Option<Existing>, StoreError>> {
        self.call("read", keys.len(), self.0.read(keys)).await
    }
    async fn replace(&self, objects: &[(Arc<Object>, Tag)]) -> Vec<Result<Replaced, StoreError>> {
        self.call("replace", objects.len(), self.0.replace(objects)).await
    }
    async fn probe(&self) -> Result<(), StoreError> {
        self.0.probe().await
    }
}

#[derive(Debug)]
struct FaultyTables<S>(S, Arc<Faults>);

impl<S: MetricsStore> FaultyTables<S> {
    async fn call<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        match self.1.next(operation).await {
            Fault::None => call.await,
            Fault::Before => Err(away("database")),
            Fault::After => call.await.and(Err(away("database"))),
        }
    }
}

#[async_trait]
impl<S: MetricsStore> MetricsStore for FaultyTables<S> {
    fn name(&self) -> &'static str {
        self.0.name()
    }
    async fn prepare(&self) -> Result<(), StoreError> {
        self.0.prepare().await
    }
    async fn insert_facts(&self, records: &[Arc<Record>]) -> Result<(), StoreError> {
        self.1.refuse("facts", records.iter().map(|record| &record.key))?;
        self.call("facts", self.0.insert_facts(records)).await
    }
    async fn recompute(&self, touched: &Touched) -> Result<Heavy, StoreError> {
        self.1.refuse("derived", touched.runs.iter())?;
        self.call("derived", self.0.recompute(touched)).await
    }
    async fn insert_dead_letters(&self, letters: &[Arc<DeadLetter>]) -> Result<(), StoreError> {
        let bodies: Vec<_> = letters.iter().map(|letter| String::from_utf8_lossy(&letter.body).into_owned()).collect();
        self.1.refuse("dead letters", bodies.iter())?;
        self.call("dead letters", self.0.insert_dead_letters(letters)).await
    }
    async fn row_counts(&self) -> Result<RowCounts, StoreError> {
        self.0.row_counts().await
    }
    async fn probe(&self) -> Result<(), StoreError> {
        self.0.probe().await
    }
}

/// A worker in this process, on embedded stores behind `faults`.
pub struct Rig {
    pub queue: MemoryQueue,
    pub stop: Stop,
    pub budget: Budget,
    pub health: Health,
    pub worker: tokio::task::JoinHandle<Result<(), Broken>>,
}

impl Rig {
    pub fn start(dir: &Path, faults: &Arc<Faults>, shutdown_timeout: Duration) -> Rig {
        Rig::start_with(
            Limits { max_event_bytes: 1 << 20, refused_for: Duration::ZERO },
            1 << 24,
            dir,
            faults,
            shutdown_timeout,
        )
    }

    pub fn start_with(
        limits: Limits,
        budget_bytes: usize,
        dir: &Path,
        faults: &Arc<Faults>,
        shutdown_timeout: Duration,
    ) -> Rig {
        let (raw, tables) = embedded::open(dir, false, 1 << 20).unwrap();
        let stores = Stores {
            raw: Arc::new(FaultyRaw(raw, faults.clone())),
            metrics: Arc::new(FaultyTables(tables, faults.clone())),
        };
        Rig::on(stores, limits, budget_bytes, shutdown_timeout)
    }

    /// On any stores.
    pub fn on(stores: Stores, limits: Limits, budget_bytes: usize, shutdown_timeout: Duration) -> Rig {
        let budget = Budget::new(1000, budget_bytes);
        let context = context(stores, budget.clone());
        let settings = Settings { batch_size: 10, poll_interval: Duration::from_millis(50), shutdown_timeout, limits };
        let (queue, stop, health) = (MemoryQueue::new(1000, 1 << 24), Stop::default(), context.health.clone());
        let worker = tokio::spawn({
            let (queue, stop) = (queue.clone(), stop.clone());
            async move { worker::run(&queue, &context, settings, &stop).await }
        });
        Rig { queue, stop, budget, health, worker }
    }

    pub async fn end(self) {
        self.stop.drain.cancel();
        self.worker.await.unwrap().unwrap();
        assert_eq!(self.budget.held(), (0, 0), "everything was settled one way or the other");
    }
}
