//! A step with very many decisions takes its share of the time and no more; its neighbours do not wait for it. On a clock
//! of its own, so that a minute takes no time.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use support::context::context;
use support::events::message;
use support::nothing::Nothing;
use tokio::time::{Instant, sleep};
use xray_processor_worker::budget::Budget;
use xray_processor_worker::dead_letter::DeadLetter;
use xray_processor_worker::object::Record;
use xray_processor_worker::pipeline::{Limits, Message, Stores};
use xray_processor_worker::queue::memory::MemoryQueue;
use xray_processor_worker::store::{Class, Heavy, MetricsStore, RowCounts, StoreError, Touched};
use xray_processor_worker::worker::{self, Settings, Stop};

/// How long the heavy step takes; everything else takes no time.
const LONG: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
struct Tables {
    /// When a recompute of the heavy step began, and ended.
    heavy: Mutex<Vec<(Instant, Instant)>>,
    /// Until then every recompute of it fails.
    away_until: Mutex<Option<Instant>>,
}

#[async_trait]
impl MetricsStore for Tables {
    fn name(&self) -> &'static str {
        "database"
    }
    async fn prepare(&self) -> Result<(), StoreError> {
        Ok(())
    }
    async fn insert_facts(&self, _: &[Arc<Record>]) -> Result<(), StoreError> {
        Ok(())
    }
    async fn recompute(&self, touched: &Touched) -> Result<Heavy, StoreError> {
        if !touched.all_steps().contains("heavy") {
            return Ok(Heavy::default());
        }
        let began = Instant::now();
        if self.away_until.lock().unwrap().is_some_and(|until| began < until) {
            return Err(StoreError::new("database", Class::Transient, "away for a test"));
        }
        sleep(LONG).await;
        self.heavy.lock().unwrap().push((began, Instant::now()));
        Ok(Heavy { steps: ["heavy".to_owned()].into(), ..Heavy::default() })
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

fn decision(id: u64, step: &str) -> Message {
    let body = format!(
        r#"{{"id":"{id}","stepId":"{step}","runId":"r","outcome":"kept","itemId":"i","timestamp":"2026-01-31T12:00:00Z"}}"#
    );
    message(body)
}

#[tokio::test(start_paused = true)]
async fn a_heavy_step_takes_a_quarter_of_the_time_and_holds_up_nobody() {
    let tables = Arc::new(Tables::default());
    let stores = Stores { raw: Arc::new(Nothing), metrics: tables.clone() };
    let context = context(stores, Budget::new(100_000, 1 << 30));
    let settings = Settings {
        batch_size: 10,
        poll_interval: Duration::from_secs(1),
        shutdown_timeout: Duration::from_secs(60),
        limits: Limits { max_event_bytes: 1 << 20, refused_for: Duration::ZERO },
    };
    let (queue, stop) = (MemoryQueue::new(100_000, 1 << 30), Stop::default());
    let working = tokio::spawn({
        let (queue, stop) = (queue.clone(), stop.clone());
        async move { worker::run(&queue, &context, settings, &stop).await }
    });

    // Ten a second of each, for a minute.
    let began = Instant::now();
    let (slowest_light, slowest_heavy) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut waits = Vec::new();
    for n in 0..600 {
        for (step, slowest) in [("light", &slowest_light), ("heavy", &slowest_heavy)] {
            let mut wait = queue.offer(decision(n, step)).unwrap();
            let (slowest, offered) = (slowest.clone(), Instant::now());
            waits.push(tokio::spawn(async move {
                wait.settled().await.unwrap();
                slowest.fetch_max(offered.elapsed().as_millis() as u64, Relaxed);
            }));
        }
        sleep(Duration::from_millis(100)).await;
    }
    let minute = began.elapsed();
    assert!(slowest_light.load(Relaxed) <= 3 * LONG.as_millis() as u64, "only until it was known: {slowest_light:?}");
    assert!(slowest_heavy.load(Relaxed) <= 6 * LONG.as_millis() as u64, "a rest and two recomputes: {slowest_heavy:?}");
    let heavy = tables.heavy.lock().unwrap().clone();
    let busy: Duration = heavy.iter().map(|(began, ended)| *ended - *began).sum();
    // The first few may have been on their way before anybody knew.
    assert!(busy <= minute / 4 + 3 * LONG, "{busy:?} of {minute:?}");
    assert!(heavy.len() > 10, "it is kept up to date: {heavy:?}");

    // An hour's outage is no work, and not rested from.
    let back = Instant::now() + Duration::from_secs(3600);
    *tables.away_until.lock().unwrap() = Some(back);
    for n in [1000, 1001] {
        let mut wait = queue.offer(decision(n, "heavy")).unwrap();
        wait.settled().await.unwrap();
    }
    assert!(back.elapsed() < Duration::from_secs(60), "{:?} after it was back", back.elapsed());

    stop.drain.cancel();
    futures_util::future::join_all(waits).await.into_iter().for_each(|wait| wait.unwrap());
    assert!(working.await.unwrap().is_ok());
}
