//! Giving a finished file its name, all at once.

use super::scratch::Temp;
use crate::store::Created;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

/// Names the file `path` unless that name is taken, whoever else tries. Makes missing directories below `root`, never
/// `root` itself: where that is gone, so is everything else.
pub(super) fn create(temp: &Temp, path: &Path, root: &Path) -> io::Result<Created> {
    let outcome = match rename_if_absent(temp.path(), path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            make_parents(path, root)?;
            rename_if_absent(temp.path(), path)
        }
        outcome => outcome,
    };
    match outcome {
        Ok(()) => Ok(Created::Created),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(Created::Exists),
        Err(error) => Err(error),
    }
}

#[cfg(any(target_os = "linux", target_vendor = "apple"))]
fn rename_if_absent(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // This kernel or file system does not know the flag.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => fs::hard_link(from, to),
        outcome => Ok(outcome?),
    }
}

/// The first name is removed with the temporary file.
#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
fn rename_if_absent(from: &Path, to: &Path) -> io::Result<()> {
    fs::hard_link(from, to)
}

fn make_parents(path: &Path, root: &Path) -> io::Result<()> {
    let parents: Vec<&Path> = path.ancestors().skip(1).take_while(|dir| *dir != root).collect();
    for dir in parents.into_iter().rev() {
        match fs::create_dir(dir) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
