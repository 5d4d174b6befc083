//! Taking rows away. Deletes are waited for; a row that somebody inserts meanwhile is not deleted.

use super::connection::Connection;
use super::fault::Fault;
use super::recompute::{KEYS_AT_ONCE, Link, found};
use super::sql;
use crate::event::{Fact, Kind};
use crate::store::audit::{FactId, FactRow, fact_table, fact_time};
use crate::store::{DecisionGroup, Touched};
use chrono::NaiveDate;
use clickhouse::query::Query;
use std::collections::BTreeSet;

/// A version as [`Version`](crate::numbers::Version) displays it.
const VERSION: &str = "lower(hex(reverse(reinterpretAsFixedString(version))))";

/// Rows of one delete: each that may be meant is held against all of them.
const ROWS_AT_ONCE: usize = 500;

/// Takes away the facts as they stand, and the derived rows that depend on them.
pub(super) async fn facts(connection: &Connection, rows: &[FactRow]) -> Result<Touched, Fault> {
    let mut touched = Touched::default();
    let (mut decisions, mut steps, mut runs) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        let version = row.version.to_string();
        match &row.id {
            FactId::Decision { run_id, step_id, event_id, day } => {
                let month = day.get(..7).and_then(|month| month.replace('-', "").parse().ok()).unwrap_or_default();
                touched.runs.insert(run_id.clone());
                touched.decisions.insert(DecisionGroup { month, run_id: run_id.clone(), step_id: step_id.clone() });
                decisions.push((run_id, step_id, event_id, day, version, &row.key));
            }
            FactId::Step(id) => {
                touched.steps.insert(id.clone());
                if let Some(Fact::Step(report)) = &row.fact
                    && !report.run_id.is_empty()
                {
                    touched.runs.insert(report.run_id.clone());
                }
                steps.push((id, version, &row.key));
            }
            FactId::Run(id) => {
                touched.runs.insert(id.clone());
                runs.push((id, version, &row.key));
            }
        }
    }
    // Older rows of the same object may wait for a merge: with the one that is shown they all go, but none that is newer.
    for rows in decisions.chunks(ROWS_AT_ONCE) {
        let ids: Vec<_> = rows.iter().map(|(run_id, step_id, event_id, ..)| (run_id, step_id, event_id)).collect();
        let condition = format!(
            "(run_id, step_id, event_id) IN ? AND arrayExists(row -> row.1 = run_id AND row.2 = step_id AND row.3 = event_id
             AND row.4 = toString(toDate32(timestamp)) AND {VERSION} <= row.5 AND row.6 = s3_key, ?)"
        );
        delete(connection, "decision_events", &condition, |query| query.bind(ids).bind(rows)).await?;
    }
    for (table, id, rows) in [("step_reports", "step_id", steps), ("run_reports", "run_id", runs)] {
        for rows in rows.chunks(ROWS_AT_ONCE) {
            let ids: Vec<_> = rows.iter().map(|(id, ..)| id).collect();
            let condition =
                format!("{id} IN ? AND arrayExists(row -> row.1 = {id} AND {VERSION} <= row.2 AND row.3 = s3_key, ?)");
            delete(connection, table, &condition, |query| query.bind(ids).bind(rows)).await?;
        }
    }
    let all = derived(connection, &touched).await?;
    unlink(connection, &touched).await?;
    Ok(all)
}

/// Forgets links of steps of which nothing at all is left.
async fn unlink(connection: &Connection, touched: &Touched) -> Result<(), Fault> {
    let steps: Vec<&str> = touched.all_steps().into_iter().collect();
    for steps in steps.chunks(KEYS_AT_ONCE) {
        let gone = "month = 0 AND step_id IN ? AND step_id NOT IN (SELECT step_id FROM step_reports WHERE step_id IN ?)
                    AND step_id NOT IN (SELECT step_id FROM decision_events WHERE step_id IN ?)";
        delete(connection, "step_totals", gone, |query| query.bind(steps).bind(steps).bind(steps)).await?;
    }
    Ok(())
}

/// Writes the links that the reports of these steps tell of, and those of month 0 among these groups.
pub(super) async fn link_again(connection: &Connection, touched: &Touched) -> Result<(), Fault> {
    let links: Vec<_> = touched
        .decisions
        .iter()
        .filter(|group| group.month == 0)
        .map(|group| (&group.step_id, &group.run_id))
        .collect();
    for links in links.chunks(KEYS_AT_ONCE) {
        // Whatever somebody has counted there, under whatever version.
        delete(connection, "step_totals", "month = 0 AND (step_id, run_id) IN ?", |query| query.bind(links)).await?;
        let sql =
            "INSERT INTO step_totals (step_id, run_id, month, kept, eliminated, scored, max_input, max_output, version)
                   SELECT link.1, link.2, 0, 0, 0, 0, NULL, NULL, 0 FROM (SELECT arrayJoin(?) AS link)";
        connection.execute("write links of steps", connection.query(sql).bind(links)).await?;
    }
    let steps: Vec<&str> = touched.all_steps().into_iter().collect();
    let sql = "INSERT INTO step_totals (step_id, run_id, month, kept, eliminated, scored, max_input, max_output, version)
               SELECT step_id, run_id, 0, 0, 0, 0, NULL, NULL, 0 FROM step_reports FINAL WHERE step_id IN ? AND run_id != ''";
    for steps in steps.chunks(KEYS_AT_ONCE) {
        connection.execute("write links of steps", connection.query(sql).bind(steps)).await?;
    }
    Ok(())
}

/// Counts the facts of days before this one and, if `erase`, takes them away, with links of steps of which nothing is left.
pub(super) async fn before(connection: &Connection, day: NaiveDate, erase: bool) -> Result<u64, Fault> {
    let (day, mut rows) = (day.to_string(), 0);
    if erase {
        // While their facts still say which: the link of a step that is being stored is there before its report.
        let old =
            "month = 0 AND step_id IN (SELECT step_id FROM step_reports FINAL WHERE toDate32(started_at) < toDate32(?))
                   AND step_id NOT IN (SELECT step_id FROM decision_events WHERE toDate32(timestamp) >= toDate32(?))";
        delete(connection, "step_totals", old, |query| query.bind(&day).bind(&day)).await?;
    }
    for kind in Kind::ALL {
        let (table, condition) = (fact_table(kind), format!("toDate32({}) < toDate32(?)", fact_time(kind)));
        let count = connection.query(&format!("SELECT count() FROM {table} FINAL WHERE {condition}")).bind(&day);
        rows += connection.rows::<u64>("count facts", count).await?.into_iter().sum::<u64>();
        if erase {
            delete(connection, table, &condition, |query| query.bind(&day)).await?;
        }
    }
    Ok(rows)
}

/// Takes away the derived rows that depend on these keys; answers with all that has to be computed again.
///
/// A run or step whose facts are fewer than before would otherwise keep the row that counts more.
pub(super) async fn derived(connection: &Connection, touched: &Touched) -> Result<Touched, Fault> {
    let own_steps: Vec<&str> = touched.all_steps().into_iter().collect();
    let own_runs: Vec<&str> = touched.runs.iter().map(String::as_str).collect();
    let of_runs: Vec<String> = found(connection, "find the steps of runs", sql::STEPS_OF_RUNS, &own_runs).await?;
    let links: Vec<Link> = found(connection, "find the runs of steps", sql::LINKS_OF_STEPS, &own_steps).await?;

    let mut all = touched.clone();
    all.steps.extend(own_steps.iter().map(|step| (*step).to_owned()));
    all.runs.extend(links.into_iter().map(|link| link.run_id).filter(|run| !run.is_empty()));
    let rows_of_steps: BTreeSet<&str> = own_steps.iter().copied().chain(of_runs.iter().map(String::as_str)).collect();

    let groups = touched.decisions.iter().filter(|group| group.month > 0);
    let groups: Vec<_> = groups.map(|group| (&group.step_id, &group.run_id, group.month)).collect();
    for groups in groups.chunks(KEYS_AT_ONCE) {
        delete(connection, "step_totals", "(step_id, run_id, month) IN ?", |query| query.bind(groups)).await?;
    }
    let rows_of_steps: Vec<&str> = rows_of_steps.into_iter().collect();
    let runs: Vec<&str> = all.runs.iter().map(String::as_str).collect();
    for (table, id, keys) in
        [("run_steps", "step_id", &own_steps), ("steps", "step_id", &rows_of_steps), ("runs", "run_id", &runs)]
    {
        for keys in keys.chunks(KEYS_AT_ONCE) {
            delete(connection, table, &format!("{id} IN ?"), |query| query.bind(keys)).await?;
        }
    }
    Ok(all)
}

/// Takes away rows of `dead_letters`.
pub(super) async fn letters(connection: &Connection, sha256: &[String]) -> Result<(), Fault> {
    for sha256 in sha256.chunks(KEYS_AT_ONCE) {
        delete(connection, "dead_letters", "sha256 IN ?", |query| query.bind(sha256)).await?;
    }
    Ok(())
}

async fn delete(
    connection: &Connection,
    table: &str,
    condition: &str,
    bind: impl FnOnce(Query) -> Query,
) -> Result<(), Fault> {
    let query = bind(connection.query(&format!("DELETE FROM {table} WHERE {condition}")));
    connection.execute(&format!("delete from {table}"), query.with_setting("mutations_sync", "2")).await
}
