//! Objects as files. Everything here blocks.

use super::directory;
use super::io_fault::{NAME, fault, item_fault};
use super::publish;
use super::scratch::{Scratch, Temp};
use super::shards::Shards;
use super::sync::{DataSync, NameSync};
use crate::digest::Sha256;
use crate::object::Object;
use crate::store::{Class, Created, Existing, Replaced, StoreError, Tag};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Error, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Debug)]
pub(super) struct Files {
    /// `DIR/objects`.
    root: PathBuf,
    durable: bool,
    read_limit: u64,
    scratch: Scratch,
    shards: Shards,
    names: NameSync,
}

impl Files {
    pub(super) fn open(dir: &Path, durable: bool, read_limit: u64) -> Result<Self, StoreError> {
        let dir = directory::create_root(dir, durable)?;
        let root = dir.join("objects");
        directory::create_all(&root, durable)?;
        if durable {
            // Another process may have made it and not got as far as this.
            directory::sync(&dir).map_err(|error| fault("sync", &dir, &error))?;
        }
        let (scratch, shards) = (Scratch::open(&dir)?, Shards::open(&dir)?);
        Ok(Files { names: NameSync::new(root.clone()), root, durable, read_limit, scratch, shards })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn durable(&self) -> bool {
        self.durable
    }

    pub(super) fn shards(&self) -> &Shards {
        &self.shards
    }

    pub(super) fn create(&self, objects: &[Arc<Object>]) -> Vec<Result<Created, StoreError>> {
        let paths: Vec<PathBuf> = objects.iter().map(|object| self.root.join(&object.key)).collect();
        let mut answers: Vec<_> = objects.iter().map(|_| Ok(Created::Exists)).collect();
        // To look is cheaper than to write for nothing. Who gets a name is decided when it is given.
        let absent: Vec<usize> = (0..objects.len()).filter(|i| !paths[*i].exists()).collect();
        let temps = self.write(absent.iter().map(|i| &objects[*i].body));
        for (i, temp) in absent.into_iter().zip(temps) {
            answers[i] = temp.and_then(|temp| {
                publish::create(&temp, &paths[i], &self.root).map_err(|error| item_fault("write", &paths[i], &error))
            });
        }
        self.make_durable(answers, &paths, |_| true)
    }

    pub(super) fn read(&self, key: &str) -> Result<Option<Existing>, StoreError> {
        read(&self.root.join(key), self.read_limit)
    }

    pub(super) fn replace(&self, objects: &[(Arc<Object>, Tag)]) -> Vec<Result<Replaced, StoreError>> {
        let paths: Vec<PathBuf> = objects.iter().map(|(object, _)| self.root.join(&object.key)).collect();
        let temps = self.write(objects.iter().map(|(object, _)| &object.body));
        let mut shards: BTreeMap<u8, Vec<(usize, Temp)>> = BTreeMap::new();
        let mut answers = Vec::with_capacity(objects.len());
        for (i, temp) in temps.into_iter().enumerate() {
            answers.push(temp.map(|temp| {
                shards.entry(Shards::of(&objects[i].0.key)).or_default().push((i, temp));
                Replaced::Changed
            }));
        }
        for (shard, members) in shards {
            let lock = self.shards.lock(shard);
            for (i, temp) in members {
                answers[i] = match &lock {
                    Ok(_held) => replace(&temp, &paths[i], &objects[i].1, self.read_limit),
                    Err(error) => Err(error.again()),
                };
            }
        }
        self.make_durable(answers, &paths, |answer| *answer == Replaced::Replaced)
    }

    pub(super) fn probe(&self) -> Result<(), StoreError> {
        fs::metadata(&self.root).map_err(|error| fault("find", &self.root, &error))?;
        let written = self.scratch.write(b"probe", false);
        written.map(drop).map_err(|error| fault("write to", self.scratch.dir(), &error))
    }

    /// Writes each body to a temporary file and makes the data of all durable.
    fn write<'a>(&self, bodies: impl ExactSizeIterator<Item = &'a Bytes>) -> Vec<Result<Temp, StoreError>> {
        let fault = |error| fault("write to", self.scratch.dir(), &error);
        let count = bodies.len();
        let sync = match DataSync::new(self.durable, count, self.scratch.dir()) {
            Ok(sync) => sync,
            Err(error) => return fail(count, &fault(error)),
        };
        let refused = |error| item_fault("write to", self.scratch.dir(), &error);
        let temps = bodies.map(|body| self.scratch.write(body, sync.each()).map_err(refused)).collect();
        match sync.finish() {
            Ok(()) => temps,
            Err(error) => fail(count, &fault(error)),
        }
    }

    /// Makes the names durable of all that is `stored`, or turns their answers into the reason why not.
    fn make_durable<T>(
        &self,
        answers: Vec<Result<T, StoreError>>,
        paths: &[PathBuf],
        stored: impl Fn(&T) -> bool,
    ) -> Vec<Result<T, StoreError>> {
        if !self.durable {
            return answers;
        }
        let stored = |answer: &Result<T, StoreError>| answer.as_ref().is_ok_and(&stored);
        let dirs: BTreeSet<&Path> = answers
            .iter()
            .zip(paths)
            .filter(|(answer, _)| stored(answer))
            .filter_map(|(_, path)| path.parent())
            .collect();
        let Err(error) = self.names.sync(&dirs) else { return answers };
        let error = fault("sync directories in", &self.root, &error);
        answers.into_iter().map(|answer| if stored(&answer) { Err(error.again()) } else { answer }).collect()
    }
}

fn fail<T>(count: usize, error: &StoreError) -> Vec<Result<T, StoreError>> {
    (0..count).map(|_| Err(error.again())).collect()
}

fn read(path: &Path, limit: u64) -> Result<Option<Existing>, StoreError> {
    // Under a name there is always one object, whole: it does not grow.
    let read = || {
        let mut file = fs::File::open(path)?;
        let bytes = file.metadata()?.len();
        let mut content = Vec::with_capacity(if bytes > limit { 0 } else { bytes as usize });
        if bytes <= limit {
            file.read_to_end(&mut content)?;
        }
        Ok::<_, Error>((bytes, content))
    };
    match read() {
        Ok((bytes, _)) if bytes > limit => {
            let message = format!("cannot read {}: it has {bytes} bytes, and no worker wrote it", path.display());
            Err(StoreError::new(NAME, Class::Item, message))
        }
        Ok((_, content)) => {
            let tag = Tag(Sha256::of(&content).to_string());
            Ok(Some(Existing { body: Bytes::from(content), tag, legacy: false }))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(item_fault("read", path, &error)),
    }
}

/// Compare and swap. The lock of the key's shard must be held.
fn replace(temp: &Temp, path: &Path, expected: &Tag, limit: u64) -> Result<Replaced, StoreError> {
    if read(path, limit)?.is_none_or(|existing| existing.tag != *expected) {
        return Ok(Replaced::Changed);
    }
    fs::rename(temp.path(), path).map_err(|error| item_fault("replace", path, &error))?;
    Ok(Replaced::Replaced)
}
