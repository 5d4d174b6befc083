//! What readers of today ask: the documented columns, under their names and in compatible types.

use bytes::Bytes;
use serde_json::{Value, json};
use xray_processor_worker::generate::{Lines, Plan};

use crate::support::clickhouse::Database;
use crate::support::events::{handle, records};
use crate::support::model::{Input, expected};

#[tokio::test]
async fn columns_and_types() {
    let database = Database::fresh();
    database.tables().await;
    let time = "DateTime64(3, 'UTC')";
    let (maybe_time, maybe_text) = ("Nullable(DateTime64(3, 'UTC'))", "Nullable(String)");
    let word = "LowCardinality(String)";
    let documented: [(&str, &[(&str, &str)]); 4] = [
        (
            "decision_events",
            &[
                ("event_id", "String"),
                ("step_id", "String"),
                ("run_id", "String"),
                ("pipeline_id", "String"),
                ("outcome", word),
                ("item_id", "String"),
                ("score", "Nullable(Float64)"),
                ("timestamp", time),
                ("s3_key", "String"),
                ("updated_at", time),
            ],
        ),
        (
            "steps",
            &[
                ("step_id", "String"),
                ("run_id", "String"),
                ("pipeline_id", "String"),
                ("step_type", word),
                ("step_name", "String"),
                ("input_count", "UInt64"),
                ("output_count", "UInt64"),
                ("elimination_ratio", "Float64"),
                ("kept_count", "UInt64"),
                ("eliminated_count", "UInt64"),
                ("scored_count", "UInt64"),
                ("started_at", time),
                ("completed_at", maybe_time),
                ("updated_at", time),
            ],
        ),
        (
            "runs",
            &[
                ("run_id", "String"),
                ("pipeline_id", "String"),
                ("status", word),
                ("started_at", time),
                ("completed_at", maybe_time),
                ("error", maybe_text),
                ("total_steps", "UInt32"),
                ("total_input_count", "UInt64"),
                ("total_output_count", "UInt64"),
                ("overall_elimination_ratio", "Float64"),
                ("metadata", "String"),
                ("updated_at", time),
            ],
        ),
        (
            "dead_letters",
            &[
                ("sha256", "String"),
                ("code", word),
                ("reason", "String"),
                ("source", "String"),
                ("kind", word),
                ("s3_key", "String"),
                ("bytes", "UInt64"),
                ("first_seen", time),
                ("redriven_at", maybe_time),
                ("version", "UInt256"),
            ],
        ),
    ];
    for (table, columns) in documented {
        for (column, kind) in columns {
            let sql = format!(
                "SELECT type FROM system.columns WHERE database = '{{db}}' AND table = '{table}' AND name = '{column}' FORMAT TSVRaw"
            );
            assert_eq!(database.query(&sql).trim_end(), *kind, "{table}.{column}");
        }
    }
}

/// The queries that stand in dashboards, each compared with the same question put to the model.
#[tokio::test]
async fn questions_by_run_step_pipeline_and_time() {
    let database = Database::fresh();
    let tables = database.tables().await;
    let bodies: Vec<Bytes> = Lines::new(Plan { runs: 10, days: 90, malformed: 0.0, ..Plan::default() }).collect();
    handle(&tables, &records(&bodies)).await;
    let model = expected(bodies.iter().map(|body| Input { body, hint: None }));
    let run = model.runs.values().find(|run| run.total_steps > 0).unwrap();
    let step = model.steps.values().find(|step| step.run_id == run.run_id && step.kept_count > 0).unwrap();
    let ask = |sql: &str| -> Vec<Value> {
        database.rows(&sql.replace("{run}", &run.run_id).replace("{step}", &step.step_id))
    };

    let found = ask("SELECT status, total_steps FROM {db}.runs FINAL WHERE run_id = '{run}'");
    assert_eq!(found, [json!({ "status": run.status, "total_steps": run.total_steps })]);
    let found = ask("SELECT count() AS n FROM {db}.steps FINAL WHERE run_id = '{run}'");
    assert_eq!(found, [json!({ "n": run.total_steps })]);
    let found = ask("SELECT kept_count, elimination_ratio FROM {db}.steps FINAL WHERE step_id = '{step}'");
    assert_eq!(found, [json!({ "kept_count": step.kept_count, "elimination_ratio": step.elimination_ratio })]);
    let found =
        ask("SELECT count() AS n FROM {db}.decision_events FINAL WHERE step_id = '{step}' AND outcome = 'kept'");
    assert_eq!(found, [json!({ "n": step.kept_count })]);
    let of_run = model.decision_events.values().filter(|decision| decision.run_id == run.run_id).count();
    let found = ask("SELECT count() AS n FROM {db}.decision_events FINAL WHERE run_id = '{run}'");
    assert_eq!(found, [json!({ "n": of_run })]);

    let mut pipelines: std::collections::BTreeMap<&str, i64> = Default::default();
    for run in model.runs.values() {
        *pipelines.entry(&run.pipeline_id).or_default() += 1;
    }
    let found = ask("SELECT pipeline_id, count() AS n FROM {db}.runs FINAL GROUP BY pipeline_id ORDER BY pipeline_id");
    let pipelines: Vec<_> =
        pipelines.into_iter().map(|(pipeline_id, n)| json!({ "pipeline_id": pipeline_id, "n": n })).collect();
    assert_eq!(found, pipelines);
    let middle = &run.started_at;
    let sql = format!(
        "SELECT count() AS n FROM {{db}}.runs FINAL WHERE started_at <= parseDateTime64BestEffort('{middle}', 3, 'UTC')"
    );
    let earlier = model.runs.values().filter(|run| run.started_at <= *middle).count();
    assert_eq!(ask(&sql), [json!({ "n": earlier })]);
}
