//! Where files are written before they get their name.

use super::directory::create_all;
use super::io_fault::fault;
use super::lock::lock;
use crate::store::StoreError;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A directory for temporary files, `DIR/tmp/{unique}/`, locked as long as it is in use: so what a dead process left
/// behind can be told from what a live one is writing.
#[derive(Debug)]
pub(super) struct Scratch {
    dir: PathBuf,
    next: AtomicU64,
    _lock: File,
}

impl Scratch {
    /// Makes one, and removes those nobody uses any more.
    pub(super) fn open(root: &Path) -> Result<Self, StoreError> {
        let parent = root.join("tmp");
        create_all(&parent, false)?;
        // Between its creation and its lock a directory looks like a leftover, so this is done one at a time.
        let _turn = lock(&parent, OpenOptions::new().read(true))?;
        remove_leftovers(&parent);
        let dir = parent.join(format!("{}-{:016x}", std::process::id(), rand::random::<u64>()));
        fs::create_dir(&dir).map_err(|error| fault("create", &dir, &error))?;
        let lock = lock(&dir, OpenOptions::new().read(true))?;
        Ok(Scratch { dir, next: AtomicU64::new(0), _lock: lock })
    }

    /// Writes a new file and, if asked to, makes its data durable.
    pub(super) fn write(&self, content: &[u8], sync: bool) -> io::Result<Temp> {
        let path = self.dir.join(self.next.fetch_add(1, Ordering::Relaxed).to_string());
        let mut file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        let temp = Temp { path };
        file.write_all(content)?;
        if sync {
            file.sync_data()?;
        }
        Ok(temp)
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.dir).ok();
    }
}

/// A temporary file, removed on drop unless it was renamed by then.
#[derive(Debug)]
pub(super) struct Temp {
    path: PathBuf,
}

impl Temp {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        fs::remove_file(&self.path).ok();
    }
}

/// Best effort: what cannot be removed now is tried again at the next start.
fn remove_leftovers(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        if File::open(entry.path()).is_ok_and(|dir| dir.try_lock().is_ok()) {
            fs::remove_dir_all(entry.path()).ok();
        }
    }
}
