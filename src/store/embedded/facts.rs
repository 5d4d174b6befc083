//! Adding facts.

use super::columns::now;
use super::decisions::{self, Inserted};
use super::{reports, totals};
use crate::event::Fact;
use crate::numbers::StepTotals;
use crate::object::Record;
use rusqlite::{Connection, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How the decisions of a step changed.
#[derive(Debug, Default)]
struct Change {
    /// Those that came.
    added: StepTotals,
    /// One was replaced: what went cannot be taken out of a total, all have to be added up again.
    replaced: bool,
}

/// Adds the facts of these events, in the transaction that `connection` is in.
pub(super) fn insert(connection: &Connection, records: &[Arc<Record>]) -> Result<()> {
    let now = now();
    let mut links: BTreeSet<(&str, &str)> = BTreeSet::new();
    let mut changes: BTreeMap<&str, Change> = BTreeMap::new();
    for record in records {
        match &record.event.fact {
            Fact::Decision(decision) => {
                links.insert((&decision.step_id, &decision.run_id));
                match decisions::insert(connection, record, decision, &now)? {
                    Inserted::Known => {}
                    Inserted::New => {
                        let change = changes.entry(&decision.step_id).or_default();
                        change.added.add(decision, record.event.sha256);
                    }
                    Inserted::Replaced => changes.entry(&decision.step_id).or_default().replaced = true,
                }
            }
            Fact::Step(report) => {
                if !report.run_id.is_empty() {
                    links.insert((&report.step_id, &report.run_id));
                }
                reports::insert_step(connection, record, report, &now)?;
            }
            Fact::Run(report) => reports::insert_run(connection, record, report, &now)?,
        }
    }
    for (step_id, run_id) in links {
        reports::link(connection, step_id, run_id)?;
    }
    for (step_id, change) in changes {
        let totals = if change.replaced {
            decisions::total(connection, step_id)?
        } else {
            let mut totals = totals::load(connection, step_id)?;
            totals.merge(&change.added);
            totals
        };
        totals::store(connection, step_id, &totals)?;
    }
    Ok(())
}
