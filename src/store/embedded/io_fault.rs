//! What to do about a failure of the file system. Decided here and nowhere else.

use crate::store::{Class, StoreError};
use std::io::{Error, ErrorKind};
use std::path::Path;

/// The name of the objects in metrics, logs and errors.
pub(super) const NAME: &str = "objects";

/// The failure of `doing` ("sync", "lock") something at `path` that all items share.
pub(super) fn fault(doing: &str, path: &Path, error: &Error) -> StoreError {
    match judge(error) {
        (Class::Item, advice) => explain(Class::Us, advice, doing, path, error),
        (class, advice) => explain(class, advice, doing, path, error),
    }
}

/// The failure of `doing` ("write", "read") what one item asks for at `path`: only here may the item be to blame.
pub(super) fn item_fault(doing: &str, path: &Path, error: &Error) -> StoreError {
    let (class, advice) = judge(error);
    explain(class, advice, doing, path, error)
}

fn explain(class: Class, advice: Option<&'static str>, doing: &str, path: &Path, error: &Error) -> StoreError {
    let path = path.display();
    let message = match advice {
        Some(advice) => format!("cannot {doing} {path}: {advice}"),
        None => format!("cannot {doing} {path}"),
    };
    StoreError::new(NAME, class, message).because(error.to_string())
}

fn judge(error: &Error) -> (Class, Option<&'static str>) {
    match error.kind() {
        ErrorKind::StorageFull => (Class::Us, Some("the disk that holds it is full: free some space")),
        ErrorKind::QuotaExceeded => (Class::Us, Some("the disk quota is used up: free some space or raise it")),
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
        ErrorKind::InvalidFilename => (Class::Item, Some("the file system does not take this name")),
        ErrorKind::FileTooLarge => (Class::Item, Some("the file system does not take a file this large")),
        _ => (Class::Transient, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_blamed_only_for_what_is_its_own() {
        let class = |fault: fn(&str, &Path, &Error) -> StoreError, errno: rustix::io::Errno| {
            fault("write", Path::new("/d"), &Error::from(errno)).class
        };
        use rustix::io::Errno;
        for own in [Errno::NAMETOOLONG, Errno::FBIG] {
            assert_eq!((class(item_fault, own), class(fault, own)), (Class::Item, Class::Us), "{own}");
        }
        for ours in [Errno::INVAL, Errno::NOSPC, Errno::IO, Errno::ACCESS, Errno::ROFS, Errno::DQUOT, Errno::NOENT] {
            assert_ne!(class(item_fault, ours), Class::Item, "{ours}");
        }
    }
}
