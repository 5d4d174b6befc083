//! Whether the bucket is there, takes writes, can be read, and which conditions its server enforces.
//!
//! All of that is asked with one small object under a fixed key, which no event and no dead letter can have: theirs begin
//! with `decisions/`, `steps/`, `runs/` and `dead-letters/`. It stays in the bucket.

use super::NAME;
use super::conditions::Enforced;
use super::failed::Failed;
use super::fault::{Doing, fault};
use super::place::Place;
use super::request::{Bucket, Condition, Put};
use crate::aws::Unreached;
use crate::digest::Sha256;
use crate::object::Object;
use crate::store::{StoreError, Tag};
use bytes::Bytes;

const KEY: &str = ".xray-probe";
/// Always the same, so that writing it again changes nothing.
const BODY: &[u8] =
    br#"{"about":"xray-processor-worker writes this to see whether the bucket takes writes, and on which conditions"}"#;
/// The tag of no object.
const NO_TAG: &str = "\"00000000000000000000000000000000\"";

/// Finds the bucket, or creates it, and says what its server enforces.
pub(super) async fn prepare(bucket: &Bucket, create_bucket: bool) -> Result<Enforced, StoreError> {
    // A request without a body comes first: a server that refuses one with a body may hang up before it is all sent, and
    // then there is no answer to say why. It also asks for a right that is seldom needed later, and would be missed then.
    let mut found = bucket.get(KEY).await;
    if create_bucket
        && let Err(failed) = &found
        && failed.code() == Some("NoSuchBucket")
    {
        let created = bucket.create().await;
        found = bucket.get(KEY).await;
        match created {
            Ok(()) => tracing::info!(bucket = bucket.place().bucket, "created the bucket"),
            // Another worker may have been faster; servers differ in how they say so.
            Err(_) if found.is_ok() => {}
            Err(failed) => return Err(fault(Doing::CreateBucket, &failed, bucket.place())),
        }
    }
    found.map_err(|failed| fault(Doing::Read(KEY), &at_first(failed, bucket.place()), bucket.place()))?;
    let probe = object();
    let if_none_match = match bucket.put(&probe, Condition::Absent).await {
        Ok(Put::Refused) => true,
        // It was not there; now it is.
        Ok(Put::Stored) => {
            let second = bucket.put(&probe, Condition::Absent).await;
            second.map_err(|failed| write_fault(bucket, &failed))? == Put::Refused
        }
        Err(failed) if unknown(&failed) => {
            bucket.put(&probe, Condition::None).await.map_err(|failed| write_fault(bucket, &failed))?;
            false
        }
        Err(failed) => return Err(write_fault(bucket, &failed)),
    };
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

/// Where no server ever answered yet, a connection that breaks says more.
fn at_first(failed: Failed, place: &Place) -> Failed {
    match failed {
        Failed::Unreached(Unreached::Broken, cause) if !place.tls() => Failed::Unreached(Unreached::HungUp, cause),
        failed => failed,
    }
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
