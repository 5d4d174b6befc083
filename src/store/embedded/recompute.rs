//! Bringing derived rows up to date.

use super::columns::{Sql, now};
use super::reports;
use crate::numbers::{self, RunRow, StepRow};
use crate::store::{Heavy, Touched};
use rusqlite::{Connection, Result, params};
use std::collections::BTreeSet;

/// Writes every row that depends on a touched key, in the transaction that `connection` is in. Writers take turns: what
/// is written last has seen the most, so no version need be compared.
pub(super) fn recompute(connection: &Connection, touched: &Touched) -> Result<Heavy> {
    let now = now();
    let with_facts = touched.all_steps();
    let mut steps: BTreeSet<String> = with_facts.iter().map(|&step_id| step_id.to_owned()).collect();
    let linked_steps = "SELECT step_id FROM step_links WHERE run_id = ?";
    touched.runs.iter().try_for_each(|run_id| extend(&mut steps, connection, linked_steps, run_id))?;
    let mut runs = touched.runs.clone();
    let linked_runs = "SELECT run_id FROM step_links WHERE step_id = ?";
    with_facts.iter().try_for_each(|step_id| extend(&mut runs, connection, linked_runs, step_id))?;

    for step_id in steps {
        let facts = reports::step(connection, &step_id)?;
        if let Some(row) = numbers::step_row(&facts, &reports::linked_runs(connection, &step_id)?) {
            store_step(connection, &row, &now)?;
        }
    }
    // The totals of a step are kept as its decisions come, so no step is heavy here.
    let mut heavy = Heavy::default();
    for run_id in runs {
        if let Some((report, order)) = reports::run(connection, &run_id)? {
            let steps = reports::linked_steps(connection, &run_id)?;
            store_run(connection, &numbers::run_row(&report, order, &steps), &now)?;
            if steps.len() as u64 >= Heavy::FROM {
                heavy.runs.insert(run_id);
            }
        }
    }
    Ok(heavy)
}

fn extend(keys: &mut BTreeSet<String>, connection: &Connection, sql: &str, key: &str) -> Result<()> {
    let mut statement = connection.prepare_cached(sql)?;
    for linked in statement.query_map([key], |row| row.get(0))? {
        keys.insert(linked?);
    }
    Ok(())
}

fn store_step(connection: &Connection, row: &StepRow, now: &str) -> Result<()> {
    let sql = "INSERT OR REPLACE INTO steps
               (step_id, run_id, pipeline_id, step_type, step_name, input_count, output_count, elimination_ratio,
                kept_count, eliminated_count, scored_count, started_at, completed_at, updated_at, version)
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    connection.prepare_cached(sql)?.execute(params![
        row.step_id,
        row.run_id,
        row.pipeline_id,
        row.step_type,
        row.step_name,
        Sql(row.input_count),
        Sql(row.output_count),
        row.elimination_ratio,
        Sql(row.kept_count),
        Sql(row.eliminated_count),
        Sql(row.scored_count),
        Sql(row.started_at),
        row.completed_at.map(Sql),
        now,
        Sql(row.version),
    ])?;
    Ok(())
}

fn store_run(connection: &Connection, row: &RunRow, now: &str) -> Result<()> {
    let sql = "INSERT OR REPLACE INTO runs
               (run_id, pipeline_id, status, started_at, completed_at, error, total_steps, total_input_count,
                total_output_count, overall_elimination_ratio, metadata, updated_at, version)
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    connection.prepare_cached(sql)?.execute(params![
        row.run_id,
        row.pipeline_id,
        Sql(row.status),
        Sql(row.started_at),
        row.completed_at.map(Sql),
        row.error,
        row.total_steps,
        Sql(row.total_input_count),
        Sql(row.total_output_count),
        row.overall_elimination_ratio,
        row.metadata,
        now,
        Sql(row.version),
    ])?;
    Ok(())
}
