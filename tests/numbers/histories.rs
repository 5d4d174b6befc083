//! Random histories against the model.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use rusqlite::Connection;
use xray_processor_worker::store::{MetricsStore, RawStore, embedded};

use crate::scenario::bodies;
use crate::support::bucket;
use crate::support::clickhouse::Database;
use crate::support::model::{Input, State, diff, expected};
use crate::support::servers::Server;
use crate::support::state::{read_embedded, read_servers};
use crate::workers::{Open, Schedule, handle};

/// Bodies, handled in two parts, each with its schedule; between them nothing is in flight.
type History = (Vec<String>, prop::sample::Index, [Schedule; 2]);

fn schedule(faults: usize) -> impl Strategy<Value = Schedule> {
    (1_usize..=4, vec(any::<u8>(), 0..120), vec((1_u16..100, any::<u8>()), 0..3))
        .prop_map(move |(workers, turns, crashes)| Schedule { workers, turns, faults, crashes })
}

fn history(faults: usize) -> impl Strategy<Value = History> {
    (bodies(), any::<prop::sample::Index>(), [schedule(faults), schedule(faults)])
}

type Versions = BTreeMap<String, String>;

/// A place to store in, and how to look at it.
struct Place<'a> {
    open: Open<'a>,
    state: &'a dyn Fn() -> State,
    /// Of all derived rows, as text whose order is that of the numbers.
    versions: &'a dyn Fn() -> Versions,
}

async fn check(place: &Place<'_>, (bodies, split, schedules): &History) -> Result<(), TestCaseError> {
    let split = split.index(bodies.len() + 1);
    let mut versions = Versions::new();
    for (some, schedule, until) in
        [(&bodies[..split], &schedules[0], split), (&bodies[split..], &schedules[1], bodies.len())]
    {
        handle(some, schedule, place.open).await;
        let model = expected(bodies[..until].iter().map(|body| Input { body: body.as_bytes(), hint: None }));
        let differences = diff(&model, &(place.state)());
        let sent = || bodies[..until].join("\n");
        prop_assert!(differences.is_empty(), "{}\nof\n{}", differences.join("\n"), sent());
        let now = (place.versions)();
        for (key, before) in &versions {
            prop_assert!(now.get(key) >= Some(before), "the version of {key} fell, with\n{}", sent());
        }
        versions = now;
    }
    Ok(())
}

#[test]
fn on_embedded_stores() {
    let cases = Config::default().cases.saturating_mul(8);
    let mut runner = TestRunner::new(Config { cases, source_file: Some(file!()), ..Config::default() });
    let outcome = runner.run(&history(usize::MAX), |history| {
        let dir = tempfile::tempdir().unwrap();
        let open = || -> (Arc<dyn RawStore>, Arc<dyn MetricsStore>) {
            let (raw, tables) = embedded::open(dir.path(), false, 1 << 20).unwrap();
            (Arc::new(raw), Arc::new(tables))
        };
        open();
        let versions = || {
            let database = Connection::open(dir.path().join("xray.db")).unwrap();
            let sql =
                "SELECT 'step ' || step_id, version FROM steps UNION ALL SELECT 'run ' || run_id, version FROM runs";
            let mut query = database.prepare(sql).unwrap();
            query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect()
        };
        let place = Place { open: &open, state: &|| read_embedded(dir.path()), versions: &versions };
        // Backoffs take no time on this clock.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(check(&place, &history))
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

fn on_servers(objects: &str) {
    let cases = Config::default().cases.div_ceil(20);
    let mut runner =
        TestRunner::new(Config { cases, source_file: Some(file!()), max_shrink_iters: 100, ..Config::default() });
    // Backoffs take their time here.
    let outcome = runner.run(&history(3), |history| {
        let settings = bucket::settings(Server::shared(objects));
        let database = Database::fresh();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let checked = runtime.block_on(async {
            let pair: (Arc<dyn RawStore>, Arc<dyn MetricsStore>) =
                (bucket::ready(&settings).await, Arc::new(database.tables().await));
            let open = || pair.clone();
            let versions = || {
                let of = |table, key| {
                    database.versions(table, key).into_iter().map(move |(id, version)| (format!("{key} {id}"), version))
                };
                of("steps", "step_id").chain(of("runs", "run_id")).collect()
            };
            let place = Place { open: &open, state: &|| read_servers(&settings, &database), versions: &versions };
            check(&place, &history).await
        });
        database.query("DROP DATABASE {db}");
        checked
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn on_minio_and_clickhouse() {
    on_servers("minio");
}

#[test]
fn on_versitygw_and_clickhouse() {
    on_servers("versitygw");
}
