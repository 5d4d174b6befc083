//! What was stored lately. Bounded in what it reads and in how long that may take: a page that somebody left open must
//! not be felt by the server.

use super::connection::Connection;
use super::fault::Fault;
use crate::store::StoreError;
use crate::store::recent::{DEAD_LETTERS, RUNS, Recent, RecentLetter, RecentRun, RecentStep, STEPS, TEXT};
use clickhouse::Row;
use clickhouse::query::Query;
use serde::Deserialize;
use std::collections::BTreeMap;

/// In how many days before now the latest runs are looked for, and among how many rows at most. Mostly the first will do, and
/// only the partitions of these months are read; all runs there ever were are looked through only where they are not many.
const DAYS: [(Option<u32>, &str); 3] = [(Some(1), ROWS), (Some(32), ROWS), (None, "5000000")];
const ROWS: &str = "100000000";
/// What each query may cost. One that would cost more is an error, and its part is not shown.
const LIMITS: [(&str, &str); 4] =
    [("max_execution_time", "5"), ("max_threads", "1"), ("max_rows_to_read", ROWS), ("priority", "10")];

#[derive(Row, Deserialize)]
struct RunRow {
    run_id: String,
    pipeline_id: String,
    status: String,
    started_at: String,
    completed_at: Option<String>,
    error: Option<String>,
    total_steps: u64,
    input_count: u64,
    output_count: u64,
    elimination_ratio: f64,
}

#[derive(Row, Deserialize)]
struct StepRow {
    run_id: String,
    step_id: String,
    step_type: String,
    step_name: String,
    input_count: u64,
    output_count: u64,
    elimination_ratio: f64,
    kept_count: u64,
    eliminated_count: u64,
    scored_count: u64,
    started_at: String,
    completed_at: Option<String>,
}

#[derive(Row, Deserialize)]
struct LetterRow {
    sha256: String,
    code: String,
    reason: String,
    source: String,
    kind: String,
    bytes: u64,
    first_seen: String,
    redriven_at: Option<String>,
}

/// Reads it. Where neither part can be read the whole fails, and else each by itself.
pub(super) async fn read(connection: &Connection) -> Result<Recent, StoreError> {
    match (latest_runs(connection).await, letters(connection).await) {
        (Err(fault), Err(_)) => Err(fault.into()),
        (runs, dead_letters) => {
            let (runs, runs_error) = part(runs);
            let (dead_letters, dead_letters_error) = part(dead_letters);
            Ok(Recent { runs, runs_error, dead_letters, dead_letters_error })
        }
    }
}

fn part<T>(read: Result<Vec<T>, Fault>) -> (Vec<T>, Option<String>) {
    match read {
        Ok(rows) => (rows, None),
        Err(fault) => (Vec::new(), Some(StoreError::from(fault).chain())),
    }
}

async fn latest_runs(connection: &Connection) -> Result<Vec<RecentRun>, Fault> {
    let ids = latest_ids(connection).await?;
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let steps = steps(connection, &ids).await?;
    runs(connection, &ids, steps).await
}

/// Which they are. Rows of one run that wait for a merge are together here.
async fn latest_ids(connection: &Connection) -> Result<Vec<String>, Fault> {
    let mut ids = Vec::new();
    for (days, rows) in DAYS {
        let since = days.map_or_else(String::new, |days| format!("started_at > now() - INTERVAL {days} DAY AND "));
        // What claims to be of the future would stand above all else for ever.
        let sql = format!(
            "SELECT run_id FROM runs WHERE {since} started_at < now() + INTERVAL 1 DAY
             ORDER BY started_at DESC, run_id LIMIT 1 BY run_id LIMIT {RUNS}"
        );
        let query = bounded(connection, &sql).with_setting("max_rows_to_read", rows);
        match connection.rows("read the latest runs", query).await {
            // A few are better than none.
            Err(_) if !ids.is_empty() => break,
            found => ids = found?,
        }
        if ids.len() == RUNS {
            break;
        }
    }
    Ok(ids)
}

async fn runs(
    connection: &Connection,
    ids: &[String],
    mut steps: BTreeMap<String, Vec<RecentStep>>,
) -> Result<Vec<RecentRun>, Fault> {
    let (started, completed) = (iso("started_at"), iso("completed_at"));
    let sql = format!(
        "SELECT run_id, leftUTF8(pipeline_id, {TEXT}) AS pipeline_id, CAST(status, 'String') AS status,
                {started} AS started_at, {completed} AS completed_at, leftUTF8(error, {TEXT}) AS error,
                toUInt64(total_steps) AS total_steps, total_input_count AS input_count,
                total_output_count AS output_count, overall_elimination_ratio AS elimination_ratio
         FROM runs FINAL WHERE run_id IN ? ORDER BY runs.started_at DESC, run_id LIMIT {RUNS}"
    );
    let rows: Vec<RunRow> = connection.rows("read the latest runs", bounded(connection, &sql).bind(ids)).await?;
    let run = |row: RunRow| RecentRun {
        steps: steps.remove(&row.run_id).unwrap_or_default(),
        run_id: row.run_id,
        pipeline_id: row.pipeline_id,
        status: row.status,
        started_at: row.started_at,
        completed_at: row.completed_at,
        error: row.error,
        total_steps: row.total_steps,
        input_count: row.input_count,
        output_count: row.output_count,
        elimination_ratio: row.elimination_ratio,
    };
    Ok(rows.into_iter().map(run).collect())
}

/// By run. Found by the key of `run_steps`, as `steps` is not sorted by run.
async fn steps(connection: &Connection, runs: &[String]) -> Result<BTreeMap<String, Vec<RecentStep>>, Fault> {
    let (started, completed) = (iso("started_at"), iso("completed_at"));
    let at_most = STEPS * 8;
    let sql = format!(
        "SELECT run_id, step_id, leftUTF8(CAST(step_type, 'String'), {TEXT}) AS step_type,
                leftUTF8(step_name, {TEXT}) AS step_name, input_count, output_count, elimination_ratio, kept_count,
                eliminated_count, scored_count, {started} AS started_at, {completed} AS completed_at
         FROM steps FINAL
         WHERE step_id IN (SELECT step_id FROM run_steps WHERE run_id IN ? LIMIT {at_most} BY run_id) AND run_id IN ?
         ORDER BY steps.started_at, step_id LIMIT {STEPS} BY run_id"
    );
    let query = bounded(connection, &sql).bind(runs).bind(runs);
    let rows: Vec<StepRow> = connection.rows("read the steps of the latest runs", query).await?;
    let mut steps: BTreeMap<String, Vec<RecentStep>> = BTreeMap::new();
    for row in rows {
        steps.entry(row.run_id).or_default().push(RecentStep {
            step_id: row.step_id,
            step_type: row.step_type,
            step_name: row.step_name,
            input_count: row.input_count,
            output_count: row.output_count,
            elimination_ratio: row.elimination_ratio,
            kept_count: row.kept_count,
            eliminated_count: row.eliminated_count,
            scored_count: row.scored_count,
            started_at: row.started_at,
            completed_at: row.completed_at,
        });
    }
    Ok(steps)
}

async fn letters(connection: &Connection) -> Result<Vec<RecentLetter>, Fault> {
    let (first_seen, redriven) = (iso("first_seen"), iso("redriven_at"));
    // Sorting all of them by what they are takes several times as long. Some are there twice, until they are merged.
    let rows = DEAD_LETTERS * 10;
    let sql = format!(
        "SELECT sha256, CAST(code, 'String') AS code, leftUTF8(reason, {TEXT}) AS reason,
                leftUTF8(source, {TEXT}) AS source, CAST(kind, 'String') AS kind, bytes, {first_seen} AS first_seen,
                {redriven} AS redriven_at
         FROM dead_letters FINAL
         WHERE sha256 IN (SELECT sha256
                          FROM (SELECT sha256, first_seen FROM dead_letters ORDER BY first_seen DESC, sha256 LIMIT {rows})
                          ORDER BY first_seen DESC, sha256 LIMIT 1 BY sha256 LIMIT {DEAD_LETTERS})
         ORDER BY dead_letters.first_seen DESC, sha256"
    );
    let rows: Vec<LetterRow> = connection.rows("read the latest dead letters", bounded(connection, &sql)).await?;
    let letter = |row: LetterRow| RecentLetter {
        sha256: row.sha256,
        code: row.code,
        reason: row.reason,
        source: row.source,
        kind: row.kind,
        bytes: row.bytes,
        first_seen: row.first_seen,
        redriven_at: row.redriven_at,
    };
    Ok(rows.into_iter().map(letter).collect())
}

/// A time as text, as JSON has it.
fn iso(column: &str) -> String {
    format!("concat(replaceOne(toString({column}, 'UTC'), ' ', 'T'), 'Z')")
}

fn bounded(connection: &Connection, sql: &str) -> Query {
    LIMITS.iter().fold(connection.query(sql), |query, (name, value)| query.with_setting(*name, *value))
}
