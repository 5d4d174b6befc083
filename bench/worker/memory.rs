//! How large the worker gets while its stores are down: by then it holds all that it ever holds.

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::Bench;
use crate::support::deployment::Deployment;
use crate::support::load;
use crate::support::proxy::{Fault, Proxy, tell};
use crate::table::{self, Column};
use crate::worked::{input, measured};

const COLUMNS: [Column; 5] = [
    ("bytes", "bytes", 0),
    ("events", "events", 0),
    ("down s", "down", 0),
    ("RSS MB", "rss", 0),
    ("60 MB + 1.5 × MAX_IN_FLIGHT_BYTES", "target", 0),
];
/// `MAX_IN_FLIGHT_BYTES`, by default.
const IN_FLIGHT_MIB: f64 = 64.0;

pub fn measure(bench: &Bench) -> Vec<Value> {
    table::head("While the stores are down", &COLUMNS);
    let down = Duration::from_secs(if bench.small { 5 } else { 60 });
    // More than it may hold.
    let line = |(bytes, events): (usize, usize)| {
        let rss = run(bench, bytes, events, down);
        let target = 60.0 + 1.5 * IN_FLIGHT_MIB;
        let line = json!({ "bytes": bytes, "events": events, "down": down.as_secs(), "rss": rss, "target": target });
        table::row(&COLUMNS, &line);
        line
    };
    [(1 << 10, 30_000), (1 << 20, 150)].into_iter().map(line).collect()
}

fn run(bench: &Bench, bytes: usize, events: usize, down: Duration) -> f64 {
    let deployment = Deployment::new(bench.objects, bench.tables);
    let proxies = [bench.objects, bench.tables].map(|server| Proxy::start(server.running().port));
    let [objects, tables] = &proxies;
    // Found, and then writes of events fail.
    objects.set_by(|request| if request.target.contains("/decisions/") { Fault::Refuse } else { Fault::Pass });
    let dir = tempfile::tempdir().unwrap();
    let input = input(dir.path(), &load::decisions("memory", events, bytes, 100));
    let mut command = deployment.input(dir.path(), &input);
    command.envs(tell(objects, tables));
    let used = thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(down);
            objects.set(Fault::Pass);
        });
        measured(command, events)
    });
    deployment.database.query("DROP DATABASE {db}");
    used.rss
}
