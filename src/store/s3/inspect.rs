//! What `check` asks a bucket, with an object of its own that is gone afterwards.

use super::NAME;
use super::S3Objects;
use super::failed::Failed;
use super::fault::{Doing, fault};
use super::lifecycle::{self, Rule};
use super::request::{Bucket, Condition, Put};
use crate::check::{Findings, PATIENCE};
use crate::digest::Sha256;
use crate::object::Object;
use crate::span::span;
use crate::store::Tag;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use std::time::{Duration, Instant};

/// How many write at the same time. More would only meet in a queue somewhere.
const RACERS: u8 = 4;
/// Servers tell the time of an object in whole seconds.
const CLOCK: Duration = Duration::from_secs(3);

/// All of it.
pub(super) async fn inspect(objects: &S3Objects, create_bucket: bool) -> Findings {
    let mut found = Findings::about(NAME);
    let questions = async |found: &mut Findings| {
        found.ask("where it is, and with which keys");
        match objects.connected().await {
            Ok(bucket) => bucket_of(bucket, create_bucket, found).await,
            Err(error) => found.fail(error.chain()),
        }
    };
    found.within(PATIENCE, questions).await;
    found
}

async fn bucket_of(bucket: &Bucket, create_bucket: bool, found: &mut Findings) {
    let place = bucket.place();
    let key = format!(".xray-check-{:016x}", rand::random::<u64>());
    found.ask(format!("whether {place} can be read"));
    match bucket.get(&key).await {
        Ok(_) => {}
        Err(failed) if create_bucket && failed.code() == Some("NoSuchBucket") => {
            return found
                .ok(format!("{place} is not there yet; a worker creates it if it may, as S3_CREATE_BUCKET is true"));
        }
        Err(failed) => return found.fail(fault(Doing::Read(&key), &failed, place).chain()),
    }
    found.ask(format!("whether it takes writes and deletes; {key} may be left"));
    let written = write(bucket, &key, found).await;
    if written {
        connections(bucket, found);
        clock(bucket, &key, found).await;
    }
    delete(bucket, &key, written, found).await;
    found.ask("which rules the bucket has");
    versions(bucket, found).await;
    rules(bucket, found).await;
    lock(bucket, found).await;
}

/// Several writes of one key at once, of which one may win, each time. Whether there is an object now.
async fn write(bucket: &Bucket, key: &str, found: &mut Findings) -> bool {
    let place = bucket.place();
    let began = Instant::now();
    let racers: Vec<Object> = (0..RACERS).map(|racer| object(key, racer)).collect();
    let created = join_all(racers.iter().map(|object| bucket.put(object, Condition::Absent))).await;
    let created = match winners(created) {
        Ok(winners) => winners,
        Err(failed) => {
            found.fail(fault(Doing::Write(key), &failed, place).chain());
            return false;
        }
    };
    let read = match bucket.get(key).await {
        Ok(Some(read)) if racers.iter().any(|racer| racer.body == read.body) => read,
        Ok(_) => {
            found.fail(format!("{place} does not give back what was written to it"));
            return true;
        }
        Err(failed) => {
            found.fail(fault(Doing::Read(key), &failed, place).chain());
            return true;
        }
    };
    let took = span(began.elapsed().as_secs_f64());
    found.ok(format!("{place} takes writes and gives them back ({RACERS} writes and a read in {took})"));
    let again: Vec<Object> = (RACERS..2 * RACERS).map(|racer| object(key, racer)).collect();
    let replaced = join_all(again.iter().map(|object| bucket.put(object, Condition::Holds(&read.tag)))).await;
    let wrong = bucket.put(&racers[0], Condition::Holds(&Tag("\"00000000000000000000000000000000\"".into()))).await;
    let stale = matches!(wrong, Ok(Put::Stored));
    match (created, winners(replaced)) {
        (1, Ok(1)) if !stale => found.ok(format!("conditional writes hold also where {RACERS} race for one key")),
        (_, Err(failed)) => found.fail(fault(Doing::Write(key), &failed, place).chain()),
        (created, Ok(replaced)) => found.warn(
            format!(
                "the server does not keep to the conditions on writes: of {RACERS} that raced, {created} were created \
                 (If-None-Match) and {replaced} replaced (If-Match)"
            ),
            "run one worker only, or another server: docs/s3.md, \"Conditional writes\"",
        ),
    }
    true
}

fn object(key: &str, racer: u8) -> Object {
    let body = Bytes::from(format!("{{\"about\":\"xray-processor-worker check\",\"racer\":{racer}}}"));
    Object { key: key.into(), sha256: Sha256::of(&body), body, metadata: Vec::new() }
}

/// How many of these were stored. One that only met the others has lost.
fn winners(answers: Vec<Result<Put, Failed>>) -> Result<usize, Failed> {
    let mut stored = 0;
    for answer in answers {
        match answer {
            Ok(Put::Stored) => stored += 1,
            Ok(Put::Refused) => {}
            Err(failed) if matches!(failed.status(), Some(409 | 501)) => {}
            Err(failed) => return Err(failed),
        }
    }
    Ok(stored)
}

fn connections(bucket: &Bucket, found: &mut Findings) {
    if bucket.hangs_up() {
        found.warn(
            "the server ends each connection after one answer, so that every object costs a new one",
            "let it keep connections open (versitygw: --keep-alive), also in a proxy before it",
        );
    }
}

async fn clock(bucket: &Bucket, key: &str, found: &mut Findings) {
    let head = bucket.head(key).await.ok().flatten();
    if let Some(modified) = head.and_then(|head| DateTime::from_timestamp(head.last_modified()?.secs(), 0)) {
        found.clock(modified, Utc::now(), CLOCK);
    }
}

/// Also where a write failed: it may have taken effect, or that of another racer.
async fn delete(bucket: &Bucket, key: &str, written: bool, found: &mut Findings) {
    let deleted = bucket.delete(&[key.to_owned()]).await;
    let refused = match deleted {
        Ok(mut refused) => refused.pop().map(|(_, failed)| failed),
        Err(failed) => Some(failed),
    };
    match refused {
        // That a write fails is said, and that nothing is there to be deleted proves nothing.
        _ if !written => {}
        None => found.ok("objects can be deleted, as `verify --repair`, `purge` and `dead-letters discard` do"),
        Some(failed) => found.warn(
            fault(Doing::Delete(key), &failed, bucket.place()).chain(),
            format!("a worker needs no such right, but `verify --repair` and `purge` do; {key} stays in the bucket"),
        ),
    }
}

async fn versions(bucket: &Bucket, found: &mut Findings) {
    match bucket.client().get_bucket_versioning().bucket(&bucket.place().bucket).send().await.map_err(Failed::of) {
        Ok(answer) if answer.status().is_some_and(|status| status.as_str() == "Enabled") => found.warn(
            "the bucket keeps versions: older reports of runs and steps stay, and so does what `purge` erases",
            "add a rule that expires noncurrent versions, if you do not want them",
        ),
        Ok(_) => found.ok("the bucket keeps no versions"),
        Err(failed) => unseen(found, "versioning", "s3:GetBucketVersioning", &failed),
    }
}

async fn rules(bucket: &Bucket, found: &mut Findings) {
    let asked = bucket.client().get_bucket_lifecycle_configuration().bucket(&bucket.place().bucket).send().await;
    match asked.map_err(Failed::of) {
        Ok(answer) => lifecycle::judge(answer.rules().iter().filter_map(Rule::of), found),
        Err(failed) if failed.code() == Some("NoSuchLifecycleConfiguration") => lifecycle::judge([].into_iter(), found),
        Err(failed) => unseen(found, "lifecycle rules", "s3:GetLifecycleConfiguration", &failed),
    }
}

async fn lock(bucket: &Bucket, found: &mut Findings) {
    let asked = bucket.client().get_object_lock_configuration().bucket(&bucket.place().bucket).send().await;
    let retains = asked.ok().and_then(|answer| {
        answer.object_lock_configuration().and_then(|lock| lock.rule()).map(|rule| rule.default_retention().is_some())
    });
    if retains == Some(true) {
        found.fail_with(
            "the bucket has a default retention (Object Lock): it refuses what the worker sends, and replaces nothing",
            "take the default retention away, or use another bucket",
        );
    }
}

/// What cannot be asked is no fault of the bucket's, unless we are not allowed to.
fn unseen(found: &mut Findings, what: &str, right: &str, failed: &Failed) {
    match failed.status() {
        Some(403) => {
            found.warn(format!("{what} cannot be seen: access denied"), format!("grant {right} to have them checked"))
        }
        _ => found.ok(format!("the server does not know of {what}")),
    }
}
