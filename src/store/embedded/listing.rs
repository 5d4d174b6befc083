//! What objects there are, and their end. Everything here blocks.

use super::directory;
use super::files::Files;
use super::io_fault::{fault, item_fault};
use super::shards::Shards;
use crate::store::audit::{Deleted, Level, Listed};
use crate::store::{StoreError, Tag};
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::fs::{self, ReadDir};
use std::io::{Error, ErrorKind};
use std::path::Path;

/// How many names of a folder are held at once. A folder comes in no order and may have millions, so each page is the
/// least names that a pass over all of them finds.
const PAGE: usize = 10_000;

/// How many objects are named where there should be none.
const STRAYS: usize = 500;

/// What is right below `prefix`.
pub(super) fn level(files: &Files, prefix: &str) -> Result<Level, StoreError> {
    let (mut folders, mut objects) = (BTreeSet::new(), Vec::new());
    each_name(&files.root().join(prefix), |name, is_dir| {
        if is_dir {
            folders.insert(name);
        } else if objects.len() < STRAYS {
            objects.push(format!("{prefix}{name}"));
        }
    })?;
    Ok(Level { folders: folders.into_iter().collect(), objects })
}

/// One object, without its bytes.
pub(super) fn stat(files: &Files, key: &str) -> Result<Option<Listed>, StoreError> {
    let (folder, name) = key.rsplit_once('/').unwrap_or(("", key));
    look(&files.root().join(folder), folder, name.to_owned())
}

/// The next page of the objects in the one folder that `prefix` leads into.
pub(super) fn list(files: &Files, prefix: &str, after: &str) -> Result<Vec<Listed>, StoreError> {
    let (folder, start) = prefix.rsplit_once('/').unwrap_or(("", prefix));
    let after = after.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/')).unwrap_or_default();
    let path = files.root().join(folder);
    let mut least: BinaryHeap<String> = BinaryHeap::new();
    each_name(&path, |name, is_dir| {
        if is_dir || !name.starts_with(start) || name.as_str() <= after {
            return;
        }
        if least.len() < PAGE {
            least.push(name);
        } else if let Some(mut greatest) = least.peek_mut().filter(|greatest| name < **greatest) {
            *greatest = name;
        }
    })?;
    let listed = least.into_sorted_vec().into_iter().map(|name| look(&path, folder, name));
    listed.filter_map(Result::transpose).collect()
}

/// `None`: it is gone by now.
fn look(path: &Path, folder: &str, name: String) -> Result<Option<Listed>, StoreError> {
    let path = path.join(&name);
    let read = |error| item_fault("look at", &path, &error);
    match fs::metadata(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(read(error)),
        Ok(found) => {
            let modified = found.modified().map_err(read)?.into();
            Ok(Some(Listed { key: format!("{folder}/{name}"), bytes: found.len(), modified }))
        }
    }
}

/// Every name in a folder, and whether it is a folder's. One that is not there has none; names that are no text are
/// none of ours.
fn each_name(folder: &Path, mut each: impl FnMut(String, bool)) -> Result<(), StoreError> {
    let refuse = |error: Error| fault("list", folder, &error);
    let entries: ReadDir = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(refuse)?,
    };
    for entry in entries {
        let entry = entry.map_err(refuse)?;
        let is_dir = entry.file_type().map_err(refuse)?.is_dir();
        if let Ok(name) = entry.file_name().into_string() {
            each(name, is_dir);
        }
    }
    Ok(())
}

/// Deletes each of these, and makes that durable.
pub(super) fn delete(files: &Files, keys: &[String]) -> Vec<Result<(), StoreError>> {
    let mut shards: BTreeMap<u8, Vec<usize>> = BTreeMap::new();
    for (at, key) in keys.iter().enumerate() {
        shards.entry(Shards::of(key)).or_default().push(at);
    }
    let mut answers: Vec<_> = keys.iter().map(|_| Ok(())).collect();
    for (shard, members) in shards {
        let lock = files.shards().lock(shard);
        for at in members {
            let path = files.root().join(&keys[at]);
            answers[at] = match &lock {
                Err(error) => Err(error.again()),
                Ok(_held) => match fs::remove_file(&path) {
                    Err(error) if error.kind() != ErrorKind::NotFound => Err(item_fault("delete", &path, &error)),
                    _ => Ok(()),
                },
            };
        }
    }
    if files.durable() {
        let folders: BTreeSet<_> =
            keys.iter().filter_map(|key| files.root().join(key).parent().map(Path::to_owned)).collect();
        for folder in folders.iter().filter(|folder| folder.exists()) {
            if let Err(error) = directory::sync(folder) {
                let error = fault("sync", folder, &error);
                return answers.into_iter().map(|answer| answer.and(Err(error.again()))).collect();
            }
        }
    }
    answers
}

/// Compare and delete.
pub(super) fn delete_if(files: &Files, key: &str, tag: &Tag) -> Result<Deleted, StoreError> {
    let path = files.root().join(key);
    let _held = files.shards().lock(Shards::of(key))?;
    if files.read(key)?.is_none_or(|existing| existing.tag != *tag) {
        return Ok(Deleted::Changed);
    }
    fs::remove_file(&path).map_err(|error| item_fault("delete", &path, &error))?;
    if let Some(folder) = path.parent().filter(|_| files.durable()) {
        directory::sync(folder).map_err(|error| fault("sync", folder, &error))?;
    }
    Ok(Deleted::Deleted)
}
