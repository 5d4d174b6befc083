//! Opening the database: is it ours, and is its schema the one this binary knows?

use super::sqlite_fault::NAME;
use super::sqlite_fault::{fault, is_busy};
use super::{directory, io_fault};
use crate::store::{Class, StoreError};
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::path::Path;
use std::time::{Duration, Instant};

/// The name of the file in the data directory.
pub(super) const FILE: &str = "xray.db";

/// Tells our databases from others: `XRay` in ASCII.
const APPLICATION_ID: i32 = 0x5852_6179;

/// What each schema adds to the one before. The number of the last is the file's `user_version`.
const MIGRATIONS: [&str; 1] = [include_str!("../../../schema/sqlite/0001_tables.sql")];

/// How long to wait for a lock before it counts as a failure.
const PATIENCE: Duration = Duration::from_secs(10);

/// Opens the database in `dir` for writing, creates it if absent, and brings its schema up to date. Safe when several
/// processes do so at once.
pub(super) fn writer(dir: &Path, durable: bool) -> Result<Connection, StoreError> {
    let path = dir.join(FILE);
    let deadline = Instant::now() + PATIENCE;
    let connection = loop {
        match try_writer(&path, durable) {
            // A change of the journal mode does not wait for locks by itself.
            Err(Refusal::Sqlite(error)) if is_busy(&error) && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(20));
            }
            outcome => break outcome.map_err(|refusal| refusal.explain(&path))?,
        }
    };
    if durable {
        // SQLite syncs the directory of the files it makes, but a process may die between the two.
        directory::sync(dir).map_err(|error| io_fault::fault("sync", dir, &error))?;
    }
    Ok(connection)
}

/// Opens the database in `dir` for reading only.
pub(super) fn reader(dir: &Path) -> Result<Connection, StoreError> {
    let path = dir.join(FILE);
    if !path.exists() {
        let message = format!("there is no {}: nothing has been stored in this directory yet", path.display());
        return Err(StoreError::new(NAME, Class::Us, message));
    }
    try_reader(&path).map_err(|refusal| refusal.explain(&path))
}

enum Refusal {
    Sqlite(rusqlite::Error),
    Not(String),
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        Refusal::Sqlite(error)
    }
}

impl Refusal {
    fn explain(self, path: &Path) -> StoreError {
        match self {
            Refusal::Sqlite(error) => fault("open", path, &error),
            Refusal::Not(why) => StoreError::new(NAME, Class::Us, format!("{} {why}", path.display())),
        }
    }
}

fn try_writer(path: &Path, durable: bool) -> Result<Connection, Refusal> {
    let mut connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
    // Before anything is changed in what may be someone else's file.
    schema(&connection)?;
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get::<_, String>(0))?;
    if mode != "wal" {
        return Err(Refusal::Not(format!(
            "cannot have a write-ahead log (SQLite answers {mode}): choose a local disk"
        )));
    }
    if connection.is_readonly("main")? {
        // SQLite falls back to reading where it may not write, and says so only at the first write.
        return Err(Refusal::Not("may not be written: give the user who runs the worker the right to".into()));
    }
    connection.pragma_update(None, "synchronous", if durable { "full" } else { "off" })?;
    connection.pragma_update(None, "fullfsync", durable)?; // on macOS, where fsync alone does not reach the disk
    connection.pragma_update(None, "checkpoint_fullfsync", durable)?;
    migrate(&mut connection)?;
    Ok(connection)
}

fn try_reader(path: &Path) -> Result<Connection, Refusal> {
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    match schema(&connection)? {
        found if found == MIGRATIONS.len() => Ok(connection),
        found => Err(Refusal::Not(format!(
            "has schema {found}, this program reads {}: start the worker on it once to bring it up to date",
            MIGRATIONS.len()
        ))),
    }
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, Refusal> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(PATIENCE)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// The number of the schema, 0 for a new file. Refuses what is not ours or is newer than this binary.
fn schema(connection: &Connection) -> Result<usize, Refusal> {
    // One look at one state: somebody else may be creating it just now. Ends, reading only, when it is dropped.
    let _snapshot = if connection.is_autocommit() { Some(connection.unchecked_transaction()?) } else { None };
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))?;
    match number("application_id")? {
        APPLICATION_ID => {}
        0 if tables == 0 && number("user_version")? == 0 => return Ok(0),
        _ => return Err(Refusal::Not("belongs to another program: choose another data directory".into())),
    }
    if tables == 0 {
        return Ok(0);
    }
    let found = usize::try_from(number("user_version")?).unwrap_or(usize::MAX);
    if found > MIGRATIONS.len() {
        return Err(Refusal::Not(format!(
            "has schema {found}, this program knows up to {}: use the newer version of the program that made it",
            MIGRATIONS.len()
        )));
    }
    Ok(found)
}

fn migrate(connection: &mut Connection) -> Result<(), Refusal> {
    if schema(connection)? == MIGRATIONS.len() {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Someone else may have been faster.
    for migration in MIGRATIONS.iter().skip(schema(&transaction)?) {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", i32::try_from(MIGRATIONS.len()).unwrap_or(i32::MAX))?;
    transaction.commit()?;
    Ok(())
}
