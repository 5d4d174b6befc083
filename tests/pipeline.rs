//! The promise of the pipeline, with stores that block, fail and lie about what took effect: nothing is acked before
//! all of it is durable, nothing is lost, and the end is the model's.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use support::events::{message, run};
use support::faulty::{FOREVER, Fault, Faults, Rig};
use support::model::{Input, diff, expected};
use support::state::read_embedded;
use tokio::sync::Semaphore;
use xray_processor_worker::generate::{Lines, Plan};
use xray_processor_worker::pipeline::Limits;
use xray_processor_worker::store::embedded;

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

/// An array of tiny events takes far more memory than its body, and counts so much.
#[tokio::test]
async fn what_is_decoded_counts_and_the_next_waits_for_room() {
    let dir = tempfile::tempdir().unwrap();
    let gate = Semaphore::new(0);
    let faults = Arc::new(Faults { gates: BTreeMap::from([("facts", gate)]), ..Faults::none() });
    let rig = Rig::start_with(
        Limits { max_event_bytes: 1 << 20, refused_for: FOREVER },
        100 << 10,
        dir.path(),
        &faults,
        FOREVER,
    );
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

/// There may be nothing to do for days.
#[tokio::test(start_paused = true)]
async fn a_worker_that_never_had_anything_to_do_is_not_stuck() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::start(dir.path(), &Arc::new(Faults::none()), FOREVER);
    tokio::time::sleep(FOREVER * 10).await;
    assert_eq!(rig.health.stuck(), []);
    rig.end().await;
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
