//! A worker is killed at a point, the next one finishes the work, and the model, `verify` and the broker judge.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rusqlite::Connection;
use tokio::task::block_in_place;

use crate::rig::until;
use crate::source::Source;
use crate::support::bodies::{hostile, shuffled};
use crate::support::deployment::Deployment;
use crate::support::model::{Input, State, expected, sha256_hex};
use crate::support::place::Place;
use crate::support::servers::Server as Store;
use crate::support::worker::{Server, ran};

/// How a worker comes to its end: where, and after what.
#[derive(Clone, Copy)]
pub struct Crash {
    /// As `XRAY_KILL_AT` wants it, one worker after the other.
    deaths: &'static [&'static str],
    /// The stores hang until it has been told to stop.
    told_to_stop: bool,
    /// By then acks have been said.
    acks: bool,
}

const fn at(deaths: &'static [&'static str]) -> Crash {
    Crash { deaths, told_to_stop: false, acks: false }
}

macro_rules! points {
    ($($name:ident: $crash:expr;)*) => {
        $(#[allow(non_upper_case_globals)] pub const $name: Crash = $crash;)*
    };
}

// Groups are of 60 messages at most, so that there are several: some are done, others under way.
points! {
    after_receive: at(&["received:9"]);
    half_of_the_objects: at(&["half of the objects:3"]);
    all_objects: at(&["objects:3"]);
    facts: at(&["facts:3"]);
    derived_rows: at(&["derived:3"]);
    just_before_the_ack: at(&["before the ack:3"]);
    in_the_middle_of_acks: Crash { acks: true, ..at(&["half of the acks:2"]) };
    during_shutdown: Crash { told_to_stop: true, ..at(&["shutdown:1"]) };
    during_recovery: at(&["facts:2", "derived:1", "half of the objects:1"]);
}

/// At most so many messages are held.
const HELD: &str = "60";

/// Where a worker stores things.
#[derive(Clone, Copy)]
pub enum Stores {
    Files,
    /// MinIO and ClickHouse.
    Servers,
}

/// One cell of the matrix.
pub async fn crash<S: Source>(stores: Stores, crash: Crash) {
    let site = block_in_place(|| Site::new(stores, crash.told_to_stop));
    let mut bodies = bodies(&site);
    bodies.retain(|body| S::carries(body));
    let mut source = S::start(bodies.clone()).await;
    for death in crash.deaths {
        let mut worker = site.worker(&source, Some(death));
        let status = if crash.told_to_stop {
            site.stopped_in_the_middle(&mut worker, &mut source).await
        } else {
            source.feed(worker.address).await;
            block_in_place(|| worker.process.ended())
        };
        assert_eq!(status.signal(), Some(9), "it never got to {death}, or ended there otherwise: {status}");
        let found = block_in_place(|| site.durable());
        source.assert_nothing_forgotten(|body| is_durable(body, &found), crash.acks).await;
    }
    let mut worker = site.worker(&source, None);
    source.feed(worker.address).await;
    source.emptied().await;
    worker.process.terminate();
    assert!(block_in_place(|| worker.process.ended()).success());
    source.emptied().await;
    block_in_place(|| site.assert_right(&bodies));
}

/// Pipelines in which everything goes wrong that may, and bodies that mean harm.
pub fn bodies(site: &Site) -> Vec<Vec<u8>> {
    let shares =
        ["--duplicates", "0.1", "--reordered", "0.3", "--late", "0.2", "--conflicting", "0.05", "--malformed", "0.05"];
    let args = [&["generate", "--runs", "5", "--output", "generated"], &shares[..]].concat();
    let (code, _, stderr) = block_in_place(|| ran(site.place.dir.path(), &args));
    assert_eq!(code, 0, "{stderr}");
    let text = std::fs::read(site.place.dir.path().join("generated")).unwrap();
    let generated = text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec);
    let hostile = shuffled(&hostile()).into_iter();
    // As lines they must be what they are as messages.
    generated.chain(hostile).filter(|body| !body.contains(&b'\n') && !body.trim_ascii().is_empty()).collect()
}

/// Whether all that this body alone makes is there.
pub fn is_durable(body: &[u8], found: &State) -> bool {
    fn has<K: Ord, V>(found: &BTreeMap<K, V>, alone: &BTreeMap<K, V>) -> bool {
        alone.keys().all(|key| found.contains_key(key))
    }
    let alone = expected([Input { body, hint: None }]);
    // No bytes of a decision get lost, those of an older report do.
    let kept = |(key, bytes): (&String, &Vec<u8>)| {
        found.objects.get(key).is_some_and(|there| !key.starts_with("decisions/") || there == bytes)
            || found.dead_letters.contains_key(&sha256_hex(bytes))
    };
    alone.objects.iter().all(kept)
        && has(&found.dead_letters, &alone.dead_letters)
        && has(&found.decision_events, &alone.decision_events)
        && has(&found.steps, &alone.steps)
        && has(&found.runs, &alone.runs)
}

/// The stores of one cell.
pub struct Site {
    place: Place,
    /// The tables, where nobody else uses them.
    tables: Option<Store>,
}

impl Site {
    pub fn new(stores: Stores, alone: bool) -> Site {
        let (servers, tables) = match (stores, alone) {
            (Stores::Files, _) => (None, None),
            (Stores::Servers, false) => {
                (Some(Deployment::new(Store::shared("minio"), Store::shared("clickhouse"))), None)
            }
            (Stores::Servers, true) => {
                let tables = Store::start("clickhouse");
                (Some(Deployment::new(Store::shared("minio"), &tables)), Some(tables))
            }
        };
        Site { place: Place { dir: tempfile::tempdir().unwrap(), servers }, tables }
    }

    fn worker<S: Source>(&self, source: &S, kill_at: Option<&str>) -> Server {
        self.worker_with(source, kill_at.map(|point| ("XRAY_KILL_AT".into(), point.into())))
    }

    /// A worker that is told more than where its source and stores are.
    pub fn worker_with<S: Source>(&self, source: &S, more: impl IntoIterator<Item = (String, String)>) -> Server {
        let mut command = self.place.worker(&["run"]);
        command.envs(source.variables()).envs(more);
        command.env("HTTP_ADDR", "127.0.0.1:0").env("LOG_FORMAT", "json").env("MAX_IN_FLIGHT_MESSAGES", HELD);
        Server::spawn(command)
    }

    /// What is durable so far.
    pub fn durable(&self) -> State {
        self.place.left().durable()
    }

    /// Nothing is missing and nothing wrong, and `verify` agrees.
    pub fn assert_right(&self, bodies: &[Vec<u8>]) {
        self.place.assert_model(bodies);
        let said = self.place.run(&["verify", "--deep", "--min-age", "0s"]);
        assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    }

    /// The tables take no writes while it is told to stop, so there is something left to finish.
    async fn stopped_in_the_middle<S: Source>(&self, worker: &mut Server, source: &mut S) -> ExitStatus {
        let address = worker.address;
        until("it is ready", async || get(address, "/readyz").await.0 == 200).await;
        let locked = match &self.tables {
            Some(tables) => {
                block_in_place(|| tables.freeze());
                None
            }
            None => {
                let db = Connection::open(self.place.data().join("xray.db")).unwrap();
                db.execute_batch("BEGIN IMMEDIATE").unwrap();
                Some(db)
            }
        };
        let stop = async {
            until("it holds messages", async || {
                !get(address, "/metrics").await.1.contains("xray_in_flight_messages 0\n")
            })
            .await;
            worker.process.terminate();
            until("it is stopping", async || get(address, "/readyz").await.1.contains("\"draining\":true")).await;
            drop(locked);
            self.tables.as_ref().inspect(|tables| tables.go_on());
            block_in_place(|| worker.process.ended())
        };
        tokio::join!(source.feed(address), stop).1
    }
}

/// Status and text.
pub async fn get(worker: SocketAddr, path: &str) -> (u16, String) {
    let answer = reqwest::get(format!("http://{worker}{path}")).await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}
