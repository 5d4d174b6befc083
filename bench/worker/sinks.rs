//! The worker on stores that answer at once: what it could do itself.

use serde_json::{Value, json};

use crate::Bench;
use crate::support::deployment::Deployment;
use crate::support::instant::Instant;
use crate::support::load;
use crate::support::proxy::tell;
use crate::table::{self, Column};
use crate::used::{self, Used};
use crate::worked::{input, measured};

const COLUMNS: [Column; 5] = [
    ("bytes", "bytes", 0),
    ("worker/s", "worker", 0),
    ("worker CPU", "workerCpu", 1),
    ("events per CPU second", "perCpuSecond", 0),
    ("RSS MB", "rss", 0),
];

pub fn measure(bench: &Bench) -> Vec<Value> {
    table::head("Against stores that answer at once", &COLUMNS);
    let sizes: &[usize] = if bench.small { &[1024] } else { &[1024, 4096] };
    let line = |bytes: &usize| {
        // Several times as many, as these are cheap.
        let events = bench.events * 5;
        let round = |_| {
            let one = run(bench, *bytes, 1);
            run(bench, *bytes, events).without(one, events)
        };
        let used = used::median((0..bench.rounds).map(round).collect());
        let line = json!({
            "bytes": bytes, "events": events, "worker": used.rate, "workerCpu": used.cpu, "perCpuSecond": 1e6 / used.cpu,
            "rss": used.rss,
        });
        table::row(&COLUMNS, &line);
        line
    };
    sizes.iter().map(line).collect()
}

fn run(bench: &Bench, bytes: usize, events: usize) -> Used {
    let deployment = Deployment::new(bench.objects, bench.tables);
    let instant = Instant::before(bench.objects, bench.tables);
    let dir = tempfile::tempdir().unwrap();
    let input = input(dir.path(), &load::decisions("sink", events, bytes, 100));
    let mut command = deployment.input(dir.path(), &input);
    command.envs(tell(&instant.objects, &instant.tables));
    let used = measured(command, events);
    deployment.database.query("DROP DATABASE {db}");
    used
}
