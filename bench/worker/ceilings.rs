//! What the servers take from somebody who does nothing else.

use std::fs::{self, File};
use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use xray_processor_worker::object::Record;
use xray_processor_worker::store::s3::S3Objects;
use xray_processor_worker::store::{Created, MetricsStore, RawStore, Touched};

use crate::fresh;
use crate::support::clickhouse::Database;
use crate::support::events::records;
use crate::support::servers::Server;
use crate::used::{Used, cpu};

/// Objects of one call; each call has 64 requests under way.
const GROUP: usize = 512;
/// Calls at the same time, of which the best counts.
const OVERLAPS: [usize; 3] = [1, 2, 4];
const BATCH: usize = 1000;

/// The best of several.
fn best(tried: Vec<Used>) -> Used {
    tried.into_iter().max_by(|a, b| a.rate.total_cmp(&b.rate)).unwrap()
}

/// Conditional PUTs.
pub async fn puts(server: &Server, bodies: &[Bytes]) -> Used {
    let store = fresh::objects(server).await;
    let records = records(bodies);
    let mut tried = Vec::new();
    // Each has its own part, so that every key is new.
    for (part, overlap) in records.chunks(records.len().div_ceil(OVERLAPS.len())).zip(OVERLAPS) {
        let (began, before) = (Instant::now(), cpu("self")[0]);
        stream::iter(part.chunks(GROUP)).for_each_concurrent(overlap, |group| put(&store, group)).await;
        tried.push(Used::since(began, before, part.len()));
    }
    best(tried)
}

async fn put(store: &S3Objects, group: &[Arc<Record>]) {
    let objects: Vec<_> = group.iter().map(|record| Arc::new(record.object())).collect();
    for answer in store.create(&objects).await {
        assert_eq!(answer.unwrap(), Created::Created);
    }
}

/// Inserts and recomputes.
pub async fn rows(server: &Server, bodies: &[Bytes]) -> Used {
    let database = Database::on(server);
    let tables = database.tables().await;
    let records = records(bodies);
    let (began, before) = (Instant::now(), cpu("self")[0]);
    for batch in records.chunks(BATCH) {
        tables.insert_facts(batch).await.unwrap();
        tables.recompute(&Touched::by(batch)).await.unwrap();
    }
    let used = Used::since(began, before, records.len());
    database.query("DROP DATABASE {db}");
    used
}

/// Files, written one after another and made durable in groups.
pub fn files(bodies: &[Bytes]) -> Used {
    let dir = tempfile::tempdir_in(concat!(env!("CARGO_MANIFEST_DIR"), "/target")).unwrap();
    let (began, before) = (Instant::now(), cpu("self")[0]);
    for (at, group) in bodies.chunks(GROUP).enumerate() {
        for (n, body) in group.iter().enumerate() {
            File::create(dir.path().join(format!("{at}-{n}.tmp"))).unwrap().write_all(body).unwrap();
        }
        rustix::fs::syncfs(File::open(dir.path()).unwrap()).unwrap();
        for n in 0..group.len() {
            let name = |end: &str| dir.path().join(format!("{at}-{n}.{end}"));
            fs::rename(name("tmp"), name("json")).unwrap();
        }
        File::open(dir.path()).unwrap().sync_all().unwrap();
    }
    Used::since(began, before, bodies.len())
}
