//! From a file to the last ack, beside what the stores take.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::support::load;
use crate::table::{self, Column};
use crate::{Bench, ceilings, runtime, used, worked};

const COLUMNS: [Column; 14] = [
    ("stores", "stores", 0),
    ("bytes", "bytes", 0),
    ("runs", "runs", 0),
    ("PUTs/s", "puts", 0),
    ("rows/s", "rows", 0),
    ("bound/s", "bound", 0),
    ("worker/s", "worker", 0),
    ("of the bound", "ofBound", 2),
    ("PUT CPU", "putCpu", 0),
    ("worker CPU", "workerCpu", 0),
    ("ratio", "cpuRatio", 2),
    ("S3 CPU", "objectsCpu", 0),
    ("ClickHouse CPU", "tablesCpu", 0),
    ("RSS MB", "rss", 0),
];

/// A line of the table.
struct Line {
    stores: &'static str,
    bytes: usize,
    runs: usize,
}

pub fn measure(bench: &Bench) -> Vec<Value> {
    let servers = |bytes, runs| Line { stores: "versitygw, ClickHouse", bytes, runs };
    let mut lines = vec![servers(4096, 100)];
    if !bench.small {
        lines.extend([servers(512, 100), servers(65_536, 100), servers(4096, 1), servers(4096, 10_000)]);
        lines.push(Line { stores: "directory", bytes: 4096, runs: 100 });
    }
    table::head("From a file to the last ack", &COLUMNS);
    let line = |line: Line| {
        // Large bodies fewer, or the servers' memory would be what is measured.
        let events = if line.bytes > 32_768 { bench.events / 4 } else { bench.events };
        let measured = match line.stores {
            "directory" => directory(bench, &line, events),
            _ => on_servers(bench, &line, events),
        };
        table::row(&COLUMNS, &measured);
        measured
    };
    lines.into_iter().map(line).collect()
}

fn on_servers(bench: &Bench, line: &Line, events: usize) -> Value {
    let runtime = runtime();
    let (mut puts, mut rows, mut worked) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..bench.rounds {
        let bodies = load::decisions(&format!("{}-{}-{round}", line.bytes, line.runs), events, line.bytes, line.runs);
        puts.push(runtime.block_on(ceilings::puts(bench.objects, &bodies)));
        rows.push(runtime.block_on(ceilings::rows(bench.tables, &bodies)));
        let run = |bodies: &[Bytes]| worked::on_servers(bench.objects, bench.tables, bodies);
        let one = run(&bodies[..1]);
        worked.push(run(&bodies).without(one, events));
    }
    let (puts, rows, worked) = (used::median(puts), used::median(rows), used::median(worked));
    let bound = 1.0 / (1.0 / puts.rate + 1.0 / rows.rate);
    json!({
        "stores": line.stores, "bytes": line.bytes, "runs": line.runs, "puts": puts.rate, "rows": rows.rate, "bound": bound,
        "worker": worked.rate, "ofBound": worked.rate / bound, "putCpu": puts.cpu, "workerCpu": worked.cpu,
        "cpuRatio": worked.cpu / puts.cpu, "objectsCpu": worked.objects_cpu, "tablesCpu": worked.tables_cpu, "rss": worked.rss,
    })
}

/// Beside a bare writer of files that syncs in groups.
fn directory(bench: &Bench, line: &Line, events: usize) -> Value {
    let (mut bare, mut worked) = (Vec::new(), Vec::new());
    for round in 0..bench.rounds {
        let bodies = load::decisions(&format!("d-{round}"), events, line.bytes, line.runs);
        bare.push(ceilings::files(&bodies));
        let one = worked::in_directory(&bodies[..1]);
        worked.push(worked::in_directory(&bodies).without(one, events));
    }
    let (bare, worked) = (used::median(bare), used::median(worked));
    json!({
        "stores": line.stores, "bytes": line.bytes, "runs": line.runs, "puts": bare.rate, "bound": bare.rate,
        "worker": worked.rate, "ofBound": worked.rate / bare.rate, "putCpu": bare.cpu, "workerCpu": worked.cpu,
        "cpuRatio": worked.cpu / bare.cpu, "rss": worked.rss,
    })
}
