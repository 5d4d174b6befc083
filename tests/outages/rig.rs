//! The binary as a service on real stores, with a proxy before each, and producers that send until they are told "durable".

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::sleep;
use xray_processor_worker::generate::{Lines, Plan};

use crate::support::deployment::Deployment;
use crate::support::model::{Input, diff, expected};
use crate::support::proxy::{self, Proxy};
use crate::support::servers::Server;
use crate::support::worker::{self, output};

/// What the worker may hold: less than the producers offer at once.
pub const MAX_IN_FLIGHT: usize = 20;
/// Longer than anything takes that works, on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(90);

pub struct Rig {
    dir: TempDir,
    pub place: Deployment,
    pub objects: Proxy,
    pub tables: Proxy,
    pub worker: worker::Server,
    pub runtime: Runtime,
    client: reqwest::Client,
    /// All that was sent so far.
    sent: Vec<Bytes>,
    seed: u64,
}

/// Producers at work.
pub struct Sending {
    producers: JoinSet<usize>,
    durable: Arc<AtomicUsize>,
    turned_away: Arc<AtomicUsize>,
    all: usize,
}

impl Rig {
    /// A worker that waits no longer than a second for an answer.
    pub fn start(objects: &str) -> Rig {
        Rig::start_with(objects, &[])
    }

    /// The same with further settings.
    pub fn start_with(objects: &str, settings: &[(&str, &str)]) -> Rig {
        let (s3, clickhouse) = (Server::shared(objects), Server::shared("clickhouse"));
        let dir = tempfile::tempdir().unwrap();
        let place = Deployment::new(s3, clickhouse);
        let (objects, tables) = (Proxy::start(s3.running().port), Proxy::start(clickhouse.running().port));
        let mut command = place.worker(dir.path(), &["run"]);
        command.envs(proxy::tell(&objects, &tables));
        command.envs([("HTTP_ADDR", "127.0.0.1:0"), ("LOG_FORMAT", "json"), ("S3_TIMEOUT_MS", "1000")]);
        command.envs([("CLICKHOUSE_TIMEOUT_MS", "1000"), ("INGEST_TIMEOUT_MS", "3600000")]);
        command.env("MAX_IN_FLIGHT_MESSAGES", MAX_IN_FLIGHT.to_string());
        command.envs(settings.iter().copied());
        let worker = worker::Server::spawn(command);
        let runtime = Runtime::new().unwrap();
        let client = reqwest::Client::new();
        let rig = Rig { dir, place, objects, tables, worker, runtime, client, sent: Vec::new(), seed: 0 };
        rig.wait_until_ready();
        rig
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Sends some pipelines that nobody has sent yet, each message by itself and many at once, again and again until it
    /// is durable.
    pub fn send(&mut self) -> Sending {
        self.seed += 1;
        let plan = Plan {
            seed: self.seed,
            runs: 3,
            items_per_run: 3..=6,
            duplicates: 0.1,
            conflicting: 0.1,
            malformed: 0.1,
            late: 0.3,
            reordered: 0.5,
            ..Plan::default()
        };
        let bodies: Vec<Bytes> = Lines::new(plan).collect();
        assert!(bodies.len() > 2 * MAX_IN_FLIGHT, "{} messages do not reach the bound", bodies.len());
        let (durable, turned_away) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let mut producers = JoinSet::new();
        for body in &bodies {
            let post = self.client.post(self.worker.url("/ingest")).body(body.clone());
            let (durable, turned_away) = (durable.clone(), turned_away.clone());
            let producer = async move {
                loop {
                    let answer = post.try_clone().unwrap().send().await;
                    match answer.map(|answer| answer.status().as_u16()) {
                        Ok(200 | 422) => break durable.fetch_add(1, Relaxed),
                        Ok(429 | 503) => turned_away.fetch_add(1, Relaxed),
                        Ok(other) => panic!("an answer of {other}"),
                        // The worker ends.
                        Err(_) => 0,
                    };
                    sleep(Duration::from_millis(200)).await;
                }
            };
            producers.spawn_on(producer, self.runtime.handle());
        }
        self.sent.extend(bodies.iter().cloned());
        Sending { producers, durable, turned_away, all: bodies.len() }
    }

    fn get(&self, path: &str) -> (u16, String) {
        self.runtime.block_on(async {
            let answer = self.client.get(self.worker.url(path)).send().await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        })
    }

    /// Waits until it is unready because of this store, and says so in these words.
    pub fn wait_until_unready(&self, store: &str, words: &str) {
        let mut seen = BTreeSet::new();
        until(|| {
            let (status, body) = self.get("/readyz");
            let body: Value = serde_json::from_str(&body).unwrap();
            let store = &body["dependencies"][store];
            let error = store["lastError"].as_str().unwrap_or_default().to_owned();
            assert_eq!(error.lines().count().max(1), 1, "one sentence: {error}");
            let said = status == 503 && store["state"] == "down" && error.contains(words);
            seen.insert(format!("{status} {error}"));
            said.then_some(()).ok_or_else(|| format!("{store} is not said to be down with {words:?}: {seen:#?}"))
        });
        self.assert_alive();
    }

    pub fn wait_until_ready(&self) {
        until(|| match self.get("/readyz") {
            (200, _) => Ok(()),
            (_, body) => Err(format!("not ready: {body}")),
        });
    }

    /// Alive, and within its bounds.
    pub fn assert_alive(&self) {
        assert_eq!(self.get("/healthz"), (200, "ok\n".into()));
        assert!(self.held() <= MAX_IN_FLIGHT, "{} are held", self.held());
    }

    /// Messages that the worker holds.
    pub fn held(&self) -> usize {
        let metrics = self.get("/metrics").1;
        let line = metrics.lines().find(|line| line.starts_with("xray_in_flight_messages")).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    /// Whether it was told to end.
    pub fn is_draining(&self) -> bool {
        let body: Value = serde_json::from_str(&self.get("/readyz").1).unwrap();
        body["draining"] == true
    }

    /// What the worker has in memory, in bytes.
    pub fn memory(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.worker.process.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    }

    /// Waits until all is durable; then the state is the model's, and `verify` finds nothing.
    pub fn assert_all_is_right(&self, sending: Sending, what: &str) {
        self.runtime.block_on(async {
            let all = async { sending.producers.join_all().await };
            let done = tokio::time::timeout(PATIENCE, all).await;
            assert!(done.is_ok(), "{what}: {} of {} are durable", sending.durable.load(Relaxed), sending.all);
        });
        self.wait_until_ready();
        self.assert_alive();
        let model = expected(self.sent.iter().map(|body| Input { body, hint: None }));
        let differences = diff(&model, &self.place.state());
        assert!(differences.is_empty(), "{what}: {}", differences.join("\n"));
    }

    /// `verify` finds nothing, and the worker ends as it should.
    pub fn end(mut self) {
        let found = output(&mut self.place.worker(self.dir(), &["verify", "--deep", "--min-age", "0s"]));
        assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stdout));
        self.worker.process.terminate();
        assert!(self.worker.process.ended().success());
    }
}

impl Sending {
    /// How many of them were told that they are durable.
    pub fn durable(&self) -> usize {
        self.durable.load(Relaxed)
    }

    /// Waits until the bound is reached and somebody was turned away.
    pub fn wait_for_the_bound(&self) {
        until(|| match self.turned_away.load(Relaxed) {
            0 => Err("nobody is turned away".into()),
            _ => Ok(()),
        });
    }
}

pub fn until(mut what: impl FnMut() -> Result<(), String>) {
    let deadline = Instant::now() + PATIENCE;
    while let Err(why) = what() {
        assert!(Instant::now() < deadline, "{why}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
