//! Tables made anew in a database beside ours, and exchanged with ours.
//!
//! A single `EXCHANGE TABLES` is atomic; all of them are not, so their order matters: what others are derived from goes
//! first. A query that runs between two of them then reads fresh rows and writes to a table that is on its way out, never
//! the reverse: a row derived from the old tables could count more than the right one. Facts that workers put into the
//! old tables until the last query on them is over are carried over afterwards.

use super::connection::Connection;
use super::fault::Fault;
use super::layout::Layout;
use super::migrations;
use super::recompute;
use super::tables::ClickHouseTables;
use crate::config;
use crate::store::audit::TableAudit;
use crate::store::rebuild::{BEGAN, Fresh, Progress, Rebuild};
use crate::store::{DecisionGroup, MetricsStore, StoreError, Touched};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use clickhouse::Row;
use clickhouse::sql::Identifier;
use serde::Deserialize;
use std::sync::Arc;
use tokio::time::sleep;

/// In the order in which they are exchanged.
const ORDER: [&str; 8] =
    ["decision_events", "step_reports", "run_reports", "dead_letters", "step_totals", "run_steps", "steps", "runs"];

const PROGRESS: &str = "CREATE TABLE IF NOT EXISTS rebuild_progress (part String, at DateTime64(3, 'UTC'))
ENGINE = ReplacingMergeTree ORDER BY part";

/// So many keys are recomputed by one call.
const KEYS_AT_ONCE: usize = 5000;

/// The fresh tables, and where they are to go.
#[derive(Debug)]
struct FreshTables {
    tables: Arc<ClickHouseTables>,
    live: Arc<Connection>,
}

#[derive(Row, Deserialize)]
struct Part {
    part: String,
    at: i64,
}

#[derive(Row, Deserialize)]
struct Known {
    name: String,
    id: String,
}

#[derive(Row, Deserialize)]
struct Group {
    month: u32,
    run_id: String,
    step_id: String,
}

#[async_trait]
impl Rebuild for ClickHouseTables {
    async fn fresh(&self, anew: bool) -> Result<Arc<dyn Fresh>, StoreError> {
        let name = fresh_name(self.connection.database());
        if anew {
            drop_database(&self.connection, &name).await?;
        }
        let settings = config::ClickHouse { database: name, migrate_on_start: true, ..self.settings.clone() };
        let tables = ClickHouseTables::new(&settings)?;
        tables.connection.make_ready().await?;
        migrations::create_database(&tables.connection).await?;
        like_those_in_use(&self.connection, &settings.database).await?;
        tables.prepare().await?;
        let fresh = FreshTables { tables: Arc::new(tables), live: self.connection.clone() };
        fresh.refuse_other_engines().await?;
        let connection = &fresh.tables.connection;
        connection.execute("create the table rebuild_progress", connection.query(PROGRESS)).await?;
        if !fresh.progress().await?.done.contains(BEGAN) {
            // Whether a table was exchanged is told by where it stands: all of them are noted before it begins.
            for Known { name, id } in known(connection).await? {
                fresh.mark(&format!("{FRESH}{name} {id}")).await?;
            }
            fresh.mark(BEGAN).await?;
        }
        Ok(Arc::new(fresh))
    }
}

/// The database of the fresh tables of this one.
pub(super) fn fresh_name(database: &str) -> String {
    format!("{database}_rebuild")
}

const FRESH: &str = "fresh table ";

/// Our tables and what the server itself calls them.
async fn known(connection: &Connection) -> Result<Vec<Known>, Fault> {
    let sql = "SELECT name, toString(uuid) AS id FROM system.tables WHERE database = ? AND name IN ?";
    let query = connection.query_server(sql).bind(connection.database()).bind(ORDER.as_slice());
    connection.rows("look which tables are in use", query).await
}

/// Columns, settings and ages that somebody added stay. A replicated table cannot be made twice from one definition.
async fn like_those_in_use(live: &Connection, fresh: &str) -> Result<(), Fault> {
    let sql =
        "SELECT name, '' AS id FROM system.tables WHERE database = ? AND name IN ? AND engine = 'ReplacingMergeTree'";
    let plain = live.query_server(sql).bind(live.database()).bind(ORDER.as_slice());
    for Known { name, .. } in live.rows("look which tables are in use", plain).await? {
        let query =
            live.query_server("CREATE TABLE IF NOT EXISTS ?.? AS ?.?").bind(Identifier(fresh)).bind(Identifier(&name));
        let query = query.bind(Identifier(live.database())).bind(Identifier(&name));
        live.execute(&format!("create a table like {name}"), query).await?;
    }
    Ok(())
}

async fn drop_database(connection: &Connection, name: &str) -> Result<(), Fault> {
    let query = connection.query_server("DROP DATABASE IF EXISTS ? SYNC").bind(Identifier(name));
    connection.execute(&format!("drop the database {name}"), query).await
}

#[async_trait]
impl Fresh for FreshTables {
    fn tables(&self) -> Arc<dyn TableAudit> {
        self.tables.clone()
    }

    async fn progress(&self) -> Result<Progress, StoreError> {
        let connection = &self.tables.connection;
        let sql = "SELECT part, toUnixTimestamp64Milli(min(at)) AS at FROM rebuild_progress GROUP BY part";
        let parts: Vec<Part> = connection.rows("read how far the rebuild is", connection.query(sql)).await?;
        let time = |millis| DateTime::from_timestamp_millis(millis).unwrap_or_default();
        Ok(Progress::of(parts.into_iter().map(|Part { part, at }| (part, time(at)))))
    }

    async fn mark(&self, part: &str) -> Result<(), StoreError> {
        let connection = &self.tables.connection;
        let query = connection.query("INSERT INTO rebuild_progress SELECT ?, now64(3, 'UTC')").bind(part);
        Ok(connection.execute("note how far the rebuild is", query).await?)
    }

    async fn exchange(&self, since: DateTime<Utc>, keep: bool) -> Result<(), StoreError> {
        let progress = self.progress().await?;
        let fresh = self.tables.connection.database().to_owned();
        let (here, there) = (known(&self.live).await?, known(&self.tables.connection).await?);
        if let Some(lost) =
            ORDER.iter().find(|table| !stands(&progress, &here, table) && !stands(&progress, &there, table))
        {
            let message = format!("the fresh table {lost} is gone, with what the rebuild had done: begin with --anew");
            return Err(Fault::us(message).into());
        }
        if !ORDER.iter().any(|table| stands(&progress, &here, table)) {
            self.carry_over(&fresh, self.live.database(), since).await?;
        }
        for table in ORDER {
            // Looked up each time: somebody who broke off may have got this far.
            if stands(&progress, &known(&self.live).await?, table) {
                continue;
            }
            let (ours, theirs) = (self.live.database(), fresh.as_str());
            let query = self
                .live
                .query("EXCHANGE TABLES ?.? AND ?.?")
                .bind(Identifier(ours))
                .bind(Identifier(table))
                .bind(Identifier(theirs))
                .bind(Identifier(table));
            self.live.execute(&format!("exchange the table {table} (its database must be Atomic)"), query).await?;
        }
        self.live.forget_columns().await;
        self.late(&fresh, since).await?;
        // Inserts and queries that had begun before the exchange are over by then.
        sleep(self.live.timeout()).await;
        self.late(&fresh, since).await?;
        if !keep {
            drop_database(&self.live, &fresh).await?;
        }
        Ok(())
    }
}

/// Whether the fresh table of this name stands there.
fn stands(progress: &Progress, known: &[Known], table: &str) -> bool {
    known.iter().any(|Known { name, id }| name == table && progress.done.contains(&format!("{FRESH}{name} {id}")))
}

impl FreshTables {
    /// Tables that somebody made replicated must not become plain ones.
    async fn refuse_other_engines(&self) -> Result<(), Fault> {
        let (ours, fresh) = (self.live.database(), self.tables.connection.database());
        let sql = "SELECT name, arrayStringConcat(arraySort(groupUniqArray(engine)), ' and ') AS id FROM system.tables
                   WHERE database IN ? AND name IN ? GROUP BY name HAVING uniqExact(engine) > 1";
        let query = self.live.query(sql).bind([ours, fresh].as_slice()).bind(ORDER.as_slice());
        let other: Vec<Known> = self.live.rows("compare the engines of tables", query).await?;
        match other.first() {
            None => Ok(()),
            Some(Known { name, id }) => Err(Fault::us(format!(
                "the table {name} has different engines in the databases {ours} and {fresh} ({id}): create the tables in \
                 {fresh} as they are in {ours}, then rebuild"
            ))),
        }
    }

    /// What workers put into the old tables goes into those in use, with all that depends on it.
    async fn late(&self, old: &str, since: DateTime<Utc>) -> Result<(), Fault> {
        let touched = self.carry_over(self.live.database(), old, since).await?;
        for part in touched.parts(KEYS_AT_ONCE) {
            recompute::recompute(&self.live, &part).await?;
        }
        Ok(())
    }

    /// Copies facts and dead letters that came since then, and answers with what they touch.
    async fn carry_over(&self, to: &str, from: &str, since: DateTime<Utc>) -> Result<Touched, Fault> {
        let at = since.timestamp_millis();
        let recent = format!("toUnixTimestamp64Milli(updated_at) >= {at}");
        let mut touched = Touched::default();

        let sql = format!(
            "SELECT DISTINCT toYYYYMM(timestamp) AS month, run_id, step_id FROM ?.decision_events WHERE {recent}"
        );
        let groups = self.live.query(&sql).bind(Identifier(from));
        let groups: Vec<Group> = self.live.rows("look for decisions that came meanwhile", groups).await?;
        let groups =
            groups.into_iter().map(|Group { month, run_id, step_id }| DecisionGroup { month, run_id, step_id });
        touched.decisions.extend(groups);
        for (table, id, keys) in
            [("step_reports", "step_id", &mut touched.steps), ("run_reports", "run_id", &mut touched.runs)]
        {
            let sql = format!("SELECT DISTINCT {id} FROM ?.{table} WHERE {recent}");
            let query = self.live.query(&sql).bind(Identifier(from));
            keys.extend(self.live.rows::<String>("look for reports that came meanwhile", query).await?);
        }

        let mut months: Vec<u32> = touched.decisions.iter().map(|group| group.month).collect();
        months.dedup();
        for month in months {
            let condition = format!("{recent} AND toYYYYMM(timestamp) = {month}");
            self.copy("decision_events", to, from, &condition, &[]).await?;
        }
        self.copy("step_reports", to, from, &recent, &[]).await?;
        self.copy("run_reports", to, from, &recent, &[]).await?;
        let links = format!("month = 0 AND step_id IN (SELECT step_id FROM ?.step_reports WHERE {recent})");
        self.copy("step_totals", to, from, &links, &[from]).await?;
        let letters = format!("toUnixTimestamp64Milli(first_seen) >= {at}");
        self.copy("dead_letters", to, from, &letters, &[]).await?;
        // That a letter was sent again stands nowhere else.
        let marked = "redriven_at IS NOT NULL AND sha256 IN (SELECT sha256 FROM ?.dead_letters)";
        self.copy("dead_letters", to, from, marked, &[to]).await?;
        Ok(touched)
    }

    async fn copy(&self, table: &str, to: &str, from: &str, condition: &str, databases: &[&str]) -> Result<(), Fault> {
        let layout = migrations::layouts().find(|layout| layout.name == table).unwrap_or_else(Layout::default);
        let columns: Vec<&str> = layout.columns.iter().map(|(name, _)| name.as_str()).collect();
        let columns = columns.join(", ");
        let sql = format!("INSERT INTO ?.{table} ({columns}) SELECT {columns} FROM ?.{table} WHERE {condition}");
        let query = self.live.query(&sql).bind(Identifier(to)).bind(Identifier(from));
        let query = databases.iter().fold(query, |query, database| query.bind(Identifier(database)));
        self.live.execute(&format!("carry over rows of {table}"), query).await
    }
}
