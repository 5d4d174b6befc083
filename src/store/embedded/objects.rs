use super::blocking::Turns;
use super::files::Files;
use super::io_fault::NAME;
use super::listing;
use crate::object::Object;
use crate::store::audit::{Deleted, Level, Listed, ObjectAudit};
use crate::store::{Created, Existing, RawStore, Replaced, StoreError, Tag, read_limit};
use async_trait::async_trait;
use std::path::Path;
use std::sync::Arc;

/// Objects as plain files under `DIR/objects/{key}`.
///
/// A file is written under a temporary name, made durable, and only then given its own: under a key there is always one
/// object, whole. Directories may hold millions of files; the worker never lists one.
#[derive(Debug)]
pub struct FileObjects(Turns<Files>);

impl FileObjects {
    /// Opens the objects in `dir`, which is created if absent. Without `durable` nothing waits for the disk: what was
    /// stored survives the end of the process, but not a power cut. An object that is there already and longer than what
    /// we write ourselves for messages of `max_event_bytes` is [not read](read_limit).
    pub fn open(dir: &Path, durable: bool, max_event_bytes: usize) -> Result<Self, StoreError> {
        Ok(FileObjects(Turns::new(Files::open(dir, durable, read_limit(max_event_bytes))?)))
    }

    /// Answers for a group, on a thread that may block.
    async fn group<T: Send + 'static>(
        &self,
        size: usize,
        work: impl FnOnce(&Files) -> Vec<Result<T, StoreError>> + Send + 'static,
    ) -> Vec<Result<T, StoreError>> {
        let answers = self.0.blocking(NAME, |files| work(files)).await;
        answers.unwrap_or_else(|error| (0..size).map(|_| Err(error.again())).collect())
    }
}

#[async_trait]
impl RawStore for FileObjects {
    fn name(&self) -> &'static str {
        NAME
    }

    /// It was made ready when it was opened.
    async fn prepare(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn create(&self, objects: &[Arc<Object>]) -> Vec<Result<Created, StoreError>> {
        let objects = objects.to_vec();
        self.group(objects.len(), move |files| files.create(&objects)).await
    }

    async fn read(&self, keys: &[String]) -> Vec<Result<Option<Existing>, StoreError>> {
        let keys = keys.to_vec();
        self.group(keys.len(), move |files| keys.iter().map(|key| files.read(key)).collect()).await
    }

    async fn replace(&self, objects: &[(Arc<Object>, Tag)]) -> Vec<Result<Replaced, StoreError>> {
        let objects = objects.to_vec();
        self.group(objects.len(), move |files| files.replace(&objects)).await
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.0.blocking(NAME, |files| files.probe()).await?
    }
}

#[async_trait]
impl ObjectAudit for FileObjects {
    async fn level(&self, prefix: &str) -> Result<Level, StoreError> {
        let prefix = prefix.to_owned();
        self.0.blocking(NAME, move |files| listing::level(files, &prefix)).await?
    }

    async fn stat(&self, keys: &[String]) -> Vec<Result<Option<Listed>, StoreError>> {
        let keys = keys.to_vec();
        self.group(keys.len(), move |files| keys.iter().map(|key| listing::stat(files, key)).collect()).await
    }

    async fn list(&self, prefix: &str, after: &str) -> Result<Vec<Listed>, StoreError> {
        let (prefix, after) = (prefix.to_owned(), after.to_owned());
        self.0.blocking(NAME, move |files| listing::list(files, &prefix, &after)).await?
    }

    async fn delete(&self, keys: &[String]) -> Vec<Result<(), StoreError>> {
        let keys = keys.to_vec();
        self.group(keys.len(), move |files| listing::delete(files, &keys)).await
    }

    async fn delete_if(&self, key: &str, tag: &Tag) -> Result<Deleted, StoreError> {
        let (key, tag) = (key.to_owned(), tag.clone());
        self.0.blocking(NAME, move |files| listing::delete_if(files, &key, &tag)).await?
    }
}
