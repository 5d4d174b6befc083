//! Locks between processes, with an end to the wait.

use super::io_fault::{NAME, fault};
use crate::store::{Class, StoreError};
use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Locks are held for milliseconds. Whoever holds one for so long hangs, on its disk or stopped in a debugger.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(2);

/// Opens the file or directory and waits for its lock, which is held until the file is dropped.
pub(super) fn lock(path: &Path, options: &OpenOptions) -> Result<File, StoreError> {
    lock_within(PATIENCE, path, options)
}

fn lock_within(patience: Duration, path: &Path, options: &OpenOptions) -> Result<File, StoreError> {
    let refuse = |error| fault("lock", path, &error);
    let file = options.open(path).map_err(refuse)?;
    let deadline = Instant::now() + patience;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(refuse(error)),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => sleep(PAUSE),
            Err(TryLockError::WouldBlock) => {
                let message = format!(
                    "cannot lock {}: another worker has held it for {} s; look for one that hangs",
                    path.display(),
                    patience.as_secs()
                );
                return Err(StoreError::new(NAME, Class::Transient, message));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_for_a_lock_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("00");
        let options = || OpenOptions::new().create(true).append(true).to_owned();
        let held = lock(&path, &options()).unwrap();
        let error = lock_within(Duration::from_millis(10), &path, &options()).unwrap_err();
        assert_eq!(error.class, Class::Transient);
        assert!(error.to_string().starts_with(&format!("cannot lock {}: another worker", path.display())), "{error}");
        drop(held);
        lock(&path, &options()).unwrap();
    }
}
