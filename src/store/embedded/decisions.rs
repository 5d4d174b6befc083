//! The table `decision_events`.

use super::columns::{Columns, Sql};
use crate::event::Decision;
use crate::numbers::{StepTotals, Version};
use crate::object::Record;
use rusqlite::{Connection, Result, params};

/// What became of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inserted {
    /// It was there already, or lost to the one that was.
    Known,
    New,
    /// It took the place of another.
    Replaced,
}

pub(super) fn insert(connection: &Connection, record: &Record, decision: &Decision, now: &str) -> Result<Inserted> {
    let day = decision.timestamp.day();
    let sha256 = record.event.sha256;
    let row = params![
        decision.step_id,
        decision.run_id,
        decision.event_id,
        day,
        Sql(sha256),
        decision.pipeline_id,
        Sql(decision.outcome),
        decision.item_id,
        decision.score,
        Sql(decision.timestamp),
        decision.input_count.map(Sql),
        decision.output_count.map(Sql),
        record.key,
        now,
        Sql(Version::of_decision(sha256)),
    ];
    let insert = "INSERT INTO decision_events
                  (step_id, run_id, event_id, day, sha256, pipeline_id, outcome, item_id, score, timestamp, input_count,
                   output_count, s3_key, updated_at, version)
                  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING";
    if connection.prepare_cached(insert)?.execute(row)? == 1 {
        return Ok(Inserted::New);
    }
    let replace = "UPDATE decision_events
                   SET sha256 = ?5, pipeline_id = ?6, outcome = ?7, item_id = ?8, score = ?9, timestamp = ?10,
                       input_count = ?11, output_count = ?12, s3_key = ?13, updated_at = ?14, version = ?15
                   WHERE step_id = ?1 AND run_id = ?2 AND event_id = ?3 AND day = ?4 AND sha256 < ?5";
    let replaced = connection.prepare_cached(replace)?.execute(row)?;
    Ok(if replaced == 1 { Inserted::Replaced } else { Inserted::Known })
}

/// The totals of a step from all its decisions.
pub(super) fn total(connection: &Connection, step_id: &str) -> Result<StepTotals> {
    let sql = "SELECT sha256, event_id, step_id, run_id, pipeline_id, outcome, item_id, score, timestamp, input_count,
                      output_count
               FROM decision_events WHERE step_id = ?";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([step_id])?;
    let mut totals = StepTotals::default();
    while let Some(row) = rows.next()? {
        let mut columns = Columns::new(row);
        let sha256 = columns.typed()?;
        totals.add(&read(&mut columns)?, sha256);
    }
    Ok(totals)
}

/// Reads its columns in the order in which [`total`] selects them.
pub(super) fn read(columns: &mut Columns<'_>) -> Result<Decision> {
    Ok(Decision {
        event_id: columns.plain()?,
        step_id: columns.plain()?,
        run_id: columns.plain()?,
        pipeline_id: columns.plain()?,
        outcome: columns.typed()?,
        item_id: columns.plain()?,
        score: columns.plain()?,
        timestamp: columns.typed()?,
        input_count: columns.nullable()?,
        output_count: columns.nullable()?,
    })
}
