//! The cases. Each is a promise of `QueueBackend`, and none knows a broker by name.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use xray_processor_worker::budget::{Budget, weight};
use xray_processor_worker::config::Limits;
use xray_processor_worker::queue::QueueBackend;

use crate::harness::{Harness, Whose};
use crate::rig::{self, PATIENCE, Worker, decision, ids, limits, run, runs, said_to_be_away, settled, until};
use crate::support::ledger::{Gate, Ledger, POISON, SLOW};

/// Long enough that something which should not happen would have.
const A_WHILE: Duration = Duration::from_secs(1);

pub async fn everything_is_delivered_once_and_acked<H: Harness>() {
    let (harness, ledger) = (H::start(Whose::Shared).await, Ledger::new());
    let ids = ids("r", 2000);
    let worker = Worker::start(&harness, &ledger);
    harness.send(runs(&ids)).await;
    settled(&harness, &ledger, &ids).await;
    assert_eq!(ledger.most_deliveries(), 1);
    worker.stop().await;
    assert_eq!(harness.left().await, 0);
}

pub async fn what_was_there_before_is_delivered<H: Harness>() {
    let (harness, ledger) = (H::start(Whose::Shared).await, Ledger::new());
    let ids = ids("r", 100);
    harness.send(runs(&ids)).await;
    assert_eq!(harness.left().await, 100);
    let worker = Worker::start(&harness, &ledger);
    settled(&harness, &ledger, &ids).await;
    worker.stop().await;
}

pub async fn what_is_dropped_comes_again<H: Harness>() {
    let harness = H::start(Whose::Shared).await;
    let bodies = runs(&ids("r", 50));
    harness.send(bodies.clone()).await;
    let queue = harness.consumer(&limits());
    let (mut first, mut again) = (BTreeSet::new(), BTreeSet::new());
    let mut said_so = true;
    until("all come, and all come again", async || {
        let room = Budget::new(7, 1 << 20).room().await;
        for delivery in queue.receive(room, A_WHILE).await.unwrap_or_default() {
            let body = delivery.message.body.clone();
            if !first.insert(body.clone()) {
                said_so &= delivery.message.deliveries > 1;
                again.insert(body);
            }
        }
        again.len() == bodies.len()
    })
    .await;
    assert!(said_so || !H::TELLS_REDELIVERIES);
    assert_eq!(harness.left().await, 50, "nothing was acked");
    queue.close().await.unwrap();
    assert_eq!(harness.left().await, 50);
}

/// What is held counts, as it is not acked.
pub async fn the_lag_is_what_is_not_acked<H: Harness>() {
    let (harness, ledger) = (H::start(Whose::Shared).await, Ledger::new());
    let ids = ids("r", 100);
    harness.send(runs(&ids)).await;
    let queue = harness.consumer(&limits());
    let mut held = Vec::new();
    until("the lag is known, and right", async || {
        let room = Budget::new(30, 1 << 20).room().await;
        held.extend(queue.receive(room, Duration::from_millis(100)).await.unwrap_or_default());
        held.len() >= 30 && queue.lag() == Some(100)
    })
    .await;
    drop(held);
    queue.close().await.unwrap();
    let worker = Worker::start(&harness, &ledger);
    settled(&harness, &ledger, &ids).await;
    worker.stop().await;
}

pub async fn a_crash_loses_nothing<H: Harness>() {
    let (harness, ledger) = (H::start(Whose::Shared).await, Ledger::new());
    let ids = ids("r", 300);
    harness.send(runs(&ids)).await;
    for gate in [Gate::Objects, Gate::Facts, Gate::Derived] {
        ledger.shut(gate);
        let worker = Worker::start(&harness, &ledger);
        ledger.reached().await;
        worker.crash().await;
        // Acks of what was stored before may still have been on their way.
        let (left, stored) = (harness.left().await, ledger.stored().len() as u64);
        assert!(left + stored >= 300, "{left} left at the broker, {stored} stored");
        ledger.open();
    }
    let worker = Worker::start(&harness, &ledger);
    settled(&harness, &ledger, &ids).await;
    worker.stop().await;
}

/// One message takes long, all others are done: the broker may forget those, but never passes the one.
pub async fn acks_in_any_order<H: Harness>() {
    let (harness, ledger) = (H::start(Whose::Shared).await, Ledger::new());
    let worker = Worker::start(&harness, &ledger);
    harness.send(vec![decision("known", SLOW)]).await;
    settled(&harness, &ledger, &["known".into()]).await;

    ledger.shut(Gate::Slow);
    harness.send(vec![decision("held", SLOW)]).await;
    ledger.reached().await;
    let others = ids("r", 500);
    harness.send(runs(&others)).await;
    until("the others are stored and their acks are out", async || {
        ledger.stored().len() == 502 && worker.budget.held().0 == 1
    })
    .await;
    tokio::time::sleep(A_WHILE).await;
    assert!(harness.left().await >= 1, "the broker still knows the one");
    worker.crash().await;

    // Only the broker can know of it now.
    let fresh = Ledger::new();
    let worker = Worker::start(&harness, &fresh);
    until("it comes again", async || fresh.stored().contains(&"held".to_owned())).await;
    until("and is forgotten then", async || harness.left().await == 0).await;
    worker.stop().await;
}

pub async fn nothing_is_acked_before_it_is_durable<H: Harness>() {
    let (harness, ledger) = (H::start(Whose::Shared).await, Ledger::new());
    let worker = Worker::start(&harness, &ledger);
    for (n, gate) in [Gate::Objects, Gate::DeadLetters, Gate::Facts, Gate::Derived].into_iter().enumerate() {
        ledger.shut(gate);
        let body = match gate {
            Gate::DeadLetters => Bytes::from("not an event at all"),
            _ => run(&format!("r-{n}"), 0),
        };
        harness.send(vec![body]).await;
        ledger.reached().await;
        tokio::time::sleep(A_WHILE).await;
        assert_eq!(harness.left().await, 1, "before {gate:?}");
        ledger.open();
        until("it is forgotten once it is durable", async || harness.left().await == 0).await;
        assert_eq!(worker.done(), n as u64 + 1);
    }
    worker.stop().await;
}

/// The stores are away for three times as long as the broker lets a message be held.
pub async fn what_is_held_long_does_not_come_again<H: Harness>() {
    let (harness, ledger) = (H::start(Whose::Shared).await, Ledger::new());
    let ids = ids("r", 200);
    ledger.shut(Gate::Objects);
    let worker = Worker::start(&harness, &ledger);
    harness.send(runs(&ids)).await;
    ledger.reached().await;
    tokio::time::sleep(H::LEASE * 3).await;
    assert_eq!(harness.left().await, 200);
    ledger.open();
    settled(&harness, &ledger, &ids).await;
    let most = ledger.most_deliveries();
    assert!(most <= H::DELIVERIES_PER_OUTAGE, "delivered {most} times");
    // And it goes on as before.
    harness.send(vec![run("after", 0)]).await;
    settled(&harness, &ledger, &["after".into()]).await;
    worker.stop().await;
}

pub async fn held_messages_are_bounded_by_count<H: Harness>() {
    bounded::<H>(Limits { max_in_flight_messages: 30, ..limits() }, 300, 100).await;
}

pub async fn held_messages_are_bounded_by_bytes<H: Harness>() {
    let bytes = 10 * weight(20_000);
    bounded::<H>(Limits { max_in_flight_bytes: bytes, ..limits() }, 200, 20_000).await;
}

async fn bounded<H: Harness>(limits: Limits, count: usize, ballast: usize) {
    let (harness, ledger) = (H::start(Whose::Shared).await, Ledger::new());
    let ids = ids("r", count);
    harness.send(ids.iter().map(|id| run(id, ballast)).collect()).await;
    ledger.shut(Gate::Facts);
    let worker = Worker::within(&harness, &ledger, &limits);
    ledger.reached().await;
    let mut most = (0, 0);
    for _ in 0..100 {
        let (messages, bytes) = worker.budget.held();
        most = (most.0.max(messages), most.1.max(bytes));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let fits = limits.max_in_flight_messages.min(limits.max_in_flight_bytes / weight(ballast));
    assert!(most.0 <= fits && most.1 <= limits.max_in_flight_bytes, "{most:?} were held");
    assert!(most.0 > 1, "and not one by one");
    assert_eq!(harness.left().await, count as u64);
    assert!(worker.health.is_up(H::Queue::NAME) || H::Queue::LOCAL, "{:?}", worker.health.readiness());
    ledger.open();
    settled(&harness, &ledger, &ids).await;
    assert_eq!(ledger.most_deliveries(), 1);
    worker.stop().await;
}

/// The bound is lower than the message: it is taken alone.
pub async fn a_message_over_the_whole_budget_is_taken_alone<H: Harness>() {
    let (harness, ledger) = (H::start(Whose::Shared).await, Ledger::new());
    let worker = Worker::within(&harness, &ledger, &Limits { max_in_flight_bytes: 10_000, ..limits() });
    let ids = ids("r", 12);
    harness.send(ids.iter().enumerate().map(|(n, id)| run(id, 20_000 * (n % 2))).collect()).await;
    settled(&harness, &ledger, &ids).await;
    worker.stop().await;
}

/// Positions begin anew, and nothing that comes after counts as seen.
pub async fn a_source_that_is_deleted_and_made_again<H: Harness>() {
    let (harness, ledger) = (H::start(Whose::Shared).await, Ledger::new());
    let worker = Worker::start(&harness, &ledger);
    let (old, new) = (ids("old", 600), ids("new", 200));
    harness.send(runs(&old)).await;
    settled(&harness, &ledger, &old).await;
    harness.recreate().await;
    harness.send(runs(&new)).await;
    settled(&harness, &ledger, &new).await;
    worker.stop().await;
    // And where the worker has seen nothing of the old one.
    let (worker, newest) = (Worker::start(&harness, &ledger), ids("newest", 50));
    until("it is there", async || worker.health.is_up(H::Queue::NAME)).await;
    tokio::time::sleep(A_WHILE * 3).await;
    harness.recreate().await;
    harness.send(runs(&newest)).await;
    settled(&harness, &ledger, &newest).await;
    worker.stop().await;
    assert_eq!(harness.left().await, 0);
}

/// A worker whose stores are not ready yet has not asked for any: nothing lies with it, where it would be kept from others
/// and lose its lease.
pub async fn nothing_is_taken_before_it_is_asked_for<H: Harness>() {
    let (harness, ledger) = (H::start(Whose::Shared).await, Ledger::new());
    let ids = ids("r", 50);
    harness.send(runs(&ids)).await;
    let early = harness.consumer(&limits());
    tokio::time::sleep(A_WHILE * 3).await;
    let worker = Worker::start(&harness, &ledger);
    settled(&harness, &ledger, &ids).await;
    assert_eq!(ledger.most_deliveries(), 1);
    worker.stop().await;
    early.close().await.unwrap();
}

pub async fn the_broker_is_killed_and_comes_back<H: Harness>() {
    let (mut harness, ledger) = (H::start(Whose::Own).await, Ledger::new());
    let ids = ids("r", 1000);
    let worker = Worker::start(&harness, &ledger);
    harness.send(runs(&ids[..500])).await;
    until("some are stored", async || ledger.stored().len() > 50).await;
    ledger.shut(Gate::Facts);
    harness.send(runs(&ids[500..])).await;
    ledger.reached().await;
    harness.kill_9();
    // What is held can be stored while the broker is away; its acks have nowhere to go.
    ledger.open();
    said_to_be_away::<H>(&worker).await;
    assert!(!worker.health.readiness().ready);
    harness.restart();
    settled(&harness, &ledger, &ids).await;
    until("all is well again", async || worker.health.is_up(H::Queue::NAME)).await;
    worker.stop().await;
}

pub async fn a_broker_that_is_not_there_yet_is_waited_for<H: Harness>() {
    let (mut harness, ledger) = (H::start(Whose::Own).await, Ledger::new());
    let ids = ids("r", 20);
    harness.send(runs(&ids)).await;
    harness.kill_9();
    let worker = Worker::start(&harness, &ledger);
    said_to_be_away::<H>(&worker).await;
    harness.restart();
    settled(&harness, &ledger, &ids).await;
    worker.stop().await;
}

/// A worker that stops gives back what it cannot finish, and another has it at once: long before any lease is over.
pub async fn shutdown_gives_back_at_once<H: Harness>() {
    let (harness, ledger) = (H::start(Whose::Shared).await, Ledger::new());
    let ids = ids("r", 200);
    harness.send(runs(&ids)).await;
    ledger.shut(Gate::Objects);
    let worker = Worker::start(&harness, &ledger);
    ledger.reached().await;
    worker.stop().await;
    assert_eq!(harness.left().await, 200);
    assert_eq!(ledger.stored().len(), 0);
    ledger.open();
    let worker = Worker::start(&harness, &ledger);
    settled(&harness, &ledger, &ids).await;
    worker.stop().await;
}

pub async fn two_workers_share_the_work<H: Harness>() {
    share::<H>(2).await;
}

pub async fn four_workers_share_the_work<H: Harness>() {
    share::<H>(4).await;
}

async fn share<H: Harness>(count: usize) {
    let (harness, ledger) = (H::start(Whose::Shared).await, Ledger::new());
    let workers: Vec<_> = (0..count.min(H::MOST_CONSUMERS)).map(|_| Worker::start(&harness, &ledger)).collect();
    let mut sent = Vec::new();
    until("every worker has had some", async || {
        let more = ids(&format!("r-{}", sent.len()), 400);
        harness.send(runs(&more)).await;
        sent.extend(more);
        tokio::time::sleep(Duration::from_millis(100)).await;
        workers.iter().all(|worker| worker.done() > 0)
    })
    .await;
    settled(&harness, &ledger, &sent).await;
    for worker in workers {
        worker.stop().await;
    }
    assert_eq!(harness.left().await, 0);
}

/// Workers come, go and crash while every one of them holds half-stored messages.
pub async fn workers_come_and_go_in_the_middle_of_a_batch<H: Harness>() {
    let (harness, ledger) = (H::start(Whose::Shared).await, Ledger::new());
    let ids = ids("r", 3000);
    let mut workers = vec![Worker::start(&harness, &ledger)];
    for (round, chunk) in ids.chunks(500).enumerate() {
        ledger.shut([Gate::Objects, Gate::Facts, Gate::Derived][round % 3]);
        harness.send(runs(chunk)).await;
        ledger.reached().await;
        match round % 3 {
            0 => workers.push(Worker::start(&harness, &ledger)),
            1 => {
                workers.push(Worker::start(&harness, &ledger));
                workers.remove(0).crash().await;
            }
            _ => {
                tokio::time::sleep(A_WHILE).await;
                workers.remove(0).stop().await;
            }
        }
        let (left, stored) = (harness.left().await, ledger.stored().len() as u64);
        assert!(left + stored >= (round as u64 + 1) * 500, "{left} left at the broker, {stored} stored");
        ledger.open();
    }
    settled(&harness, &ledger, &ids).await;
    for worker in workers {
        worker.stop().await;
    }
}

pub async fn poison_costs_its_neighbours_nothing<H: Harness>() {
    let (harness, ledger) = (H::start(Whose::Shared).await, Ledger::new());
    let worker = Worker::start(&harness, &ledger);
    let good = ids("r", 100);
    let mut bodies = runs(&good);
    for (n, bad) in ["", "{", "[]", "\u{0}\u{1}", "{\"id\":7}"].into_iter().enumerate() {
        bodies.insert(n * 17, Bytes::from(bad));
    }
    bodies.insert(50, run(&format!("{POISON}-1"), 0));
    bodies.insert(0, run(&format!("{POISON}-2"), 0));
    harness.send(bodies).await;
    settled(&harness, &ledger, &good).await;
    assert!(ledger.dead_letters() >= 6, "{}", ledger.dead_letters());
    worker.stop().await;
}

pub async fn the_largest_body_the_broker_takes<H: Harness>() {
    let (harness, ledger) = (H::start(Whose::Shared).await, Ledger::new());
    let worker = Worker::start(&harness, &ledger);
    let overhead = run("large", 0).len();
    harness.send(vec![run("large", H::LARGEST_BODY - overhead), run("small", 0)]).await;
    settled(&harness, &ledger, &["large".into(), "small".into()]).await;
    worker.stop().await;
}

pub async fn unknown_headers_change_nothing<H: Harness>() {
    let (harness, ledger) = (H::start(Whose::Shared).await, Ledger::new());
    let worker = Worker::start(&harness, &ledger);
    let strange = [("traceparent", "00-ab-cd-01"), ("x-ü", "\u{1F980}"), ("type", "no such type"), ("", "")];
    harness.send_with(run("r", 0), &strange).await;
    // What only its header makes a run: neither its source nor its fields say so.
    let bare = r#"{"id":"by-header","startedAt":1772319600000,"pipelineId":"p","status":"running"}"#;
    harness.send_with(bare.into(), &[("type", "run"), ("other", "x")]).await;
    settled(&harness, &ledger, &["r".into(), "by-header".into()]).await;
    worker.stop().await;
}

pub async fn who_is_refused_says_why_in_one_sentence<H: Harness>() {
    let harness = H::start(Whose::Shared).await;
    for refused in harness.refused() {
        let what = refused.what;
        let room = Budget::new(1, 1).room().await;
        let mut said = String::new();
        // The first thing that goes wrong need not be the most telling, where a driver tries several ways.
        let telling = tokio::time::timeout(PATIENCE, async {
            loop {
                if let Err(error) = refused.queue.receive(room, Duration::from_millis(200)).await {
                    said = rig::said(&error);
                    assert!(!said.contains('\n') && !said.contains(refused.secret), "{what}: {said:?}");
                    if refused.words.iter().all(|word| said.contains(word.as_str())) {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        });
        assert!(telling.await.is_ok(), "{what}: {said:?} does not name {:?}", refused.words);
        tokio::time::timeout(PATIENCE, refused.queue.close()).await.expect("closing hangs").ok();
    }
}
