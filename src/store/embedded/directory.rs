//! Directories that survive a power cut.

use super::io_fault::fault;
use crate::store::{Class, StoreError};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Creates the data directory with its parents if absent; answers with its absolute path.
pub(super) fn create_root(dir: &Path, durable: bool) -> Result<PathBuf, StoreError> {
    let dir = std::path::absolute(dir).map_err(|error| fault("find", dir, &error))?;
    if dir.is_file() {
        let message = format!("{} is a file: the data directory must be a directory, choose another", dir.display());
        return Err(StoreError::new(super::io_fault::NAME, Class::Us, message));
    }
    create_all(&dir, durable)?;
    Ok(dir)
}

/// Creates `dir` and what is missing above it, each durable in its parent.
pub(super) fn create_all(dir: &Path, durable: bool) -> Result<(), StoreError> {
    let missing: Vec<&Path> = dir.ancestors().take_while(|dir| !dir.exists()).collect();
    std::fs::create_dir_all(dir).map_err(|error| fault("create", dir, &error))?;
    if durable {
        for parent in missing.iter().filter_map(|dir| dir.parent()) {
            sync(parent).map_err(|error| fault("sync", parent, &error))?;
        }
    }
    Ok(())
}

/// Makes the names in `dir` durable.
pub(super) fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
