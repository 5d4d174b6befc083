//! Inserting facts: few requests, each as large as what waits.

use super::connection::Connection;
use super::fault::Fault;
use super::rows::{DecisionRow, LinkRow, RunReportRow, StepReportRow};
use crate::event::Fact;
use crate::object::Record;
use chrono::{DateTime, Datelike, Utc};
use std::sync::Arc;

/// A server refuses an insert into more than 100 partitions at once, by its defaults.
const MAX_MONTHS: usize = 50;

/// Inserts the facts of these events. On return all of them are acknowledged.
pub(super) async fn insert(connection: &Connection, records: &[Arc<Record>]) -> Result<(), Fault> {
    let now = Utc::now().timestamp_millis();
    let (mut decisions, mut steps, mut links, mut runs) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for record in records {
        match &record.event.fact {
            Fact::Decision(decision) => decisions.push(DecisionRow::new(record, decision, now)),
            Fact::Step(report) => {
                steps.push(StepReportRow::new(record, report, now));
                links.extend(LinkRow::new(report));
            }
            Fact::Run(report) => runs.push(RunReportRow::new(record, report, now)),
        }
    }
    decisions.sort_unstable_by_key(|row| row.timestamp);
    let by_months = async {
        let mut open = in_months(&decisions, MAX_MONTHS);
        while let Some(rows) = open.pop() {
            match connection.insert::<DecisionRow<'_>>("decision_events", rows).await {
                // The server takes fewer; one month is one partition.
                Err(fault) if fault.too_much => match in_months(rows, 1).len() {
                    0 | 1 => return Err(fault),
                    months => open.extend(in_months(rows, months.div_ceil(2))),
                },
                outcome => outcome?,
            }
        }
        Ok(())
    };
    tokio::try_join!(
        by_months,
        connection.insert::<StepReportRow<'_>>("step_reports", &steps),
        connection.insert::<LinkRow<'_>>("step_totals", &links),
        connection.insert::<RunReportRow<'_>>("run_reports", &runs),
    )?;
    Ok(())
}

/// Splits rows in the order of time into parts that each lie in at most `months` months.
fn in_months<'r, 'a>(rows: &'r [DecisionRow<'a>], months: usize) -> Vec<&'r [DecisionRow<'a>]> {
    let month = |row: &DecisionRow<'_>| {
        let at = DateTime::from_timestamp_millis(row.timestamp).unwrap_or_default();
        (at.year(), at.month())
    };
    let by_month: Vec<_> = rows.chunk_by(|a, b| month(a) == month(b)).collect();
    let mut rest = rows;
    let mut parts = Vec::new();
    for group in by_month.chunks(months) {
        let (part, left) = rest.split_at(group.iter().map(|rows| rows.len()).sum());
        parts.push(part);
        rest = left;
    }
    parts
}
