//! Derived rows as they stand, and as the very SQL that writes them would write them now. Nothing is written.

use super::connection::Connection;
use super::fault::Fault;
use super::recompute::{KEYS_AT_ONCE, MONTHS_AT_ONCE, found};
use super::sql::{self, Deduplicate};
use crate::store::audit::{Derived, DerivedPage, Keys, Layer, RUN_COLUMNS, STEP_COLUMNS, Values};
use crate::store::{DecisionGroup, Touched};
use clickhouse::Row;
use clickhouse::query::Query;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// Keys of a page.
const PAGE: usize = 1000;

/// A derived table: what its rows are known by, and the other columns.
struct Table {
    name: &'static str,
    key: &'static [&'static str],
    columns: &'static [&'static str],
}

const TOTALS: Table = Table {
    name: "step_totals",
    key: &["step_id", "run_id", "month"],
    columns: &["kept", "eliminated", "scored", "max_input", "max_output", "version"],
};
const LINKS: Table = Table {
    name: "run_steps",
    key: &["run_id", "step_id"],
    columns: &["steps", "input_count", "output_count", "version"],
};
const STEPS: Table = Table { name: "steps", key: &["step_id"], columns: STEP_COLUMNS };
const RUNS: Table = Table { name: "runs", key: &["run_id"], columns: RUN_COLUMNS };

/// A row of any of them, as text.
#[derive(Row, Deserialize)]
struct Text {
    key: Vec<String>,
    values: Values,
}

type TextRows = BTreeMap<Vec<String>, Values>;

#[derive(Row, Deserialize)]
struct Group {
    run_id: String,
    step_id: String,
    month: u32,
}

/// One page of a layer.
pub(super) async fn page(connection: &Connection, layer: Layer, keys: &Keys) -> Result<DerivedPage, Fault> {
    let sources: (&str, [&str; 2]) = match layer {
        Layer::Groups => return groups(connection, keys).await,
        Layer::Totals => ("step_id", ["step_totals", "step_reports"]),
        Layer::Links => ("step_id", ["step_totals", "step_reports"]),
        Layer::Steps => ("step_id", ["steps", "step_reports"]),
        Layer::Runs => ("run_id", ["runs", "run_reports"]),
    };
    let (ids, next) = match (keys, layer) {
        (Keys::These(ids), _) => (ids.clone(), None),
        // Of links, also those of runs that were never reported.
        (Keys::After(after), Layer::Runs) => {
            next_ids(connection, "run_id", &["runs", "run_reports", "run_steps"], after).await?
        }
        (Keys::After(after), _) => next_ids(connection, sources.0, &sources.1, after).await?,
    };
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let mut rows = Vec::new();
    for ids in ids.chunks(KEYS_AT_ONCE) {
        rows.extend(match layer {
            Layer::Totals | Layer::Groups => totals(connection, ids).await?,
            Layer::Links => links_of_steps(connection, ids).await?,
            Layer::Steps => {
                let stored =
                    read(connection, &STEPS, "steps FINAL WHERE step_id IN ?", |query| query.bind(ids)).await?;
                let computed = format!("({})", sql::select_steps());
                let computed = read(connection, &STEPS, &computed, |query| bind(query, ids, 3)).await?;
                beside(&STEPS, stored, computed)
            }
            Layer::Runs => {
                let stored = read(connection, &RUNS, "runs FINAL WHERE run_id IN ?", |query| query.bind(ids)).await?;
                let computed = format!("({})", sql::SELECT_RUNS);
                let computed = read(connection, &RUNS, &computed, |query| bind(query, ids, 2)).await?;
                let mut rows = beside(&RUNS, stored, computed);
                rows.extend(links_without_source(connection, ids).await?);
                rows
            }
        });
    }
    Ok(DerivedPage { rows, next })
}

/// The next ids after `after` in any of these tables, and where to go on.
async fn next_ids(
    connection: &Connection,
    id: &str,
    tables: &[&str],
    after: &str,
) -> Result<(Vec<String>, Option<String>), Fault> {
    // Each is sorted by the id, or few: so only as much is read as is asked for.
    let each = |table: &&str| format!("(SELECT DISTINCT {id} FROM {table} WHERE {id} > ? ORDER BY {id} LIMIT {PAGE})");
    let all: Vec<String> = tables.iter().map(each).collect();
    let sql = format!("SELECT DISTINCT {id} FROM ({}) ORDER BY {id} LIMIT {PAGE}", all.join(" UNION ALL "));
    let query = tables.iter().fold(connection.query(&sql), |query, _| query.bind(after));
    let ids: Vec<String> = connection.rows("page through keys", query).await?;
    let next = (ids.len() == PAGE).then(|| ids.last().cloned()).flatten();
    Ok((ids, next))
}

async fn read(
    connection: &Connection,
    table: &Table,
    from: &str,
    bind: impl FnOnce(Query) -> Query,
) -> Result<TextRows, Fault> {
    let text =
        |columns: &[&str], wrap: fn(&str) -> String| columns.iter().map(|c| wrap(c)).collect::<Vec<_>>().join(", ");
    let sql = format!(
        "SELECT [{}] AS key, [{}] AS values FROM {from}",
        text(table.key, |column| format!("toString({column})")),
        text(table.columns, |column| format!("toNullable(toString({column}))")),
    );
    let rows: Vec<Text> = connection.rows("read derived rows", bind(connection.query(&sql))).await?;
    Ok(rows.into_iter().map(|row| (row.key, row.values)).collect())
}

fn bind(query: Query, ids: &[&str], times: usize) -> Query {
    (0..times).fold(query, |query, _| query.bind(ids))
}

/// Pairs what stands there with what should.
fn beside(table: &Table, mut stored: TextRows, computed: TextRows) -> Vec<Derived> {
    let mut rows: Vec<Derived> = Vec::with_capacity(computed.len());
    for (key, values) in computed {
        let stored = stored.remove(&key);
        rows.push(derived(table, key, stored, Some(values)));
    }
    rows.extend(stored.into_iter().map(|(key, values)| derived(table, key, Some(values), None)));
    rows
}

fn derived(table: &Table, key: Vec<String>, stored: Option<Values>, computed: Option<Values>) -> Derived {
    let mut touched = Touched::default();
    for (name, value) in table.key.iter().zip(&key) {
        match *name {
            "step_id" => drop(touched.steps.insert(value.clone())),
            "run_id" if !value.is_empty() => drop(touched.runs.insert(value.clone())),
            _ => {}
        }
    }
    if let ("step_totals", [step_id, run_id, month]) = (table.name, key.as_slice())
        && let Ok(month) = month.parse()
        && (month > 0 || stored.is_some())
    {
        touched.decisions.insert(DecisionGroup { month, run_id: run_id.clone(), step_id: step_id.clone() });
    }
    Derived { table: table.name, key, columns: table.columns, stored, computed, touched }
}

/// Totals of these steps that stand there, beside what their decisions come to. A link without decisions is what it is.
async fn totals(connection: &Connection, steps: &[&str]) -> Result<Vec<Derived>, Fault> {
    let from = "step_totals FINAL WHERE step_id IN ? AND month > 0";
    let stored = read(connection, &TOTALS, from, |query| query.bind(steps)).await?;
    let groups: BTreeSet<DecisionGroup> = stored
        .keys()
        .filter_map(|key| match key.as_slice() {
            [step_id, run_id, month] => {
                let month = month.parse().ok()?;
                Some(DecisionGroup { month, run_id: run_id.clone(), step_id: step_id.clone() })
            }
            _ => None,
        })
        .collect();
    let groups: Vec<&DecisionGroup> = groups.iter().collect();
    let mut computed = TextRows::new();
    for groups in groups.chunks(KEYS_AT_ONCE) {
        let months: Vec<_> = groups.chunk_by(|a, b| a.month == b.month).collect();
        for months in months.chunks(MONTHS_AT_ONCE) {
            let from = format!("({})", sql::select_totals(months.len(), Deduplicate::Grouped));
            let bind = |query: Query| sql::bind_totals(query, months);
            computed.extend(read(connection, &TOTALS, &from, bind).await?);
        }
    }
    let mut rows = beside(&TOTALS, stored, computed);
    // Nothing is counted there, in any of its rows.
    let from = "step_totals WHERE step_id IN ? AND month = 0 AND (kept > 0 OR eliminated > 0 OR scored > 0 \
                OR max_input IS NOT NULL OR max_output IS NOT NULL OR version > 0)";
    let links = read(connection, &TOTALS, from, |query| query.bind(steps)).await?;
    rows.extend(links.into_iter().map(|(key, values)| derived(&TOTALS, key, Some(values), Some(of_link()))));
    Ok(rows)
}

/// What stands in the row of a link.
fn of_link() -> Values {
    let nothing = || Some("0".to_owned());
    vec![nothing(), nothing(), nothing(), None, None, nothing()]
}

/// Groups of decisions that have no total, and links that reports tell of and that are not there. The cursor is a month
/// and a run, or 0 and a step.
async fn groups(connection: &Connection, keys: &Keys) -> Result<DerivedPage, Fault> {
    let after = match keys {
        Keys::After(after) => after,
        Keys::These(steps) => {
            let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
            let sql =
                "SELECT DISTINCT run_id, step_id, toYYYYMM(timestamp) AS month FROM decision_events WHERE step_id IN ?";
            let mut groups: Vec<Group> = found(connection, "read the decisions of steps", sql, &steps).await?;
            let sql = "SELECT run_id, step_id, toUInt32(0) AS month FROM step_reports FINAL WHERE step_id IN ? AND run_id != ''";
            groups.extend(found::<Group>(connection, "read the reports of steps", sql, &steps).await?);
            return Ok(DerivedPage { rows: missing(connection, &groups).await?, next: None });
        }
    };
    let (month, after) = after.split_once('/').unwrap_or(("0", ""));
    let month: u32 = month.parse().unwrap_or_default();
    if month == 0 {
        let sql = "SELECT run_id, step_id, toUInt32(0) AS month FROM step_reports FINAL
                   WHERE step_id > ? AND run_id != '' ORDER BY step_id LIMIT ?";
        let links: Vec<Group> =
            connection.rows("page through reports", connection.query(sql).bind(after).bind(PAGE)).await?;
        if let Some(last) = links.last() {
            let next = Some(format!("0/{}", last.step_id));
            return Ok(DerivedPage { rows: missing(connection, &links).await?, next });
        }
    }
    let run = if month == 0 { "" } else { after };
    // The rest of the month, else the first of the next: partitions are months.
    let sql = "SELECT DISTINCT toYYYYMM(timestamp) AS month, run_id, step_id FROM decision_events
               WHERE toYYYYMM(timestamp) = ? AND run_id > ? ORDER BY run_id LIMIT 1 BY run_id, step_id LIMIT ?";
    let sql = format!("SELECT run_id, step_id, month FROM ({sql})");
    let query = connection.query(&sql).bind(month).bind(run).bind(PAGE);
    let mut found: Vec<Group> = connection.rows("page through decisions", query).await?;
    if found.is_empty() {
        let sql = "SELECT toYYYYMM(timestamp) AS month FROM decision_events WHERE month > ? ORDER BY month LIMIT 1";
        let next: Vec<u32> = connection.rows("find the next month", connection.query(sql).bind(month)).await?;
        return Ok(DerivedPage { rows: Vec::new(), next: next.first().map(|month| format!("{month}/")) });
    }
    // The last run may go on beyond the page: it is taken up again from its beginning, unless it is all there is.
    let last = found.last().map(|group| group.run_id.clone()).unwrap_or_default();
    if found.len() == PAGE && found.first().is_some_and(|group| group.run_id != last) {
        found.retain(|group| group.run_id != last);
    } else if found.len() == PAGE {
        let sql = "SELECT DISTINCT run_id, step_id, toYYYYMM(timestamp) AS month FROM decision_events
                   WHERE toYYYYMM(timestamp) = ? AND run_id = ?";
        found = connection.rows("read the steps of a run", connection.query(sql).bind(month).bind(&last)).await?;
    }
    let next = found.last().map(|group| format!("{month}/{}", group.run_id));
    Ok(DerivedPage { rows: missing(connection, &found).await?, next })
}

/// Those of these that are not in `step_totals`. A link is there with any month.
async fn missing(connection: &Connection, groups: &[Group]) -> Result<Vec<Derived>, Fault> {
    let mut rows = Vec::new();
    for groups in groups.chunks(KEYS_AT_ONCE) {
        let pairs: Vec<_> = groups.iter().map(|group| (&group.step_id, &group.run_id)).collect();
        let sql = "SELECT DISTINCT run_id, step_id, month FROM step_totals WHERE (step_id, run_id) IN ?";
        let known: Vec<Group> = connection.rows("look for totals", connection.query(sql).bind(pairs)).await?;
        let months: BTreeSet<_> = known.iter().map(|group| (&group.step_id, &group.run_id, group.month)).collect();
        let links: BTreeSet<_> = known.iter().map(|group| (&group.step_id, &group.run_id)).collect();
        let is_known = |group: &Group| match group.month {
            0 => links.contains(&(&group.step_id, &group.run_id)),
            month => months.contains(&(&group.step_id, &group.run_id, month)),
        };
        for Group { run_id, step_id, month } in groups.iter().filter(|group| !is_known(group)) {
            let key = vec![step_id.clone(), run_id.clone(), month.to_string()];
            rows.push(derived(&TOTALS, key, None, Some(Values::new())));
        }
    }
    Ok(rows)
}

/// What these steps add to runs.
async fn links_of_steps(connection: &Connection, steps: &[&str]) -> Result<Vec<Derived>, Fault> {
    let computed = format!("({})", sql::select_run_steps());
    let computed = read(connection, &LINKS, &computed, |query| bind(query, steps, 2)).await?;
    let pairs: Vec<(&str, &str)> = computed.keys().filter_map(|key| pair(key)).collect();
    let mut stored = TextRows::new();
    for pairs in pairs.chunks(KEYS_AT_ONCE) {
        let from = "run_steps FINAL WHERE (run_id, step_id) IN ?";
        stored.extend(read(connection, &LINKS, from, |query| query.bind(pairs)).await?);
    }
    Ok(beside(&LINKS, stored, computed))
}

/// Rows of what steps add to these runs for which there is no link.
async fn links_without_source(connection: &Connection, runs: &[&str]) -> Result<Vec<Derived>, Fault> {
    let mut stored = read(connection, &LINKS, "run_steps FINAL WHERE run_id IN ?", |query| query.bind(runs)).await?;
    let steps: Vec<&str> = stored.keys().filter_map(|key| pair(key)).map(|(_, step)| step).collect();
    let links = found::<super::recompute::Link>(connection, "find links", sql::LINKS_OF_STEPS, &steps).await?;
    for link in links {
        stored.remove(&vec![link.run_id, link.step_id]);
    }
    Ok(beside(&LINKS, stored, TextRows::new()))
}

fn pair(key: &[String]) -> Option<(&str, &str)> {
    match key {
        [run_id, step_id] => Some((run_id, step_id)),
        _ => None,
    }
}
