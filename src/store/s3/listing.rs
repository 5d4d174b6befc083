//! What objects there are, and their end.

use super::failed::{Answer, Failed};
use super::request::Bucket;
use crate::store::audit::Listed;
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use chrono::DateTime;

/// Keys of one request to delete: as many as S3 takes.
pub(super) const DELETED_AT_ONCE: usize = 1000;

impl Bucket {
    /// The names of the folders right below `prefix`.
    pub(super) async fn folders(&self, prefix: &str) -> Result<Vec<String>, Failed> {
        let (mut names, mut token) = (Vec::new(), None);
        loop {
            let request = self.client().list_objects_v2().bucket(&self.place().bucket).prefix(prefix).delimiter("/");
            let page = answered(request.set_continuation_token(token).send().await.map_err(Failed::of)?)?;
            let below = page.common_prefixes().iter().filter_map(|folder| folder.prefix());
            names
                .extend(below.filter_map(|folder| Some(folder.strip_prefix(prefix)?.trim_end_matches('/').to_owned())));
            token = page.next_continuation_token().map(str::to_owned);
            if token.is_none() {
                return Ok(names);
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
            let modified = object.last_modified()?;
            Some(Listed {
                key: object.key()?.to_owned(),
                bytes: u64::try_from(object.size().unwrap_or_default()).unwrap_or_default(),
                modified: DateTime::from_timestamp(modified.secs(), modified.subsec_nanos())?,
            })
        });
        Ok(listed.collect())
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
