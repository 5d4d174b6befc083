use super::connection::Connection;
use super::fault::Fault;
use super::rows::DeadLetterRow;
use super::{NAME, facts, inspect, migrations, recent, recompute};
use crate::check::Findings;
use crate::config;
use crate::dead_letter::DeadLetter;
use crate::object::Record;
use crate::store::recent::Recent;
use crate::store::{Heavy, MetricsStore, RowCounts, StoreError, Touched};
use async_trait::async_trait;
use clickhouse::Row;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;

/// The tables in one database of a ClickHouse server.
#[derive(Debug)]
pub struct ClickHouseTables {
    pub(super) connection: Arc<Connection>,
    pub(super) settings: config::ClickHouse,
}

#[derive(Row, Deserialize)]
struct Counts {
    decision_events: u64,
    steps: u64,
    runs: u64,
    dead_letters: u64,
}

impl ClickHouseTables {
    /// The tables that the configuration names. Speaks to nobody yet; fails where the CA file is of no use.
    pub fn new(config: &config::ClickHouse) -> Result<Self, StoreError> {
        let connection = Arc::new(Connection::new(config)?);
        Ok(ClickHouseTables { connection, settings: config.clone() })
    }

    /// Creates the database and the tables where they are missing and brings their schema up to date; answers with the
    /// number of the schema before, 0 for none, and now. Safe when several do so at once, and may be repeated.
    pub async fn migrate(&self) -> Result<(usize, usize), StoreError> {
        self.connection.make_ready().await?;
        Ok(migrations::migrate(&self.connection, self.settings.fsync).await?)
    }

    /// What `check` has to say about the server and the tables. Writes no row.
    pub async fn inspect(&self) -> Findings {
        inspect::inspect(&self.connection, &self.settings).await
    }

    /// After a failure the columns may not be what they were: someone is repairing the tables.
    pub(super) async fn noted<T>(&self, outcome: Result<T, Fault>) -> Result<T, StoreError> {
        if outcome.is_err() {
            self.connection.forget_columns().await;
        }
        Ok(outcome?)
    }
}

#[async_trait]
impl MetricsStore for ClickHouseTables {
    fn name(&self) -> &'static str {
        NAME
    }

    fn patience(&self) -> Duration {
        // A call is a few requests in a row, and each ends by itself.
        self.connection.timeout() * 20
    }

    async fn prepare(&self) -> Result<(), StoreError> {
        if self.settings.migrate_on_start {
            let (from, to) = self.migrate().await?;
            if from != to {
                tracing::info!(store = NAME, from, to, "schema is up to date");
            }
            return Ok(());
        }
        self.connection.make_ready().await?;
        Ok(migrations::check(&self.connection, self.settings.fsync).await?)
    }

    async fn insert_facts(&self, records: &[Arc<Record>]) -> Result<(), StoreError> {
        self.noted(facts::insert(&self.connection, records).await).await
    }

    async fn recompute(&self, touched: &Touched) -> Result<Heavy, StoreError> {
        self.noted(recompute::recompute(&self.connection, touched).await).await
    }

    async fn insert_dead_letters(&self, letters: &[Arc<DeadLetter>]) -> Result<(), StoreError> {
        let rows: Vec<_> = letters.iter().map(|letter| DeadLetterRow::new(letter)).collect();
        self.noted(self.connection.insert::<DeadLetterRow<'_>>("dead_letters", &rows).await).await
    }

    async fn row_counts(&self) -> Result<RowCounts, StoreError> {
        let count = |table: &str| format!("ifNull((SELECT count() FROM {table} FINAL), 0) AS {table}");
        let sql = format!("SELECT {}", ["decision_events", "steps", "runs", "dead_letters"].map(count).join(", "));
        let counts: Vec<Counts> = self.connection.rows("count rows", self.connection.query(&sql)).await?;
        let counts = counts.into_iter().next();
        Ok(counts.map_or_else(RowCounts::default, |counts| RowCounts {
            decision_events: counts.decision_events,
            steps: counts.steps,
            runs: counts.runs,
            dead_letters: counts.dead_letters,
        }))
    }

    async fn recent(&self) -> Result<Recent, StoreError> {
        recent::read(&self.connection).await
    }

    async fn probe(&self) -> Result<(), StoreError> {
        // No rows, but all that an insert needs: the server, the user, its rights, the table.
        let sql = "INSERT INTO runs (run_id, started_at) SELECT '', now64(3, 'UTC') WHERE 0";
        self.noted(self.connection.execute("insert into runs", self.connection.query(sql)).await).await
    }
}
