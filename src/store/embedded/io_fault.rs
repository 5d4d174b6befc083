//! What to do about a failure of the file system. Decided here and nowhere else.

use crate::store::{Class, StoreError};
use std::io::{Error, ErrorKind};
use std::path::Path;

/// The name of the objects in metrics, logs and errors.
pub(super) const NAME: &str = "objects";

/// The failure of `doing` ("write", "read") something at `path`.
pub(super) fn fault(doing: &str, path: &Path, error: &Error) -> StoreError {
    let (class, advice) = judge(error);
    let path = path.display();
    let message = match advice {
        Some(advice) => format!("cannot {doing} {path}: {advice}"),
        None => format!("cannot {doing} {path}"),
    };
    StoreError::new(NAME, class, message).because(error.to_string())
}

fn judge(error: &Error) -> (Class, Option<&'static str>) {
    match error.kind() {
        ErrorKind::StorageFull => {
            (Class::Us, Some("the disk that holds it is full: free some space; the worker goes on by itself"))
        }
        ErrorKind::QuotaExceeded => {
            (Class::Us, Some("the disk quota is used up: free some space or raise it; the worker goes on by itself"))
        }
        ErrorKind::ReadOnlyFilesystem => {
            (Class::Us, Some("the file system is mounted read-only: remount it writable, or choose another directory"))
        }
        ErrorKind::PermissionDenied => (
            Class::Us,
            Some(
                "permission denied: give the user who runs the worker read and write access, or choose another directory",
            ),
        ),
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists | ErrorKind::IsADirectory => {
            (Class::Us, Some("a file stands where a directory must be, or the reverse: move it away"))
        }
        ErrorKind::NotFound => {
            (Class::Us, Some("the data directory is gone: put it back, or restart the worker to begin a new one"))
        }
        ErrorKind::Unsupported => {
            (Class::Us, Some("the file system cannot do that: choose a directory on a local disk"))
        }
        ErrorKind::InvalidFilename | ErrorKind::InvalidInput => {
            (Class::Item, Some("the file system does not take this name"))
        }
        ErrorKind::FileTooLarge => (Class::Item, Some("the file system does not take a file this large")),
        _ => (Class::Transient, None),
    }
}
