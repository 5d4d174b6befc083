//! The table `step_totals`.

use super::columns::{Columns, Sql};
use crate::numbers::StepTotals;
use rusqlite::{Connection, OptionalExtension, Result, params};

/// The totals of a step; of none, where it has no decisions.
pub(super) fn load(connection: &Connection, step_id: &str) -> Result<StepTotals> {
    let sql = "SELECT kept, eliminated, scored, max_input, max_output, least_run_id, version
               FROM step_totals WHERE step_id = ?";
    let mut statement = connection.prepare_cached(sql)?;
    Ok(statement.query_row([step_id], |row| read(&mut Columns::new(row))).optional()?.unwrap_or_default())
}

/// Reads the columns that [`load`] selects.
pub(super) fn read(columns: &mut Columns<'_>) -> Result<StepTotals> {
    Ok(StepTotals {
        kept: columns.typed()?,
        eliminated: columns.typed()?,
        scored: columns.typed()?,
        max_input: columns.nullable()?,
        max_output: columns.nullable()?,
        least_run_id: columns.plain()?,
        version: columns.typed()?,
    })
}

pub(super) fn store(connection: &Connection, step_id: &str, totals: &StepTotals) -> Result<()> {
    let sql = "INSERT OR REPLACE INTO step_totals
               (step_id, kept, eliminated, scored, max_input, max_output, least_run_id, version)
               VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
    connection.prepare_cached(sql)?.execute(params![
        step_id,
        Sql(totals.kept),
        Sql(totals.eliminated),
        Sql(totals.scored),
        totals.max_input.map(Sql),
        totals.max_output.map(Sql),
        totals.least_run_id,
        Sql(totals.version),
    ])?;
    Ok(())
}
