//! Rows of facts, read back.

use super::columns::{Columns, Sql};
use super::{decisions, reports};
use crate::digest::Sha256;
use crate::event::{Fact, Kind};
use crate::numbers::{ReportOrder, Version};
use crate::store::audit::{Among, FactId, FactRow, NAMED, fact_time};
use chrono::{DateTime, Utc};
use rusqlite::{Connection, Result, Row, ToSql};

/// Hands these rows over in the order of keys, until told to stop.
pub(super) fn each(
    connection: &Connection,
    kind: Kind,
    among: &Among,
    mut go_on: impl FnMut(FactRow) -> bool,
) -> Result<()> {
    if let Among::Ids(ids) = among {
        let mut rows = Vec::new();
        for id in ids.iter().filter(|id| id.kind() == kind) {
            rows.extend(find(connection, id)?);
        }
        rows.sort_by(|one, other| one.key.cmp(&other.key));
        rows.into_iter().all(go_on);
        return Ok(());
    }
    if let Among::Steps(steps) = among {
        if kind == Kind::Run {
            return Ok(());
        }
        let mut statement = connection.prepare(&format!("{} WHERE step_id = ?1", select(kind)))?;
        for step_id in steps {
            let mut rows = statement.query([step_id])?;
            while let Some(row) = rows.next()? {
                if !go_on(read(kind, row)?) {
                    return Ok(());
                }
            }
        }
        return Ok(());
    }
    let (condition, value) = condition(kind, among);
    let mut statement = connection.prepare(&format!("{} WHERE {condition}", select(kind)))?;
    let mut rows = statement.query([value])?;
    while let Some(row) = rows.next()? {
        if !go_on(read(kind, row)?) {
            break;
        }
    }
    Ok(())
}

/// The row that an id names.
pub(super) fn find(connection: &Connection, id: &FactId) -> Result<Option<FactRow>> {
    let (condition, values): (_, Vec<&dyn ToSql>) = match id {
        FactId::Decision { run_id, step_id, event_id, day } => {
            ("step_id = ? AND run_id = ? AND event_id = ? AND day = ?", vec![step_id, run_id, event_id, day])
        }
        FactId::Step(id) => ("step_id = ?", vec![id]),
        FactId::Run(id) => ("run_id = ?", vec![id]),
    };
    let mut statement = connection.prepare_cached(&format!("{} WHERE {condition}", select(id.kind())))?;
    let mut rows = statement.query(values.as_slice())?;
    rows.next()?.map(|row| read(id.kind(), row)).transpose()
}

/// The one value that it binds is all `?1`.
fn condition(kind: Kind, among: &Among) -> (String, String) {
    let time = fact_time(kind);
    let (condition, value) = match (among, kind) {
        (Among::Month(month), _) => {
            let month = format!("{:04}-{:02}", month / 100, month % 100);
            return (format!("substr({time}, 1, 7) = ?1 ORDER BY s3_key"), month);
        }
        (Among::Run(run), Kind::Step) => {
            ("run_id = ?1 OR step_id IN (SELECT step_id FROM steps WHERE run_id = ?1)", run.clone())
        }
        (Among::Run(run), _) => ("run_id = ?1", run.clone()),
        (Among::Named(id), Kind::Decision) => ("event_id = ?1 OR item_id = ?1", id.clone()),
        (Among::Named(id), Kind::Step) => ("step_id = ?1", id.clone()),
        (Among::Named(id), Kind::Run) => ("run_id = ?1", id.clone()),
        (Among::Steps(_) | Among::Ids(_), _) => ("?1 IS NULL", String::new()),
    };
    let limit = if matches!(among, Among::Named(_)) { format!(" LIMIT {NAMED}") } else { String::new() };
    (format!("({condition}) ORDER BY s3_key{limit}"), value)
}

fn select(kind: Kind) -> &'static str {
    match kind {
        Kind::Decision => {
            "SELECT s3_key, updated_at, sha256, event_id, step_id, run_id, pipeline_id, outcome, item_id, score, timestamp,
                    input_count, output_count, day, version
             FROM decision_events"
        }
        Kind::Step => {
            "SELECT s3_key, updated_at, sha256, step_id, run_id, pipeline_id, step_type, step_name, started_at,
                    completed_at, input_count, output_count
             FROM step_reports"
        }
        Kind::Run => {
            "SELECT s3_key, updated_at, sha256, run_id, pipeline_id, status, started_at, completed_at, error, metadata
             FROM run_reports"
        }
    }
}

/// A value that no worker writes is no error here: that is what an audit looks for.
fn read(kind: Kind, row: &Row<'_>) -> Result<FactRow> {
    let updated_at: Option<DateTime<Utc>> = row
        .get::<_, String>("updated_at")
        .ok()
        .and_then(|text| Some(DateTime::parse_from_rfc3339(&text).ok()?.to_utc()));
    let (id, said) = match kind {
        Kind::Decision => {
            let id = FactId::Decision {
                run_id: row.get("run_id")?,
                step_id: row.get("step_id")?,
                event_id: row.get("event_id")?,
                day: row.get("day")?,
            };
            (id, decision(row))
        }
        Kind::Step => (FactId::Step(row.get("step_id")?), step(row)),
        Kind::Run => (FactId::Run(row.get("run_id")?), run(row)),
    };
    let (fact, version) = said.ok().unzip();
    Ok(FactRow {
        id,
        key: row.get("s3_key").unwrap_or_default(),
        version: version.unwrap_or_default(),
        fact,
        updated_at: updated_at.unwrap_or_default(),
        copies: 1,
    })
}

/// Past `s3_key` and `updated_at`.
fn columns<'a>(row: &'a Row<'a>) -> Result<(Columns<'a>, Sha256)> {
    let mut columns = Columns::new(row);
    columns.skip(2);
    let sha256 = columns.typed()?;
    Ok((columns, sha256))
}

fn decision(row: &Row<'_>) -> Result<(Fact, Version)> {
    let (mut columns, _) = columns(row)?;
    let decision = decisions::read(&mut columns)?;
    let version = row.get::<_, Sql<Version>>("version")?.0;
    Ok((Fact::Decision(decision), version))
}

fn step(row: &Row<'_>) -> Result<(Fact, Version)> {
    let (mut columns, sha256) = columns(row)?;
    let report = reports::read_step(&mut columns)?;
    let version = ReportOrder::of_step(&report, sha256).counter();
    Ok((Fact::Step(report), version))
}

fn run(row: &Row<'_>) -> Result<(Fact, Version)> {
    let (mut columns, sha256) = columns(row)?;
    let report = reports::read_run(&mut columns)?;
    let version = ReportOrder::of_run(&report, sha256).counter();
    Ok((Fact::Run(report), version))
}
