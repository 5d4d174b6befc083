//! Making a group of files and names durable with as few waits as possible.

use super::directory;
use std::collections::{BTreeSet, HashSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// From this many on, one `syncfs` is cheaper than an `fsync` each, although it also writes what others left unwritten.
const MANY: usize = if cfg!(target_os = "linux") { 5 } else { usize::MAX };

/// How many directories are remembered. One that is forgotten is synced once more than needed.
const REMEMBERED: usize = 4096;

/// How the data of a group of new files becomes durable.
#[derive(Debug)]
pub(super) enum DataSync {
    /// Not at all.
    Never,
    /// As each file is written.
    Each,
    /// All of the file system at once, through this handle.
    Together(File),
}

impl DataSync {
    /// The way for `files` new files in `dir`. To be made before they are written: the handle reports the write errors
    /// that come after it.
    pub(super) fn new(durable: bool, files: usize, dir: &Path) -> io::Result<Self> {
        Ok(match (durable, files) {
            (false, _) | (_, 0) => DataSync::Never,
            (true, MANY..) => DataSync::Together(File::open(dir)?),
            (true, _) => DataSync::Each,
        })
    }

    /// Whether each file must be synced by who writes it.
    pub(super) fn each(&self) -> bool {
        matches!(self, DataSync::Each)
    }

    /// To be called when all are written.
    pub(super) fn finish(&self) -> io::Result<()> {
        match self {
            DataSync::Never | DataSync::Each => Ok(()),
            DataSync::Together(handle) => syncfs(handle),
        }
    }
}

/// Makes names durable: those in a directory, and that of the directory itself up to a root.
#[derive(Debug)]
pub(super) struct NameSync {
    root: PathBuf,
    /// Directories below the root that are themselves known to be durable, with all above them.
    durable: Mutex<HashSet<PathBuf>>,
}

impl NameSync {
    pub(super) fn new(root: PathBuf) -> Self {
        NameSync { root, durable: Mutex::default() }
    }

    /// Makes all names in `dirs`, which are directories below the root, durable.
    pub(super) fn sync(&self, dirs: &BTreeSet<&Path>) -> io::Result<()> {
        let mut pending = dirs.clone();
        let mut fresh = Vec::new();
        {
            let durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
            for dir in dirs {
                let unsure = dir.ancestors().take_while(|dir| *dir != self.root && !durable.contains(*dir));
                for dir in unsure {
                    fresh.push(dir.to_path_buf());
                    pending.extend(dir.parent());
                }
            }
        }
        if pending.len() >= MANY {
            syncfs(&File::open(&self.root)?)?;
        } else {
            pending.iter().try_for_each(|dir| directory::sync(dir))?;
        }
        let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        if durable.len() + fresh.len() > REMEMBERED {
            durable.clear();
        }
        durable.extend(fresh);
        Ok(())
    }
}

#[cfg(target_os = "linux")]
fn syncfs(handle: &File) -> io::Result<()> {
    Ok(rustix::fs::syncfs(handle)?)
}

/// Never asked for, see [`MANY`].
#[cfg(not(target_os = "linux"))]
fn syncfs(_: &File) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
