//! The promise of the pipeline, with stores that block, fail and lie about what took effect: nothing is acked before
//! all of it is durable, nothing is lost, and the end is the model's.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use proptest::prelude::*;
use support::context::context;
use support::events::{message, run};
use support::model::{Input, diff, expected};
use support::state::read_embedded;
use tokio::sync::Semaphore;
use xray_processor_worker::budget::Budget;
use xray_processor_worker::dead_letter::DeadLetter;
use xray_processor_worker::generate::{Lines, Plan};
use xray_processor_worker::object::{Object, Record};
use xray_processor_worker::pipeline::{Broken, Limits, Stores};
use xray_processor_worker::queue::memory::MemoryQueue;
use xray_processor_worker::store::{
    Class, Created, Existing, Heavy, MetricsStore, RawStore, Replaced, RowCounts, StoreError, Tag, Touched, embedded,
};
use xray_processor_worker::worker::{self, Settings, Stop};

/// What a call of a store does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// Fails without effect.
    Before,
    /// Takes effect, then fails.
    After,
}

/// Decides about calls, one after the other.
#[derive(Debug)]
struct Faults {
    script: Vec<Fault>,
    calls: AtomicU64,
    /// Each call of the named operation takes a permit first.
    gates: BTreeMap<&'static str, Semaphore>,
    /// Refuses for good whatever names this id.
    poison: Option<&'static str>,
    /// Refuses larger objects for good.
    max_object: usize,
    /// Panics in this operation.
    bug: Option<&'static str>,
    log: Mutex<Vec<&'static str>>,
}

impl Faults {
    fn none() -> Faults {
        Faults {
            script: Vec::new(),
            calls: AtomicU64::new(0),
            gates: BTreeMap::new(),
            poison: None,
            max_object: usize::MAX,
            bug: None,
            log: Mutex::default(),
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
        if let Some(id) = self.1.poison
            && records.iter().any(|record| record.key.contains(id))
        {
            return Err(StoreError::new("database", Class::Item, "no such thing goes in here"));
        }
        self.call("facts", self.0.insert_facts(records)).await
    }
    async fn recompute(&self, touched: &Touched) -> Result<Heavy, StoreError> {
        self.call("derived", self.0.recompute(touched)).await
    }
    async fn insert_dead_letters(&self, letters: &[Arc<DeadLetter>]) -> Result<(), StoreError> {
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
struct Rig {
    queue: MemoryQueue,
    stop: Stop,
    budget: Budget,
    worker: tokio::task::JoinHandle<Result<(), Broken>>,
}

impl Rig {
    fn start(dir: &std::path::Path, faults: &Arc<Faults>, shutdown_timeout: Duration) -> Rig {
        Rig::start_within(1 << 24, dir, faults, shutdown_timeout)
    }

    fn start_within(
        budget_bytes: usize,
        dir: &std::path::Path,
        faults: &Arc<Faults>,
        shutdown_timeout: Duration,
    ) -> Rig {
        let (raw, tables) = embedded::open(dir, false).unwrap();
        let stores = Stores {
            raw: Arc::new(FaultyRaw(raw, faults.clone())),
            metrics: Arc::new(FaultyTables(tables, faults.clone())),
        };
        let budget = Budget::new(1000, budget_bytes);
        let context = context(stores, budget.clone());
        let settings = Settings {
            batch_size: 10,
            poll_interval: Duration::from_millis(50),
            shutdown_timeout,
            limits: Limits { max_event_bytes: 1 << 20 },
        };
        let (queue, stop) = (MemoryQueue::new(1000, 1 << 24), Stop::default());
        let worker = tokio::spawn({
            let (queue, stop) = (queue.clone(), stop.clone());
            async move { worker::run(&queue, &context, settings, &stop).await }
        });
        Rig { queue, stop, budget, worker }
    }

    async fn end(self) {
        self.stop.drain.cancel();
        self.worker.await.unwrap().unwrap();
        assert_eq!(self.budget.held(), (0, 0), "everything was settled one way or the other");
    }
}

const FOREVER: Duration = Duration::from_secs(60);

/// Opens the gates one by one; the ack comes after the last, and not before.
#[tokio::test]
async fn nothing_is_acked_before_everything_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    let order = ["create", "dead letters", "facts", "derived"];
    let gates = order.iter().map(|operation| (*operation, Semaphore::new(0))).collect();
    let faults = Arc::new(Faults { gates, ..Faults::none() });
    let rig = Rig::start(dir.path(), &faults, FOREVER);
    let body = format!("[{}, {{}}]", run("a", "running"));
    let mut wait = rig.queue.offer(message(body)).unwrap();
    for (at, operation) in order.iter().enumerate() {
        let early = tokio::time::timeout(Duration::from_millis(100), wait.settled()).await;
        assert!(early.is_err(), "acked before {operation}");
        let log = faults.log.lock().unwrap().clone();
        assert!(!log.contains(operation) && (at == 0 || log.contains(&order[at - 1])), "{log:?}");
        // The object of the dead letter is a create of its own.
        faults.gates[operation].add_permits(2);
    }
    let settlement = wait.settled().await.unwrap();
    assert_eq!((settlement.stored, settlement.rejected.len()), (1, 1));
    rig.end().await;
}

/// A message that comes while a group is being written is in the next group, with all others that came.
#[tokio::test]
async fn what_waits_is_written_together() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults { gates: BTreeMap::from([("create", Semaphore::new(0))]), ..Faults::none() });
    let rig = Rig::start(dir.path(), &faults, FOREVER);
    let mut waits: Vec<_> =
        (0..2).map(|n| rig.queue.offer(message(run(&format!("first-{n}"), "running"))).unwrap()).collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    waits.extend((0..100).map(|n| rig.queue.offer(message(run(&format!("later-{n}"), "running"))).unwrap()));
    tokio::time::sleep(Duration::from_millis(200)).await;
    faults.gates["create"].add_permits(1000);
    for mut wait in waits {
        assert_eq!(wait.settled().await.unwrap().stored, 1);
    }
    let creates = faults.log.lock().unwrap().iter().filter(|operation| **operation == "create").count();
    assert!(creates <= 4, "102 messages in {creates} groups");
    rig.end().await;
}

#[tokio::test]
async fn at_the_shutdown_timeout_the_rest_is_given_back_unacked() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults { gates: BTreeMap::from([("facts", Semaphore::new(0))]), ..Faults::none() });
    let rig = Rig::start(dir.path(), &faults, Duration::from_millis(100));
    let mut wait = rig.queue.offer(message(run("a", "running"))).unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let began = std::time::Instant::now();
    rig.end().await;
    assert!(wait.settled().await.is_err(), "never acked");
    assert!(began.elapsed() < FOREVER);
}

#[tokio::test]
async fn what_a_store_refuses_does_not_hold_up_its_neighbours() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults { poison: Some("poison"), ..Faults::none() });
    let rig = Rig::start(dir.path(), &faults, FOREVER);
    let ids: Vec<String> = (0..50).map(|n| if n % 10 == 7 { format!("poison-{n}") } else { format!("r{n}") }).collect();
    let waits: Vec<_> = ids.iter().map(|id| rig.queue.offer(message(run(id, "running"))).unwrap()).collect();
    for (id, mut wait) in ids.iter().zip(waits) {
        let settlement = wait.settled().await.unwrap();
        let refused = id.starts_with("poison");
        assert_eq!((settlement.stored, settlement.rejected.len()), if refused { (0, 1) } else { (1, 0) });
    }
    rig.end().await;
    let state = read_embedded(dir.path());
    assert_eq!((state.runs.len(), state.dead_letters.len()), (45, 5));
    assert!(state.dead_letters.values().all(|letter| letter.code == "store_refused"));
}

/// Then its dead letter, which holds it, is too large as well: the beginning is kept, with the length and the digest of all.
#[tokio::test]
async fn an_event_larger_than_the_store_takes() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults { max_object: 100_000, ..Faults::none() });
    let rig = Rig::start(dir.path(), &faults, FOREVER);
    let large = run("large", "running").replace('}', &format!(r#","input":"{}"}}"#, "x".repeat(200_000)));
    let mut waits = [large.clone(), run("small", "running")].map(|body| rig.queue.offer(message(body)).unwrap());
    assert_eq!(waits[0].settled().await.unwrap().rejected.len(), 1);
    assert_eq!(waits[1].settled().await.unwrap().stored, 1);
    rig.end().await;
    let state = read_embedded(dir.path());
    assert_eq!((state.runs.len(), state.dead_letters.len()), (1, 1));
    let letter = state.dead_letters.values().next().unwrap();
    assert!(
        letter.code == "store_refused" && letter.body.len() < large.len() && large.as_bytes().starts_with(&letter.body)
    );
}

/// An array of tiny events takes far more memory than its body, and counts so much.
#[tokio::test]
async fn what_is_decoded_counts_and_the_next_waits_for_room() {
    let dir = tempfile::tempdir().unwrap();
    let gate = Semaphore::new(0);
    let faults = Arc::new(Faults { gates: BTreeMap::from([("facts", gate)]), ..Faults::none() });
    let rig = Rig::start_within(100 << 10, dir.path(), &faults, FOREVER);
    let runs = |from: usize| (from..from + 100).map(|n| run(&format!("r{n:03}"), "running")).collect::<Vec<_>>();
    let bodies: Vec<String> = (0..3).map(|n| format!("[{}]", runs(n * 100).join(","))).collect();
    let mut waits: Vec<_> = bodies.iter().map(|body| rig.queue.offer(message(body.clone())).unwrap()).collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let received: usize = bodies.iter().map(|body| body.len() + 1024).sum();
    assert_eq!(rig.budget.held(), (3, received + 99 * 1024), "all are received, one is decoded");
    faults.gates["facts"].add_permits(100);
    for wait in &mut waits {
        assert_eq!(wait.settled().await.unwrap().stored, 100);
    }
    rig.end().await;
}

/// What stood under a key and is no event loses its place, not its bytes, and the reason is not that of a conflict.
#[tokio::test]
async fn a_damaged_object_is_kept_as_a_dead_letter_that_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::none());
    let rig = Rig::start(dir.path(), &faults, FOREVER);
    let object = dir.path().join("objects/runs/2026/02/28/a.json");
    std::fs::create_dir_all(object.parent().unwrap()).unwrap();
    std::fs::write(&object, "half of it").unwrap();
    rig.queue.offer(message(run("a", "running"))).unwrap().settled().await.unwrap();
    rig.end().await;
    assert_eq!(std::fs::read_to_string(object).unwrap(), run("a", "running"));
    let letters = embedded::Reader::open(dir.path()).unwrap().dead_letters(10).unwrap();
    let [letter] = letters.as_slice() else { panic!("{letters:?}") };
    assert!(letter.reason.starts_with("it stood under the key of a run and is none"), "{}", letter.reason);
}

/// A worker that lost a stage would hang and look healthy.
#[tokio::test]
async fn a_panic_in_a_stage_ends_the_worker_and_acks_nothing() {
    for operation in ["create", "facts", "derived"] {
        let dir = tempfile::tempdir().unwrap();
        let faults = Arc::new(Faults { bug: Some(operation), ..Faults::none() });
        let rig = Rig::start(dir.path(), &faults, FOREVER);
        let mut wait = rig.queue.offer(message(run("a", "running"))).unwrap();
        let broken = rig.worker.await.unwrap().unwrap_err();
        assert!(broken.to_string().contains("a bug for a test"), "{broken}");
        assert!(wait.settled().await.is_err(), "{operation}: never acked");
        assert_eq!(rig.budget.held(), (0, 0));
    }
}

fn faults() -> impl Strategy<Value = Vec<Fault>> {
    prop::collection::vec(prop::sample::select(vec![Fault::None, Fault::None, Fault::Before, Fault::After]), 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.div_ceil(8), ..ProptestConfig::default() })]

    /// Two workers share one directory; their stores fail at any call, before or after it took effect; one is dropped in
    /// the middle and its messages come again. The end is the model's.
    #[test]
    fn the_end_is_the_models(seed in any::<u64>(), scripts in [faults(), faults()], crash_after in 0_u64..40) {
        let plan = Plan {
            seed, runs: 2, items_per_run: 2..=5, duplicates: 0.2, conflicting: 0.2, malformed: 0.1, late: 0.3, reordered: 0.5,
            ..Plan::default()
        };
        let bodies: Vec<Bytes> = Lines::new(plan).collect();
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let [one, two] = scripts.map(|script| Arc::new(Faults { script, ..Faults::none() }));
            let crashing = Rig::start(dir.path(), &one, FOREVER);
            for body in &bodies {
                drop(crashing.queue.offer(message(body.clone())).unwrap());
            }
            let survivor = Rig::start(dir.path(), &two, FOREVER);
            let mut waits = Vec::new();
            for (at, body) in bodies.iter().enumerate() {
                if at as u64 == crash_after {
                    crashing.worker.abort();
                }
                waits.push(survivor.queue.offer(message(body.clone())).unwrap());
            }
            for mut wait in waits {
                wait.settled().await.unwrap();
            }
            crashing.worker.abort();
            survivor.end().await;
        });
        runtime.shutdown_timeout(Duration::from_secs(5));
        let expected = expected(bodies.iter().map(|body| Input { body, hint: None }));
        let differences = diff(&expected, &read_embedded(dir.path()));
        prop_assert!(differences.is_empty(), "{}", differences.join("\n"));
    }
}
