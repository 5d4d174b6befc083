//! What goes wrong with a server: each is one sentence that says what to do, in the right class, and nothing wrong is
//! written. What it does not take becomes a dead letter only if it takes others.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use xray_processor_worker::config;
use xray_processor_worker::pipeline::{Limits, Stores};
use xray_processor_worker::queue::memory::Wait;
use xray_processor_worker::store::clickhouse::ClickHouseTables;
use xray_processor_worker::store::{Class, MetricsStore, StoreError, Touched, embedded};

use crate::support::clickhouse::Database;
use crate::support::events::{handle, message, records, run};
use crate::support::faulty::{FOREVER, Rig};
use crate::support::proxy::{Fault, Proxy};
use crate::support::servers::Server;

async fn refused(database: &Database, change: impl FnOnce(&mut config::ClickHouse)) -> StoreError {
    let mut settings = database.settings();
    change(&mut settings);
    ClickHouseTables::new(&settings).unwrap().prepare().await.unwrap_err()
}

fn assert_says(error: &StoreError, class: Class, words: &[&str]) {
    let text = error.chain();
    assert_eq!(error.class, class, "{text}");
    assert!(words.iter().all(|word| text.contains(word)), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
}

#[tokio::test]
async fn wrong_users() {
    let database = Database::fresh();
    let error = refused(&database, |settings| settings.password = "geheim".into()).await;
    assert_says(&error, Class::Us, &["CLICKHOUSE_PASSWORD"]);
    assert!(!error.chain().contains("geheim"));
    let error = refused(&database, |settings| settings.user = "nobody".into()).await;
    assert_says(&error, Class::Us, &["CLICKHOUSE_USER"]);
    let reader = |settings: &mut config::ClickHouse| {
        (settings.user, settings.password) = ("reader".into(), "reader".into());
    };
    assert_says(&refused(&database, reader).await, Class::Us, &["may only read"]);
    // The tables are there already, and the reader sees them.
    database.tables().await;
    let refused = refused(&database, |settings| {
        reader(settings);
        settings.migrate_on_start = false;
    });
    assert_says(&refused.await, Class::Us, &["may only read"]);
}

/// A listener that says `answer` to everybody.
fn stranger(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            assert_ne!(stream.read(&mut [0; 4096]).unwrap(), 0, "they speak first");
            stream.write_all(answer).ok();
        }
    });
    url
}

#[tokio::test]
async fn wrong_addresses() {
    let database = Database::fresh();
    let at = |url: String| refused(&database, move |settings| settings.url = url);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_says(&at(format!("http://{nobody}")).await, Class::Transient, &["refuses connections"]);
    assert_says(&at("http://no.such.host.invalid:8123".into()).await, Class::Transient, &["cannot be found"]);
    let page = b"HTTP/1.1 404 Not Found\r\nContent-Length: 20\r\n\r\n<html>nothing</html>";
    assert_says(&at(stranger(page)).await, Class::Transient, &["right port"]);
    assert_says(&at(stranger(b"SSH-2.0-OpenSSH_9.2\r\n")).await, Class::Transient, &["does not speak HTTP"]);
    let half = b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\nhalf";
    assert_says(&at(stranger(half)).await, Class::Transient, &["cannot read the settings"]);
    let https = stranger(page).replace("http://", "https://");
    assert_says(&at(https).await, Class::Transient, &["does not speak TLS"]);
}

#[tokio::test]
async fn https_with_a_ca_of_ones_own() {
    let server = Server::start_with("clickhouse", &["--tls"]);
    let database = Database::on(&server);
    let url = format!("https://127.0.0.1:{}", server.env("CLICKHOUSE_PORT"));
    let with_ca = |settings: &mut config::ClickHouse| {
        settings.url = url.clone();
        settings.ca_file = server.running().ca.clone();
    };
    let mut settings = database.settings();
    with_ca(&mut settings);
    ClickHouseTables::new(&settings).unwrap().prepare().await.unwrap();

    let error = refused(&database, |settings| settings.url = url.clone()).await;
    assert_says(&error, Class::Transient, &["CLICKHOUSE_CA_FILE"]);
    let plain = url.replace("https", "http");
    let error = refused(&database, |settings| settings.url = plain).await;
    assert_eq!(error.class, Class::Transient, "{}", error.chain());

    let dir = tempfile::tempdir().unwrap();
    let (empty, missing) = (dir.path().join("empty"), dir.path().join("missing"));
    std::fs::write(&empty, "no certificate").unwrap();
    for path in [empty, missing] {
        settings.ca_file = Some(path);
        let error = ClickHouseTables::new(&settings).unwrap_err();
        assert!(error.chain().contains("CLICKHOUSE_CA_FILE"), "{}", error.chain());
    }
}

/// It accepts and does not answer; then it is killed in the middle, and comes back.
#[tokio::test]
async fn a_server_that_hangs_and_dies() {
    let mut server = Server::start("clickhouse");
    let database = Database::on(&server);
    let mut settings = database.settings();
    settings.timeout = Duration::from_secs(2);
    let tables = ClickHouseTables::new(&settings).unwrap();
    tables.prepare().await.unwrap();
    let records = records(&[run("a", "running").into()]);
    tables.insert_facts(&records).await.unwrap();

    server.freeze();
    let error = tables.insert_facts(&records).await.unwrap_err();
    assert_says(&error, Class::Transient, &["CLICKHOUSE_TIMEOUT_MS"]);
    server.go_on();
    handle(&tables, &records).await;

    server.kill_9();
    // The first may still go into a connection that was open.
    assert_says(&tables.probe().await.unwrap_err(), Class::Transient, &["cannot insert into runs"]);
    assert_says(&tables.probe().await.unwrap_err(), Class::Transient, &["refuses connections"]);
    server.restart();
    tables.probe().await.unwrap();
    handle(&tables, &records).await;
    assert_eq!(database.runs().len(), 1);
}

/// Somebody drops a table, changes a column, adds a constraint while the worker runs.
#[tokio::test]
async fn tables_that_change_under_us() {
    let database = Database::fresh();
    let tables = database.tables().await;
    let good = records(&[run("a", "running").into()]);
    handle(&tables, &good).await;

    database.query("RENAME TABLE {db}.run_reports TO {db}.away");
    assert_says(&tables.insert_facts(&good).await.unwrap_err(), Class::Us, &["not there"]);
    database.query("RENAME TABLE {db}.away TO {db}.run_reports");
    handle(&tables, &good).await;

    database.query("ALTER TABLE {db}.run_reports MODIFY COLUMN metadata LowCardinality(String)");
    let outcome = tables.insert_facts(&good).await;
    assert!(outcome.is_ok() || outcome.is_err_and(|error| error.class == Class::Us), "never the event's fault");
    database.query("ALTER TABLE {db}.run_reports MODIFY COLUMN metadata String");
    handle(&tables, &good).await;

    database.query("ALTER TABLE {db}.run_reports ADD CONSTRAINT no_b CHECK run_id != 'b'");
    let bad = records(&[run("b", "running").into()]);
    assert_says(&tables.insert_facts(&bad).await.unwrap_err(), Class::Item, &["constraint"]);
    handle(&tables, &good).await;
}

/// A worker on this database.
async fn worker(database: &Database) -> (TempDir, Rig) {
    let dir = tempfile::tempdir().unwrap();
    let (raw, _) = embedded::open(dir.path(), false, 1 << 20).unwrap();
    let stores = Stores { raw: Arc::new(raw), metrics: Arc::new(database.tables().await) };
    let limits = Limits { max_event_bytes: 1 << 20, refused_for: Duration::ZERO };
    (dir, Rig::on(stores, limits, 1 << 24, FOREVER))
}

/// Ten runs, of which the eighth is `poison`.
fn offer_runs(rig: &Rig) -> Vec<Wait> {
    let id = |n: usize| if n == 7 { "poison".to_owned() } else { format!("r{n}") };
    (0..10).map(|n| rig.queue.offer(message(run(&id(n), "running"))).unwrap()).collect()
}

/// On a table of facts, and on one of derived rows.
#[tokio::test]
async fn what_a_constraint_refuses_is_a_dead_letter_and_its_neighbours_are_stored() {
    for table in ["run_reports", "runs"] {
        let database = Database::fresh();
        let (_dir, rig) = worker(&database).await;
        database.query(&format!("ALTER TABLE {{db}}.{table} ADD CONSTRAINT no_poison CHECK run_id != 'poison'"));
        for (n, mut wait) in offer_runs(&rig).into_iter().enumerate() {
            let settlement = wait.settled().await.unwrap();
            let reasons: Vec<_> = settlement.rejected.iter().map(|part| part.rejection.reason.as_str()).collect();
            assert_eq!(settlement.stored, u64::from(n != 7), "{table}: {reasons:?}");
            assert!(reasons.iter().all(|reason| reason.contains("no_poison")), "{table}: {reasons:?}");
        }
        assert_eq!(database.runs().len(), 9, "{table}");
        let letters = "SELECT code FROM {db}.dead_letters FINAL FORMAT TSV";
        assert_eq!(database.query(letters), "store_refused\n", "{table}");
        rig.end().await;
    }
}

/// What views do with values: each says no in words and by a code of its own.
#[tokio::test]
async fn what_a_view_cannot_read_is_a_dead_letter_and_its_neighbours_are_stored() {
    for view in [
        "toUUID(if(run_id = 'poison', 'x', '00000000-0000-0000-0000-000000000000'))",
        "toUInt8(if(run_id = 'poison', '', '1'))",
        "intDiv(1, run_id != 'poison')",
        "toFixedString(if(run_id = 'poison', 'long', 's'), 2)",
        "CAST(if(run_id = 'poison', 'b', 'a') AS Enum8('a' = 1))",
        "toString(CAST(if(run_id = 'poison', 'x', '{}') AS JSON))",
    ] {
        let database = Database::fresh();
        let (_dir, rig) = worker(&database).await;
        database.query(&format!(
            "CREATE MATERIALIZED VIEW {{db}}.picky ENGINE = MergeTree ORDER BY x AS SELECT {view} AS x FROM {{db}}.run_reports"
        ));
        for (n, mut wait) in offer_runs(&rig).into_iter().enumerate() {
            let settled = tokio::time::timeout(Duration::from_secs(60), wait.settled()).await;
            assert!(settled.is_ok(), "{view}: {:?}", rig.health.readiness());
            assert_eq!(settled.unwrap().unwrap().stored, u64::from(n != 7), "{view}");
        }
        assert_eq!(database.query("SELECT code FROM {db}.dead_letters FINAL FORMAT TSV"), "store_refused\n", "{view}");
        rig.end().await;
    }
}

/// It refuses every run there is, good as they are: they wait for whoever repairs it, and decisions go on.
#[tokio::test]
async fn a_broken_view_makes_no_dead_letters() {
    let database = Database::fresh();
    let (_dir, rig) = worker(&database).await;
    database.query(
        "CREATE MATERIALIZED VIEW {db}.broken ENGINE = MergeTree ORDER BY x AS
         SELECT throwIf(length(run_id) > 0, 'broken') AS x FROM {db}.run_reports",
    );
    let waits = offer_runs(&rig);
    let why = || rig.health.readiness().dependencies.remove("clickhouse").and_then(|status| status.last_error);
    while !why().is_some_and(|why| why.contains("broken") && why.contains("nothing else of that kind is taken")) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!rig.health.is_up("clickhouse") && rig.health.stuck().is_empty());
    let decision =
        r#"{"id":"d","stepId":"s","runId":"r0","outcome":"kept","itemId":"i","timestamp":"2026-02-28T23:59:59.999Z"}"#;
    let mut decision = rig.queue.offer(message(decision)).unwrap();
    assert_eq!(decision.settled().await.unwrap().stored, 1);
    database.query("DROP TABLE {db}.broken SYNC");
    for mut wait in waits {
        assert_eq!(wait.settled().await.unwrap().stored, 1);
    }
    assert_eq!((database.runs().len(), database.decision_events().len()), (10, 1));
    assert_eq!(database.query("SELECT count() FROM {db}.dead_letters FORMAT TSV"), "0\n");
    rig.end().await;
}

/// The server stops what takes longer than it may; for fewer keys it does not.
#[tokio::test]
async fn a_recompute_that_takes_too_long_is_done_in_halves() {
    let database = Database::fresh();
    let proxy = Proxy::start(Server::shared("clickhouse").running().port);
    let settings = config::ClickHouse { url: format!("http://127.0.0.1:{}", proxy.port), ..database.settings() };
    let tables = ClickHouseTables::new(&settings).unwrap();
    tables.prepare().await.unwrap();
    let runs: Vec<_> = (0..40).map(|n| run(&format!("run-{n:02}-"), "running").into()).collect();
    let records = records(&runs);
    tables.insert_facts(&records).await.unwrap();

    let too_long = "Code: 159. DB::Exception: Timeout exceeded: elapsed 45 seconds. (TIMEOUT_EXCEEDED)";
    let stopped = format!("HTTP/1.1 500 No\r\nContent-Length: {}\r\n\r\n{too_long}", too_long.len()).into_bytes();
    let keys = |body: &[u8]| String::from_utf8_lossy(body).matches("'run-").count();
    let answer = stopped.clone();
    proxy.set_by(move |request| match request.says("INSERT INTO runs") && keys(&request.body) > 2 * 5 {
        true => Fault::Answer(answer.clone()),
        false => Fault::Pass,
    });
    tables.recompute(&Touched::by(&records)).await.unwrap();
    assert!(proxy.faults() > 0);
    assert_eq!(database.runs().len(), 40);

    proxy.set_by(
        move |request| if request.says("INSERT INTO runs") { Fault::Answer(stopped.clone()) } else { Fault::Pass },
    );
    let error = tables.recompute(&Touched::by(&records)).await.unwrap_err();
    assert_says(&error, Class::Transient, &["takes longer than CLICKHOUSE_TIMEOUT_MS: raise that"]);
}
