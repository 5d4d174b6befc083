//! The tables as an audit sees them.

use super::blocking::blocking;
use super::columns::Columns;
use super::metrics::{SqliteMetrics, Wait};
use super::reader;
use super::sqlite_fault::{NAME, fault};
use super::{derived, fact_rows, open, removal};
use crate::event::Kind;
use crate::store::audit::{
    Among, DeadLetterRow, DerivedPage, FactRow, Keys, Layer, Rows, TableAudit, fact_table, fact_time,
};
use crate::store::{StoreError, Touched};
use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use futures_util::StreamExt;
use rusqlite::{Connection, params};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::mpsc::{Sender, channel};
use tokio_stream::wrappers::ReceiverStream;

/// Rows that are read ahead.
const AHEAD: usize = 1000;

impl SqliteMetrics {
    /// Reads on a thread that may block, from one state of the tables.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let path = self.path().clone();
        blocking(NAME, move || on_snapshot(&path, work)).await?
    }

    /// The same for rows that are handed over one by one.
    fn stream<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, &Sender<Result<T, StoreError>>) -> rusqlite::Result<()> + Send + 'static,
    ) -> Rows<T> {
        let (sender, receiver) = channel(AHEAD);
        let path = self.path().clone();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = on_snapshot(&path, |connection| work(connection, &sender)) {
                // Where nobody listens any more, nobody wants to know.
                sender.blocking_send(Err(error)).ok();
            }
        });
        ReceiverStream::new(receiver).boxed()
    }
}

fn on_snapshot<T>(path: &Arc<Path>, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
    let connection = open::reader(path.parent().unwrap_or(Path::new("")))?;
    let read = || {
        let transaction = connection.unchecked_transaction()?;
        work(&transaction)
    };
    read().map_err(|error| fault("read", path, &error))
}

fn written(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[async_trait]
impl TableAudit for SqliteMetrics {
    async fn months(&self, kind: Kind) -> Result<Vec<u32>, StoreError> {
        let (table, time) = (fact_table(kind), fact_time(kind));
        self.read(move |connection| {
            let sql = format!("SELECT DISTINCT replace(substr({time}, 1, 7), '-', '') FROM {table} ORDER BY 1");
            let mut statement = connection.prepare(&sql)?;
            let months = statement.query_map((), |row| row.get::<_, String>(0))?;
            Ok(months.collect::<rusqlite::Result<Vec<_>>>()?.iter().filter_map(|month| month.parse().ok()).collect())
        })
        .await
    }

    fn facts(&self, kind: Kind, among: Among) -> Rows<FactRow> {
        self.stream(move |connection, rows| {
            fact_rows::each(connection, kind, &among, |row| rows.blocking_send(Ok(row)).is_ok())
        })
    }

    async fn linked_steps(&self, run_id: &str) -> Result<Vec<String>, StoreError> {
        let run_id = run_id.to_owned();
        self.read(move |connection| {
            let sql =
                "SELECT step_id FROM step_links WHERE run_id = ?1 UNION SELECT step_id FROM steps WHERE run_id = ?1";
            connection.prepare(sql)?.query_map([run_id], |row| row.get(0))?.collect()
        })
        .await
    }

    fn letters(&self, these: Option<Vec<String>>) -> Rows<DeadLetterRow> {
        self.stream(move |connection, rows| {
            let columns = reader::DEAD_LETTER;
            match these {
                Some(these) => {
                    let mut statement = connection.prepare(&format!("{columns} WHERE sha256 = ?"))?;
                    for sha256 in these {
                        for row in statement.query_map([sha256], |row| reader::dead_letter(&mut Columns::new(row)))? {
                            rows.blocking_send(Ok(row?)).ok();
                        }
                    }
                }
                None => {
                    let mut statement = connection.prepare(&format!("{columns} ORDER BY s3_key"))?;
                    for row in statement.query_map((), |row| reader::dead_letter(&mut Columns::new(row)))? {
                        if rows.blocking_send(Ok(row?)).is_err() {
                            break;
                        }
                    }
                }
            }
            Ok(())
        })
    }

    fn layers(&self) -> &'static [Layer] {
        &[Layer::Groups, Layer::Totals, Layer::Steps, Layer::Runs]
    }

    async fn derived(&self, layer: Layer, keys: &Keys) -> Result<DerivedPage, StoreError> {
        let keys = keys.clone();
        self.read(move |connection| derived::page(connection, layer, &keys)).await
    }

    async fn changed_within(
        &self,
        touched: &Touched,
        (since, until): (DateTime<Utc>, DateTime<Utc>),
        _own: &Touched,
    ) -> Result<Touched, StoreError> {
        // What was inserted is recomputed whatever stood there, so nothing of our own is left.
        let (touched, since, until) = (touched.clone(), written(since), written(until));
        self.read(move |connection| removal::changed_within(connection, &touched, &since, &until)).await
    }

    async fn remove(&self, facts: &[FactRow]) -> Result<Touched, StoreError> {
        let facts = facts.to_vec();
        self.write("remove facts from", Wait::Durable, move |transaction| removal::facts(transaction, &facts)).await
    }

    async fn remove_before(&self, day: NaiveDate, erase: bool) -> Result<u64, StoreError> {
        self.write("remove facts from", Wait::Durable, move |transaction| removal::before(transaction, day, erase))
            .await
    }

    async fn forget(&self, touched: &Touched) -> Result<Touched, StoreError> {
        let touched = touched.clone();
        self.write("remove derived rows from", Wait::Durable, move |transaction| {
            derived::link_again(transaction, touched.all_steps().into_iter())?;
            removal::derived(transaction, &touched)?;
            Ok(touched)
        })
        .await
    }

    async fn sum_again(&self, touched: &Touched) -> Result<(), StoreError> {
        let touched = touched.clone();
        self.write("write totals to", Wait::Durable, move |transaction| {
            derived::total_again(transaction, touched.all_steps().into_iter())
        })
        .await
    }

    async fn remove_letters(&self, sha256: &[String]) -> Result<(), StoreError> {
        let these = sha256.to_vec();
        self.write("remove dead letters from", Wait::Durable, move |transaction| {
            let mut statement = transaction.prepare_cached("DELETE FROM dead_letters WHERE sha256 = ?")?;
            these.iter().try_for_each(|sha256| statement.execute([sha256]).map(drop))
        })
        .await
    }

    async fn mark_redriven(&self, sha256: &[String], at: DateTime<Utc>) -> Result<(), StoreError> {
        let (these, at) = (sha256.to_vec(), written(at));
        self.write("mark dead letters in", Wait::Durable, move |transaction| {
            let mut statement =
                transaction.prepare_cached("UPDATE dead_letters SET redriven_at = ? WHERE sha256 = ?")?;
            these.iter().try_for_each(|sha256| statement.execute(params![at, sha256]).map(drop))
        })
        .await
    }
}
