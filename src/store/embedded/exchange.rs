//! Tables made anew in a file of their own, and put in the place of ours in one transaction: workers go on with the file
//! that they have open, wait for that transaction, and what they had put in meanwhile is taken over within it.

use super::columns::now;
use super::derived::total_again;
use super::metrics::{SqliteMetrics, Wait};
use super::recompute::recompute;
use super::sqlite_fault::{NAME, fault};
use super::{directory, io_fault};
use crate::store::audit::TableAudit;
use crate::store::rebuild::{BEGAN, Fresh, Progress, Rebuild};
use crate::store::{Class, DecisionGroup, StoreError, Touched};
use async_trait::async_trait;
use chrono::{DateTime, SecondsFormat, Utc};
use rusqlite::{Connection, Result as Sqlite};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The directory of the fresh tables, in the data directory.
const FOLDER: &str = "rebuild";

const TABLES: [&str; 8] =
    ["decision_events", "step_reports", "run_reports", "step_links", "step_totals", "steps", "runs", "dead_letters"];

#[derive(Debug)]
struct FreshTables {
    live: SqliteMetrics,
    fresh: Arc<SqliteMetrics>,
    folder: PathBuf,
}

#[async_trait]
impl Rebuild for SqliteMetrics {
    async fn fresh(&self, anew: bool) -> Result<Arc<dyn Fresh>, StoreError> {
        let folder = self.path().parent().unwrap_or(Path::new("")).join(FOLDER);
        if anew && folder.exists() {
            std::fs::remove_dir_all(&folder).map_err(|error| io_fault::fault("remove", &folder, &error))?;
        }
        // A power cut in the middle costs no more than beginning anew.
        let fresh = FreshTables { live: self.clone(), fresh: Arc::new(SqliteMetrics::open(&folder, false)?), folder };
        let begin = |transaction: &rusqlite::Transaction<'_>| {
            transaction.execute_batch(
                "CREATE TABLE IF NOT EXISTS rebuild_progress (part TEXT NOT NULL PRIMARY KEY, at TEXT NOT NULL)",
            )
        };
        fresh.fresh.write("begin a rebuild in", Wait::No, begin).await?;
        fresh.mark(BEGAN).await?;
        Ok(Arc::new(fresh))
    }
}

#[async_trait]
impl Fresh for FreshTables {
    fn tables(&self) -> Arc<dyn TableAudit> {
        self.fresh.clone()
    }

    async fn progress(&self) -> Result<Progress, StoreError> {
        let rows = |connection: &Connection| {
            let mut statement = connection.prepare("SELECT part, at FROM rebuild_progress")?;
            let rows = statement.query_map((), |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
            rows.collect::<Sqlite<Vec<_>>>()
        };
        let rows = self.fresh.read(rows).await?.into_iter();
        let time = |at: String| DateTime::parse_from_rfc3339(&at).map(|at| at.to_utc()).unwrap_or_default();
        Ok(Progress::of(rows.map(|(part, at)| (part, time(at)))))
    }

    async fn mark(&self, part: &str) -> Result<(), StoreError> {
        let part = part.to_owned();
        let mark = move |transaction: &rusqlite::Transaction<'_>| {
            let sql = "INSERT INTO rebuild_progress (part, at) VALUES (?, ?) ON CONFLICT DO NOTHING";
            transaction.execute(sql, [part, now()]).map(drop)
        };
        self.fresh.write("note how far the rebuild is in", Wait::No, mark).await
    }

    async fn exchange(&self, since: DateTime<Utc>, keep: bool) -> Result<(), StoreError> {
        let path = self.fresh.path().clone();
        let Some(name) = path.to_str().map(str::to_owned) else {
            let message = format!("{} is no UTF-8: move the data directory", path.display());
            return Err(StoreError::new(NAME, Class::Us, message));
        };
        let since = since.to_rfc3339_opts(SecondsFormat::Millis, true);
        let exchange = move |connection: &mut Connection| -> Sqlite<()> {
            connection.execute("ATTACH ? AS fresh", [name])?;
            let outcome = in_one_transaction(connection, &since);
            connection.execute_batch("DETACH fresh")?;
            outcome
        };
        let done = self.live.alone(exchange).await?;
        done.map_err(|error| fault("exchange the tables of", self.live.path(), &error))?;
        if !keep {
            std::fs::remove_dir_all(&self.folder).map_err(|error| io_fault::fault("remove", &self.folder, &error))?;
            if let Some(parent) = self.folder.parent() {
                directory::sync(parent).map_err(|error| io_fault::fault("sync", parent, &error))?;
            }
        }
        Ok(())
    }
}

fn in_one_transaction(connection: &mut Connection, since: &str) -> Sqlite<()> {
    connection.pragma_update(None, "synchronous", "full")?;
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    for (table, time) in
        [("decision_events", "updated_at"), ("step_reports", "updated_at"), ("run_reports", "updated_at")]
    {
        transaction.execute(
            &format!("CREATE TEMP TABLE recent_{table} AS SELECT * FROM main.{table} WHERE {time} >= ?"),
            [since],
        )?;
    }
    transaction.execute_batch(
        "CREATE TEMP TABLE recent_links AS SELECT * FROM main.step_links WHERE step_id IN
             (SELECT step_id FROM recent_step_reports UNION SELECT step_id FROM recent_decision_events)",
    )?;
    transaction.execute(
        "CREATE TEMP TABLE recent_letters AS SELECT * FROM main.dead_letters WHERE first_seen >= ?1 OR
             (redriven_at IS NOT NULL AND sha256 IN (SELECT sha256 FROM fresh.dead_letters))",
        [since],
    )?;
    for table in TABLES {
        transaction.execute_batch(&format!(
            "DELETE FROM main.{table}; INSERT INTO main.{table} SELECT * FROM fresh.{table};"
        ))?;
    }
    let touched = take_over(&transaction)?;
    recompute(&transaction, &touched)?;
    for table in ["decision_events", "step_reports", "run_reports", "links", "letters"] {
        transaction.execute_batch(&format!("DROP TABLE temp.recent_{table}"))?;
    }
    transaction.commit()
}

/// Facts that workers put in meanwhile, unless a newer one is there.
fn take_over(connection: &Connection) -> Sqlite<Touched> {
    connection.execute_batch(
        "INSERT OR REPLACE INTO main.decision_events SELECT * FROM recent_decision_events AS recent WHERE NOT EXISTS
             (SELECT 1 FROM main.decision_events AS known
              WHERE (known.step_id, known.run_id, known.event_id, known.day)
                  = (recent.step_id, recent.run_id, recent.event_id, recent.day) AND known.sha256 >= recent.sha256);
         INSERT OR REPLACE INTO main.step_reports SELECT * FROM recent_step_reports AS recent WHERE NOT EXISTS
             (SELECT 1 FROM main.step_reports AS known WHERE known.step_id = recent.step_id
              AND (known.rank, coalesce(known.completed_at, ''), known.sha256)
               >= (recent.rank, coalesce(recent.completed_at, ''), recent.sha256));
         INSERT OR REPLACE INTO main.run_reports SELECT * FROM recent_run_reports AS recent WHERE NOT EXISTS
             (SELECT 1 FROM main.run_reports AS known WHERE known.run_id = recent.run_id
              AND (known.rank, coalesce(known.completed_at, ''), known.sha256)
               >= (recent.rank, coalesce(recent.completed_at, ''), recent.sha256));
         INSERT OR IGNORE INTO main.step_links SELECT * FROM recent_links;
         INSERT OR REPLACE INTO main.dead_letters SELECT * FROM recent_letters;",
    )?;
    let mut touched = Touched::default();
    let mut statement = connection.prepare(
        "SELECT DISTINCT replace(substr(timestamp, 1, 7), '-', ''), run_id, step_id FROM recent_decision_events",
    )?;
    let groups = statement.query_map((), |row| {
        let month: String = row.get(0)?;
        Ok(DecisionGroup { month: month.parse().unwrap_or_default(), run_id: row.get(1)?, step_id: row.get(2)? })
    })?;
    touched.decisions = groups.collect::<Sqlite<_>>()?;
    let ids = |sql: &str| connection.prepare(sql)?.query_map((), |row| row.get(0))?.collect::<Sqlite<_>>();
    touched.steps = ids("SELECT step_id FROM recent_step_reports")?;
    touched.runs = ids("SELECT run_id FROM recent_run_reports")?;
    total_again(connection, touched.all_steps().into_iter())?;
    Ok(touched)
}
