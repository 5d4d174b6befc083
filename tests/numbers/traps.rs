//! Each trap that was seen to give wrong numbers for ever, by name, on the real engine.

use bytes::Bytes;

use crate::support::clickhouse::Database;
use crate::support::events::{handle, records};
use crate::support::model::{Input, expected};
use xray_processor_worker::store::{MetricsStore, Touched};

fn bodies(texts: &[&str]) -> Vec<Bytes> {
    texts.iter().map(|text| Bytes::copy_from_slice(text.as_bytes())).collect()
}

fn assert_is_the_model(database: &Database, bodies: &[Bytes]) {
    let model = expected(bodies.iter().map(|body| Input { body, hint: None }));
    assert_eq!(database.decision_events(), model.decision_events);
    assert_eq!(database.steps(), model.steps);
    assert_eq!(database.runs(), model.runs);
}

/// Handles them one by one; the numbers are right after each.
async fn one_by_one(texts: &[&str]) {
    let (database, bodies) = (Database::fresh(), bodies(texts));
    let tables = database.tables().await;
    for end in 1..=bodies.len() {
        handle(&tables, &records(&bodies[end - 1..end])).await;
        assert_is_the_model(&database, &bodies[..end]);
    }
}

const RUN_A: &str = r#"{"id":"a","pipelineId":"p","status":"running","startedAt":"2026-01-31T11:00:00Z"}"#;
const RUN_B: &str = r#"{"id":"b","pipelineId":"q","status":"running","startedAt":"2026-01-31T11:00:00Z"}"#;
const IN_A: &str =
    r#"{"id":"d1","stepId":"s","runId":"a","outcome":"kept","itemId":"i","timestamp":"2026-01-31T12:00:00Z"}"#;
const IN_B: &str =
    r#"{"id":"d2","stepId":"s","runId":"b","outcome":"kept","itemId":"i","timestamp":"2026-01-31T12:00:00Z"}"#;
const STEP: &str = r#"{"id":"s","type":"t","name":"n","startedAt":"2026-01-31T11:00:00Z"}"#;

#[tokio::test]
async fn a_step_leaves_a_run_by_a_newer_report() {
    let moved = r#"{"id":"s","type":"t","name":"n","startedAt":"2026-01-31T11:00:00Z","completedAt":"2026-01-31T13:00:00Z","runId":"b"}"#;
    one_by_one(&[RUN_A, RUN_B, STEP, IN_A, moved]).await;
}

#[tokio::test]
async fn a_step_leaves_a_run_by_a_lesser_one() {
    one_by_one(&[RUN_A, RUN_B, STEP, IN_B, IN_A]).await;
}

#[tokio::test]
async fn a_pipeline_becomes_known_late() {
    one_by_one(&[STEP, IN_A, RUN_A]).await;
}

#[tokio::test]
async fn a_report_of_equal_rank_takes_anothers_place() {
    let variants: Vec<String> =
        (0..6).map(|n| STEP.replace("\"n\"", &format!("\"n{n}\",\"inputCount\":{n}"))).collect();
    let texts: Vec<&str> = [RUN_A, IN_A].into_iter().chain(variants.iter().map(String::as_str)).collect();
    one_by_one(&texts).await;
}

#[tokio::test]
async fn a_conflict_is_won_late() {
    let variants: Vec<String> = (0..6)
        .map(|n| IN_A.replace("kept", ["eliminated", "scored"][n % 2]).replace('}', &format!(",\"n\":{n}}}")))
        .collect();
    let texts: Vec<&str> = [RUN_A, STEP, IN_A].into_iter().chain(variants.iter().map(String::as_str)).collect();
    one_by_one(&texts).await;
}

/// 18 decisions of one millisecond in one step are 18 rows; one event id under two runs, steps or days is two.
#[tokio::test]
async fn decisions_that_look_alike() {
    let mut texts = vec![RUN_A.to_owned(), STEP.to_owned()];
    texts.extend((0..18).map(|n| IN_A.replace("d1", &format!("e{n}"))));
    texts.extend([IN_A.replace("\"a\"", "\"b\""), IN_A.replace("\"s\"", "\"t\""), IN_A.replace("01-31", "02-01")]);
    let database = Database::fresh();
    let tables = database.tables().await;
    let bodies: Vec<Bytes> = texts.into_iter().map(Bytes::from).collect();
    handle(&tables, &records(&bodies)).await;
    database.query("OPTIMIZE TABLE {db}.decision_events FINAL");
    assert_is_the_model(&database, &bodies);
}

/// The same facts again and again, not merged, and one more: the row that saw it wins over those that did not.
#[tokio::test]
async fn duplicates_do_not_raise_a_version() {
    let (database, all) = (Database::fresh(), bodies(&[RUN_A, STEP, IN_A, IN_B]));
    let tables = database.tables().await;
    database.query("SYSTEM STOP MERGES {db}.decision_events");
    let first = records(&all[..3]);
    for _ in 0..5 {
        handle(&tables, &first).await;
    }
    let versions = || (database.versions("steps", "step_id"), database.versions("runs", "run_id"));
    let before = versions();
    handle(&tables, &first).await;
    assert_eq!(versions(), before);
    handle(&tables, &records(&all[3..])).await;
    assert_is_the_model(&database, &all);
}

/// A recompute that began early and writes late must not undo a later one.
#[tokio::test]
async fn a_late_recompute_of_less_loses() {
    let (database, all) = (Database::fresh(), bodies(&[RUN_A, STEP, IN_A, IN_B]));
    let tables = database.tables().await;
    handle(&tables, &records(&all[..3])).await;
    let columns = "* EXCEPT (updated_at), now64(3, 'UTC') + toIntervalSecond(60)";
    database.query("CREATE TABLE {db}.stale_steps AS {db}.steps");
    database.query("CREATE TABLE {db}.stale_runs AS {db}.runs");
    for table in ["steps", "runs"] {
        let names = database.query(&format!(
            "SELECT arrayStringConcat(groupArray(name), ', ') FROM system.columns WHERE database = '{{db}}' AND table = '{table}' AND name != 'updated_at' FORMAT TSVRaw"
        ));
        let names = names.trim();
        database.query(&format!(
            "INSERT INTO {{db}}.stale_{table} ({names}, updated_at) SELECT {columns} FROM {{db}}.{table} FINAL"
        ));
        handle(&tables, &records(&all[3..])).await;
        database.query(&format!("INSERT INTO {{db}}.{table} SELECT * FROM {{db}}.stale_{table}"));
    }
    assert_is_the_model(&database, &all);
}

/// Sums of counts of 10^12 over many steps do not wrap, and stop where every store stops.
#[tokio::test]
async fn sums_do_not_wrap() {
    let (database, mut texts) = (Database::fresh(), vec![RUN_A.to_owned()]);
    let tables = database.tables().await;
    texts.extend((0..50).map(|n| {
        STEP.replace(
            "\"s\"",
            &format!("\"s{n}\",\"runId\":\"a\",\"inputCount\":1000000000000,\"outputCount\":999999999999"),
        )
    }));
    let bodies: Vec<Bytes> = texts.into_iter().map(Bytes::from).collect();
    handle(&tables, &records(&bodies)).await;
    assert_is_the_model(&database, &bodies);

    // Nobody has nine million steps in a test; what they would add up to is put where it would stand.
    database.query(
        "INSERT INTO {db}.run_steps SELECT 'a', concat('many', toString(number)), 1, 9000000000000000000, 9000000000000000000, 1 FROM numbers(3)",
    );
    tables.recompute(&Touched::by(&records(&bodies[..1]))).await.unwrap();
    let sums =
        "SELECT total_input_count, total_output_count FROM {db}.runs ORDER BY updated_at DESC LIMIT 1 FORMAT TSV";
    assert_eq!(database.query(sums), format!("{0}\t{0}\n", i64::MAX));
}

/// Merges collapse rows of one key, as long as these lie in one partition: then readers who leave out `FINAL` are right
/// too, in time, and old months need no `FINAL` at all.
#[tokio::test]
async fn what_came_twice_is_merged_into_one() {
    let (database, all) = (Database::fresh(), bodies(&[RUN_A, RUN_B, STEP, IN_A, IN_B]));
    let tables = database.tables().await;
    for _ in 0..3 {
        handle(&tables, &records(&all)).await;
    }
    for table in ["decision_events", "step_reports", "run_reports", "step_totals", "run_steps", "steps", "runs"] {
        database.query(&format!("OPTIMIZE TABLE {{db}}.{table} FINAL"));
        let count = |how: &str| database.query(&format!("SELECT count() FROM {{db}}.{table} {how} FORMAT TSV"));
        assert_eq!(count(""), count("FINAL"), "{table}");
    }
    assert_is_the_model(&database, &all);
}
