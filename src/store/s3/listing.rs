//! What objects there are, and their end.

use super::failed::{Answer, Failed};
use super::request::Bucket;
use crate::store::Tag;
use crate::store::audit::{Deleted, Level, Listed};
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::primitives::DateTime as SdkTime;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use chrono::{DateTime, Utc};

/// Keys of one request to delete: as many as S3 takes.
pub(super) const DELETED_AT_ONCE: usize = 1000;

/// How many objects are named where there should be none.
const STRAYS: usize = 500;

impl Bucket {
    /// What is right below `prefix`.
    pub(super) async fn level(&self, prefix: &str) -> Result<Level, Failed> {
        let (mut level, mut token) = (Level::default(), None);
        loop {
            let request = self.client().list_objects_v2().bucket(&self.place().bucket).prefix(prefix).delimiter("/");
            let page = answered(request.set_continuation_token(token).send().await.map_err(Failed::of)?)?;
            let below = page.common_prefixes().iter().filter_map(|folder| folder.prefix());
            let name = |folder: &str| Some(folder.strip_prefix(prefix)?.trim_end_matches('/').to_owned());
            level.folders.extend(below.filter_map(name));
            // Some programs leave an object with the name of the folder itself.
            let objects = page.contents().iter().filter_map(|object| object.key()).filter(|key| *key != prefix);
            level.objects.extend(objects.take(STRAYS - level.objects.len().min(STRAYS)).map(str::to_owned));
            token = page.next_continuation_token().map(str::to_owned);
            if token.is_none() {
                return Ok(level);
            }
        }
    }

    /// The next page of the objects below `prefix` whose keys are greater than `after`.
    pub(super) async fn list(&self, prefix: &str, after: &str) -> Result<Vec<Listed>, Failed> {
        let mut request = self.client().list_objects_v2().bucket(&self.place().bucket).prefix(prefix);
        if !after.is_empty() {
            request = request.start_after(after);
        }
        let page = answered(request.send().await.map_err(Failed::of)?)?;
        let listed = page.contents().iter().filter_map(|object| {
            Some(Listed {
                key: object.key()?.to_owned(),
                bytes: bytes(object.size()),
                modified: time(object.last_modified()?)?,
            })
        });
        Ok(listed.collect())
    }

    /// An object as a listing shows it.
    pub(super) async fn stat(&self, key: &str) -> Result<Option<Listed>, Failed> {
        let Some(found) = self.head(key).await? else { return Ok(None) };
        let modified = found.last_modified().and_then(time).ok_or_else(|| Answer::strange(200, None))?;
        Ok(Some(Listed { key: key.to_owned(), bytes: bytes(found.content_length()), modified }))
    }

    /// Deletes an object that still has this tag. The look is for servers that know no condition here.
    pub(super) async fn delete_if(&self, key: &str, tag: &Tag) -> Result<Deleted, Failed> {
        if self.tag(key).await?.as_ref() != Some(tag) {
            return Ok(Deleted::Changed);
        }
        let request = self.client().delete_object().bucket(&self.place().bucket).key(key).if_match(&tag.0);
        match request.send().await.map_err(Failed::of) {
            Ok(_) => Ok(Deleted::Deleted),
            Err(failed) if failed.status() == Some(412) => Ok(Deleted::Changed),
            Err(failed) => Err(failed),
        }
    }

    /// Deletes these, at most [`DELETED_AT_ONCE`]; answers with what was not deleted and why.
    pub(super) async fn delete(&self, keys: &[String]) -> Result<Vec<(String, Failed)>, Failed> {
        let identifier = |key: &String| ObjectIdentifier::builder().key(key).build();
        let objects: Result<Vec<_>, _> = keys.iter().map(identifier).collect();
        let delete = objects.and_then(|objects| Delete::builder().quiet(true).set_objects(Some(objects)).build());
        let delete = delete.map_err(|error| Failed::unsendable(error.to_string()))?;
        let request = self.client().delete_objects().bucket(&self.place().bucket).delete(delete);
        let answer = request.send().await.map_err(Failed::of)?;
        let failed = answer
            .errors()
            .iter()
            .map(|error| (error.key().unwrap_or_default().to_owned(), Answer::refused(error.code(), error.message())));
        Ok(failed.collect())
    }
}

/// A good answer without a page in it is another server's: S3 says the name of the bucket.
fn answered(page: ListObjectsV2Output) -> Result<ListObjectsV2Output, Failed> {
    match page.name() {
        Some(_) => Ok(page),
        None => Err(Answer::strange(200, None)),
    }
}

fn bytes(size: Option<i64>) -> u64 {
    size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default()
}

fn time(at: &SdkTime) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(at.secs(), at.subsec_nanos())
}
