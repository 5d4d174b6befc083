//! What a backend adds to its driver: `cargo bench --features full --bench queues [-- MESSAGES] [kafka | rabbitmq | nats | sqs]`.
//!
//! On real brokers, bodies of 1 KB: the driver in a bare loop that receives and acks, beside the worker's own loop with
//! stores that cost nothing. In the first table the bodies are envelopes without an event, so that only the queue's side is
//! measured; in the second they are events, and parsing, keys and stages count too. Both in one run, in turns, medians.

#![allow(missing_docs, unreachable_pub, dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

/// As the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[path = "../../tests/support/mod.rs"]
mod support;

mod kafka;
mod nats;
mod rabbitmq;
mod sqs;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use support::context::context;
use xray_processor_worker::budget::{Budget, Room};
use xray_processor_worker::config;
use xray_processor_worker::event::decode;
use xray_processor_worker::pipeline::{Delivery, Limits, Stored};
use xray_processor_worker::queue::{Producer, QueueBackend, QueueError};
use xray_processor_worker::worker::{self, Settings, Stop};

const ROUNDS: usize = 5;
const BODY: usize = 1000;

/// A broker to measure.
pub trait Bench {
    const NAME: &'static str;
    type Queue: QueueBackend;
    /// Puts the bodies where the next measurement finds them.
    fn fill(&mut self, bodies: &[Bytes]) -> impl Future<Output = ()>;
    /// The driver alone: from the first message to the last ack.
    fn bare(&mut self, messages: usize) -> impl Future<Output = Duration>;
    fn queue(&mut self, limits: &config::Limits) -> Self::Queue;
}

fn main() {
    let messages = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(50_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    for (what, body) in [("no events", nothing as fn(usize) -> Bytes), ("events", event)] {
        println!("\n{messages} bodies of {BODY} bytes, {what}; medians of {ROUNDS}");
        println!("| queue | bare driver, messages/s | worker | ratio | bare driver, CPU µs/message | worker |");
        println!("|---|---|---|---|---|---|");
        let bodies: Vec<Bytes> = (0..messages).map(body).collect();
        let asked_for = |name: &str| {
            let mut others =
                std::env::args().filter(|argument| ["kafka", "rabbitmq", "nats", "sqs"].contains(&argument.as_str()));
            others.next().is_none_or(|other| other == name)
        };
        if asked_for(kafka::KafkaBench::NAME) {
            runtime.block_on(compare(kafka::KafkaBench::start(), &bodies));
        }
        if asked_for(rabbitmq::RabbitmqBench::NAME) {
            runtime.block_on(compare(rabbitmq::RabbitmqBench::start(), &bodies));
        }
        if asked_for(nats::NatsBench::NAME) {
            runtime.block_on(compare(nats::NatsBench::start(), &bodies));
        }
        if asked_for(sqs::SqsBench::NAME) {
            runtime.block_on(compare(sqs::SqsBench::start(), &bodies));
        }
    }
}

/// An envelope without an event, acked as nothing.
fn nothing(_: usize) -> Bytes {
    let envelope = |note: &str| format!(r#"{{"type":"runs","data":[],"note":"{note}"}}"#);
    let body = Bytes::from(envelope(&"x".repeat(BODY - envelope("").len())));
    decode(&body, None, |part| panic!("{part:?} in it"));
    body
}

fn event(n: usize) -> Bytes {
    let event = format!(
        r#"{{"id":"{n}","stepId":"s-{}","runId":"r","outcome":"kept","itemId":"i","timestamp":"2026-01-31T12:00:00Z","input":""}}"#,
        n % 100
    );
    let ballast = "x".repeat(BODY - event.len());
    event.replace(r#""input":"""#, &format!(r#""input":"{ballast}""#)).into()
}

async fn compare<B: Bench>(mut bench: B, bodies: &[Bytes]) {
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bench.fill(bodies).await;
        let before = cpu();
        let took = bench.bare(bodies.len()).await;
        bare.push((took, cpu() - before));
        bench.fill(bodies).await;
        let before = cpu();
        let took = through_the_worker(&mut bench, bodies.len()).await;
        ours.push((took, cpu() - before));
    }
    let messages = bodies.len() as f64;
    let median = |mut all: Vec<Duration>| {
        all.sort();
        all[all.len() / 2].as_secs_f64()
    };
    let [(bare, bare_cpu), (ours, ours_cpu)] = [bare, ours].map(|rounds| {
        let (took, cpu): (Vec<_>, Vec<_>) = rounds.into_iter().unzip();
        (messages / median(took), median(cpu) * 1e6 / messages)
    });
    println!("| {} | {bare:.0} | {ours:.0} | {:.2} | {bare_cpu:.2} | {ours_cpu:.2} |", B::NAME, ours / bare);
}

/// Sends all of them, some thousands at a time.
async fn fill(producer: &impl Producer, to: &str, bodies: &[Bytes]) {
    let sending = bodies.iter().map(|body| producer.send(to, body.clone()));
    let sent = stream::iter(sending).buffered(5000);
    sent.for_each(async |sent| sent.unwrap()).await;
}

/// What this process has used so far: the driver's own threads count, the broker does not.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // After the name, which may hold spaces, `utime` and `stime` are the 12th and 13th.
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let ticks: u64 = fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

async fn through_the_worker<B: Bench>(bench: &mut B, messages: usize) -> Duration {
    let limits =
        config::Limits { max_event_bytes: 10 << 20, max_in_flight_messages: 10_000, max_in_flight_bytes: 64 << 20 };
    let queue = Timed {
        queue: bench.queue(&limits),
        began: Mutex::default(),
        acked: AtomicUsize::new(0),
        messages,
        stop: Stop::default(),
    };
    let budget = Budget::new(limits.max_in_flight_messages, limits.max_in_flight_bytes);
    let context = context(support::nothing::stores(), budget);
    let settings = Settings {
        batch_size: 10,
        poll_interval: Duration::from_secs(1),
        shutdown_timeout: Duration::from_secs(10),
        limits: Limits { max_event_bytes: limits.max_event_bytes, refused_for: Duration::ZERO },
    };
    let stop = queue.stop.clone();
    worker::run(&queue, &context, settings, &stop).await.unwrap();
    let (began, ended) = *queue.began.lock().unwrap();
    ended.unwrap() - began.unwrap()
}

/// Looks at the clock when the first message comes and when the last ack is out.
#[derive(Debug)]
struct Timed<Q> {
    queue: Q,
    began: Mutex<(Option<Instant>, Option<Instant>)>,
    acked: AtomicUsize,
    messages: usize,
    stop: Stop,
}

impl<Q: QueueBackend> QueueBackend for Timed<Q> {
    const NAME: &'static str = Q::NAME;
    type Receipt = Q::Receipt;

    async fn receive(&self, room: Room, wait: Duration) -> Result<Vec<Delivery<Q::Receipt>>, QueueError> {
        let received = self.queue.receive(room, wait).await;
        if received.as_ref().is_ok_and(|received| !received.is_empty()) {
            self.began.lock().unwrap().0.get_or_insert_with(Instant::now);
        }
        received
    }

    async fn ack(&self, stored: Vec<Stored<Q::Receipt>>) -> Result<(), QueueError> {
        let count = stored.len();
        self.queue.ack(stored).await?;
        if self.acked.fetch_add(count, Relaxed) + count >= self.messages {
            self.began.lock().unwrap().1 = Some(Instant::now());
            self.stop.drain.cancel();
        }
        Ok(())
    }

    async fn release(&self, receipts: Vec<Q::Receipt>) -> Result<(), QueueError> {
        self.queue.release(receipts).await
    }

    async fn close(&self) -> Result<(), QueueError> {
        self.queue.close().await
    }
}
