//! Rows of facts, read back.

use super::connection::Connection;
use super::fault::Fault;
use super::rows::version;
use crate::event::{Decision, Fact, Kind, Outcome, RunReport, Status, StepReport, Timestamp};
use crate::store::audit::{Among, FactId, FactRow, NAMED};
use chrono::DateTime;
use clickhouse::Row;
use clickhouse::query::Query;
use clickhouse::types::UInt256;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use serde::Deserialize;
use std::sync::Arc;

/// These rows, in the order of keys.
pub(super) fn stream(
    connection: &Arc<Connection>,
    kind: Kind,
    among: &Among,
) -> BoxStream<'static, Result<FactRow, Fault>> {
    let is_none = match among {
        Among::Ids(ids) => !ids.iter().any(|id| id.kind() == kind),
        Among::Steps(_) => kind == Kind::Run,
        _ => false,
    };
    if is_none {
        return stream::empty().boxed();
    }
    match kind {
        Kind::Decision => {
            let id = "(run_id, step_id, event_id, toDate32(timestamp))";
            let columns = "event_id, step_id, run_id, pipeline_id, outcome, item_id, score,
                           toUnixTimestamp64Milli(timestamp) AS at, input_count, output_count";
            let query = query(connection, "decision_events", id, columns, decisions(among), among);
            connection.stream::<StoredDecision>("read decisions", query).map_ok(FactRow::from).boxed()
        }
        Kind::Step => {
            let columns = "step_id, run_id, pipeline_id, step_type, step_name,
                           toUnixTimestamp64Milli(started_at) AS started,
                           toUnixTimestamp64Milli(completed_at) AS completed, input_count, output_count";
            let query = query(connection, "step_reports", "step_id", columns, steps(among), among);
            connection.stream::<StoredStep>("read reports of steps", query).map_ok(FactRow::from).boxed()
        }
        Kind::Run => {
            let columns = "run_id, pipeline_id, status, toUnixTimestamp64Milli(started_at) AS started,
                           toUnixTimestamp64Milli(completed_at) AS completed, error, metadata";
            let query = query(connection, "run_reports", "run_id", columns, runs(among), among);
            connection.stream::<StoredRun>("read reports of runs", query).map_ok(FactRow::from).boxed()
        }
    }
}

/// A condition, and how often it binds the value.
type Condition = (&'static str, usize);

fn decisions(among: &Among) -> Condition {
    match among {
        Among::Month(_) => ("toYYYYMM(timestamp) = ?", 1),
        Among::Run(_) => ("run_id = ?", 1),
        Among::Named(_) => ("event_id = ? OR item_id = ?", 2),
        Among::Steps(_) => ("step_id IN ?", 1),
        Among::Ids(_) => {
            ("(run_id, step_id) IN ? AND (run_id, step_id, event_id, toString(toDate32(timestamp))) IN ?", 1)
        }
    }
}

fn steps(among: &Among) -> Condition {
    match among {
        Among::Month(_) => ("toYYYYMM(started_at) = ?", 1),
        Among::Run(_) => ("run_id = ? OR step_id IN (SELECT step_id FROM steps FINAL WHERE run_id = ?)", 2),
        Among::Named(_) => ("step_id = ?", 1),
        Among::Steps(_) | Among::Ids(_) => ("step_id IN ?", 1),
    }
}

fn runs(among: &Among) -> Condition {
    match among {
        Among::Month(_) => ("toYYYYMM(started_at) = ?", 1),
        Among::Run(_) | Among::Named(_) => ("run_id = ?", 1),
        Among::Steps(_) | Among::Ids(_) => ("run_id IN ?", 1),
    }
}

fn query(
    connection: &Connection,
    table: &str,
    id: &str,
    columns: &str,
    (condition, times): Condition,
    among: &Among,
) -> Query {
    let columns = format!("{columns}, s3_key, toUnixTimestamp64Milli(updated_at) AS updated, version");
    let sql = match among {
        // How many copies there are is only for people who ask about one thing.
        Among::Named(_) => format!(
            "SELECT {columns}, count() OVER (PARTITION BY {id}) AS copies
             FROM {table} WHERE {condition} ORDER BY s3_key, version DESC LIMIT 1 BY {id} LIMIT {NAMED}"
        ),
        _ => format!("SELECT {columns}, toUInt64(1) AS copies FROM {table} FINAL WHERE {condition} ORDER BY s3_key"),
    };
    let query = connection.query(&sql);
    match among {
        Among::Month(month) => (0..times).fold(query, |query, _| query.bind(month)),
        Among::Run(id) | Among::Named(id) => (0..times).fold(query, |query, _| query.bind(id)),
        Among::Steps(ids) => query.bind(ids),
        Among::Ids(ids) => bind_ids(query, ids),
    }
}

fn bind_ids(query: Query, ids: &[FactId]) -> Query {
    let (mut groups, mut decisions, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    for id in ids {
        match id {
            FactId::Decision { run_id, step_id, event_id, day } => {
                groups.push((run_id, step_id));
                decisions.push((run_id, step_id, event_id, day));
            }
            FactId::Step(id) | FactId::Run(id) => plain.push(id),
        }
    }
    if decisions.is_empty() { query.bind(plain) } else { query.bind(groups).bind(decisions) }
}

#[derive(Row, Deserialize)]
struct StoredDecision {
    event_id: String,
    step_id: String,
    run_id: String,
    pipeline_id: String,
    outcome: String,
    item_id: String,
    score: Option<f64>,
    at: i64,
    input_count: Option<u64>,
    output_count: Option<u64>,
    s3_key: String,
    updated: i64,
    version: UInt256,
    copies: u64,
}

#[derive(Row, Deserialize)]
struct StoredStep {
    step_id: String,
    run_id: String,
    pipeline_id: String,
    step_type: String,
    step_name: String,
    started: i64,
    completed: Option<i64>,
    input_count: Option<u64>,
    output_count: Option<u64>,
    s3_key: String,
    updated: i64,
    version: UInt256,
    copies: u64,
}

#[derive(Row, Deserialize)]
struct StoredRun {
    run_id: String,
    pipeline_id: String,
    status: String,
    started: i64,
    completed: Option<i64>,
    error: Option<String>,
    metadata: String,
    s3_key: String,
    updated: i64,
    version: UInt256,
    copies: u64,
}

/// A value that no worker writes is no error here: that is what an audit looks for.
fn time(millis: Option<i64>) -> Option<Option<Timestamp>> {
    millis.map_or(Some(None), |millis| Timestamp::from_millis(millis).map(Some))
}

impl From<StoredDecision> for FactRow {
    fn from(row: StoredDecision) -> FactRow {
        let day = DateTime::from_timestamp_millis(row.at).unwrap_or_default().format("%Y-%m-%d").to_string();
        let id = FactId::Decision {
            run_id: row.run_id.clone(),
            step_id: row.step_id.clone(),
            event_id: row.event_id.clone(),
            day,
        };
        let outcome = Outcome::ALL.into_iter().find(|outcome| outcome.as_str() == row.outcome);
        let fact = outcome.zip(Timestamp::from_millis(row.at)).map(|(outcome, timestamp)| {
            Fact::Decision(Decision {
                event_id: row.event_id,
                step_id: row.step_id,
                run_id: row.run_id,
                pipeline_id: row.pipeline_id,
                outcome,
                item_id: row.item_id,
                score: row.score,
                timestamp,
                input_count: row.input_count,
                output_count: row.output_count,
            })
        });
        fact_row(id, row.s3_key, row.version, fact, row.updated, row.copies)
    }
}

impl From<StoredStep> for FactRow {
    fn from(row: StoredStep) -> FactRow {
        let id = FactId::Step(row.step_id.clone());
        let times = time(Some(row.started)).flatten().zip(time(row.completed));
        let fact = times.map(|(started_at, completed_at)| {
            Fact::Step(StepReport {
                step_id: row.step_id,
                run_id: row.run_id,
                pipeline_id: row.pipeline_id,
                step_type: row.step_type,
                step_name: row.step_name,
                started_at,
                completed_at,
                input_count: row.input_count,
                output_count: row.output_count,
            })
        });
        fact_row(id, row.s3_key, row.version, fact, row.updated, row.copies)
    }
}

impl From<StoredRun> for FactRow {
    fn from(row: StoredRun) -> FactRow {
        let id = FactId::Run(row.run_id.clone());
        let times = time(Some(row.started)).flatten().zip(time(row.completed));
        let status = Status::ALL.into_iter().find(|status| status.as_str() == row.status);
        let fact = status.zip(times).map(|(status, (started_at, completed_at))| {
            Fact::Run(RunReport {
                run_id: row.run_id,
                pipeline_id: row.pipeline_id,
                status,
                started_at,
                completed_at,
                error: row.error,
                metadata: row.metadata,
            })
        });
        fact_row(id, row.s3_key, row.version, fact, row.updated, row.copies)
    }
}

fn fact_row(id: FactId, key: String, number: UInt256, fact: Option<Fact>, updated: i64, copies: u64) -> FactRow {
    let updated_at = DateTime::from_timestamp_millis(updated).unwrap_or_default();
    FactRow { id, key, version: version(number), fact, updated_at, copies }
}
