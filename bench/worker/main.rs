//! The worker beside what its servers can take: `TMPDIR=/dev/shm cargo bench --bench worker [-- EVENTS] [small]`.
//!
//! On a real S3 server and a real ClickHouse, for bodies of 0.5, 4 and 64 KB and for 1, 100 and 10,000 runs at a time: a bare
//! loop of conditional PUTs at its best concurrency, a bare loop of inserts and recomputes, and the worker from its input to
//! the last ack, on the same bodies. In turns, medians of several rounds. All share the machine's cores, so what the worker
//! could reach is 1 / (1 / PUTs + 1 / rows). The last is a directory, beside a bare writer of files that syncs in groups.
//!
//! `TMPDIR` says where the servers keep their data: in memory it is us that is measured, and not a disk. Ends with a table
//! and `target/bench-worker.json`; `small` measures one line only.

#![allow(missing_docs, unreachable_pub, dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

/// As the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[path = "../../tests/support/mod.rs"]
mod support;

mod ceilings;
mod used;
mod worked;

use serde_json::{Value, json};
use support::load;
use support::servers::Server;

const ROUNDS: usize = 3;

/// A line of the table.
struct Line {
    stores: &'static str,
    bytes: usize,
    runs: usize,
}

fn main() {
    let events: usize = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(10_000);
    let small = std::env::args().any(|argument| argument == "small");
    let (objects, tables) = (Server::shared("versitygw"), Server::shared("clickhouse"));
    let servers = |bytes, runs| Line { stores: "versitygw, ClickHouse", bytes, runs };
    let mut lines = vec![servers(4096, 100)];
    if !small {
        lines.extend([servers(512, 100), servers(65_536, 100), servers(4096, 1), servers(4096, 10_000)]);
        lines.push(Line { stores: "directory", bytes: 4096, runs: 100 });
    }
    println!("{events} events a round, medians of {ROUNDS} rounds; CPU in µs an event");
    println!(
        "| stores | bytes | runs | PUTs/s | rows/s | bound/s | worker/s | of the bound | PUT CPU | worker CPU | ratio | S3 CPU | ClickHouse CPU | RSS MB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    let mut all = Vec::new();
    for line in lines {
        // Large bodies fewer, or the servers' memory would be what is measured.
        let events = if line.bytes > 32_768 { events / 4 } else { events };
        let measured = match line.stores {
            "directory" => directory(&line, events),
            _ => on_servers(&line, events, objects, tables),
        };
        println!("{}", row(&measured));
        all.push(measured);
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/target/bench-worker.json");
    std::fs::write(
        path,
        serde_json::to_vec_pretty(&json!({ "events": events, "rounds": ROUNDS, "lines": all })).unwrap(),
    )
    .unwrap();
}

fn on_servers(line: &Line, events: usize, objects: &'static Server, tables: &'static Server) -> Value {
    let (mut puts, mut rows, mut worked) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let bodies = load::decisions(&format!("{}-{}-{round}", line.bytes, line.runs), events, line.bytes, line.runs);
        puts.push(ceilings::puts(objects, &bodies));
        rows.push(ceilings::rows(tables, &bodies));
        worked.push(worked::on_servers(objects, tables, &bodies));
    }
    let (puts, rows, worked) = (used::median(puts), used::median(rows), used::median(worked));
    let bound = 1.0 / (1.0 / puts.rate + 1.0 / rows.rate);
    json!({
        "stores": line.stores, "bytes": line.bytes, "runs": line.runs, "puts": puts.rate, "rows": rows.rate, "bound": bound,
        "worker": worked.rate, "ofBound": worked.rate / bound, "putCpu": puts.cpu, "workerCpu": worked.cpu,
        "cpuRatio": worked.cpu / puts.cpu, "objectsCpu": worked.objects_cpu, "tablesCpu": worked.tables_cpu, "rss": worked.rss,
    })
}

fn directory(line: &Line, events: usize) -> Value {
    let (mut bare, mut worked) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let bodies = load::decisions(&format!("d-{round}"), events, line.bytes, line.runs);
        bare.push(ceilings::files(&bodies));
        worked.push(worked::in_directory(&bodies));
    }
    let (bare, worked) = (used::median(bare), used::median(worked));
    json!({
        "stores": line.stores, "bytes": line.bytes, "runs": line.runs, "puts": bare.rate, "bound": bare.rate,
        "worker": worked.rate, "ofBound": worked.rate / bare.rate, "putCpu": bare.cpu, "workerCpu": worked.cpu,
        "cpuRatio": worked.cpu / bare.cpu, "rss": worked.rss,
    })
}

fn row(line: &Value) -> String {
    let number =
        |name: &str, digits: usize| line[name].as_f64().map_or("–".to_owned(), |value| format!("{value:.digits$}"));
    let columns = [
        line["stores"].as_str().unwrap_or_default().to_owned(),
        number("bytes", 0),
        number("runs", 0),
        number("puts", 0),
        number("rows", 0),
        number("bound", 0),
        number("worker", 0),
        number("ofBound", 2),
        number("putCpu", 0),
        number("workerCpu", 0),
        number("cpuRatio", 2),
        number("objectsCpu", 0),
        number("tablesCpu", 0),
        number("rss", 0),
    ];
    format!("| {} |", columns.join(" | "))
}
