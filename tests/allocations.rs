//! What an event costs in allocations, against a budget: what makes the hot path slower fails here, and no clock is asked.
//!
//! Counted is what one thread does, with a runtime of one thread on it: the worker. Stores answer at once, on threads of their
//! own. A budget is what was measured, and little more. Whoever gets below it lowers it; to raise it wants a reason.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use allocation_counter::{AllocationInfo, measure};
use bytes::Bytes;
use support::context::context;
use support::events::{message, records};
use support::instant::Instant;
use support::load::decisions;
use support::servers::Server;
use xray_processor_worker::budget::Budget;
use xray_processor_worker::pipeline::{Limits, Stores};
use xray_processor_worker::queue::memory::MemoryQueue;
use xray_processor_worker::store::{Created, MetricsStore, RawStore};
use xray_processor_worker::worker::{self, Settings, Stop};

const EVENTS: usize = 2000;
const BODY: usize = 1024;
/// Objects of one call, as the pipeline calls.
const GROUP: usize = 512;

/// Of one event, on the average.
#[derive(Debug, Clone, Copy)]
struct Cost {
    allocations: f64,
    bytes: f64,
}

impl Cost {
    /// The least of a few times: how groups form is left to chance, and the first time connections are made.
    fn of(events: usize, mut work: impl FnMut()) -> Cost {
        let counted: Vec<AllocationInfo> = (0..4).map(|_| measure(&mut work)).collect();
        let least =
            |number: fn(&AllocationInfo) -> u64| counted.iter().map(number).min().unwrap() as f64 / events as f64;
        Cost { allocations: least(|counted| counted.count_total), bytes: least(|counted| counted.bytes_total) }
    }

    fn within(self, budget: Cost) {
        assert!(
            self.allocations <= budget.allocations && self.bytes <= budget.bytes,
            "an event costs {self:?}; the budget is {budget:?}"
        );
    }
}

fn bodies(bytes: usize) -> Vec<Bytes> {
    decisions("a", EVENTS, bytes, 100)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// From bytes to an event, its key and its object.
#[test]
fn decoding() {
    let bodies = bodies(BODY);
    let cost = Cost::of(EVENTS, || {
        for record in records(&bodies) {
            std::hint::black_box(record.object());
        }
    });
    cost.within(Cost { allocations: 21.0, bytes: 780.0 });
}

/// A signed request, its way to the server and the answer.
#[test]
fn an_object() {
    let stores = Instant::before(Server::shared("versitygw"), Server::shared("clickhouse"));
    let objects = stores.s3();
    let records = records(&bodies(BODY));
    let all: Vec<_> = records.iter().map(|record| Arc::new(record.object())).collect();
    let runtime = runtime();
    runtime.block_on(objects.prepare()).unwrap();
    let cost = Cost::of(EVENTS, || {
        for group in all.chunks(GROUP) {
            let answers = runtime.block_on(objects.create(group));
            assert!(answers.into_iter().all(|answer| answer.unwrap() == Created::Created));
        }
    });
    cost.within(Cost { allocations: 152.0, bytes: 29_800.0 });
}

/// A row among a thousand others.
#[test]
fn a_row() {
    let stores = Instant::before(Server::shared("versitygw"), Server::shared("clickhouse"));
    let tables = stores.clickhouse();
    let records = records(&bodies(BODY));
    let runtime = runtime();
    runtime.block_on(tables.prepare()).unwrap();
    let cost = Cost::of(EVENTS, || {
        records.chunks(EVENTS / 2).for_each(|group| runtime.block_on(tables.insert_facts(group)).unwrap());
    });
    cost.within(Cost { allocations: 0.21, bytes: 880.0 });
}

/// The whole worker, from its queue to the last ack.
#[test]
fn the_whole_way() {
    let stores = Instant::before(Server::shared("versitygw"), Server::shared("clickhouse"));
    let stores = Stores { raw: Arc::new(stores.s3()), metrics: Arc::new(stores.clickhouse()) };
    let runtime = runtime();
    runtime.block_on(async { tokio::try_join!(stores.raw.prepare(), stores.metrics.prepare()) }).unwrap();
    let [small, large] = [BODY, 32 * BODY].map(|bytes| {
        let bodies = bodies(bytes);
        Cost::of(EVENTS, || runtime.block_on(work_off(&stores, &bodies)))
    });
    small.within(Cost { allocations: 191.0, bytes: 44_000.0 });
    // What a body is copied into grows with it.
    let copied = (large.bytes - small.bytes) / (31 * BODY) as f64;
    assert!(copied < 0.1, "of each byte of a body {copied:.2} are copied");
}

async fn work_off(stores: &Stores, bodies: &[Bytes]) {
    let (messages, bytes) = (EVENTS * 2, 256 << 20);
    let queue = MemoryQueue::new(messages, bytes);
    let _waits: Vec<_> = bodies.iter().map(|body| queue.offer(message(body.clone())).unwrap()).collect();
    let context = context(stores.clone(), Budget::new(messages, bytes));
    let settings = Settings {
        batch_size: 10,
        poll_interval: Duration::from_secs(1),
        shutdown_timeout: Duration::from_secs(60),
        limits: Limits { max_event_bytes: 10 << 20, refused_for: Duration::ZERO },
    };
    let stop = Stop::default();
    let ended = async {
        queue.drained().await;
        stop.drain.cancel();
    };
    let (worked, ()) = tokio::join!(worker::run(&queue, &context, settings, &stop), ended);
    worked.unwrap();
    assert_eq!(context.tally.all_events(), EVENTS as u64);
}
