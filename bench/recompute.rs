//! What a batch costs on ClickHouse, whatever else is stored: `cargo bench --bench recompute [-- ROWS...]`.
//!
//! Fills a database with decisions over 24 months (100,000 and 10,000,000 by default, 100 in a run, 7 steps), then handles
//! batches of 1,000 new decisions of 100 runs as a worker does, and prints the medians of facts and of recompute with
//! what the server read for it. Last, a step that holds a million decisions and gets more.

#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../tests/support/mod.rs"]
mod support;

mod history;

use std::time::{Duration, Instant};

use bytes::Bytes;
use history::{DECISIONS_OF_RUN, MONTHS, batch, fill, hashed};
use support::clickhouse::Database;
use support::events::records;
use support::servers::Server;
use xray_processor_worker::store::clickhouse::ClickHouseTables;
use xray_processor_worker::store::{MetricsStore, Touched};

const ROUNDS: usize = 15;

fn main() {
    // `cargo bench` adds an argument of its own.
    let rows: Vec<u64> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let rows = if rows.is_empty() { vec![100_000, 10_000_000] } else { rows };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let server = Server::shared("clickhouse");
    println!("| stored decisions | batch | facts | recompute | rows read | granules read |\n|---|---|---|---|---|---|");
    for rows in rows {
        let database = Database::on(server);
        let tables = runtime.block_on(database.tables());
        let per_month = rows / MONTHS;
        (0..MONTHS).for_each(|month| fill(&database, month, per_month));
        for (name, months) in [("100 runs of this month", 1), ("100 runs of 24 months", MONTHS)] {
            let batches = (0..=ROUNDS as u64).map(|round| batch(round, per_month / DECISIONS_OF_RUN, months));
            let costs: Vec<Cost> = batches.map(|batch| runtime.block_on(cost(&database, &tables, &batch))).collect();
            print(&rows.to_string(), name, &costs[1..]);
        }
        if rows > 1_000_000 {
            hot(&database, 1_000_000);
            let costs: Vec<Cost> =
                (0..5).map(|round| runtime.block_on(cost(&database, &tables, &more_of_the_hot_step(round)))).collect();
            print(&rows.to_string(), "1 step of 1,000,000", &costs[1..]);
        }
        database.query("DROP DATABASE {db}");
    }
}

/// One step of one run with very many decisions.
fn hot(database: &Database, decisions: u64) {
    let event = hashed("'hot', toString(number)");
    database.query(&format!(
        "INSERT INTO {{db}}.decision_events SELECT {event}, 'hot', 'hot', 'p', 'kept', 'i', NULL, toDateTime64('2025-12-15 12:00:00', 3, 'UTC'),
                NULL, NULL, 'k', now64(3), toUInt256(cityHash64(number)) + 1 FROM numbers({decisions})"
    ));
}

fn more_of_the_hot_step(round: u64) -> Vec<Bytes> {
    let decision = |n: u64| {
        Bytes::from(format!(
            r#"{{"id":"more-{round}-{n}","stepId":"hot","runId":"hot","outcome":"kept","itemId":"i","timestamp":"2025-12-15T13:00:00Z"}}"#
        ))
    };
    (0..1000).map(decision).collect()
}

struct Cost {
    facts: Duration,
    recompute: Duration,
    rows: u64,
    granules: u64,
}

async fn cost(database: &Database, tables: &ClickHouseTables, batch: &[Bytes]) -> Cost {
    let records = records(batch);
    let began = Instant::now();
    tables.insert_facts(&records).await.unwrap();
    let facts = began.elapsed();
    let before = counters(database);
    let began = Instant::now();
    tables.recompute(&Touched::by(&records)).await.unwrap();
    let recompute = began.elapsed();
    let after = counters(database);
    Cost { facts, recompute, rows: after.0 - before.0, granules: after.1 - before.1 }
}

/// What the server has read since it started.
fn counters(database: &Database) -> (u64, u64) {
    let read = |event: &str| {
        let sql = format!("SELECT sum(value) FROM system.events WHERE event = '{event}' FORMAT TSV");
        database.query(&sql).trim().parse().unwrap()
    };
    (read("SelectedRows"), read("SelectedMarks"))
}

fn print(rows: &str, batch: &str, costs: &[Cost]) {
    let median = |of: &dyn Fn(&Cost) -> f64| {
        let mut values: Vec<f64> = costs.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    println!(
        "| {rows} | {batch} | {:.0} ms | {:.0} ms | {:.0} | {:.0} |",
        median(&|cost| cost.facts.as_secs_f64() * 1000.0),
        median(&|cost| cost.recompute.as_secs_f64() * 1000.0),
        median(&|cost| cost.rows as f64),
        median(&|cost| cost.granules as f64),
    );
}
