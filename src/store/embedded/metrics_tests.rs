//! Whatever the order, the batches, the duplicates and the crashes, the tables end up the same, and as documented.

use super::{Reader, SqliteMetrics};
use crate::dead_letter::DeadLetter;
use crate::digest::Sha256;
use crate::event::{Code, Decision, Event, Fact, Kind, Outcome, Rejection, RunReport, Status, StepReport, Timestamp};
use crate::numbers::{RunRow, StepRow, report_order};
use crate::object::Record;
use crate::store::{MetricsStore, Touched};
use bytes::Bytes;
use chrono::DateTime;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use rusqlite::Connection;
use rusqlite::types::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// An event whose bytes are what it says, so that different events have different hashes.
fn record(fact: Fact) -> Arc<Record> {
    let raw = Bytes::from(format!("{fact:?}"));
    Arc::new(Record::new(Event { sha256: Sha256::of(&raw), raw, fact }))
}

fn at(day: u8, millis: i64) -> Timestamp {
    Timestamp::from_millis(1_769_817_600_000 + i64::from(day) * 86_400_000 + millis).unwrap()
}

async fn handle(store: &SqliteMetrics, records: &[Arc<Record>]) {
    store.insert_facts(records).await.unwrap();
    store.recompute(&Touched::by(records)).await.unwrap();
}

fn open(dir: &Path) -> SqliteMetrics {
    SqliteMetrics::open(dir, false).unwrap()
}

/// Every table with all columns but `updated_at`.
fn tables(dir: &Path) -> BTreeMap<&'static str, BTreeSet<String>> {
    let connection = Connection::open(dir.join("xray.db")).unwrap();
    let names = ["decision_events", "step_reports", "run_reports", "step_links", "step_totals", "steps", "runs"];
    let content = |name| {
        let mut statement = connection.prepare(&format!("SELECT * FROM {name}")).unwrap();
        let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let read = |row: &rusqlite::Row<'_>| {
            let values = columns.iter().enumerate().filter(|(_, column)| *column != "updated_at");
            values
                .map(|(i, column)| Ok((column.clone(), row.get::<_, Value>(i)?)))
                .collect::<rusqlite::Result<Vec<_>>>()
        };
        let rows = statement.query_map((), read).unwrap();
        rows.map(|row| format!("{:?}", row.unwrap())).collect::<BTreeSet<String>>()
    };
    names.into_iter().map(|name| (name, content(name))).collect()
}

fn derived(dir: &Path) -> (BTreeMap<String, StepRow>, BTreeMap<String, RunRow>) {
    let reader = Reader::open(dir).unwrap();
    let steps = ["", "r0", "r1", "r2"].iter().flat_map(|run| reader.steps(run).unwrap());
    let runs = reader.runs(100).unwrap().into_iter().map(|row| (row.run_id.clone(), row)).collect();
    (steps.map(|row| (row.step_id.clone(), row)).collect(), runs)
}

/// Of each entity whose row changed, the version must have grown; and none may fall.
fn assert_grown<R: PartialEq + std::fmt::Debug, V: Ord>(
    before: &BTreeMap<String, R>,
    after: &BTreeMap<String, R>,
    version: impl Fn(&R) -> V,
) {
    for (id, old) in before {
        let new = &after[id];
        assert!(old == new || version(old) < version(new), "{old:?} became {new:?}");
    }
}

fn any_fact() -> impl Strategy<Value = Fact> {
    let count = || prop::option::weighted(0.3, 0..4_u64);
    let id = |prefix: &'static str| (0..3_u8).prop_map(move |i| format!("{prefix}{i}"));
    let maybe =
        |prefix: &'static str| prop_oneof![Just(String::new()), (0..3_u8).prop_map(move |i| format!("{prefix}{i}"))];
    let end = || prop::option::of((0..3_i64).prop_map(|millis| at(0, millis)));
    let decision = (id("e"), id("s"), id("r"), 0..3_usize, 0..2_u8, count(), count()).prop_map(
        |(event_id, step_id, run_id, outcome, day, input_count, output_count)| {
            Fact::Decision(Decision {
                event_id,
                step_id,
                run_id,
                pipeline_id: String::new(),
                outcome: Outcome::ALL[outcome],
                item_id: "i".into(),
                score: Some(0.5),
                timestamp: at(day, 0),
                input_count,
                output_count,
            })
        },
    );
    let step = (id("s"), maybe("r"), maybe("p"), end(), count(), count()).prop_map(
        |(step_id, run_id, pipeline_id, completed_at, input_count, output_count)| {
            Fact::Step(StepReport {
                step_id,
                run_id,
                pipeline_id,
                step_type: "filter".into(),
                step_name: "n".into(),
                started_at: at(0, 0),
                completed_at,
                input_count,
                output_count,
            })
        },
    );
    let run = (id("r"), id("p"), 0..5_usize, end()).prop_map(|(run_id, pipeline_id, status, completed_at)| {
        Fact::Run(RunReport {
            run_id,
            pipeline_id,
            status: Status::ALL[status],
            started_at: at(0, 0),
            completed_at,
            error: None,
            metadata: "{}".into(),
        })
    });
    prop_oneof![4 => decision, 3 => step, 2 => run]
}

/// What the documentation says the tables hold, computed as plainly as possible.
fn expected(records: &[Arc<Record>]) -> (BTreeMap<String, Vec<String>>, BTreeMap<String, Vec<String>>) {
    let mut decisions: BTreeMap<_, (&Decision, Sha256)> = BTreeMap::new();
    let mut steps: BTreeMap<&str, (&StepReport, _)> = BTreeMap::new();
    let mut runs: BTreeMap<&str, (&RunReport, _)> = BTreeMap::new();
    for record in records {
        let order = report_order(&record.event);
        match &record.event.fact {
            Fact::Decision(d) => {
                let held = decisions
                    .entry((&d.step_id, &d.run_id, &d.event_id, d.timestamp.day()))
                    .or_insert((d, record.event.sha256));
                if held.1 < record.event.sha256 {
                    *held = (d, record.event.sha256);
                }
            }
            Fact::Step(s) => {
                let held = steps.entry(&s.step_id).or_insert((s, order));
                if held.1 < order {
                    *held = (s, order);
                }
            }
            Fact::Run(r) => {
                let held = runs.entry(&r.run_id).or_insert((r, order));
                if held.1 < order {
                    *held = (r, order);
                }
            }
        }
    }
    let ratio = |input: u64, output: u64| if input == 0 { 0.0 } else { 1.0 - output as f64 / input as f64 };
    let mut sums: BTreeMap<String, (u32, u64, u64)> = BTreeMap::new();
    let step_rows = steps.values().map(|(step, _)| {
        let mine: Vec<_> = decisions.values().map(|(d, _)| *d).filter(|d| d.step_id == step.step_id).collect();
        let count = |outcome| mine.iter().filter(|d| d.outcome == outcome).count() as u64;
        let run = match step.run_id.as_str() {
            "" => mine.iter().map(|d| d.run_id.clone()).min().unwrap_or_default(),
            own => own.to_owned(),
        };
        let pipeline = match step.pipeline_id.as_str() {
            "" => runs.get(run.as_str()).map_or("", |(run, _)| &run.pipeline_id),
            own => own,
        };
        let metadata = |count: fn(&Decision) -> Option<u64>| mine.iter().filter_map(|d| count(d)).max();
        let input = step.input_count.or(metadata(|d| d.input_count)).unwrap_or(mine.len() as u64);
        let passed = count(Outcome::Kept) + count(Outcome::Scored);
        let output = step.output_count.or(metadata(|d| d.output_count)).unwrap_or(passed);
        let sum = sums.entry(run.clone()).or_default();
        *sum = (sum.0 + 1, sum.1 + input, sum.2 + output);
        let outcomes = format!("{:?}", Outcome::ALL.map(count));
        let numbers = format!("{input} {output} {}", ratio(input, output));
        (step.step_id.clone(), vec![run, pipeline.to_owned(), numbers, outcomes, format!("{:?}", step.completed_at)])
    });
    let step_rows = step_rows.collect();
    let run_rows = runs.values().map(|(run, _)| {
        let (steps, input, output) = sums.get(&run.run_id).copied().unwrap_or_default();
        let numbers = format!("{steps} {input} {output} {}", ratio(input, output));
        let own = format!("{} {:?} {:?}", run.pipeline_id, run.status, run.completed_at);
        (run.run_id.clone(), vec![own, numbers])
    });
    (step_rows, run_rows.collect())
}

fn found(dir: &Path) -> (BTreeMap<String, Vec<String>>, BTreeMap<String, Vec<String>>) {
    let (steps, runs) = derived(dir);
    let steps = steps.into_values().map(|row| {
        let outcomes = format!("{:?}", [row.kept_count, row.eliminated_count, row.scored_count]);
        let numbers = format!("{} {} {}", row.input_count, row.output_count, row.elimination_ratio);
        (row.step_id, vec![row.run_id, row.pipeline_id, numbers, outcomes, format!("{:?}", row.completed_at)])
    });
    let runs = runs.into_values().map(|row| {
        let sums = (row.total_steps, row.total_input_count, row.total_output_count);
        let numbers = format!("{} {} {} {}", sums.0, sums.1, sums.2, row.overall_elimination_ratio);
        (row.run_id, vec![format!("{} {:?} {:?}", row.pipeline_id, row.status, row.completed_at), numbers])
    });
    (steps.collect(), runs.collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn the_tables_are_a_function_of_the_set_of_events(
        facts in prop::collection::vec(any_fact(), 1..30),
        deliveries in prop::collection::vec((any::<prop::sample::Index>(), 1..6_usize, any::<bool>()), 0..20),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let records: Vec<_> = facts.into_iter().map(record).collect();
        let (straight, muddled) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        runtime.block_on(handle(&open(straight.path()), &records));

        // Two workers take batches from anywhere; some crash between facts and derived rows. Then all is redelivered,
        // backwards.
        let workers = [open(muddled.path()), open(muddled.path())];
        let mut before = derived(muddled.path());
        let redelivery = records.rchunks(4).map(|batch| (batch, false));
        let muddle = deliveries.iter().map(|(start, length, crash)| {
            let start = start.index(records.len());
            (&records[start..(start + length).min(records.len())], *crash)
        });
        for (i, (batch, crash)) in muddle.chain(redelivery).enumerate() {
            let worker = &workers[i % 2];
            if crash {
                runtime.block_on(worker.insert_facts(batch)).unwrap();
            } else {
                runtime.block_on(handle(worker, batch));
            }
            let after = derived(muddled.path());
            assert_grown(&before.0, &after.0, |row| row.version);
            assert_grown(&before.1, &after.1, |row| row.version);
            before = after;
        }
        prop_assert_eq!(tables(straight.path()), tables(muddled.path()));
        prop_assert_eq!(found(muddled.path()), expected(&records));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_workers_agree() {
    let (alone, shared) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let facts = prop::collection::vec(any_fact(), 200).new_tree(&mut runner).unwrap().current();
    let records: Vec<_> = facts.into_iter().map(record).collect();
    handle(&open(alone.path()), &records).await;
    let workers = (0..4).map(|worker| {
        let (store, records) = (open(shared.path()), records.clone());
        tokio::spawn(async move {
            let half = records.iter().enumerate().filter(|(i, _)| i % 4 == worker || (i + 1) % 4 == worker);
            for batch in half.map(|(_, record)| record.clone()).collect::<Vec<_>>().chunks(5) {
                handle(&store, batch).await;
            }
        })
    });
    futures_util::future::join_all(workers).await.into_iter().for_each(|worker| worker.unwrap());
    assert_eq!(tables(alone.path()), tables(shared.path()));
}

#[tokio::test]
async fn columns_hold_what_is_documented() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteMetrics::open(dir.path(), true).unwrap();
    let run = Fact::Run(RunReport {
        run_id: "r0".into(),
        pipeline_id: "p".into(),
        status: Status::Failed,
        started_at: at(0, 1),
        completed_at: Some(at(0, 999)),
        error: Some("no luck\0".into()),
        metadata: "{ \"a\": 1.0 }".into(),
    });
    handle(&store, &[record(run)]).await;
    let connection = Connection::open(dir.path().join("xray.db")).unwrap();
    let sql = "SELECT status, started_at, completed_at, error, metadata, length(version), length(updated_at) FROM runs";
    let row = connection.query_row(sql, (), |row| {
        let text = |i| row.get::<_, String>(i);
        Ok(([text(0)?, text(1)?, text(2)?, text(3)?, text(4)?], [row.get::<_, i64>(5)?, row.get(6)?]))
    });
    let texts = ["failed", "2026-01-31T00:00:00.001Z", "2026-01-31T00:00:00.999Z", "no luck\0", "{ \"a\": 1.0 }"];
    assert_eq!(row.unwrap(), (texts.map(str::to_owned), [64, 24]));
}

#[tokio::test]
async fn a_dead_letter_stays_as_it_was_first_seen() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteMetrics::open(dir.path(), true).unwrap();
    let letter = |source: &str, millis| {
        Arc::new(DeadLetter {
            rejection: Rejection::new(Code::NotJson, "no JSON"),
            source: source.into(),
            kind: Some(Kind::Run),
            first_seen: DateTime::from_timestamp_millis(millis).unwrap(),
            deliveries: 1,
            body: Bytes::from_static(b"x"),
            full_bytes: 7,
            sha256: Sha256::of(b"x"),
        })
    };
    store.insert_dead_letters(&[letter("first", 1), letter("again", 2)]).await.unwrap();
    store.insert_dead_letters(&[letter("later", 3)]).await.unwrap();
    let reader = Reader::open(dir.path()).unwrap();
    let rows = reader.dead_letters(10).unwrap();
    assert_eq!(rows.len(), 1);
    let row = &rows[0];
    assert_eq!((row.code.as_str(), row.source.as_str(), row.kind.as_str()), ("not_json", "first", "run"));
    assert_eq!((row.bytes, row.first_seen.as_str()), (7, "1970-01-01T00:00:00.001Z"));
    assert_eq!(row.redriven_at, None);
    assert_eq!(reader.counts().unwrap().dead_letters, 1);
}

/// What made the worker read a garbled row is no reason to refuse the event.
#[tokio::test]
async fn a_garbled_row_is_ours_to_repair() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let decision = |event_id: &str| {
        record(Fact::Decision(Decision {
            event_id: event_id.into(),
            step_id: "s".into(),
            run_id: "r".into(),
            pipeline_id: String::new(),
            outcome: Outcome::Kept,
            item_id: "i".into(),
            score: None,
            timestamp: at(0, 0),
            input_count: None,
            output_count: None,
        }))
    };
    handle(&store, &[decision("a")]).await;
    let connection = Connection::open(dir.path().join("xray.db")).unwrap();
    for garbage in
        ["version = 'x'", "version = CAST(x'ff' AS TEXT)", "kept = -1, version = hex(zeroblob(32))", "kept = 'x'"]
    {
        connection.execute(&format!("UPDATE step_totals SET {garbage}"), ()).unwrap();
        let error = store.insert_facts(&[decision("b")]).await.unwrap_err();
        assert_eq!(error.class, crate::store::Class::Us, "{garbage}: {}", error.chain());
    }
}
