//! The tables `step_reports`, `run_reports` and `step_links`.

use super::columns::{Columns, Sql};
use super::totals;
use crate::event::{RunReport, StepReport};
use crate::numbers::{LinkedRun, ReportOrder, StepFacts};
use crate::object::Record;
use rusqlite::{Connection, OptionalExtension, Params, Result, params};

/// Keeps the report if it is the newest of its step.
pub(super) fn insert_step(connection: &Connection, record: &Record, report: &StepReport, now: &str) -> Result<()> {
    let order = ReportOrder::of_step(report, record.event.sha256);
    let sql = "INSERT INTO step_reports
               (step_id, run_id, pipeline_id, step_type, step_name, started_at, completed_at, input_count, output_count,
                rank, s3_key, sha256, updated_at)
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
               ON CONFLICT DO UPDATE SET
                 (run_id, pipeline_id, step_type, step_name, started_at, completed_at, input_count, output_count,
                  rank, s3_key, sha256, updated_at)
               = (excluded.run_id, excluded.pipeline_id, excluded.step_type, excluded.step_name, excluded.started_at,
                  excluded.completed_at, excluded.input_count, excluded.output_count,
                  excluded.rank, excluded.s3_key, excluded.sha256, excluded.updated_at)
               WHERE (excluded.rank, coalesce(excluded.completed_at, ''), excluded.sha256)
                   > (rank, coalesce(completed_at, ''), sha256)";
    connection.prepare_cached(sql)?.execute(params![
        report.step_id,
        report.run_id,
        report.pipeline_id,
        report.step_type,
        report.step_name,
        Sql(report.started_at),
        report.completed_at.map(Sql),
        report.input_count.map(Sql),
        report.output_count.map(Sql),
        order.rank,
        record.key,
        Sql(order.sha256),
        now,
    ])?;
    Ok(())
}

/// Keeps the report if it is the newest of its run.
pub(super) fn insert_run(connection: &Connection, record: &Record, report: &RunReport, now: &str) -> Result<()> {
    let order = ReportOrder::of_run(report, record.event.sha256);
    let sql = "INSERT INTO run_reports
               (run_id, pipeline_id, status, started_at, completed_at, error, metadata, rank, s3_key, sha256, updated_at)
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
               ON CONFLICT DO UPDATE SET
                 (pipeline_id, status, started_at, completed_at, error, metadata, rank, s3_key, sha256, updated_at)
               = (excluded.pipeline_id, excluded.status, excluded.started_at, excluded.completed_at, excluded.error,
                  excluded.metadata, excluded.rank, excluded.s3_key, excluded.sha256, excluded.updated_at)
               WHERE (excluded.rank, coalesce(excluded.completed_at, ''), excluded.sha256)
                   > (rank, coalesce(completed_at, ''), sha256)";
    connection.prepare_cached(sql)?.execute(params![
        report.run_id,
        report.pipeline_id,
        Sql(report.status),
        Sql(report.started_at),
        report.completed_at.map(Sql),
        report.error,
        report.metadata,
        order.rank,
        record.key,
        Sql(order.sha256),
        now,
    ])?;
    Ok(())
}

pub(super) fn link(connection: &Connection, step_id: &str, run_id: &str) -> Result<()> {
    let sql = "INSERT INTO step_links (step_id, run_id) VALUES (?, ?) ON CONFLICT DO NOTHING";
    connection.prepare_cached(sql)?.execute([step_id, run_id])?;
    Ok(())
}

/// The newest report of a run.
pub(super) fn run(connection: &Connection, run_id: &str) -> Result<Option<(RunReport, ReportOrder)>> {
    let sql = "SELECT sha256, run_id, pipeline_id, status, started_at, completed_at, error, metadata
               FROM run_reports WHERE run_id = ?";
    let mut statement = connection.prepare_cached(sql)?;
    let report = statement.query_row([run_id], |row| {
        let mut columns = Columns::new(row);
        let sha256 = columns.typed()?;
        let report = read_run(&mut columns)?;
        let order = ReportOrder::of_run(&report, sha256);
        Ok((report, order))
    });
    report.optional()
}

/// Reads its columns, past the digest, in the order in which [`run`] selects them.
pub(super) fn read_run(columns: &mut Columns<'_>) -> Result<RunReport> {
    Ok(RunReport {
        run_id: columns.plain()?,
        pipeline_id: columns.plain()?,
        status: columns.typed()?,
        started_at: columns.typed()?,
        completed_at: columns.nullable()?,
        error: columns.plain()?,
        metadata: columns.plain()?,
    })
}

/// Reads those of a step in the same way.
pub(super) fn read_step(columns: &mut Columns<'_>) -> Result<StepReport> {
    Ok(StepReport {
        step_id: columns.plain()?,
        run_id: columns.plain()?,
        pipeline_id: columns.plain()?,
        step_type: columns.plain()?,
        step_name: columns.plain()?,
        started_at: columns.typed()?,
        completed_at: columns.nullable()?,
        input_count: columns.nullable()?,
        output_count: columns.nullable()?,
    })
}

/// The runs a step was ever linked to.
pub(super) fn linked_runs(connection: &Connection, step_id: &str) -> Result<Vec<LinkedRun>> {
    let sql = "SELECT link.run_id, rank, completed_at, sha256, pipeline_id
               FROM step_links AS link LEFT JOIN run_reports AS report ON report.run_id = link.run_id
               WHERE link.step_id = ?";
    let mut statement = connection.prepare_cached(sql)?;
    let runs = statement.query_map([step_id], |row| {
        let mut columns = Columns::new(row);
        let run_id = columns.plain()?;
        if columns.at_null()? {
            return Ok(LinkedRun { run_id, report: None });
        }
        let order = ReportOrder { rank: columns.plain()?, completed_at: columns.nullable()?, sha256: columns.typed()? };
        Ok(LinkedRun { run_id, report: Some((columns.plain()?, order)) })
    })?;
    runs.collect()
}

/// What is known of each step that `$keys`, a table with one column `step_id`, names.
macro_rules! step_facts {
    ($keys:literal) => {
        concat!(
            "SELECT report.step_id, report.run_id, pipeline_id, step_type, step_name, started_at, completed_at,
                    input_count, output_count, sha256,
                    kept, eliminated, scored, max_input, max_output, least_run_id, version
             FROM (",
            $keys,
            ") AS key
             LEFT JOIN step_reports AS report ON report.step_id = key.step_id
             LEFT JOIN step_totals AS totals ON totals.step_id = key.step_id"
        )
    };
}

/// What is known of a step.
pub(super) fn step(connection: &Connection, step_id: &str) -> Result<StepFacts> {
    let facts = step_facts(connection, step_facts!("SELECT ? AS step_id"), [step_id])?;
    Ok(facts.into_iter().next().unwrap_or_default())
}

/// What is known of every step that was ever linked to a run.
pub(super) fn linked_steps(connection: &Connection, run_id: &str) -> Result<Vec<StepFacts>> {
    step_facts(connection, step_facts!("SELECT step_id FROM step_links WHERE run_id = ?"), [run_id])
}

fn step_facts(connection: &Connection, sql: &str, parameters: impl Params) -> Result<Vec<StepFacts>> {
    let mut statement = connection.prepare_cached(sql)?;
    let steps = statement.query_map(parameters, |row| {
        let mut columns = Columns::new(row);
        let mut facts = StepFacts::default();
        if columns.at_null()? {
            columns.skip(10);
        } else {
            let report = read_step(&mut columns)?;
            let order = ReportOrder::of_step(&report, columns.typed()?);
            facts.report = Some((report, order));
        }
        if !columns.at_null()? {
            facts.totals = totals::read(&mut columns)?;
        }
        Ok(facts)
    })?;
    steps.collect()
}
