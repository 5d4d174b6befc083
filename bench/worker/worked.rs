//! The worker as a process, from its input to the end.

use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use crate::support::deployment::Deployment;
use crate::support::servers::Server;
use crate::support::worker::{worker, write_lines};
use crate::used::{Used, cpu, each};

pub fn on_servers(objects: &'static Server, tables: &'static Server, bodies: &[Bytes]) -> Used {
    let deployment = Deployment::new(objects, tables);
    let dir = tempfile::tempdir().unwrap();
    let input = input(dir.path(), bodies);
    let pids = [objects, tables].map(|server| server.running().pid.to_string());
    let before = pids.each_ref().map(|pid| cpu(pid)[0]);
    let mut used = measured(deployment.input(dir.path(), &input), bodies.len());
    let [objects, tables] = [0, 1].map(|at| each(cpu(&pids[at])[0] - before[at], bodies.len()));
    (used.objects_cpu, used.tables_cpu) = (objects, tables);
    deployment.database.query("DROP DATABASE {db}");
    used
}

pub fn in_directory(bodies: &[Bytes]) -> Used {
    let dir = tempfile::tempdir_in(concat!(env!("CARGO_MANIFEST_DIR"), "/target")).unwrap();
    let input = input(dir.path(), bodies);
    let args = ["run", "--embedded", "--data", "data", "--input", &input, "--output", "json"];
    measured(worker(dir.path(), &args), bodies.len())
}

pub fn input(dir: &std::path::Path, bodies: &[Bytes]) -> String {
    write_lines(dir.join("input"), &bodies.iter().map(|body| body.to_vec()).collect::<Vec<_>>())
}

pub fn measured(mut command: Command, events: usize) -> Used {
    let before = cpu("self")[1];
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut rss = 0;
    while child.try_wait().unwrap().is_none() {
        let now = std::fs::read_to_string(&status).unwrap_or_default();
        let peak = now.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
        rss = rss.max(peak.unwrap_or(0_u64));
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    let used = cpu("self")[1] - before;
    Used {
        rate: events as f64 / summary["seconds"].as_f64().unwrap(),
        cpu: each(used, events),
        rss: rss as f64 / 1024.0,
        ..Used::default()
    }
}
