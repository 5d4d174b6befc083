//! How long it takes from publishing an event until it is in all tables, steps and runs included, at several rates.
//!
//! Beside one PUT, one insert and one recompute, each alone on the same servers: an idle worker can do no better.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::sleep;
use xray_processor_worker::dead_letter::DeadLetter;
use xray_processor_worker::object::Record;
use xray_processor_worker::pipeline::Stores;
use xray_processor_worker::queue::Producer;
use xray_processor_worker::store::{Heavy, MetricsStore, RowCounts, StoreError, Touched};

use crate::brokers::{self, Timed, work};
use crate::support::events::records;
use crate::support::load::decision;
use crate::table::{self, Column};
use crate::{Bench, fresh, runtime};

const COLUMNS: [Column; 11] = [
    ("events/s", "rate", 0),
    ("events", "events", 0),
    ("p50 ms", "p50", 1),
    ("p99 ms", "p99", 1),
    ("p99.9 ms", "p999", 1),
    ("PUT ms", "put", 1),
    ("insert ms", "insert", 1),
    ("recompute ms", "recompute", 1),
    ("alone p50 ms", "alone", 1),
    ("alone p99 ms", "alone99", 1),
    ("p99 / alone p50", "ratio", 2),
];
/// Events a second, and for how many seconds.
const RATES: [(u64, u64); 4] = [(1, 30), (10, 20), (100, 20), (1000, 10)];
const BYTES: usize = 1024;
/// Each alone, before each rate.
const ALONE: usize = 50;
/// A run has so many steps.
const STEPS: usize = 7;

pub fn measure(bench: &Bench) -> Vec<Value> {
    table::head("From publishing to all tables", &COLUMNS);
    runtime().block_on(async {
        let mut broker = brokers::any();
        let mut lines = Vec::new();
        for (rate, seconds) in RATES {
            let seconds = if bench.small { 3 } else { seconds };
            let line = line(bench, &mut broker, rate, (rate * seconds) as usize).await;
            table::row(&COLUMNS, &line);
            lines.push(line);
        }
        lines
    })
}

async fn line(bench: &Bench, broker: &mut impl brokers::Bench, rate: u64, events: usize) -> Value {
    let (stores, database) = fresh::stores(bench.objects, bench.tables).await;
    let [puts, inserts, recomputes, alone] = alone(&stores, &format!("alone-{rate}")).await;
    let took = published(broker, stores, rate, events).await;
    database.query("DROP DATABASE {db}");
    let ms = |times: &[Duration], share: f64| quantile(times, share).as_secs_f64() * 1000.0;
    json!({
        "rate": rate, "events": events, "p50": ms(&took, 0.5), "p99": ms(&took, 0.99), "p999": ms(&took, 0.999),
        "put": ms(&puts, 0.5), "insert": ms(&inserts, 0.5), "recompute": ms(&recomputes, 0.5), "alone": ms(&alone, 0.5),
        "alone99": ms(&alone, 0.99), "ratio": ms(&took, 0.99) / ms(&alone, 0.5),
    })
}

/// The least that so large a share of them is not above.
fn quantile(times: &[Duration], share: f64) -> Duration {
    let mut times = times.to_vec();
    times.sort();
    times[((times.len() as f64 * share).ceil() as usize).clamp(1, times.len()) - 1]
}

/// What an event takes of each store while nobody else asks, and of all of them together.
async fn alone(stores: &Stores, salt: &str) -> [Vec<Duration>; 4] {
    let mut all: [Vec<Duration>; 4] = Default::default();
    for n in 0..ALONE {
        let records = records(&[event(salt, n)]);
        let began = Instant::now();
        for answer in stores.raw.create(&[Arc::new(records[0].object())]).await {
            answer.unwrap();
        }
        let put = began.elapsed();
        stores.metrics.insert_facts(&records).await.unwrap();
        let insert = began.elapsed() - put;
        stores.metrics.recompute(&Touched::by(&records)).await.unwrap();
        let whole = began.elapsed();
        all.iter_mut().zip([put, insert, whole - insert - put, whole]).for_each(|(all, took)| all.push(took));
    }
    // The first finds no connections.
    all.map(|all| all[1..].to_vec())
}

/// Each of a step of its own, which tells when it can be seen.
fn event(salt: &str, n: usize) -> Bytes {
    decision(&format!("{salt}-{n}"), &step(salt, n), &format!("{salt}-r-{}", n / STEPS), BYTES)
}

fn step(salt: &str, n: usize) -> String {
    format!("{salt}-s-{n}")
}

/// Publishes at this rate while a worker works, and says how long each event took.
async fn published<B: brokers::Bench>(broker: &mut B, stores: Stores, rate: u64, events: usize) -> Vec<Duration> {
    let (producer, to) = broker.producer();
    let (producer, seen) = (Arc::new(producer), Seen::default());
    let visible = Visible { tables: stores.metrics, seen: seen.clone() };
    let stores = Stores { raw: stores.raw, metrics: Arc::new(visible) };
    // One more, which comes first: by then the worker has connected.
    let queue = Timed::new(broker, events + 1);
    let salt = format!("at-{rate}");
    let publish = async {
        producer.send(&to, event(&salt, events)).await.unwrap();
        while !seen.lock().unwrap().contains_key(&step(&salt, events)) {
            sleep(Duration::from_millis(5)).await;
        }
        let mut sending = JoinSet::new();
        let mut pace = tokio::time::interval(Duration::from_secs(1) / rate as u32);
        for n in 0..events {
            pace.tick().await;
            let (producer, to, event) = (producer.clone(), to.clone(), event(&salt, n));
            sending.spawn(async move {
                let began = Instant::now();
                producer.send(&to, event).await.unwrap();
                (n, began)
            });
        }
        sending.join_all().await
    };
    let ((), sent) = tokio::join!(work(&queue, stores), publish);
    let seen = seen.lock().unwrap();
    sent.into_iter().map(|(n, began)| seen[&step(&salt, n)] - began).collect()
}

type Seen = Arc<Mutex<HashMap<String, Instant>>>;

/// Tables that note when all rows of a step were there for the first time.
#[derive(Debug)]
struct Visible {
    tables: Arc<dyn MetricsStore>,
    seen: Seen,
}

#[async_trait]
impl MetricsStore for Visible {
    fn name(&self) -> &'static str {
        self.tables.name()
    }

    fn patience(&self) -> Duration {
        self.tables.patience()
    }

    async fn prepare(&self) -> Result<(), StoreError> {
        self.tables.prepare().await
    }

    async fn insert_facts(&self, records: &[Arc<Record>]) -> Result<(), StoreError> {
        self.tables.insert_facts(records).await
    }

    async fn recompute(&self, touched: &Touched) -> Result<Heavy, StoreError> {
        let heavy = self.tables.recompute(touched).await?;
        let now = Instant::now();
        let mut seen = self.seen.lock().unwrap();
        for step in touched.all_steps() {
            seen.entry(step.to_owned()).or_insert(now);
        }
        Ok(heavy)
    }

    async fn insert_dead_letters(&self, letters: &[Arc<DeadLetter>]) -> Result<(), StoreError> {
        self.tables.insert_dead_letters(letters).await
    }

    async fn row_counts(&self) -> Result<RowCounts, StoreError> {
        self.tables.row_counts().await
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.tables.probe().await
    }
}
