//! The worker on tables that hold little, and on those that hold much.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::Bench;
use crate::history::{DECISIONS_OF_RUN, MONTHS, batch, fill};
use crate::support::clickhouse::block_on;
use crate::support::deployment::Deployment;
use crate::table::{self, Column};
use crate::used::{self, Used};
use crate::worked::{input, measured};

const COLUMNS: [Column; 5] = [
    ("stored decisions", "stored", 0),
    ("worker/s", "worker", 0),
    ("of the first", "ofFirst", 2),
    ("worker CPU", "workerCpu", 0),
    ("RSS MB", "rss", 0),
];
const STORED: [u64; 2] = [100_000, 10_000_000];
const SMALL: [u64; 2] = [24_000, 240_000];
/// Decisions of 100 runs, of any month.
const BATCH: usize = 1000;

/// In turns, on both.
pub fn measure(bench: &Bench) -> Vec<Value> {
    let stored = if bench.small { SMALL } else { STORED };
    let filled = stored.map(|stored| {
        let deployment = Deployment::new(bench.objects, bench.tables);
        block_on(async { drop(deployment.database.tables().await) });
        (0..MONTHS).for_each(|month| fill(&deployment.database, month, stored / MONTHS));
        deployment
    });
    let mut rounds: [Vec<Used>; 2] = Default::default();
    for round in 0..=bench.rounds {
        for ((deployment, stored), rounds) in filled.iter().zip(stored).zip(&mut rounds) {
            rounds.push(run(deployment, stored, round, bench.events));
        }
    }
    table::head("On tables that hold little and much", &COLUMNS);
    // The first finds nothing in the server's caches.
    let medians = rounds.map(|rounds| used::median(rounds[1..].to_vec()));
    let line = |(stored, used): (u64, Used)| {
        let line = json!({
            "stored": stored, "worker": used.rate, "ofFirst": used.rate / medians[0].rate, "workerCpu": used.cpu, "rss": used.rss,
        });
        table::row(&COLUMNS, &line);
        line
    };
    stored.into_iter().zip(medians).map(line).collect()
}

fn run(deployment: &Deployment, stored: u64, round: usize, events: usize) -> Used {
    let dir = tempfile::tempdir().unwrap();
    let batches = (0..events.div_ceil(BATCH)).map(|n| n + round * 1_000_000);
    let runs_of_month = stored / MONTHS / DECISIONS_OF_RUN;
    let bodies: Vec<_> = batches.flat_map(|n| batch(n as u64, runs_of_month, MONTHS)).collect();
    let run = |bodies: &[Bytes]| {
        let input = input(dir.path(), bodies);
        measured(deployment.input(dir.path(), &input), bodies.len())
    };
    // To count all rows at the end takes long where there are many.
    let one = run(&bodies[..1]);
    run(&bodies[1..]).without(one, bodies.len() - 1)
}
