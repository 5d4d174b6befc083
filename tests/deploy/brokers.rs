//! Each compose file on real servers: what it tells worker, `generate` and servers is taken to the letter, only the addresses
//! are others. What comes out is judged by the model.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use xray_processor_worker::config::S3;
use xray_processor_worker::event::kind_hint;
use xray_processor_worker::publish::Destinations;

use crate::compose::Composed;
use crate::support::bucket;
use crate::support::clickhouse::Database;
use crate::support::model::{Input, State, diff, expected};
use crate::support::servers::Server;
use crate::support::state::{left_on_files, left_on_servers, read_servers};
use crate::support::worker::{self, output, ran};

const PATIENCE: Duration = Duration::from_secs(180);
/// In place of what the compose files generate.
const RUNS: &str = "10";

/// A deployment, and the server that stands in for each address.
struct Site {
    composed: Composed,
    dir: tempfile::TempDir,
    addresses: BTreeMap<&'static str, String>,
}

impl Site {
    fn new(files: &[&str]) -> Site {
        Site { composed: Composed::of(files), dir: tempfile::tempdir().unwrap(), addresses: BTreeMap::new() }
    }

    fn stands_in(&mut self, address: &'static str, server: &Server) {
        self.addresses.insert(address, format!("127.0.0.1:{}", server.running().port));
    }

    fn mapped(&self, text: &str) -> String {
        self.addresses.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
    }

    /// The variables of a service as its container has them, with other addresses.
    fn tell<'a>(&self, command: &'a mut Command, service: &str) -> &'a mut Command {
        for (name, value) in self.composed.variables(service) {
            command.env(name, self.mapped(&value));
        }
        command.env("HTTP_ADDR", "127.0.0.1:0")
    }

    fn worker(&self) -> worker::Server {
        let mut command = worker::worker(self.dir.path(), &[]);
        self.tell(&mut command, "worker");
        worker::Server::spawn(command)
    }

    /// What `docker compose run generate` does, with fewer runs.
    fn generate(&self) {
        let service = &self.composed.0["generate"];
        let entrypoint: Vec<String> = serde_json::from_value(service["entrypoint"].clone()).unwrap();
        let script = self.composed.command("generate").replace("--runs 200", &format!("--runs {RUNS}"));
        assert!(script.contains(&format!("--runs {RUNS} ")), "{script}");
        let binary = Path::new(env!("CARGO_BIN_EXE_xray-processor-worker")).parent().unwrap();
        let mut command = Command::new(&entrypoint[0]);
        command.args(&entrypoint[1..]).arg(script).current_dir(self.dir.path()).env_clear().env("PATH", binary);
        let generated = output(self.tell(&mut command, "generate").stdin(Stdio::null()));
        assert!(generated.status.success(), "{}", String::from_utf8_lossy(&generated.stderr));
    }

    /// The bodies that `generate` makes.
    fn bodies(&self) -> Vec<Vec<u8>> {
        let (code, _, stderr) = ran(self.dir.path(), &["generate", "--runs", RUNS, "--output", "generated"]);
        assert_eq!(code, 0, "{stderr}");
        let text = std::fs::read(self.dir.path().join("generated")).unwrap();
        text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect()
    }
}

/// What must be there after these bodies, each published where it belongs.
fn model(bodies: &[Vec<u8>], sources: &[&str]) -> State {
    let names: Vec<String> = sources.iter().map(|name| (*name).to_owned()).collect();
    let destinations = Destinations::new(&names);
    expected(bodies.iter().map(|body| {
        let hint = kind_hint(None, destinations.of(&Bytes::copy_from_slice(body)));
        Input { body, hint: hint.map(|kind| kind.as_str()) }
    }))
}

/// Waits until exactly this is there.
fn comes_to(expected: &State, found: impl Fn() -> State) {
    let began = Instant::now();
    loop {
        let differences = diff(expected, &found());
        if differences.is_empty() {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{}", differences.join("\n"));
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// The stores, started with the passwords that the compose file gives them.
struct Stores {
    s3: Server,
    clickhouse: Server,
    settings: S3,
    database: Database,
}

impl Stores {
    fn of(composed: &Composed) -> Stores {
        let (s3, clickhouse, worker) =
            (composed.variables("s3"), composed.variables("clickhouse"), composed.variables("worker"));
        let minio = s3.contains_key("MINIO_ROOT_USER");
        let (name, key, secret) = match minio {
            true => ("minio", &s3["MINIO_ROOT_USER"], &s3["MINIO_ROOT_PASSWORD"]),
            false => ("versitygw", &s3["ROOT_ACCESS_KEY"], &s3["ROOT_SECRET_KEY"]),
        };
        // Its bucket is not there: the worker makes it.
        let s3 = Server::start_with(name, &["--access-key", key, "--secret-key", secret, "--bucket", "another"]);
        let (user, password) = (&clickhouse["CLICKHOUSE_USER"], &clickhouse["CLICKHOUSE_PASSWORD"]);
        let clickhouse = Server::start_with("clickhouse", &["--user", user, "--password", password]);
        let settings = S3 {
            credentials: Some(bucket::keys(key, secret)),
            bucket: worker.get("MINIO_BUCKET").map_or("xray-raw", String::as_str).to_owned(),
            ..bucket::at(&format!("http://127.0.0.1:{}", s3.running().port))
        };
        let database = Database {
            url: format!("http://{user}:{password}@127.0.0.1:{}/", clickhouse.running().port),
            name: worker.get("CLICKHOUSE_DATABASE").map_or("xray", String::as_str).to_owned(),
        };
        Stores { s3, clickhouse, settings, database }
    }

    fn stand_in(&self, site: &mut Site) {
        let minio = site.composed.variables("s3").contains_key("MINIO_ROOT_USER");
        site.stands_in(if minio { "s3:9000" } else { "s3:7070" }, &self.s3);
        site.stands_in("clickhouse:8123", &self.clickhouse);
    }
}

/// A deployment from its start to what comes out, with a broker or without.
fn works(files: &[&str], broker: Option<(&'static str, Server)>, sources: &[&str], carries: fn(&[u8]) -> bool) {
    let mut site = Site::new(files);
    let stores = Stores::of(&site.composed);
    stores.stand_in(&mut site);
    if let Some((address, broker)) = &broker {
        site.stands_in(address, broker);
    }
    let mut worker = site.worker();
    site.generate();
    let mut bodies = site.bodies();
    bodies.retain(|body| carries(body));
    // Until the bucket is there nothing can be read.
    let began = Instant::now();
    while stores.database.try_query("SELECT 1 FROM {db}.runs LIMIT 1").is_err() {
        assert!(began.elapsed() < PATIENCE, "there are no tables");
        std::thread::sleep(Duration::from_millis(200));
    }
    let expected = model(&bodies, sources);
    comes_to(&expected, || left_on_servers(&stores.settings, &stores.database).durable());
    worker.process.terminate();
    assert!(worker.process.ended().success());
    assert_eq!(diff(&expected, &read_servers(&stores.settings, &stores.database)), [""; 0]);
}

fn all(_: &[u8]) -> bool {
    true
}

#[test]
fn base() {
    works(&["base"], None, &[], all);
}

#[test]
fn minio() {
    works(&["base", "minio"], None, &[], all);
}

#[test]
fn kafka() {
    let files = ["base", "kafka"];
    let topics = ["xray.decisions", "xray.steps", "xray.runs"];
    // The service `topics` makes those that the worker reads; here they come into being.
    let composed = Composed::of(&files);
    assert_eq!(composed.variables("worker")["KAFKA_TOPICS"], topics.join(","));
    assert!(composed.command("topics").contains(&format!("for topic in {};", topics.join(" "))));
    works(&files, Some(("kafka:9092", Server::start_with("kafka", &["--auto-create"]))), &topics, all);
}

#[test]
fn rabbitmq() {
    let files = ["base", "rabbitmq"];
    let theirs = Composed::of(&files).variables("rabbitmq");
    let (user, password) = (&theirs["RABBITMQ_DEFAULT_USER"], &theirs["RABBITMQ_DEFAULT_PASS"]);
    let server = Server::start_with("rabbitmq", &["--user", user, "--password", password]);
    works(&files, Some(("rabbitmq:5672", server)), &["xray.decisions", "xray.steps", "xray.runs"], all);
}

#[test]
fn nats() {
    let files = ["base", "nats"];
    let command = Composed::of(&files).command("nats");
    let word = |after: &str| command.split_once(after).unwrap().1.split(' ').next().unwrap().to_owned();
    let login = format!("{}:{}", word("--user "), word("--pass "));
    let server = Server::start_with("nats", &["--user", &login]);
    works(&files, Some(("nats:4222", server)), &["xray.decisions", "xray.steps", "xray.runs"], all);
}

/// SQS takes text only.
#[test]
fn sqs() {
    let text = |body: &[u8]| {
        std::str::from_utf8(body).is_ok_and(|text| !text.contains(|char: char| char < ' ' && char != '\t'))
    };
    let sources = ["xray-decisions", "xray-steps", "xray-runs"];
    works(&["base", "sqs"], Some(("sqs:9324", Server::start("elasticmq"))), &sources, text);
}

/// Two processes on one volume.
#[test]
fn embedded() {
    let mut site = Site::new(&["embedded"]);
    let data = site.dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    site.addresses.insert("/data", data.to_str().unwrap().to_owned());
    let mut worker = site.worker();
    site.generate();
    comes_to(&model(&site.bodies(), &[]), || left_on_files(&data).durable());
    worker.process.terminate();
    assert!(worker.process.ended().success());
}
