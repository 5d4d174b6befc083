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

use crate::support::bucket;
use crate::support::clickhouse::Database;
use crate::support::events::records;
use crate::support::servers::Server;
use crate::used::{Used, cpu, each};

/// Objects of one call; each call has 64 requests under way.
const GROUP: usize = 512;
/// Calls at the same time, of which the best counts.
const OVERLAPS: [usize; 3] = [1, 2, 4];
const BATCH: usize = 1000;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
}

/// The best of several.
fn best(tried: Vec<Used>) -> Used {
    tried.into_iter().max_by(|a, b| a.rate.total_cmp(&b.rate)).unwrap()
}

/// Conditional PUTs.
pub fn puts(server: &Server, bodies: &[Bytes]) -> Used {
    let runtime = runtime();
    let settings = bucket::settings(server);
    runtime.block_on(async {
        bucket::client(&settings).create_bucket().bucket(&settings.bucket).send().await.unwrap();
        let store = S3Objects::open(&settings, 10 << 20).unwrap();
        store.prepare().await.unwrap();
        let records = records(bodies);
        let mut tried = Vec::new();
        // Each has its own part, so that every key is new.
        for (part, overlap) in records.chunks(records.len().div_ceil(OVERLAPS.len())).zip(OVERLAPS) {
            let (began, before) = (Instant::now(), cpu("self")[0]);
            stream::iter(part.chunks(GROUP)).for_each_concurrent(overlap, |group| put(&store, group)).await;
            let (took, used) = (began.elapsed(), cpu("self")[0] - before);
            tried.push(Used {
                rate: part.len() as f64 / took.as_secs_f64(),
                cpu: each(used, part.len()),
                ..Used::default()
            });
        }
        best(tried)
    })
}

async fn put(store: &S3Objects, group: &[Arc<Record>]) {
    let objects: Vec<_> = group.iter().map(|record| Arc::new(record.object())).collect();
    for answer in store.create(&objects).await {
        assert_eq!(answer.unwrap(), Created::Created);
    }
}

/// Inserts and recomputes.
pub fn rows(server: &Server, bodies: &[Bytes]) -> Used {
    let runtime = runtime();
    let database = Database::on(server);
    let used = runtime.block_on(async {
        let tables = database.tables().await;
        let records = records(bodies);
        let (began, before) = (Instant::now(), cpu("self")[0]);
        for batch in records.chunks(BATCH) {
            tables.insert_facts(batch).await.unwrap();
            tables.recompute(&Touched::by(batch)).await.unwrap();
        }
        let (took, used) = (began.elapsed(), cpu("self")[0] - before);
        Used { rate: records.len() as f64 / took.as_secs_f64(), cpu: each(used, records.len()), ..Used::default() }
    });
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
    let (took, used) = (began.elapsed(), cpu("self")[0] - before);
    Used { rate: bodies.len() as f64 / took.as_secs_f64(), cpu: each(used, bodies.len()), ..Used::default() }
}
