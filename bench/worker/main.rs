//! The worker beside what its servers can take: `bench/run`, or
//! `TMPDIR=/dev/shm cargo bench --features full --bench worker [-- EVENTS] [small] [PART...]`.
//!
//! Its parts, all of them unless some are named, on real servers, whose ceilings are measured in turns with the worker, in the
//! same run and on the same bodies. Medians of several rounds. All share the machine's cores, so what the worker could reach
//! is 1 / Σ (1 / ceiling). docs/performance.md says what the tables mean.
//!
//! `TMPDIR` says where the servers keep their data: in memory it is us that is measured, and not a disk. Each part ends with a
//! table, and all of it with `target/bench-worker.json`; `small` measures a little of each.

#![allow(missing_docs, unreachable_pub, dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

/// As the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[path = "../../tests/support/mod.rs"]
mod support;

#[path = "../brokers/mod.rs"]
mod brokers;
mod ceilings;
mod filled;
mod fresh;
#[path = "../history.rs"]
mod history;
mod latency;
mod memory;
mod queued;
mod sinks;
mod stores;
mod table;
mod used;
mod worked;

use serde_json::{Value, json};
use support::servers::Server;

/// How much is measured.
struct Bench {
    events: usize,
    rounds: usize,
    /// One line, or a short one, of each part.
    small: bool,
    objects: &'static Server,
    tables: &'static Server,
}

type Part = (&'static str, fn(&Bench) -> Vec<Value>);

const PARTS: [Part; 5] = [
    ("stores", stores::measure),
    ("brokers", queued::measure),
    ("latency", latency::measure),
    ("sinks", sinks::measure),
    ("memory", memory::measure),
];

/// They take long, and are measured only where they are named.
const HEAVY: [Part; 1] = [("filled", filled::measure)];

fn main() {
    let events = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(10_000);
    let asked = |name: &str| std::env::args().any(|argument| argument == name);
    let named: Vec<Part> = PARTS.into_iter().chain(HEAVY).filter(|(name, _)| asked(name)).collect();
    let parts = if named.is_empty() { PARTS.to_vec() } else { named };
    let small = asked("small");
    let (objects, tables) = (Server::shared("versitygw"), Server::shared("clickhouse"));
    let bench = Bench { events, rounds: if small { 1 } else { 3 }, small, objects, tables };
    println!("{events} events a round, medians of {} rounds; CPU in µs an event", bench.rounds);
    let mut all = json!({ "events": events, "rounds": bench.rounds });
    for (name, measure) in parts {
        all[name] = measure(&bench).into();
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/target/bench-worker.json");
    std::fs::write(path, serde_json::to_vec_pretty(&all).unwrap()).unwrap();
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
}
