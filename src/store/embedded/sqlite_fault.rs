//! What to do about a failure of SQLite. Decided here and nowhere else; codes: <https://www.sqlite.org/rescode.html>.

use crate::store::{Class, StoreError};
use rusqlite::{Error, ErrorCode};
use std::path::Path;

/// The name of the tables in metrics, logs and errors.
pub(super) const NAME: &str = "database";

const FULL: &str = "the disk that holds it is full: free some space";

/// With less than this left, an I/O error is one of space: SQLite extends its files by no more at once, and passes on of
/// the system's error only that there was one.
const HARDLY_ANY: u64 = 1 << 20;

/// The failure of `doing` ("write facts to") something with the database at `path`.
pub(super) fn fault(doing: &str, path: &Path, error: &Error) -> StoreError {
    let is_io = error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure);
    let (class, advice) = match judge(error) {
        _ if is_io && left_beside(path).is_some_and(|left| left < HARDLY_ANY) => (Class::Us, Some(FULL)),
        verdict => verdict,
    };
    let path = path.display();
    let message = match advice {
        Some(advice) => format!("cannot {doing} {path}: {advice}"),
        None => format!("cannot {doing} {path}"),
    };
    StoreError::new(NAME, class, message).because(error.to_string())
}

/// How many bytes may still be written where the file is.
fn left_beside(path: &Path) -> Option<u64> {
    let room = rustix::fs::statvfs(path.parent()?).ok()?;
    Some(room.f_bavail.saturating_mul(room.f_frsize))
}

/// Somebody else has the lock, and may let go of it soon.
pub(super) fn is_busy(error: &Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

fn judge(error: &Error) -> (Class, Option<&'static str>) {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => (Class::Us, Some(FULL)),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied) => (
            Class::Us,
            Some(
                "it may not be written: give the user who runs the worker read and write access to it and its directory",
            ),
        ),
        Some(ErrorCode::CannotOpen) => (
            Class::Us,
            Some(
                "it cannot be opened: the directory must exist and be readable and writable, and this be a file in it",
            ),
        ),
        Some(ErrorCode::NotADatabase) => {
            (Class::Us, Some("it is no SQLite database: move it away, or choose another data directory"))
        }
        Some(ErrorCode::DatabaseCorrupt) => {
            (Class::Us, Some("it is damaged: move it away, start anew and send the events in DIR/objects again"))
        }
        Some(ErrorCode::Unknown) if lacks_table(error) => {
            (Class::Us, Some("a table or column is missing: restore it, or move the file away and start anew"))
        }
        Some(ErrorCode::TooBig | ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch) => {
            (Class::Item, Some("the database does not take this value"))
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            (Class::Transient, Some("another process has been holding its lock for long"))
        }
        None if is_garbled(error) => (
            Class::Us,
            Some("a row holds a value that the worker never writes: repair or delete that row, or restore the file"),
        ),
        _ => (Class::Transient, None),
    }
}

/// What was read is not what is ever written. The event that made us read it has no part in that.
fn is_garbled(error: &Error) -> bool {
    matches!(
        error,
        Error::FromSqlConversionFailure(..)
            | Error::InvalidColumnType(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::Utf8Error(..)
    )
}

/// SQLite has no code of its own for this.
fn lacks_table(error: &Error) -> bool {
    let text = error.to_string();
    ["no such table", "no such column", "has no column"].iter().any(|sign| text.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::ffi;

    #[test]
    fn an_io_error_is_one_of_space_only_where_there_is_none() {
        let io = |path: &str| {
            let error = Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_IOERR_WRITE), None);
            fault("open", Path::new(path), &error)
        };
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(io(&dir.path().join("xray.db").display().to_string()).class, Class::Transient);
        // A file system on which nothing is ever left.
        #[cfg(target_os = "linux")]
        assert!(io("/proc/xray.db").to_string().contains("is full"));
    }
}
