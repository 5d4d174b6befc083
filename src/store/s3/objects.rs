use super::client;
use super::conditions::Conditions;
use super::fallback::Fallback;
use super::fault::{Doing, fault};
use super::inspect;
use super::listing::DELETED_AT_ONCE;
use super::place::Place;
use super::prepare;
use super::request::{Bucket, Condition, Put};
use super::{NAME, failed::Failed};
use crate::aws::Trust;
use crate::check::Findings;
use crate::config;
use crate::object::Object;
use crate::store::audit::{Deleted, Level, Listed, ObjectAudit};
use crate::store::{Class, Created, Existing, RawStore, Replaced, StoreError, Tag, read_limit};
use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OnceCell;
use tokio_util::task::AbortOnDropHandle;

/// Requests of one call that are under way at the same time: enough to keep a server busy that takes 10 ms for each, few
/// enough for its limits on connections. The pipeline has at most two calls open.
const AT_ONCE: usize = 64;

/// Objects in one bucket.
#[derive(Debug, Clone)]
pub struct S3Objects(Arc<Inner>);

struct Inner {
    settings: config::S3,
    trust: Trust,
    read_limit: u64,
    /// Connected at the first use: AWS's own configuration may have to be asked for over the network.
    bucket: OnceCell<Bucket>,
    conditions: Conditions,
    fallback: Fallback,
}

impl S3Objects {
    /// The objects that these settings name. Speaks to no server yet, and fails only where a file that the settings name
    /// is of no use. An object that is there already and longer than 64 MiB is not read, unless it could be the dead
    /// letter of a message of `max_event_bytes`.
    pub fn open(settings: &config::S3, max_event_bytes: usize) -> Result<Self, StoreError> {
        Ok(S3Objects(Arc::new(Inner {
            trust: client::trust(settings)?,
            settings: settings.clone(),
            read_limit: read_limit(max_event_bytes),
            bucket: OnceCell::new(),
            conditions: Conditions::default(),
            fallback: Fallback::default(),
        })))
    }
}

impl S3Objects {
    /// What `check` has to say about the bucket. Leaves nothing behind.
    pub async fn inspect(&self) -> Findings {
        inspect::inspect(self, self.0.settings.create_bucket).await
    }

    pub(super) async fn connected(&self) -> Result<&Bucket, StoreError> {
        self.0.bucket().await
    }
}

#[async_trait]
impl RawStore for S3Objects {
    fn name(&self) -> &'static str {
        NAME
    }

    fn patience(&self) -> Duration {
        // A full group is eight rounds of requests, each of which may be sent a few times; each ends by itself.
        self.0.settings.timeout * 30
    }

    /// Finds the bucket, creates it where that was asked for, and finds out what the server enforces. Leaves a small
    /// object in the bucket, `.xray-probe`.
    async fn prepare(&self) -> Result<(), StoreError> {
        let Inner { settings, conditions, .. } = &*self.0;
        let found = prepare::prepare(self.0.bucket().await?, settings.create_bucket).await?;
        conditions.set(found);
        Ok(())
    }

    async fn create(&self, objects: &[Arc<Object>]) -> Vec<Result<Created, StoreError>> {
        self.each(objects, |inner, object| async move { inner.create(&object).await }).await
    }

    async fn read(&self, keys: &[String]) -> Vec<Result<Option<Existing>, StoreError>> {
        self.each(keys, |inner, key| async move { inner.read(&key).await }).await
    }

    async fn replace(&self, objects: &[(Arc<Object>, Tag)]) -> Vec<Result<Replaced, StoreError>> {
        self.each(objects, |inner, (object, tag)| async move { inner.replace(&object, &tag).await }).await
    }

    async fn probe(&self) -> Result<(), StoreError> {
        prepare::probe(self.0.bucket().await?, self.0.conditions.get()).await
    }
}

#[async_trait]
impl ObjectAudit for S3Objects {
    async fn level(&self, prefix: &str) -> Result<Level, StoreError> {
        let bucket = self.0.bucket().await?;
        bucket.level(prefix).await.map_err(|failed| fault(Doing::List(prefix), &failed, bucket.place()))
    }

    async fn stat(&self, keys: &[String]) -> Vec<Result<Option<Listed>, StoreError>> {
        self.each(keys, |inner, key| async move { inner.stat(&key).await }).await
    }

    async fn list(&self, prefix: &str, after: &str) -> Result<Vec<Listed>, StoreError> {
        let bucket = self.0.bucket().await?;
        bucket.list(prefix, after).await.map_err(|failed| fault(Doing::List(prefix), &failed, bucket.place()))
    }

    async fn delete(&self, keys: &[String]) -> Vec<Result<(), StoreError>> {
        let mut answers = Vec::with_capacity(keys.len());
        for keys in keys.chunks(DELETED_AT_ONCE) {
            match self.0.delete(keys).await {
                Ok(some) => answers.extend(some),
                Err(error) => answers.extend(keys.iter().map(|_| Err(error.again()))),
            }
        }
        answers
    }

    async fn delete_if(&self, key: &str, tag: &Tag) -> Result<Deleted, StoreError> {
        let bucket = self.0.bucket().await?;
        bucket.delete_if(key, tag).await.map_err(|failed| fault(Doing::Delete(key), &failed, bucket.place()))
    }
}

impl S3Objects {
    /// Answers for each item in order. Each is a task of its own: to sign a request costs CPU, and a group should have
    /// more than one core for that.
    async fn each<I, T, F, Fut>(&self, items: &[I], work: F) -> Vec<Result<T, StoreError>>
    where
        I: Clone + Send + Sync,
        T: Send + 'static,
        F: Fn(Arc<Inner>, I) -> Fut + Send + Sync,
        Fut: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let tasks = items.iter().cloned().enumerate().map(|(at, item)| {
            // Made where it is spawned: it need not wait here for its turn, nor be moved.
            let (inner, work) = (self.0.clone(), &work);
            async move { (at, AbortOnDropHandle::new(tokio::spawn(work(inner, item))).await) }
        });
        let mut answers: Vec<_> = stream::iter(tasks).buffer_unordered(AT_ONCE).collect().await;
        answers.sort_unstable_by_key(|(at, _)| *at);
        let died = |error| StoreError::new(NAME, Class::Transient, "a request ended half way").because(error);
        answers.into_iter().map(|(_, answer)| answer.unwrap_or_else(|error| Err(died(error)))).collect()
    }
}

impl Inner {
    async fn bucket(&self) -> Result<&Bucket, StoreError> {
        let connect = || Box::pin(client::bucket(&self.settings, &self.trust, self.read_limit));
        self.bucket.get_or_try_init(connect).await
    }

    async fn create(&self, object: &Object) -> Result<Created, StoreError> {
        let bucket = self.bucket().await?;
        let put = if self.conditions.get().if_none_match {
            bucket.put(object, Condition::Absent).await
        } else {
            Box::pin(self.fallback.put(bucket, object, Condition::Absent)).await
        };
        match put {
            Ok(Put::Stored) => Ok(Created::Created),
            Ok(Put::Refused) => Ok(Created::Exists),
            Err(failed) => Err(write_fault(object, &failed, bucket.place())),
        }
    }

    async fn read(&self, key: &str) -> Result<Option<Existing>, StoreError> {
        let bucket = self.bucket().await?;
        bucket.get(key).await.map_err(|failed| fault(Doing::Read(key), &failed, bucket.place()))
    }

    async fn stat(&self, key: &str) -> Result<Option<Listed>, StoreError> {
        let bucket = self.bucket().await?;
        bucket.stat(key).await.map_err(|failed| fault(Doing::Read(key), &failed, bucket.place()))
    }

    async fn delete(&self, keys: &[String]) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        let bucket = self.bucket().await?;
        let first = keys.first().map_or("", String::as_str);
        let failed =
            bucket.delete(keys).await.map_err(|failed| fault(Doing::Delete(first), &failed, bucket.place()))?;
        let answer = |key: &String| match failed.iter().find(|(other, _)| other == key) {
            Some((_, failed)) => Err(fault(Doing::Delete(key), failed, bucket.place())),
            None => Ok(()),
        };
        Ok(keys.iter().map(answer).collect())
    }

    async fn replace(&self, object: &Object, tag: &Tag) -> Result<Replaced, StoreError> {
        let bucket = self.bucket().await?;
        let put = if self.conditions.get().if_match {
            bucket.put(object, Condition::Holds(tag)).await
        } else {
            Box::pin(self.fallback.put(bucket, object, Condition::Holds(tag))).await
        };
        match put {
            Ok(Put::Stored) => Ok(Replaced::Replaced),
            Ok(Put::Refused) => Ok(Replaced::Changed),
            Err(failed) => Err(write_fault(object, &failed, bucket.place())),
        }
    }
}

fn write_fault(object: &Object, failed: &Failed, place: &Place) -> StoreError {
    fault(Doing::Write(&object.key), failed, place)
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3").field("settings", &self.settings).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sha256;

    /// Each request is a task, whose future is moved and allocated: an arm that is seldom taken must not be part of it.
    #[test]
    fn requests_stay_small() {
        let settings = config::Config::default().s3;
        let store = S3Objects::open(&settings, 1 << 20).unwrap();
        let object =
            Object { key: "k".into(), sha256: Sha256::of(b""), body: Default::default(), metadata: Vec::new() };
        let (create, read) = (size_of_val(&store.0.create(&object)), size_of_val(&store.0.read("k")));
        assert!(create <= 3000 && read <= 3000, "{create} and {read} bytes");
    }
}
