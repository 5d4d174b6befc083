//! What `check` finds out about a data directory. Changes nothing, and creates nothing that stays.

use super::open;
use crate::check::Findings;
use crate::span::span;
use crate::store::{RowCounts, StoreError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Below this much free space, soon nothing is written any more.
const LITTLE: u64 = 1 << 30;
const NONE: u64 = 64 << 20;

/// All of it. Blocks.
pub fn inspect(dir: &Path, durable: bool) -> Findings {
    let mut found = Findings::about("data");
    if let Err(error) = directory(dir, durable, &mut found) {
        found.fail(format!("{}: {error}", dir.display()));
    }
    found
}

fn directory(dir: &Path, durable: bool, found: &mut Findings) -> io::Result<()> {
    let dir = std::path::absolute(dir)?;
    let there = dir.ancestors().find(|above| above.exists()).map_or_else(|| PathBuf::from("/"), Path::to_owned);
    if !there.is_dir() {
        found.fail_with(format!("{} is a file", there.display()), "choose another directory in XRAY_DATA_DIR");
        return Ok(());
    }
    match there == dir {
        true => tables(&dir, found),
        false => found.ok(format!("{} is not there yet; a worker creates it", dir.display())),
    }
    writes(&there, durable, found);
    space(&there, found);
    Ok(())
}

fn tables(dir: &Path, found: &mut Findings) {
    if !dir.join(open::FILE).exists() {
        return found.ok(format!("{} holds no tables yet; a worker creates them", dir.display()));
    }
    match open::reader(dir).map(drop).and_then(|()| counts(dir)) {
        Ok(rows) => found.ok(format!("{} holds {} rows", dir.join(open::FILE).display(), rows.all())),
        Err(error) => found.fail(error.chain()),
    }
}

fn counts(dir: &Path) -> Result<RowCounts, StoreError> {
    super::Reader::open(dir)?.counts()
}

/// A small file comes and goes, as durable as objects are.
fn writes(dir: &Path, durable: bool, found: &mut Findings) {
    let file = dir.join(format!(".xray-check-{:016x}", rand::random::<u64>()));
    let began = Instant::now();
    let written = (|| {
        let mut opened = std::fs::File::create_new(&file)?;
        opened.write_all(b"check")?;
        if durable { opened.sync_all() } else { Ok(()) }
    })();
    let took = span(began.elapsed().as_secs_f64());
    let other = file.with_file_name(file.file_name().unwrap_or_default().to_ascii_uppercase());
    let folds = written.is_ok() && other.exists();
    // Where it was not created there is nothing to remove.
    std::fs::remove_file(&file).ok();
    match written {
        Ok(()) => found.ok(format!(
            "{} takes writes (one in {took}{})",
            dir.display(),
            if durable { ", on disk" } else { "" }
        )),
        Err(error) => found.fail_with(
            format!("{} cannot be written to: {error}", dir.display()),
            "give the user who runs the worker the right to, or choose another directory in XRAY_DATA_DIR",
        ),
    }
    if folds {
        found.warn(
            format!(
                "{} does not tell upper from lower case: ids that differ in nothing else share an object",
                dir.display()
            ),
            "choose a directory on another file system",
        );
    }
}

fn space(dir: &Path, found: &mut Findings) {
    let Ok(system) = rustix::fs::statvfs(dir) else { return };
    let free = system.f_bavail.saturating_mul(system.f_frsize);
    let text = format!("{} MiB are free there", free >> 20);
    match free {
        ..NONE => found.fail_with(text, "free some space"),
        NONE..LITTLE => found.warn(text, "free some space"),
        _ => found.ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Level;
    use std::fs;

    fn levels(dir: &Path) -> Vec<(Level, String)> {
        inspect(dir, false).into_all().into_iter().map(|finding| (finding.level, finding.text)).collect()
    }

    #[test]
    fn a_directory_before_and_after_a_worker_and_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("a/b");
        let found = levels(&data);
        assert!(found[0].1.ends_with("a/b is not there yet; a worker creates it"), "{found:?}");
        assert!(found.iter().all(|(level, _)| *level != Level::Fail) && fs::read_dir(dir.path()).unwrap().count() == 0);

        drop(crate::store::embedded::open(&data, false, 1 << 20).unwrap());
        // SQLite keeps files of its own beside the tables while somebody reads.
        let names = || {
            let all = fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
            all.filter(|name| !name.starts_with(open::FILE)).collect::<std::collections::BTreeSet<_>>()
        };
        let (before, found) = (names(), levels(&data));
        assert!(found[0].1.ends_with("xray.db holds 0 rows"), "{found:?}");
        assert_eq!(names(), before);

        fs::write(data.join(open::FILE), "no database, whatever it is").unwrap();
        assert_eq!(levels(&data)[0].0, Level::Fail);
        fs::write(dir.path().join("file"), "").unwrap();
        assert!(levels(&dir.path().join("file/below"))[0].1.ends_with("file is a file"));
    }
}
