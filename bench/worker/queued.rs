//! From each broker to the last ack, beside what broker and stores take.

use std::time::Duration;

use serde_json::{Value, json};

use crate::brokers::{self, Measure, through_the_worker};
use crate::support::load;
use crate::table::{self, Column};
use crate::used::{self, Used, cpu, each};
use crate::{Bench, ceilings, fresh, runtime};

const COLUMNS: [Column; 12] = [
    ("broker", "broker", 0),
    ("bytes", "bytes", 0),
    ("receives/s", "receives", 0),
    ("PUTs/s", "puts", 0),
    ("rows/s", "rows", 0),
    ("bound/s", "bound", 0),
    ("worker/s", "worker", 0),
    ("of the bound", "ofBound", 2),
    ("receive CPU", "receiveCpu", 0),
    ("PUT CPU", "putCpu", 0),
    ("worker CPU", "workerCpu", 0),
    ("ratio", "cpuRatio", 2),
];
const RUNS: usize = 100;

/// In this process, so that all but the servers is the worker's.
pub fn measure(bench: &Bench) -> Vec<Value> {
    table::head("From each broker to the last ack", &COLUMNS);
    let mut queued = Queued { bench, lines: Vec::new() };
    runtime().block_on(brokers::each(&mut queued));
    queued.lines
}

struct Queued<'a> {
    bench: &'a Bench,
    lines: Vec<Value>,
}

impl Measure for Queued<'_> {
    async fn measure<B: brokers::Bench>(&mut self, mut broker: B) {
        let sizes: &[usize] = if B::NAME == "kafka" && !self.bench.small { &[4096, 1024] } else { &[4096] };
        for bytes in sizes {
            let line = self.line(&mut broker, *bytes).await;
            table::row(&COLUMNS, &line);
            self.lines.push(line);
        }
    }
}

impl Queued<'_> {
    async fn line<B: brokers::Bench>(&self, broker: &mut B, bytes: usize) -> Value {
        let Bench { events, objects, tables, .. } = *self.bench;
        let (mut received, mut puts, mut rows, mut worked) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for round in 0..self.bench.rounds {
            let bodies = load::decisions(&format!("{}-{bytes}-{round}", B::NAME), events, bytes, RUNS);
            puts.push(ceilings::puts(objects, &bodies).await);
            rows.push(ceilings::rows(tables, &bodies).await);

            broker.fill(&bodies).await;
            let before = cpu("self")[0];
            let took = broker.bare(events).await;
            received.push(used(took, cpu("self")[0] - before, events));

            broker.fill(&bodies).await;
            let (stores, database) = fresh::stores(objects, tables).await;
            let before = cpu("self")[0];
            let took = through_the_worker(broker, events, stores).await;
            worked.push(used(took, cpu("self")[0] - before, events));
            database.query("DROP DATABASE {db}");
        }
        let [received, puts, rows, worked] = [received, puts, rows, worked].map(used::median);
        let bound = 1.0 / [received, puts, rows].map(|ceiling| 1.0 / ceiling.rate).iter().sum::<f64>();
        json!({
            "broker": B::NAME, "bytes": bytes, "receives": received.rate, "puts": puts.rate, "rows": rows.rate, "bound": bound,
            "worker": worked.rate, "ofBound": worked.rate / bound, "receiveCpu": received.cpu, "putCpu": puts.cpu,
            "workerCpu": worked.cpu, "cpuRatio": worked.cpu / puts.cpu,
        })
    }
}

fn used(took: Duration, cpu: Duration, events: usize) -> Used {
    Used { rate: events as f64 / took.as_secs_f64(), cpu: each(cpu, events), ..Used::default() }
}
