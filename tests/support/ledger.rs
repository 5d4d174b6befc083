//! Stores that cost nothing: they keep in memory what they are given, and can be shut.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;
use xray_processor_worker::dead_letter::DeadLetter;
use xray_processor_worker::object::{Object, Record};
use xray_processor_worker::pipeline::Stores;
use xray_processor_worker::store::{
    Class, Created, Existing, Heavy, MetricsStore, RawStore, Replaced, RowCounts, StoreError, Tag, Touched,
};

/// A call that can be made to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gate {
    Objects,
    DeadLetters,
    Facts,
    Derived,
    /// Recomputes of the step [`SLOW`], which has a lane of its own.
    Slow,
}

/// Longer than anything takes that works, on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// A step so heavy that it is recomputed apart from all others.
pub const SLOW: &str = "slow";
/// An event with this in its key is refused for good.
pub const POISON: &str = "poison";

/// Both stores in one. What is in it is durable as far as the worker knows.
#[derive(Debug)]
pub struct Ledger {
    shut: watch::Sender<Option<Gate>>,
    reached: watch::Sender<Option<Gate>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By key: the body, and how often it was to be created.
    objects: BTreeMap<String, (Bytes, u32)>,
    /// Keys of events whose rows are there.
    facts: BTreeMap<String, u32>,
}

impl Ledger {
    /// An empty one, open.
    pub fn new() -> Arc<Ledger> {
        let (shut, reached) = (watch::Sender::new(None), watch::Sender::new(None));
        Arc::new(Ledger { shut, reached, state: Mutex::default() })
    }

    /// The pair of stores that a worker writes to.
    pub fn stores(self: &Arc<Self>) -> Stores {
        Stores { raw: self.clone(), metrics: self.clone() }
    }

    /// From now on calls wait here, until it is [opened](Self::open). One gate is shut at a time.
    pub fn shut(&self, gate: Gate) {
        self.reached.send_replace(None);
        self.shut.send_replace(Some(gate));
    }

    /// Lets all go on.
    pub fn open(&self) {
        self.shut.send_replace(None);
    }

    /// Waits until a call stands before the gate that is shut.
    pub async fn reached(&self) {
        let shut = *self.shut.borrow();
        let mut reached = self.reached.subscribe();
        let stands_there = reached.wait_for(|reached| reached.is_some() && *reached == shut);
        tokio::time::timeout(PATIENCE, stands_there).await.expect("no call reaches the gate").unwrap();
    }

    /// Which events are stored, rows included, by the part of their key after the date.
    pub fn stored(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        let name = |key: &String| key.rsplit('/').next().unwrap().trim_end_matches(".json").to_owned();
        state.facts.keys().map(name).collect()
    }

    /// How many dead letters there are.
    pub fn dead_letters(&self) -> usize {
        self.state.lock().unwrap().objects.keys().filter(|key| key.starts_with("dead-letters/")).count()
    }

    /// How often the event came that came most often.
    pub fn most_deliveries(&self) -> u32 {
        self.state.lock().unwrap().objects.values().map(|(_, times)| *times).max().unwrap_or(0)
    }

    async fn pass(&self, gate: Gate) {
        let mut shut = self.shut.subscribe();
        if *shut.borrow_and_update() == Some(gate) {
            self.reached.send_replace(Some(gate));
            shut.wait_for(|shut| *shut != Some(gate)).await.unwrap();
        }
    }
}

#[async_trait]
impl RawStore for Ledger {
    fn name(&self) -> &'static str {
        "objects"
    }
    async fn prepare(&self) -> Result<(), StoreError> {
        Ok(())
    }
    async fn create(&self, objects: &[Arc<Object>]) -> Vec<Result<Created, StoreError>> {
        let letters = objects.iter().any(|object| object.key.starts_with("dead-letters/"));
        self.pass(if letters { Gate::DeadLetters } else { Gate::Objects }).await;
        let mut state = self.state.lock().unwrap();
        let create = |object: &Arc<Object>| {
            let (_, times) = state.objects.entry(object.key.clone()).or_insert_with(|| (object.body.clone(), 0));
            *times += 1;
            Ok(if *times == 1 { Created::Created } else { Created::Exists })
        };
        objects.iter().map(create).collect()
    }
    async fn read(&self, keys: &[String]) -> Vec<Result<Option<Existing>, StoreError>> {
        let state = self.state.lock().unwrap();
        let existing = |key: &String| {
            let (body, _) = state.objects.get(key)?;
            Some(Existing { body: body.clone(), tag: Tag(String::new()), legacy: false })
        };
        keys.iter().map(|key| Ok(existing(key))).collect()
    }
    async fn replace(&self, objects: &[(Arc<Object>, Tag)]) -> Vec<Result<Replaced, StoreError>> {
        let mut state = self.state.lock().unwrap();
        for (object, _) in objects {
            if let Some((body, _)) = state.objects.get_mut(&object.key) {
                *body = object.body.clone();
            }
        }
        objects.iter().map(|_| Ok(Replaced::Replaced)).collect()
    }
    async fn probe(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

#[async_trait]
impl MetricsStore for Ledger {
    fn name(&self) -> &'static str {
        "database"
    }
    async fn prepare(&self) -> Result<(), StoreError> {
        Ok(())
    }
    async fn insert_facts(&self, records: &[Arc<Record>]) -> Result<(), StoreError> {
        self.pass(Gate::Facts).await;
        if records.iter().any(|record| record.key.contains(POISON)) {
            return Err(StoreError::new("database", Class::Item, "no such thing goes in here"));
        }
        let mut state = self.state.lock().unwrap();
        for record in records {
            *state.facts.entry(record.key.clone()).or_default() += 1;
        }
        Ok(())
    }
    async fn recompute(&self, touched: &Touched) -> Result<Heavy, StoreError> {
        if !touched.all_steps().contains(SLOW) {
            self.pass(Gate::Derived).await;
            return Ok(Heavy::default());
        }
        self.pass(Gate::Slow).await;
        Ok(Heavy { steps: [SLOW.to_owned()].into(), ..Heavy::default() })
    }
    async fn insert_dead_letters(&self, _: &[Arc<DeadLetter>]) -> Result<(), StoreError> {
        Ok(())
    }
    async fn row_counts(&self) -> Result<RowCounts, StoreError> {
        Ok(RowCounts::default())
    }
    async fn probe(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
