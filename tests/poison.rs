//! What a store refuses: it does not hold up its neighbours, and becomes a dead letter late, only while others are taken.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use support::events::{message, run};
use support::faulty::{FOREVER, Faults, Rig};
use support::state::read_embedded;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use xray_processor_worker::pipeline::Limits;
use xray_processor_worker::queue::memory::Wait;

/// Fifty runs, of which five are poison in this operation.
struct Fifty {
    dir: TempDir,
    rig: Rig,
    good: Vec<Wait>,
    poison: Vec<Wait>,
}

impl Fifty {
    fn offer(faults: &Arc<Faults>, refused_for: Duration) -> Fifty {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits { max_event_bytes: 1 << 20, refused_for };
        let rig = Rig::start_with(limits, 1 << 24, dir.path(), faults, FOREVER);
        let offer = |id: String| rig.queue.offer(message(run(&id, "running"))).unwrap();
        let (mut good, mut poison) = (Vec::new(), Vec::new());
        for n in 0..50 {
            match n % 10 {
                7 => poison.push(offer(format!("poison-{n}"))),
                _ => good.push(offer(format!("r{n}"))),
            }
        }
        Fifty { dir, rig, good, poison }
    }
}

#[tokio::test]
async fn it_becomes_a_dead_letter_and_its_neighbours_are_stored() {
    for operation in ["facts", "derived"] {
        let faults = Arc::new(Faults::poison(operation, "poison"));
        let Fifty { dir, rig, good, poison } = Fifty::offer(&faults, Duration::ZERO);
        for mut wait in good {
            assert_eq!(wait.settled().await.unwrap().stored, 1, "{operation}");
        }
        for mut wait in poison {
            let settlement = wait.settled().await.unwrap();
            assert_eq!((settlement.stored, settlement.rejected.len()), (0, 1), "{operation}");
            assert!(settlement.rejected[0].rejection.reason.contains("no such thing goes in here"));
        }
        assert!(rig.health.is_up("database"), "{operation}: one poison more or less is no outage");
        rig.end().await;
        let state = read_embedded(dir.path());
        assert_eq!((state.runs.len(), state.dead_letters.len()), (45, 5), "{operation}");
        assert!(state.dead_letters.values().all(|letter| letter.code == "store_refused"));
    }
}

/// It is not given up before its time, and waits apart; at the end it goes back unacked.
#[tokio::test]
async fn while_it_waits_its_neighbours_go_on() {
    for operation in ["facts", "derived"] {
        let faults = Arc::new(Faults::poison(operation, "poison"));
        let Fifty { dir, rig, good, poison } = Fifty::offer(&faults, FOREVER * 60);
        for mut wait in good {
            assert_eq!(wait.settled().await.unwrap().stored, 1, "{operation}");
        }
        assert_eq!(rig.budget.held().0, 5, "{operation}: what waits is held");
        let mut later = rig.queue.offer(message(run("later", "running"))).unwrap();
        assert_eq!(later.settled().await.unwrap().stored, 1);
        let ended = timeout(FOREVER / 2, rig.end()).await;
        assert!(ended.is_ok(), "{operation}: the end does not wait for what is refused");
        for mut wait in poison {
            assert!(wait.settled().await.is_err(), "{operation}: never acked");
        }
        assert_eq!(read_embedded(dir.path()).dead_letters.len(), 0);
    }
}

/// A broken view, a constraint on everything: that is not the events' fault.
#[tokio::test]
async fn a_store_that_refuses_everything_makes_no_dead_letters() {
    for operation in ["facts", "derived"] {
        let faults = Arc::new(Faults::poison(operation, ""));
        let Fifty { dir, rig, good, poison } = Fifty::offer(&faults, Duration::ZERO);
        let why = || rig.health.readiness().dependencies.remove("database").and_then(|status| status.last_error);
        while !why().is_some_and(|why| why.contains("nothing else of that kind is taken")) {
            sleep(Duration::from_millis(10)).await;
        }
        let probe = || rig.health.dependency("database").up() || rig.health.is_up("database");
        assert!(!probe() && rig.health.stuck().is_empty(), "{operation}: unready and alive, whatever a probe finds");
        *faults.poison.lock().unwrap() = None;
        for mut wait in good.into_iter().chain(poison) {
            assert_eq!(wait.settled().await.unwrap().stored, 1, "{operation}");
        }
        assert!(probe(), "{operation}");
        rig.end().await;
        let state = read_embedded(dir.path());
        assert_eq!((state.runs.len(), state.dead_letters.len()), (50, 0), "{operation}");
    }
}

/// There is no other place for it, so it waits; nothing else does.
#[tokio::test]
async fn a_dead_letter_that_cannot_be_written_is_never_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::poison("dead letters", "poison"));
    let rig = Rig::start(dir.path(), &faults, FOREVER);
    let offer = |body: String| rig.queue.offer(message(body)).unwrap();
    let mut refused = offer("[\"poison\"]".into());
    let mut others = [offer("no event".into()), offer(run("r", "running"))];
    assert_eq!(others[0].settled().await.unwrap().rejected.len(), 1);
    assert_eq!(others[1].settled().await.unwrap().stored, 1);
    assert_eq!(rig.budget.held().0, 1);
    *faults.poison.lock().unwrap() = None;
    assert_eq!(refused.settled().await.unwrap().rejected.len(), 1);
    rig.end().await;
    assert_eq!(read_embedded(dir.path()).dead_letters.len(), 2);
}

/// The report that it would have superseded takes its place, and the object is there.
#[tokio::test]
async fn a_report_that_is_too_large_takes_no_other_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults { max_object: 100_000, ..Faults::none() });
    let rig = Rig::start(dir.path(), &faults, FOREVER);
    let large = run("r", "completed").replace('}', &format!(r#","input":"{}"}}"#, "x".repeat(200_000)));
    let both = format!("[{},{large}]", run("r", "running"));
    let settlement = rig.queue.offer(message(both)).unwrap().settled().await.unwrap();
    assert_eq!((settlement.stored, settlement.rejected.len()), (1, 1));
    rig.end().await;
    let state = read_embedded(dir.path());
    assert_eq!((state.runs["r"].status.as_str(), state.objects.len(), state.dead_letters.len()), ("running", 1, 1));
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

/// They are tried together, and each has to be refused alone, which only some are each time.
#[tokio::test]
async fn very_many_have_their_turn_soon() {
    let faults = Arc::new(Faults::poison("facts", "poison"));
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { max_event_bytes: 1 << 20, refused_for: Duration::ZERO };
    let rig = Rig::start_with(limits, 1 << 26, dir.path(), &faults, FOREVER);
    let name = |n: usize| format!("{}-{n}", if n.is_multiple_of(2) { "poison" } else { "r" });
    let mut waits: Vec<_> = (0..1000).map(|n| rig.queue.offer(message(run(&name(n), "running"))).unwrap()).collect();
    let all = async {
        for wait in &mut waits {
            wait.settled().await.unwrap();
        }
    };
    timeout(FOREVER, all).await.unwrap();
    rig.end().await;
    let state = read_embedded(dir.path());
    assert_eq!((state.runs.len(), state.dead_letters.len()), (500, 500));
}
