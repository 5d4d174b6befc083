//! Two processes that hammer the same few keys on the real engine.

use std::fmt::Write;
use std::process::Stdio;

use crate::support::bodies::shuffled;
use crate::support::bucket;
use crate::support::clickhouse::{Database, block_on};
use crate::support::model::{Input, diff, expected};
use crate::support::servers::Server;
use crate::support::state::read_servers;
use crate::support::worker::{Running, worker, write_lines};

/// One run, three steps that change it, decisions of all of them, reports of equal rank, conflicts.
fn hot() -> Vec<Vec<u8>> {
    let mut bodies = Vec::new();
    for n in 0..600 {
        let (step, run) = (n % 3, if n % 7 == 0 { "b" } else { "a" });
        let mut body = String::new();
        let decision = format!(
            r#"{{"id":"d{}","stepId":"s{step}","runId":"{run}","outcome":"kept","itemId":"i","timestamp":"2026-01-31T12:00:00Z","score":{}}}"#,
            n / 2,
            n % 5
        );
        write!(body, "{decision}").unwrap();
        bodies.push(body.into_bytes());
        if n % 10 == 0 {
            let run = ["", r#","runId":"a""#, r#","runId":"b""#, r#","runId":"c""#][n / 10 % 4];
            bodies.push(
                format!(r#"{{"id":"s{step}","type":"t","name":"{n}","startedAt":"2026-01-31T11:00:00Z"{run}}}"#)
                    .into_bytes(),
            );
            bodies.push(
                format!(
                    r#"{{"id":"{}","pipelineId":"p{n}","status":"running","startedAt":"2026-01-31T11:00:00Z"}}"#,
                    ["a", "b", "c"][n / 10 % 3]
                )
                .into_bytes(),
            );
        }
    }
    bodies
}

#[test]
fn two_processes_on_the_same_keys() {
    let dir = tempfile::tempdir().unwrap();
    let bodies = hot();
    let settings = bucket::settings(Server::shared("minio"));
    block_on(bucket::ready(&settings));
    let database = Database::fresh();
    let running: Vec<Running> = (0..2)
        .map(|n| {
            let bodies = if n == 0 { bodies.clone() } else { shuffled(&bodies) };
            let input = write_lines(dir.path().join(format!("input-{n}")), &bodies);
            let mut command = worker(dir.path(), &["run", "--input", &input]);
            Server::shared("clickhouse").tell(Server::shared("minio").tell(&mut command));
            // Few at a time, so that there are many recomputes to race.
            command.env("MAX_IN_FLIGHT_MESSAGES", "20").env("MINIO_BUCKET", &settings.bucket);
            command.env("CLICKHOUSE_DATABASE", &database.name).stdout(Stdio::null()).stderr(Stdio::null());
            Running(command.spawn().unwrap())
        })
        .collect();
    for mut process in running {
        assert!(process.ended().success());
    }
    let model = expected(bodies.iter().map(|body| Input { body, hint: None }));
    let differences = diff(&model, &read_servers(&settings, &database));
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
