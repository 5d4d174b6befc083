//! What a backend adds to its driver: `cargo bench --features full --bench queues [-- MESSAGES] [kafka | rabbitmq | nats | sqs]`.
//!
//! On real brokers, bodies of 1 KB: the driver in a bare loop that receives and acks, beside the worker's own loop with
//! stores that cost nothing. In the first table the bodies are envelopes without an event, so that only the queue's side is
//! measured; in the second they are events, and parsing, keys and stages count too. Both in one run, in turns, medians.

#![allow(missing_docs, unreachable_pub, dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

/// As the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[path = "../tests/support/mod.rs"]
mod support;

mod brokers;
#[path = "worker/used.rs"]
mod used;

use std::time::Duration;

use brokers::{Bench, Measure, each, through_the_worker};
use bytes::Bytes;
use support::load;
use used::cpu;
use xray_processor_worker::event::decode;

const ROUNDS: usize = 5;
const BODY: usize = 1000;

fn main() {
    let messages = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(50_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    for (what, bodies) in [("no events", nothing(messages)), ("events", load::decisions("", messages, BODY, 100))] {
        println!("\n{messages} bodies of {BODY} bytes, {what}; medians of {ROUNDS}");
        println!("| queue | bare driver, messages/s | worker | ratio | bare driver, CPU µs/message | worker |");
        println!("|---|---|---|---|---|---|");
        runtime.block_on(each(&mut Compare { bodies }));
    }
}

/// Envelopes without an event, acked as nothing.
fn nothing(messages: usize) -> Vec<Bytes> {
    let envelope = |note: &str| format!(r#"{{"type":"runs","data":[],"note":"{note}"}}"#);
    let body = Bytes::from(envelope(&"x".repeat(BODY - envelope("").len())));
    decode(&body, None, |part| panic!("{part:?} in it"));
    vec![body; messages]
}

struct Compare {
    bodies: Vec<Bytes>,
}

impl Measure for Compare {
    async fn measure<B: Bench>(&mut self, mut bench: B) {
        let bodies = &self.bodies;
        let (mut bare, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            bench.fill(bodies).await;
            let before = cpu("self")[0];
            let took = bench.bare(bodies.len()).await;
            bare.push((took, cpu("self")[0] - before));
            bench.fill(bodies).await;
            let before = cpu("self")[0];
            let took = through_the_worker(&mut bench, bodies.len(), support::nothing::stores()).await;
            ours.push((took, cpu("self")[0] - before));
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
}
