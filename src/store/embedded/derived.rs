//! Derived rows as they stand, and as they would be recomputed. Nothing is written.

use super::{decisions, reports, totals};
use crate::numbers::{self, RunRow, StepRow, StepTotals};
use crate::store::Touched;
use crate::store::audit::{Derived, DerivedPage, Keys, Layer, RUN_COLUMNS, STEP_COLUMNS, Values};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Result};

const PAGE: usize = 1000;

const TOTALS: &[&str] = &["kept", "eliminated", "scored", "max_input", "max_output", "least_run_id", "version"];

/// The runs that the facts of a step name.
const RUNS_OF_STEP: &str = "SELECT run_id FROM step_reports WHERE step_id = ?1 AND run_id <> ''
    UNION SELECT run_id FROM decision_events WHERE step_id = ?1";

/// One page of a layer.
pub(super) fn page(connection: &Connection, layer: Layer, keys: &Keys) -> Result<DerivedPage> {
    let (table, ids) = match layer {
        Layer::Groups => (
            "step_links",
            "SELECT step_id FROM step_reports WHERE step_id > ?1
             UNION SELECT step_id FROM decision_events WHERE step_id > ?1 ORDER BY 1 LIMIT ?2",
        ),
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
        // What steps add to runs is not kept here.
        Layer::Links => return Ok(DerivedPage::default()),
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
    let mut rows = Vec::new();
    for id in ids {
        match layer {
            Layer::Groups => rows.extend(missing_links(connection, table, &id)?),
            _ => rows.push(derived(connection, layer, table, id)?),
        }
    }
    Ok(DerivedPage { rows, next })
}

/// Links that the facts of a step tell of and that are not there. Others may be older than any fact.
fn missing_links(connection: &Connection, table: &'static str, step_id: &str) -> Result<Vec<Derived>> {
    let sql = format!("{RUNS_OF_STEP} EXCEPT SELECT run_id FROM step_links WHERE step_id = ?1");
    let mut statement = connection.prepare_cached(&sql)?;
    let runs = statement.query_map([step_id], |row| row.get::<_, String>(0))?;
    let missing = |run_id: String| {
        let touched =
            Touched { steps: [step_id.to_owned()].into(), runs: [run_id.clone()].into(), ..Touched::default() };
        let key = vec![step_id.to_owned(), run_id];
        Derived { table, key, columns: &[], stored: None, computed: Some(Values::new()), touched }
    };
    runs.map(|run_id| run_id.map(missing)).collect()
}

/// Writes the links that the facts of these steps tell of.
pub(super) fn link_again<'a>(connection: &Connection, steps: impl Iterator<Item = &'a str>) -> Result<()> {
    let sql = format!("INSERT OR IGNORE INTO step_links (run_id, step_id) SELECT run_id, ?1 FROM ({RUNS_OF_STEP})");
    for step_id in steps {
        connection.prepare_cached(&sql)?.execute([step_id])?;
    }
    Ok(())
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
