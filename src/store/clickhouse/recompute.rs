//! Bringing derived rows up to date, layer by layer: totals of groups of decisions, steps with what they add to runs,
//! runs.
//!
//! Each layer begins when the one before is acknowledged, so it sees at least all that its caller put in; what others
//! put in meanwhile only makes versions greater. Of any number of callers that overlap, the one whose input became
//! durable last begins the next layer last, sees all of it, and so writes the greatest version.

use super::connection::Connection;
use super::fault::Fault;
use super::sql::{self, Deduplicate};
use crate::store::{DecisionGroup, Heavy, Touched};
use clickhouse::{Row, RowOwned, RowRead};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Keys of one query. Each stands in it a few times, and ids may have 512 bytes.
pub(super) const KEYS_AT_ONCE: usize = 2000;
/// Months of one query: each is a part of its own in it.
pub(super) const MONTHS_AT_ONCE: usize = 12;

/// So few groups may have very many decisions each: heavy ones come by themselves.
const FEW: usize = 8;
/// Only where rows of runs took longer than this is it worth a question which of the runs are heavy.
const LONG: Duration = Duration::from_millis(200);

#[derive(Row, Deserialize)]
pub(super) struct Link {
    pub(super) step_id: String,
    pub(super) run_id: String,
    decisions: u64,
}

/// Recomputes every row that depends on a touched key.
pub(super) async fn recompute(connection: &Connection, touched: &Touched) -> Result<Heavy, Fault> {
    totals(connection, touched).await?;

    let with_facts: Vec<&str> = touched.all_steps().into_iter().collect();
    let reported: Vec<&str> = touched.runs.iter().map(String::as_str).collect();
    let (steps_of_runs, links): (Vec<String>, Vec<Link>) = tokio::try_join!(
        found(connection, "find the steps of runs", sql::STEPS_OF_RUNS, &reported),
        found(connection, "find the runs of steps", sql::LINKS_OF_STEPS, &with_facts),
    )?;
    let steps = union(&with_facts, steps_of_runs.iter());
    let runs = union(&reported, links.iter().map(|link| &link.run_id));

    // Before rows of steps, and not beside them: whoever inserts a run's report finds its steps here. Either the report
    // comes before this is done, and the rows that follow see it, or who brings it sees this and writes them again. (A
    // run's report changes the pipeline of its steps, but nothing of what they add to runs.)
    derive(connection, "write what steps add to runs", &sql::run_steps(), 2, &with_facts).await?;
    let run_rows = async {
        let began = Instant::now();
        derive(connection, "write rows of runs", &sql::runs(), 2, &runs).await?;
        if began.elapsed() < LONG {
            return Ok(Vec::new());
        }
        found(connection, "count the steps of runs", &sql::runs_of_many_steps(Heavy::FROM), &runs).await
    };
    let rows_of_steps = sql::steps();
    let (heavy_runs, ()) =
        tokio::try_join!(run_rows, derive(connection, "write rows of steps", &rows_of_steps, 3, &steps))?;
    Ok(Heavy { steps: heavy_steps(&links), runs: heavy_runs.into_iter().collect() })
}

/// Recomputes the totals of the groups that have new decisions.
async fn totals(connection: &Connection, touched: &Touched) -> Result<(), Fault> {
    let groups: Vec<&DecisionGroup> = touched.decisions.iter().collect();
    let deduplicate = if groups.len() <= FEW { Deduplicate::Final } else { Deduplicate::Grouped };
    let mut open: Vec<&[&DecisionGroup]> = groups.chunks(KEYS_AT_ONCE).collect();
    while let Some(groups) = open.pop() {
        // They are in the order of months.
        let months: Vec<_> = groups.chunk_by(|a, b| a.month == b.month).collect();
        for months in months.chunks(MONTHS_AT_ONCE) {
            let query = connection.query(&sql::totals(months.len(), deduplicate));
            let query = sql::bind_totals(query, months);
            match connection.execute("write totals of steps", query).await {
                Err(fault) if fault.too_much && groups.len() > 1 => {
                    let (front, back) = groups.split_at(groups.len() / 2);
                    open.extend([front, back]);
                    break;
                }
                outcome => outcome?,
            }
        }
    }
    Ok(())
}

/// Steps with very many decisions in one group, or links to very many runs.
fn heavy_steps(links: &[Link]) -> BTreeSet<String> {
    let mut runs: BTreeMap<&str, u64> = BTreeMap::new();
    let mut heavy = BTreeSet::new();
    for link in links {
        let runs = runs.entry(&link.step_id).or_default();
        *runs += 1;
        if link.decisions >= Heavy::FROM || *runs == Heavy::FROM {
            heavy.insert(link.step_id.clone());
        }
    }
    heavy
}

/// What a query that binds keys finds for all of these.
pub(super) async fn found<T: RowOwned + RowRead>(
    connection: &Connection,
    doing: &str,
    sql: &str,
    keys: &[&str],
) -> Result<Vec<T>, Fault> {
    let mut found = Vec::new();
    for keys in keys.chunks(KEYS_AT_ONCE) {
        found.extend(connection.rows(doing, connection.query(sql).bind(keys)).await?);
    }
    Ok(found)
}

/// Each once, in order.
fn union<'a>(keys: &[&'a str], more: impl Iterator<Item = &'a String>) -> Vec<&'a str> {
    keys.iter().copied().chain(more.map(String::as_str)).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Runs an `INSERT … SELECT` that binds its keys `times` times. Where the rows would go into more months than the server
/// takes at once, or take it too long, in halves; one key is one row, and so one month.
async fn derive(connection: &Connection, doing: &str, sql: &str, times: usize, keys: &[&str]) -> Result<(), Fault> {
    let mut open: Vec<&[&str]> = keys.chunks(KEYS_AT_ONCE).collect();
    while let Some(keys) = open.pop() {
        let query = (0..times).fold(connection.query(sql), |query, _| query.bind(keys));
        match connection.execute(doing, query).await {
            Err(fault) if fault.too_much && keys.len() > 1 => {
                let (front, back) = keys.split_at(keys.len() / 2);
                open.extend([front, back]);
            }
            outcome => outcome?,
        }
    }
    Ok(())
}
