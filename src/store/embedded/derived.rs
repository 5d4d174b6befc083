//! Derived rows as they stand, and as they would be recomputed. Nothing is written.

use super::{decisions, reports, totals};
use crate::numbers::{self, RunRow, StepRow, StepTotals};
use crate::store::Touched;
use crate::store::audit::{Derived, DerivedPage, Keys, Layer, RUN_COLUMNS, STEP_COLUMNS, Values};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Result};

const PAGE: usize = 1000;

const TOTALS: &[&str] = &["kept", "eliminated", "scored", "max_input", "max_output", "least_run_id", "version"];
/// One page of a layer.
pub(super) fn page(connection: &Connection, layer: Layer, keys: &Keys) -> Result<DerivedPage> {
    let (table, ids) = match layer {
        Layer::Totals => (
            "step_totals",
            "SELECT step_id FROM step_totals WHERE step_id > ?1
             UNION SELECT step_id FROM step_links WHERE step_id > ?1 ORDER BY 1 LIMIT ?2",
        ),
        Layer::Steps => (
            "steps",
            "SELECT step_id FROM steps WHERE step_id > ?1
             UNION SELECT step_id FROM step_reports WHERE step_id > ?1 ORDER BY 1 LIMIT ?2",
        ),
        Layer::Runs => (
            "runs",
            "SELECT run_id FROM runs WHERE run_id > ?1
             UNION SELECT run_id FROM run_reports WHERE run_id > ?1 ORDER BY 1 LIMIT ?2",
        ),
        // Totals are kept by step here, and what steps add to runs is not kept at all.
        Layer::Groups | Layer::Links => return Ok(DerivedPage::default()),
    };
    let (ids, next) = match keys {
        Keys::These(ids) => (ids.clone(), None),
        Keys::After(after) => {
            let mut statement = connection.prepare_cached(ids)?;
            let ids = statement.query_map((after, PAGE as i64), |row| row.get(0))?.collect::<Result<Vec<String>>>()?;
            let next = (ids.len() == PAGE).then(|| ids.last().cloned()).flatten();
            (ids, next)
        }
    };
    let rows = ids.into_iter().map(|id| derived(connection, layer, table, id)).collect::<Result<_>>()?;
    Ok(DerivedPage { rows, next })
}

fn derived(connection: &Connection, layer: Layer, table: &'static str, id: String) -> Result<Derived> {
    let mut touched = Touched::default();
    let (columns, id_column, computed) = match layer {
        Layer::Totals | Layer::Groups | Layer::Links => {
            touched.steps.insert(id.clone());
            let totals = decisions::total(connection, &id)?;
            (TOTALS, "step_id", (totals != StepTotals::default()).then(|| of_totals(&totals)))
        }
        Layer::Steps => {
            touched.steps.insert(id.clone());
            let facts = reports::step(connection, &id)?;
            let row = numbers::step_row(&facts, &reports::linked_runs(connection, &id)?);
            (STEP_COLUMNS, "step_id", row.as_ref().map(of_step))
        }
        Layer::Runs => {
            touched.runs.insert(id.clone());
            let row = match reports::run(connection, &id)? {
                Some((report, order)) => {
                    Some(numbers::run_row(&report, order, &reports::linked_steps(connection, &id)?))
                }
                None => None,
            };
            (RUN_COLUMNS, "run_id", row.as_ref().map(of_run))
        }
    };
    let sql = format!("SELECT {} FROM {table} WHERE {id_column} = ?", columns.join(", "));
    let stored = connection
        .prepare_cached(&sql)?
        .query_row([&id], |row| (0..columns.len()).map(|at| Ok(text(row.get_ref(at)?))).collect::<Result<Values>>());
    Ok(Derived { table, key: vec![id], columns, stored: stored.optional()?, computed, touched })
}

fn text(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
        ValueRef::Text(text) | ValueRef::Blob(text) => Some(String::from_utf8_lossy(text).into_owned()),
    }
}

fn count(number: u64) -> Option<String> {
    Some(i64::try_from(number).unwrap_or(i64::MAX).to_string())
}

fn shown(value: impl ToString) -> Option<String> {
    Some(value.to_string())
}

fn of_totals(totals: &StepTotals) -> Values {
    vec![
        count(totals.kept),
        count(totals.eliminated),
        count(totals.scored),
        totals.max_input.and_then(count),
        totals.max_output.and_then(count),
        shown(&totals.least_run_id),
        shown(totals.version),
    ]
}

fn of_step(row: &StepRow) -> Values {
    vec![
        shown(&row.run_id),
        shown(&row.pipeline_id),
        shown(&row.step_type),
        shown(&row.step_name),
        count(row.input_count),
        count(row.output_count),
        shown(row.elimination_ratio),
        count(row.kept_count),
        count(row.eliminated_count),
        count(row.scored_count),
        shown(row.started_at),
        row.completed_at.and_then(shown),
        shown(row.version),
    ]
}

fn of_run(row: &RunRow) -> Values {
    vec![
        shown(&row.pipeline_id),
        shown(row.status.as_str()),
        shown(row.started_at),
        row.completed_at.and_then(shown),
        row.error.clone(),
        shown(row.total_steps),
        count(row.total_input_count),
        count(row.total_output_count),
        shown(row.overall_elimination_ratio),
        shown(&row.metadata),
        shown(row.version),
    ]
}

/// Writes the totals of these steps anew from all their decisions.
pub(super) fn total_again<'a>(connection: &Connection, steps: impl Iterator<Item = &'a str>) -> Result<()> {
    for step_id in steps {
        connection.prepare_cached("DELETE FROM step_totals WHERE step_id = ?")?.execute([step_id])?;
        let total = decisions::total(connection, step_id)?;
        if total != StepTotals::default() {
            totals::store(connection, step_id, &total)?;
        }
    }
    Ok(())
}
