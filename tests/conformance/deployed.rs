//! The binary on a broker, an S3 server and ClickHouse: what people run, judged by the model.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use xray_processor_worker::event::kind_hint;
use xray_processor_worker::publish::Destinations;

use crate::harness::{Harness, Whose};
use crate::rig::{decision, until};
use crate::support::bodies::hostile;
use crate::support::deployment::Deployment;
use crate::support::model::{Input, State, expected};
use crate::support::servers::Server;
use crate::support::worker::{Running, output, ran, write_lines};

/// The sources that SDKs send to.
const SOURCES: [&str; 3] = ["xray.decisions", "xray.steps", "xray.runs"];

/// What a worker in a process of its own finds.
struct Site<'a, H> {
    harness: &'a H,
    stores: Deployment,
    dir: &'a Path,
}

impl<'a, H: Harness> Site<'a, H> {
    fn new(harness: &'a H, dir: &'a Path) -> Self {
        let stores = Deployment::new(Server::shared("versitygw"), Server::shared("clickhouse"));
        Site { harness, stores, dir }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.stores.worker(self.dir, args);
        command.envs(self.harness.variables()).env("HTTP_ADDR", "127.0.0.1:0");
        command
    }

    fn worker(&self) -> Running {
        Running(self.command(&["run"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    /// Confirmed by the broker when it returns.
    fn publish(&self, input: &str) {
        let published = output(&mut self.command(&["publish", input]));
        assert!(published.status.success(), "{}", String::from_utf8_lossy(&published.stderr));
    }

    /// Waits until no more than this is left at the broker, as long as it becomes less.
    async fn down_to(&self, left: u64) {
        let mut now = self.harness.left().await;
        while now > left {
            let before = now;
            until("work goes on", async || {
                now = self.harness.left().await;
                now < before
            })
            .await;
        }
    }

    async fn drained(&self) {
        self.down_to(0).await;
    }
}

/// What must be there after these bodies, each published where it belongs.
fn model(bodies: &[Vec<u8>], sources: &[&str]) -> State {
    let names: Vec<_> = sources.iter().map(|name| (*name).to_owned()).collect();
    let destinations = Destinations::new(&names);
    expected(bodies.iter().map(|body| {
        let hint = kind_hint(None, destinations.of(&Bytes::copy_from_slice(body)));
        Input { body, hint: hint.map(|kind| kind.as_str()) }
    }))
}

fn generated(dir: &Path, args: &[&str]) -> Vec<Vec<u8>> {
    let (code, _, stderr) = ran(dir, &[&["generate", "--output", "generated"], args].concat());
    assert_eq!(code, 0, "{stderr}");
    let text = std::fs::read(dir.join("generated")).unwrap();
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect()
}

/// Bare bodies without any header, steps that do not name their run, arrays, envelopes and bodies that mean harm, to three
/// sources that come into being when the first message is sent.
pub async fn what_sdks_send_to_sources_that_do_not_exist_yet<H: Harness>() {
    let dir = tempfile::tempdir().unwrap();
    let mut harness = H::start(Whose::Deployed).await;
    harness.use_default_sources();
    let site = Site::new(&harness, dir.path());
    let mut bodies = generated(dir.path(), &["--runs", "10", "--without-run-id", "0.7", "--batched", "0.1"]);
    bodies.extend(hostile().into_iter().filter(|body| !body.contains(&b'\n') && !body.trim_ascii().is_empty()));
    let worker = site.worker();
    // It must find them, not have found them.
    tokio::time::sleep(Duration::from_secs(2)).await;
    site.publish(&write_lines(dir.path().join("input"), &bodies));
    bodies.retain(|body| H::carries(body));
    site.drained().await;
    worker.terminate();
    site.stores.assert_state(&model(&bodies, &SOURCES));
}

/// In the order they come, some twice, some late; one of two workers is killed three times while there is work.
pub async fn twenty_thousand_events_two_workers_and_kill_9<H: Harness>() {
    let dir = tempfile::tempdir().unwrap();
    let harness = H::start(Whose::Deployed).await;
    let site = Site::new(&harness, dir.path());
    let mut bodies = generated(
        dir.path(),
        &["--runs", "285", "--duplicates", "0.05", "--reordered", "0.2", "--late", "0.1", "--conflicting", "0.01"],
    );
    let input = write_lines(dir.path().join("input"), &bodies);
    bodies.retain(|body| H::carries(body));
    let expected = model(&bodies, &[]);
    let events = expected.objects.len();
    assert!(events >= 20_000, "{events}");

    let mut workers = [site.worker(), site.worker()];
    site.publish(&input);
    for kill in 1..=3 {
        // Not by the clock: each time when a quarter more is stored.
        let left = bodies.len() as u64 * (4 - kill) / 4;
        site.down_to(left).await;
        workers[0].kill_9();
        workers[0] = site.worker();
    }
    site.drained().await;
    for mut worker in workers {
        worker.terminate();
        assert!(worker.ended().success());
    }
    assert_eq!(harness.left().await, 0);
    site.stores.assert_state(&expected);
}

/// What a store refused, and what is no event: what was mended since is stored, the rest is a dead letter as before.
pub async fn dead_letters_go_to_the_broker_again<H: Harness>() {
    let dir = tempfile::tempdir().unwrap();
    let harness = H::start(Whose::Deployed).await;
    let site = Site::new(&harness, dir.path());
    let migrated = output(&mut site.command(&["migrate"]));
    assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
    let tables = &site.stores.database;
    tables.query("ALTER TABLE {db}.decision_events ADD CONSTRAINT picky CHECK step_id != 'refused'");
    let bodies: Vec<Vec<u8>> = [
        Bytes::from_static(br#"{"id":"refused","type":"t","name":"n","startedAt":"2026-01-31T11:00:00Z"}"#),
        decision("good", "s"),
        decision("refused-1", "refused"),
        decision("refused-2", "refused"),
        Bytes::from_static(br#"{"type":"decision","data":{"id":"no event"}}"#),
    ]
    .map(Vec::from)
    .into();
    let mut command = site.command(&["run"]);
    command.env("STORE_REFUSED_AFTER_MS", "0").stdout(Stdio::null()).stderr(Stdio::null());
    let mut worker = Running(command.spawn().unwrap());
    site.publish(&write_lines(dir.path().join("input"), &bodies));
    site.drained().await;
    let letters =
        || tables.query("SELECT code, redriven_at IS NULL FROM {db}.dead_letters FINAL ORDER BY code FORMAT TSV");
    assert_eq!(letters(), "missing_field\t1\nstore_refused\t1\nstore_refused\t1\n");

    tables.query("ALTER TABLE {db}.decision_events DROP CONSTRAINT picky");
    let redrive = ["dead-letters", "redrive", "--to-queue", "--all", "--output", "json"];
    let redriven = output(&mut site.command(&redrive));
    assert!(redriven.status.success(), "{}", String::from_utf8_lossy(&redriven.stderr));
    let counts: serde_json::Value = serde_json::from_slice(&redriven.stdout).unwrap();
    assert_eq!((&counts["sent"], &counts["lost"]), (&3.into(), &0.into()), "{counts}");
    site.drained().await;
    let discarded = output(&mut site.command(&["dead-letters", "discard", "--code", "store_refused", "--yes"]));
    assert!(discarded.status.success(), "{}", String::from_utf8_lossy(&discarded.stderr));
    worker.terminate();
    assert!(worker.ended().success());
    site.stores.assert_state(&model(&bodies, &[]));
    // Nothing is left to send: all of them are marked, what is still none too.
    assert_eq!(letters(), "missing_field\t0\n");
    let again = output(&mut site.command(&redrive));
    let counts: serde_json::Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!((again.status.code(), &counts["sent"]), (Some(0), &0.into()), "{counts}");
    assert_eq!(harness.left().await, 0);
}
