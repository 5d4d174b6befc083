//! Taking rows away, in the transaction that `connection` is in.

use super::derived::total_again;
use super::fact_rows;
use crate::event::{Fact, Kind};
use crate::store::audit::{FactId, FactRow, fact_table, fact_time};
use crate::store::{DecisionGroup, Touched};
use chrono::NaiveDate;
use rusqlite::{Connection, Result, params};

/// Takes away the facts that still stand as they were seen, and the derived rows that depend on them.
pub(super) fn facts(connection: &Connection, rows: &[FactRow]) -> Result<Touched> {
    let mut touched = Touched::default();
    for row in rows {
        if !fact_rows::find(connection, &row.id)?.is_some_and(|found| found.says(row)) {
            continue;
        }
        touch(&mut touched, row);
        match &row.id {
            FactId::Decision { run_id, step_id, event_id, day } => {
                let sql = "DELETE FROM decision_events WHERE step_id = ? AND run_id = ? AND event_id = ? AND day = ?";
                connection.prepare_cached(sql)?.execute(params![step_id, run_id, event_id, day])?
            }
            FactId::Step(id) => {
                connection.prepare_cached("DELETE FROM step_reports WHERE step_id = ?")?.execute([id])?
            }
            FactId::Run(id) => connection.prepare_cached("DELETE FROM run_reports WHERE run_id = ?")?.execute([id])?,
        };
    }
    unlink(connection, &touched)?;
    derived(connection, &touched)?;
    Ok(touched)
}

/// Counts the facts of days before this one and, if `erase`, takes them away, with links of steps of which nothing is left.
pub(super) fn before(connection: &Connection, day: NaiveDate, erase: bool) -> Result<u64> {
    let (day, mut rows) = (day.to_string(), 0);
    for kind in Kind::ALL {
        let condition = format!("FROM {} WHERE substr({}, 1, 10) < ?", fact_table(kind), fact_time(kind));
        rows += if erase {
            connection.execute(&format!("DELETE {condition}"), [&day])? as u64
        } else {
            let count: i64 = connection.query_row(&format!("SELECT count(*) {condition}"), [&day], |row| row.get(0))?;
            count.unsigned_abs()
        };
    }
    if erase {
        connection.execute_batch(
            "DELETE FROM step_links WHERE step_id NOT IN
                 (SELECT step_id FROM step_reports UNION SELECT step_id FROM decision_events)",
        )?;
    }
    Ok(rows)
}

/// What has to be computed anew once a row is gone.
fn touch(touched: &mut Touched, row: &FactRow) {
    match (&row.id, &row.fact) {
        (FactId::Decision { run_id, step_id, day, .. }, _) => {
            let month = day.get(..7).and_then(|month| month.replace('-', "").parse().ok()).unwrap_or_default();
            let (run_id, step_id) = (run_id.clone(), step_id.clone());
            touched.runs.insert(run_id.clone());
            touched.decisions.insert(DecisionGroup { month, run_id, step_id });
        }
        (FactId::Step(id), fact) => {
            touched.steps.insert(id.clone());
            if let Some(Fact::Step(report)) = fact
                && !report.run_id.is_empty()
            {
                touched.runs.insert(report.run_id.clone());
            }
        }
        (FactId::Run(id), _) => drop(touched.runs.insert(id.clone())),
    }
}

/// Forgets links of steps of which nothing at all is left.
fn unlink(connection: &Connection, touched: &Touched) -> Result<()> {
    let sql = "DELETE FROM step_links WHERE step_id = ?1
               AND NOT EXISTS (SELECT 1 FROM step_reports WHERE step_id = ?1)
               AND NOT EXISTS (SELECT 1 FROM decision_events WHERE step_id = ?1)";
    touched.all_steps().into_iter().try_for_each(|step_id| {
        connection.prepare_cached(sql)?.execute([step_id])?;
        Ok(())
    })
}

/// Takes away derived rows; totals, which are kept as decisions come, are added up again.
pub(super) fn derived(connection: &Connection, touched: &Touched) -> Result<()> {
    let steps = touched.all_steps();
    total_again(connection, steps.iter().copied())?;
    for step_id in steps {
        connection.prepare_cached("DELETE FROM steps WHERE step_id = ?")?.execute([step_id])?;
    }
    for run_id in &touched.runs {
        connection.prepare_cached("DELETE FROM runs WHERE run_id = ?")?.execute([run_id])?;
    }
    Ok(())
}

/// Those of these steps and runs with a fact inserted after `since` and not after `until`.
pub(super) fn changed_within(connection: &Connection, touched: &Touched, since: &str, until: &str) -> Result<Touched> {
    let any = |sql: &str, id: &str| connection.prepare_cached(sql)?.exists(params![id, since, until]);
    let mut changed = Touched::default();
    for step_id in touched.all_steps() {
        if any("SELECT 1 FROM step_reports WHERE step_id = ?1 AND updated_at > ?2 AND updated_at <= ?3", step_id)?
            || any(
                "SELECT 1 FROM decision_events WHERE step_id = ?1 AND updated_at > ?2 AND updated_at <= ?3",
                step_id,
            )?
            || any(
                "SELECT 1 FROM run_reports JOIN step_links USING (run_id) WHERE step_id = ?1 AND updated_at > ?2 AND updated_at <= ?3",
                step_id,
            )?
        {
            changed.steps.insert(step_id.to_owned());
        }
    }
    for run_id in &touched.runs {
        if any("SELECT 1 FROM run_reports WHERE run_id = ?1 AND updated_at > ?2 AND updated_at <= ?3", run_id)?
            || any(
                "SELECT 1 FROM step_links AS link JOIN step_reports AS report USING (step_id)
                 WHERE link.run_id = ?1 AND report.updated_at > ?2 AND updated_at <= ?3",
                run_id,
            )?
            || any(
                "SELECT 1 FROM step_links AS link JOIN decision_events AS decision USING (step_id)
                 WHERE link.run_id = ?1 AND decision.updated_at > ?2 AND updated_at <= ?3",
                run_id,
            )?
        {
            changed.runs.insert(run_id.clone());
        }
    }
    Ok(changed)
}
