use super::blocking::{Turns, blocking};
use super::reader::Reader;
use super::sqlite_fault::NAME;
use super::{directory, facts, open, recent, recompute, sqlite_fault};
use crate::dead_letter::DeadLetter;
use crate::event::Kind;
use crate::numbers::Version;
use crate::object::Record;
use crate::store::recent::Recent;
use crate::store::{Class, Heavy, MetricsStore, RowCounts, StoreError, Touched};
use async_trait::async_trait;
use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

/// The tables, in the SQLite file `DIR/xray.db`.
///
/// Writers take turns, in this process and among all, so that each transaction sees every one before it. Facts are
/// written without waiting for the disk: they stand in the log before the derived rows that follow, whose transaction
/// waits for all of it.
#[derive(Debug, Clone)]
pub struct SqliteMetrics {
    path: Arc<Path>,
    database: Turns<Database>,
}

#[derive(Debug)]
struct Database {
    durable: bool,
    connection: Connection,
    path: Arc<Path>,
    /// Which file it is, whatever stands under its name by now.
    file: Option<(u64, u64)>,
}

/// What a transaction has to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// Nothing; a later one waits for it.
    No,
    /// The disk.
    Durable,
}

impl SqliteMetrics {
    /// Opens the tables in `dir`, which is created if absent. Without `durable` nothing waits for the disk: what was
    /// stored survives the end of the process, but a power cut may damage the file.
    ///
    /// Refuses a file that is no SQLite database or that of another program, and a schema newer than this program.
    pub fn open(dir: &Path, durable: bool) -> Result<Self, StoreError> {
        let dir = directory::create_root(dir, durable)?;
        let (connection, path) = (open::writer(&dir, durable)?, Arc::from(dir.join(open::FILE)));
        let database = Database { durable, connection, file: file_at(&path), path: Arc::clone(&path) };
        Ok(SqliteMetrics { path, database: Turns::new(database) })
    }

    pub(super) fn path(&self) -> &Arc<Path> {
        &self.path
    }

    /// The connection itself, for what is more than one transaction.
    pub(super) async fn alone<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        self.database.blocking(NAME, move |database| work(&mut database.connection)).await
    }

    /// One transaction, on a thread that may block. `doing` is for the error message.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        doing: &'static str,
        wait: Wait,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let done = self.database.blocking(NAME, move |database| (database.write(wait, work), database.is_in_place()));
        let (outcome, in_place) = done.await?;
        if !in_place {
            let path = self.path.display();
            let message =
                format!("cannot {doing} {path}: it was removed or replaced: put it back, or restart the worker");
            return Err(StoreError::new(NAME, Class::Us, message));
        }
        outcome.map_err(|error| sqlite_fault::fault(doing, &self.path, &error))
    }
}

fn file_at(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).map(|file| (file.dev(), file.ino())).ok()
}

impl Database {
    /// Whether what was written can be found: the file may have been unlinked, and is then gone with this process.
    fn is_in_place(&self) -> bool {
        file_at(&self.path) == self.file
    }

    fn write<T>(
        &mut self,
        wait: Wait,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        // Not below "normal": a checkpoint must sync the log before it is overwritten.
        let synchronous = match wait {
            _ if !self.durable => "off",
            Wait::No => "normal",
            Wait::Durable => "full",
        };
        self.connection.pragma_update(None, "synchronous", synchronous)?;
        // A panic in it rolls it back.
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let answer = work(&transaction)?;
        if wait == Wait::Durable {
            touch_barrier(&transaction)?;
        }
        transaction.commit()?;
        Ok(answer)
    }
}

/// Makes sure that the transaction changes a page: else its commit does not sync the log. What it found there may be by
/// a process that died before it did.
fn touch_barrier(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.prepare_cached("UPDATE barrier SET commits = commits + 1")?.execute(())?;
    Ok(())
}

#[async_trait]
impl MetricsStore for SqliteMetrics {
    fn name(&self) -> &'static str {
        NAME
    }

    /// It was made ready when it was opened.
    async fn prepare(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn insert_facts(&self, records: &[Arc<Record>]) -> Result<(), StoreError> {
        let records = records.to_vec();
        self.write("write facts to", Wait::No, move |transaction| facts::insert(transaction, &records)).await
    }

    async fn recompute(&self, touched: &Touched) -> Result<Heavy, StoreError> {
        let touched = touched.clone();
        self.write("write derived rows to", Wait::Durable, move |transaction| {
            recompute::recompute(transaction, &touched)
        })
        .await
    }

    async fn insert_dead_letters(&self, letters: &[Arc<DeadLetter>]) -> Result<(), StoreError> {
        let letters = letters.to_vec();
        self.write("write dead letters to", Wait::Durable, move |transaction| {
            letters.iter().try_for_each(|letter| insert_dead_letter(transaction, letter))
        })
        .await
    }

    async fn row_counts(&self) -> Result<RowCounts, StoreError> {
        let path = self.path.clone();
        blocking(NAME, move || Reader::open(path.parent().unwrap_or(Path::new("")))?.counts()).await?
    }

    async fn recent(&self) -> Result<Recent, StoreError> {
        let path = self.path.clone();
        blocking(NAME, move || recent::read(&path)).await?
    }

    /// A transaction like any other: what is rolled back, or changes nothing, needs no room on the disk.
    async fn probe(&self) -> Result<(), StoreError> {
        self.write("write to", Wait::Durable, |_| Ok(())).await
    }
}

fn insert_dead_letter(transaction: &Transaction<'_>, letter: &DeadLetter) -> rusqlite::Result<()> {
    let sql = "INSERT INTO dead_letters (sha256, code, reason, source, kind, s3_key, bytes, first_seen, version)
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING";
    transaction.prepare_cached(sql)?.execute(params![
        letter.sha256.to_string(),
        letter.code().as_str(),
        letter.rejection.reason,
        letter.source,
        letter.kind.map_or("", Kind::as_str),
        letter.key(),
        i64::try_from(letter.full_bytes).unwrap_or(i64::MAX),
        letter.first_seen(),
        Version::ZERO.to_string(),
    ])?;
    Ok(())
}
