//! Locks between all processes that replace objects in one directory.

use super::directory::create_all;
use super::lock::lock;
use crate::digest::Sha256;
use crate::store::StoreError;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

/// How many there are. Every process must use the same number.
const SHARDS: u8 = 64;

/// The lock files, `DIR/locks/00` to `63`. Each stands for the keys whose hash says so.
#[derive(Debug)]
pub(super) struct Shards {
    dir: PathBuf,
}

impl Shards {
    pub(super) fn open(root: &Path) -> Result<Self, StoreError> {
        let dir = root.join("locks");
        create_all(&dir, false)?;
        Ok(Shards { dir })
    }

    /// The shard of a key.
    pub(super) fn of(key: &str) -> u8 {
        Sha256::of(key.as_bytes()).0[0] % SHARDS
    }

    /// Waits for the lock of a shard and holds it until the file is dropped. To hold two at once may deadlock, until one
    /// of the two gives up.
    pub(super) fn lock(&self, shard: u8) -> Result<File, StoreError> {
        // A lock belongs to the opened file, so each holder opens its own: threads exclude each other too.
        let path = self.dir.join(format!("{shard:02}"));
        lock(&path, OpenOptions::new().create(true).append(true))
    }
}
