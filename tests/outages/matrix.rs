//! Each store × each way to fail × {while nothing is to be done, in the middle of a batch}.
//!
//! During the outage the worker is alive, unready, and says why in one sentence; nothing is acked; it takes no more than it
//! may hold. Afterwards it goes on by itself, and the state is the model's.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::rig::Rig;
use crate::support::proxy::{Fault, Proxy};

/// A way to fail, and what is said about it by objects and by tables.
type Cell = (&'static str, fn() -> Fault, &'static str, &'static str);

const CELLS: &[Cell] = &[
    ("refuses", || Fault::Refuse, "nothing listens there", "refuses connections"),
    ("hangs", || Fault::Hang, "S3_TIMEOUT_MS", "CLICKHOUSE_TIMEOUT_MS"),
    ("keeps its answers", || Fault::Swallow, "S3_TIMEOUT_MS", "CLICKHOUSE_TIMEOUT_MS"),
    ("resets in the middle of an answer", || Fault::Reset, "the connection broke", "does not answer"),
    ("gives half an answer", || Fault::Half, "the connection broke", "does not answer"),
    ("503", || Fault::status(503), "HTTP 503", "does not answer as ClickHouse"),
    ("429", || Fault::status(429), "HTTP 429", "does not answer as ClickHouse"),
    ("307", || Fault::status(307), "HTTP 307", "does not answer as ClickHouse"),
    (
        "a page that says 200",
        || Fault::status(200),
        "does not answer like an S3 server",
        "does not answer as ClickHouse",
    ),
    ("a careless 200", careless, "does not answer like an S3 server", "does not answer as ClickHouse"),
    ("garbage", Fault::garbage, "does not answer in HTTP", "does not speak HTTP"),
    ("slow down", || refused("503", "SlowDown", 241), "overloaded", "short of memory"),
    ("wrong credentials", || refused("403", "SignatureDoesNotMatch", 516), "MINIO_SECRET_KEY", "CLICKHOUSE_PASSWORD"),
    ("no rights", || refused("403", "AccessDenied", 497), "access denied", "lacks a right"),
    ("read-only", || refused("405", "MethodNotAllowed", 164), "read-only", "may only read"),
    ("disk full", || refused("507", "XMinioStorageFull", 243), "disk is full", "disk is full"),
];

/// As clients of HTTP take it, though it is not how anybody should write it.
fn careless() -> Fault {
    Fault::Answer(b"\nHTTP/1.1 200\nContent-Length: 0\n\n".to_vec())
}

/// The words of either kind of server; each reads its own.
fn refused(status: &str, s3: &str, clickhouse: u32) -> Fault {
    let body = format!("<Error><Code>{s3}</Code><Message>Code: {clickhouse}. DB::Exception: no.</Message></Error>");
    let head =
        format!("HTTP/1.1 {status} No\r\nContent-Type: application/xml\r\nContent-Length: {}\r\n\r\n", body.len());
    Fault::Answer((head + &body).into_bytes())
}

/// What breaks.
#[derive(Clone, Copy)]
enum Store {
    Objects,
    Tables,
}

impl Store {
    fn proxy(self, rig: &Rig) -> &Proxy {
        match self {
            Store::Objects => &rig.objects,
            Store::Tables => &rig.tables,
        }
    }

    /// Its name, and what is said of it in this cell.
    fn says(self, (_, _, objects, tables): &Cell) -> (&'static str, &'static str) {
        match self {
            Store::Objects => ("s3", objects),
            Store::Tables => ("clickhouse", tables),
        }
    }
}

/// Nothing is under way when it breaks: the worker finds out by itself. What then comes waits.
fn while_idle(objects: &str, broken: Store) {
    let mut rig = Rig::start(objects);
    for cell in CELLS {
        let (name, words) = broken.says(cell);
        broken.proxy(&rig).set(cell.1());
        rig.wait_until_unready(name, words);
        let sending = rig.send();
        sending.wait_for_the_bound();
        rig.wait_until_unready(name, words);
        assert_eq!(sending.durable(), 0, "{}: acked without being durable", cell.0);
        broken.proxy(&rig).set(Fault::Pass);
        let began = Instant::now();
        rig.assert_all_is_right(sending, cell.0);
        eprintln!("{name} {}: all is durable and right after {:?}", cell.0, began.elapsed());
    }
    rig.end();
}

/// Some of the requests of a batch succeed; from then on none does.
fn in_the_middle(objects: &str, broken: Store) {
    let mut rig = Rig::start(objects);
    for cell in CELLS {
        let (name, words) = broken.says(cell);
        let (fault, writes) = (cell.1(), AtomicUsize::new(0));
        broken.proxy(&rig).set_by(move |request| {
            let before = if request.writes() { writes.fetch_add(1, Relaxed) } else { writes.load(Relaxed) };
            if before < 5 { Fault::Pass } else { fault.clone() }
        });
        let sending = rig.send();
        sending.wait_for_the_bound();
        broken.proxy(&rig).wait_for_faults(1);
        // Now also to those that come anew.
        broken.proxy(&rig).set(cell.1());
        rig.wait_until_unready(name, words);
        let durable = sending.durable();
        broken.proxy(&rig).set(Fault::Pass);
        let began = Instant::now();
        rig.assert_all_is_right(sending, cell.0);
        eprintln!("{name} {}, after {durable} were durable: all is after {:?}", cell.0, began.elapsed());
    }
    rig.end();
}

#[test]
fn objects_fail_while_idle() {
    while_idle("minio", Store::Objects);
}

#[test]
fn objects_fail_in_the_middle_of_a_batch() {
    in_the_middle("versitygw", Store::Objects);
}

#[test]
fn tables_fail_while_idle() {
    while_idle("minio", Store::Tables);
}

#[test]
fn tables_fail_in_the_middle_of_a_batch() {
    in_the_middle("minio", Store::Tables);
}

/// Slow is no failure: all gets done meanwhile.
#[test]
fn slow_stores_are_ready() {
    let mut rig = Rig::start("minio");
    for slow in [Store::Objects, Store::Tables] {
        slow.proxy(&rig).set(Fault::Slow(Duration::from_millis(150)));
        let sending = rig.send();
        rig.assert_all_is_right(sending, "slow");
        slow.proxy(&rig).set(Fault::Pass);
    }
    rig.end();
}

/// The whole bucket and the whole database are deleted, and made again by hand. (What was in them is lost: so it happens
/// here before anything is.)
#[test]
fn what_is_deleted_and_made_again() {
    let mut rig = Rig::start("minio");
    let bucket = rig.place.s3.bucket.clone();
    let client = crate::support::bucket::client(&rig.place.s3);
    // A probe that comes just then would make a part of it again.
    rig.objects.set(Fault::Refuse);
    rig.wait_until_unready("s3", "nothing listens there");
    rig.runtime.block_on(async {
        client.delete_object().bucket(&bucket).key(".xray-probe").send().await.unwrap();
        client.delete_bucket().bucket(&bucket).send().await.unwrap();
    });
    rig.place.database.query("DROP DATABASE IF EXISTS {db}");
    rig.objects.set(Fault::Pass);
    rig.wait_until_unready("s3", "there is no such bucket");
    rig.wait_until_unready("clickhouse", "not there");
    let sending = rig.send();
    sending.wait_for_the_bound();
    rig.runtime.block_on(async { client.create_bucket().bucket(&bucket).send().await.unwrap() });
    assert_eq!(sending.durable(), 0);
    let migrated = crate::support::worker::output(&mut rig.place.worker(rig.dir(), &["migrate"]));
    assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
    rig.assert_all_is_right(sending, "made again");

    for table in ["decision_events", "step_reports", "runs", "dead_letters"] {
        rig.place.database.query(&format!("RENAME TABLE {{db}}.{table} TO {{db}}.away"));
        let sending = rig.send();
        rig.wait_until_unready("clickhouse", "not there");
        rig.place.database.query(&format!("RENAME TABLE {{db}}.away TO {{db}}.{table}"));
        rig.assert_all_is_right(sending, table);
    }
    rig.end();
}

/// Hours of it, as far as memory can tell: hundreds of attempts, and producers that never rest.
#[test]
fn an_outage_does_not_cost_memory() {
    let mut rig = Rig::start("minio");
    let warm = rig.send();
    rig.assert_all_is_right(warm, "before");
    rig.objects.set(Fault::status(503));
    rig.tables.set(Fault::status(503));
    let sending = rig.send();
    sending.wait_for_the_bound();
    rig.objects.wait_for_faults(20);
    let before = rig.memory();
    rig.objects.wait_for_faults(60);
    let grown = rig.memory().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes more than at its beginning");
    rig.objects.set(Fault::Pass);
    rig.tables.set(Fault::Pass);
    rig.assert_all_is_right(sending, "after");
    rig.end();
}
