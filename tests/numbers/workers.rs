//! Workers that compete for one queue and share a pair of stores; one may crash, and another takes its place.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use xray_processor_worker::budget::Budget;
use xray_processor_worker::pipeline::{Broken, Limits, Stores};
use xray_processor_worker::queue::memory::MemoryQueue;
use xray_processor_worker::store::{MetricsStore, RawStore};
use xray_processor_worker::worker::{self, Settings, Stop};

use crate::support::context::context;
use crate::support::events::message;
use crate::turns::{Fate, InTurn, Turns};

/// Opens the pair of stores once more, as another process would.
pub type Open<'a> = &'a dyn Fn() -> (Arc<dyn RawStore>, Arc<dyn MetricsStore>);

/// Who does what in a history.
#[derive(Debug, Clone)]
pub struct Schedule {
    pub workers: usize,
    /// Who is next, and what goes wrong, one byte a turn. After them all goes well.
    pub turns: Vec<u8>,
    /// At most so many calls fail.
    pub faults: usize,
    /// The turns after which a worker crashes, and which.
    pub crashes: Vec<(u16, u8)>,
}

/// Handles the bodies, and returns once all of them are acked.
pub async fn handle(bodies: &[String], schedule: &Schedule, open: Open<'_>) {
    let (turns, queue) = (Arc::new(Turns::default()), MemoryQueue::new(1000, 1 << 24));
    let start = || {
        let (raw, tables) = open();
        let stores =
            Stores { raw: Arc::new(InTurn(raw, turns.clone())), metrics: Arc::new(InTurn(tables, turns.clone())) };
        start_worker(queue.clone(), stores)
    };
    let mut workers: Vec<_> = (0..schedule.workers.max(1)).map(|_| start()).collect();

    // The producer takes turns with everybody else, so that batches end anywhere.
    let producing = tokio::spawn({
        let (turns, queue, bodies) = (turns.clone(), queue.clone(), bodies.to_vec());
        async move {
            let mut waits = Vec::new();
            for body in bodies {
                drop(turns.next().await);
                waits.push(queue.offer(message(body)).unwrap());
            }
            for mut wait in waits {
                wait.settled().await.unwrap();
            }
        }
    });
    let (mut taken, mut faults) = (0, 0);
    while !producing.is_finished() {
        turns.settle().await;
        let byte = schedule.turns.get(taken).copied().unwrap_or(0);
        let fate = if faults < schedule.faults { Fate::of(byte) } else { Fate::Good };
        if !turns.grant(usize::from(byte >> 3), fate) {
            // They wait for time to pass.
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        }
        taken += 1;
        faults += usize::from(fate != Fate::Good);
        for (at, which) in &schedule.crashes {
            if usize::from(*at) == taken {
                turns.settle().await;
                let which = usize::from(*which) % workers.len();
                workers[which].abort();
                workers[which] = start();
            }
        }
    }
    producing.await.unwrap();
    workers.iter().for_each(JoinHandle::abort);
}

fn start_worker(queue: MemoryQueue, stores: Stores) -> JoinHandle<Result<(), Broken>> {
    let context = context(stores, Budget::new(1000, 1 << 24));
    let settings = Settings {
        batch_size: 3,
        poll_interval: Duration::from_millis(50),
        shutdown_timeout: Duration::from_secs(60),
        limits: Limits { max_event_bytes: 1 << 20, refused_for: Duration::ZERO },
    };
    tokio::spawn(async move { worker::run(&queue, &context, settings, &Stop::default()).await })
}
