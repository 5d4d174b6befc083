//! Whether the bucket is there, takes writes, can be read, and which conditions its server enforces.
//!
//! All of that is asked with one small object under a fixed key, which no event and no dead letter can have: theirs begin
//! with `decisions/`, `steps/`, `runs/` and `dead-letters/`. It stays in the bucket.

use super::NAME;
use super::conditions::Enforced;
use super::failed::Failed;
use super::fault::{Doing, fault};
use super::request::{Bucket, Condition, Put};
use crate::digest::Sha256;
use crate::object::Object;
use crate::store::{Class, StoreError, Tag};
use bytes::Bytes;

const KEY: &str = ".xray-probe";
/// Always the same, so that writing it again changes nothing.
const BODY: &[u8] =
    br#"{"about":"xray-processor-worker writes this to see whether the bucket takes writes, and on which conditions"}"#;
/// The tag of no object.
const NO_TAG: &str = "\"00000000000000000000000000000000\"";

/// Finds the bucket, or creates it, and says what its server enforces.
pub(super) async fn prepare(bucket: &Bucket, create_bucket: bool) -> Result<Enforced, StoreError> {
    let probe = object();
    let mut first = bucket.put(&probe, Condition::Absent).await;
    if create_bucket
        && let Err(failed) = &first
        && failed.code() == Some("NoSuchBucket")
    {
        bucket.create().await.map_err(|failed| fault(Doing::CreateBucket, &failed, bucket.place()))?;
        tracing::info!(bucket = bucket.place().bucket, "created the bucket");
        first = bucket.put(&probe, Condition::Absent).await;
    }
    let if_none_match = match first {
        Ok(Put::Refused) => true,
        // It was not there; now it is.
        Ok(Put::Stored) => {
            let second = bucket.put(&probe, Condition::Absent).await;
            second.map_err(|failed| write_fault(bucket, &failed))? == Put::Refused
        }
        Err(failed) if unknown(&failed) => false,
        Err(failed) => return Err(write_fault(bucket, &failed)),
    };
    if !if_none_match {
        bucket.put(&probe, Condition::None).await.map_err(|failed| write_fault(bucket, &failed))?;
    }
    let found = bucket.get(KEY).await.map_err(|failed| fault(Doing::Read(KEY), &failed, bucket.place()))?;
    if found.is_none() {
        let text = format!("{} takes {KEY} and then does not have it: is it really S3?", bucket.place());
        return Err(StoreError::new(NAME, Class::Us, text));
    }
    let if_match = match bucket.put(&probe, Condition::Holds(&Tag(NO_TAG.into()))).await {
        Ok(put) => put == Put::Refused,
        Err(failed) if unknown(&failed) => false,
        Err(failed) => return Err(write_fault(bucket, &failed)),
    };
    let enforced = Enforced { if_none_match, if_match };
    if let Some(warning) = enforced.warning() {
        tracing::warn!(store = NAME, server = bucket.place().server, "{warning}");
    }
    Ok(enforced)
}

/// Asks for a write that changes nothing.
pub(super) async fn probe(bucket: &Bucket, enforced: Enforced) -> Result<(), StoreError> {
    let condition = if enforced.if_none_match { Condition::Absent } else { Condition::None };
    bucket.put(&object(), condition).await.map(drop).map_err(|failed| write_fault(bucket, &failed))
}

/// Some servers refuse a condition rather than ignore it.
fn unknown(failed: &Failed) -> bool {
    failed.status() == Some(501) || failed.code() == Some("NotImplemented")
}

fn write_fault(bucket: &Bucket, failed: &Failed) -> StoreError {
    fault(Doing::Write(KEY), failed, bucket.place())
}

fn object() -> Object {
    let body = Bytes::from_static(BODY);
    Object { key: KEY.into(), sha256: Sha256::of(&body), body, metadata: Vec::new() }
}
