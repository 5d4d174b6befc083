//! What an event's way is made of, each part by itself: `cargo bench --bench parts`.
//!
//! In CPU of the thread that does it, as a machine with other work has it: no clock on the wall is asked. Objects and rows go
//! over HTTP to stores that answer at once, on threads of their own. Ends with what reading an event costs beside a bare
//! typed parse of the same bytes.

#![allow(missing_docs, unreachable_pub, dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

/// As the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[path = "../tests/support/mod.rs"]
mod support;

/// As it is, without the crate around it.
#[allow(unused_imports)]
#[path = "../src/queue/frontier.rs"]
mod frontier;

use std::borrow::Cow;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput};
use frontier::Frontier;
use rustix::time::{ClockId, clock_gettime};
use serde::Deserialize;
use serde_json::Value;
use support::instant;
use support::load::decisions;
use support::servers::Server;
use xray_processor_worker::digest::Sha256;
use xray_processor_worker::event::{Fact, Part, decode};
use xray_processor_worker::key;
use xray_processor_worker::object::Record;
use xray_processor_worker::store::{MetricsStore, RawStore};

const SIZES: [usize; 3] = [512, 1024, 4096];
const GROUP: usize = 512;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    for bytes in SIZES {
        reading(&mut criterion, bytes);
    }
    writing(&mut criterion);
    watermark(&mut criterion);
    criterion.final_summary();
    compare();
}

/// CPU of this thread alone.
fn cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// Measures `work` on all items, again and again; what is told is for one item.
fn each<T>(criterion: &mut Criterion, name: BenchmarkId, items: &[T], mut work: impl FnMut(&T)) {
    let mut group = criterion.benchmark_group("event");
    group.throughput(Throughput::Elements(1));
    let mut at = items.iter().cycle();
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|times| {
            let before = cpu();
            at.by_ref().take(times as usize).for_each(&mut work);
            cpu() - before
        });
    });
}

/// Of values of every kind, as pipelines send them: one long string would be read at the speed of memory.
fn bodies(bytes: usize) -> Vec<Bytes> {
    const ITEM: &str =
        r#"{"sku":"B07-1931","title":"A kettle, 1.7 l","price":19.99,"inStock":true,"tags":["new","home"],"rank":17}"#;
    let filled = |body: &Bytes| {
        let text = String::from_utf8(body.to_vec()).unwrap();
        let items = vec![ITEM; bytes.saturating_sub(text.len()) / ITEM.len()];
        Bytes::from(text.replace(r#""input":"""#, &format!(r#""input":[{}]"#, items.join(","))))
    };
    decisions("p", 1000, 0, 100).iter().map(filled).collect()
}

fn reading(criterion: &mut Criterion, bytes: usize) {
    let bodies = bodies(bytes);
    let records = support::events::records(&bodies);
    let name = |part: &str| BenchmarkId::new(part, bytes);
    each(criterion, name("bare parse"), &bodies, |body| {
        black_box(serde_json::from_slice::<Bare<'_>>(body).unwrap());
    });
    each(criterion, name("read"), &bodies, |body| decode(body, None, |part| drop(black_box(part))));
    each(criterion, name("hash"), &bodies, |body| {
        black_box(Sha256::of(body));
    });
    each(criterion, name("key"), &records, |record| {
        let Fact::Decision(decision) = &record.event.fact else { panic!("no decision") };
        black_box(key::event(record.event.kind(), decision.timestamp, &decision.event_id));
    });
    each(criterion, name("read and key"), &bodies, |body| {
        decode(body, None, |part| {
            let Part::Event(event) = part else { panic!("no event") };
            black_box(Record::new(event).object());
        });
    });
}

/// What anybody would write who wants no more than these fields.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "they are only read")]
struct Bare<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    step_id: Cow<'a, str>,
    #[serde(borrow)]
    run_id: Cow<'a, str>,
    #[serde(borrow)]
    outcome: Cow<'a, str>,
    #[serde(borrow)]
    item_id: Cow<'a, str>,
    #[serde(borrow)]
    timestamp: Cow<'a, str>,
    score: Option<f64>,
}

/// An object signed and sent, a row encoded and sent; answers included.
fn writing(criterion: &mut Criterion) {
    let stores = instant::Instant::before(Server::shared("versitygw"), Server::shared("clickhouse"));
    let (objects, tables) = (stores.s3(), stores.clickhouse());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::try_join!(objects.prepare(), tables.prepare()) }).unwrap();
    for bytes in SIZES {
        let records = support::events::records(&bodies(bytes)[..GROUP]);
        let group: Vec<_> = records.iter().map(|record| Arc::new(record.object())).collect();
        each(criterion, BenchmarkId::new("512 objects", bytes), &[group], |group| {
            let answers = runtime.block_on(objects.create(group));
            assert!(answers.iter().all(Result::is_ok));
        });
        each(criterion, BenchmarkId::new("512 rows", bytes), &[records], |records| {
            runtime.block_on(tables.insert_facts(records)).unwrap();
        });
    }
}

/// Positions given out and settled, the oldest of a thousand last.
fn watermark(criterion: &mut Criterion) {
    const OPEN: u64 = 1000;
    let (mut frontier, mut next) = (Frontier::default(), 0);
    each(criterion, BenchmarkId::new("watermark", OPEN), &[()], |()| {
        assert!(frontier.give(next));
        let oldest = next / OPEN * OPEN;
        if next != oldest {
            black_box(frontier.settle(next));
        }
        if next + 1 == oldest + OPEN {
            black_box(frontier.settle(oldest));
        }
        next += 1;
    });
}

/// From what was measured just now.
fn compare() {
    let ns = |part: &str, bytes: usize| -> Option<f64> {
        let path = format!("{}/target/criterion/event/{part}/{bytes}/new/estimates.json", env!("CARGO_MANIFEST_DIR"));
        let estimates: Value = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
        estimates["median"]["point_estimate"].as_f64()
    };
    println!(
        "\n| bytes | bare typed parse, ns | parse, validate, hash, key | of it the hash | row, sent | PUT, sent | bare / all but the PUT |"
    );
    println!("|---|---|---|---|---|---|---|");
    for bytes in SIZES {
        let parts = ["bare parse", "read and key", "hash", "512 rows", "512 objects"].map(|part| ns(part, bytes));
        let [Some(bare), Some(read), Some(hash), Some(rows), Some(puts)] = parts else { return };
        let (row, put) = (rows / GROUP as f64, puts / GROUP as f64);
        println!("| {bytes} | {bare:.0} | {read:.0} | {hash:.0} | {row:.0} | {put:.0} | {:.2} |", bare / (read + row));
    }
}
