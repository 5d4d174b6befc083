//! What was stored lately: a few rows by an index, whatever else is there.

use super::columns::Columns;
use super::{open, sqlite_fault};
use crate::store::StoreError;
use crate::store::recent::{DEAD_LETTERS, RUNS, Recent, RecentLetter, RecentRun, RecentStep, STEPS, TEXT};
use rusqlite::{Connection, Params};
use std::path::Path;

/// Reads it. Blocks.
pub(super) fn read(path: &Path) -> Result<Recent, StoreError> {
    let connection = open::reader(path.parent().unwrap_or(Path::new("")))?;
    read_from(&connection).map_err(|error| sqlite_fault::fault("read", path, &error))
}

fn read_from(connection: &Connection) -> rusqlite::Result<Recent> {
    let mut runs = rows(connection, &runs_sql(), (), run)?;
    for run in &mut runs {
        run.steps = rows(connection, &steps_sql(), [&run.run_id], step)?;
    }
    Ok(Recent { runs, dead_letters: rows(connection, &letters_sql(), (), letter)?, ..Recent::default() })
}

/// What claims to be of the future would stand above all else for ever.
fn runs_sql() -> String {
    format!(
        "SELECT run_id, substr(pipeline_id, 1, {TEXT}), status, started_at, completed_at, substr(error, 1, {TEXT}),
                total_steps, total_input_count, total_output_count, overall_elimination_ratio
         FROM runs WHERE started_at < strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '+1 day')
         ORDER BY started_at DESC, run_id LIMIT {RUNS}"
    )
}

fn steps_sql() -> String {
    format!(
        "SELECT step_id, substr(step_type, 1, {TEXT}), substr(step_name, 1, {TEXT}), input_count, output_count,
                elimination_ratio, kept_count, eliminated_count, scored_count, started_at, completed_at
         FROM steps WHERE run_id = ? ORDER BY started_at, step_id LIMIT {STEPS}"
    )
}

/// In the order in which they were inserted, which needs no index of its own.
fn letters_sql() -> String {
    format!(
        "SELECT sha256, code, substr(reason, 1, {TEXT}), substr(source, 1, {TEXT}), kind, bytes, first_seen, redriven_at
         FROM dead_letters ORDER BY rowid DESC LIMIT {DEAD_LETTERS}"
    )
}

fn run(columns: &mut Columns<'_>) -> rusqlite::Result<RecentRun> {
    Ok(RecentRun {
        run_id: columns.plain()?,
        pipeline_id: columns.plain()?,
        status: columns.plain()?,
        started_at: columns.plain()?,
        completed_at: columns.plain()?,
        error: columns.plain()?,
        total_steps: columns.typed()?,
        input_count: columns.typed()?,
        output_count: columns.typed()?,
        elimination_ratio: columns.plain()?,
        steps: Vec::new(),
    })
}

fn step(columns: &mut Columns<'_>) -> rusqlite::Result<RecentStep> {
    Ok(RecentStep {
        step_id: columns.plain()?,
        step_type: columns.plain()?,
        step_name: columns.plain()?,
        input_count: columns.typed()?,
        output_count: columns.typed()?,
        elimination_ratio: columns.plain()?,
        kept_count: columns.typed()?,
        eliminated_count: columns.typed()?,
        scored_count: columns.typed()?,
        started_at: columns.plain()?,
        completed_at: columns.plain()?,
    })
}

fn letter(columns: &mut Columns<'_>) -> rusqlite::Result<RecentLetter> {
    Ok(RecentLetter {
        sha256: columns.plain()?,
        code: columns.plain()?,
        reason: columns.plain()?,
        source: columns.plain()?,
        kind: columns.plain()?,
        bytes: columns.typed()?,
        first_seen: columns.plain()?,
        redriven_at: columns.plain()?,
    })
}

fn rows<T>(
    connection: &Connection,
    sql: &str,
    parameters: impl Params,
    read: impl Fn(&mut Columns<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_map(parameters, |row| read(&mut Columns::new(row)))?.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_of_the_future() {
        let dir = tempfile::tempdir().unwrap();
        let connection = open::writer(dir.path(), false).unwrap();
        let now = chrono::Utc::now();
        for (id, hours) in [("past", -24), ("soon", 23), ("future", 25)] {
            let at = crate::iso::text(&(now + chrono::TimeDelta::hours(hours)));
            let sql = "INSERT INTO runs VALUES (?, '', '', ?, NULL, NULL, 0, 0, 0, 0.0, '', '', '')";
            connection.execute(sql, [id, &at]).unwrap();
        }
        let recent = read_from(&connection).unwrap();
        assert_eq!(recent.runs.iter().map(|run| &*run.run_id).collect::<Vec<_>>(), ["soon", "past"]);
    }

    /// However much is stored, a page that somebody left open costs next to nothing.
    #[test]
    fn nothing_is_scanned() {
        let dir = tempfile::tempdir().unwrap();
        drop(open::writer(dir.path(), false).unwrap());
        let connection = open::reader(dir.path()).unwrap();
        for sql in [runs_sql(), steps_sql(), letters_sql()] {
            let mut plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let bound: &[&dyn rusqlite::ToSql] = if sql.contains('?') { &[&"r"] } else { &[] };
            let steps = plan.query_map(bound, |row| row.get::<_, String>(3)).unwrap();
            let steps: Vec<String> = steps.collect::<rusqlite::Result<_>>().unwrap();
            let sorted = |step: &String| step.contains("USE TEMP B-TREE FOR ORDER BY");
            assert!(!steps.iter().any(sorted), "{sql}: {steps:?}");
        }
    }
}
