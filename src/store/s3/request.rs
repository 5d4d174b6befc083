//! The requests, one function each.

use super::failed::{Answer, Failed};
use super::metadata::metadata;
use super::place::Place;
use super::signed::{Signed, is_small};
use crate::aws::{Unreached, broken_body, root_cause};
use crate::jitter::jitter;
use crate::object::Object;
use crate::store::{Existing, Tag};
use aws_sdk_s3::Client;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
use bytes::{Bytes, BytesMut};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// A client and the bucket it is for.
pub(super) struct Bucket {
    client: Client,
    /// For reads and small writes, where they need no more.
    signed: Option<Signed>,
    place: Place,
    region: String,
    timeout: Duration,
    read_limit: u64,
}

/// On what condition to write.
#[derive(Debug, Clone, Copy)]
pub(super) enum Condition<'a> {
    /// In any case.
    None,
    /// Nothing is there.
    Absent,
    /// What is there has this tag.
    Holds(&'a Tag),
}

/// What became of a conditional write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Put {
    /// It is durable.
    Stored,
    /// The condition does not hold; nothing was changed.
    Refused,
}

/// What came back to a read, the body not yet read.
pub(super) struct Got {
    pub(super) tag: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) length: Option<u64>,
    /// `None`: it was written by the worker of before.
    pub(super) digest: Option<String>,
    pub(super) body: ByteStream,
}

/// How often a write that met another one under way is sent before the pipeline is left to retry it.
const COLLISIONS: u32 = 5;

impl Bucket {
    pub(super) fn new(
        client: Client,
        signed: Option<Signed>,
        place: Place,
        region: String,
        timeout: Duration,
        read_limit: u64,
    ) -> Self {
        Bucket { client, signed, place, region, timeout, read_limit }
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Whether the server takes no second request on a connection, as far as has been seen.
    pub(super) fn hangs_up(&self) -> bool {
        self.signed.as_ref().is_some_and(Signed::hangs_up)
    }

    /// Writes an object.
    pub(super) async fn put(&self, object: &Object, condition: Condition<'_>) -> Result<Put, Failed> {
        let mut sent = 1;
        loop {
            match self.put_once(object, condition).await {
                // Another write of this key was under way; S3 asks to send it again.
                // https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
                Err(failed) if collided(&failed) && sent < COLLISIONS => {
                    sleep(pause(sent)).await;
                    sent += 1;
                }
                answer => return answer,
            }
        }
    }

    async fn put_once(&self, object: &Object, condition: Condition<'_>) -> Result<Put, Failed> {
        match self.signed.as_ref().filter(|_| is_small(object)) {
            Some(signed) => signed.put(object, condition).await,
            // What the SDK keeps during a request is large, and would be part of each task of the other way too.
            None => Box::pin(self.put_by_sdk(object, condition)).await,
        }
    }

    async fn put_by_sdk(&self, object: &Object, condition: Condition<'_>) -> Result<Put, Failed> {
        let mut request = self
            .client
            .put_object()
            .bucket(&self.place.bucket)
            .key(&object.key)
            .content_type("application/json")
            .body(ByteStream::from(object.body.clone()));
        for (name, value) in metadata(object) {
            request = request.metadata(name, value);
        }
        request = match condition {
            Condition::None => request,
            Condition::Absent => request.if_none_match("*"),
            Condition::Holds(tag) => request.if_match(&tag.0),
        };
        judged(request.send().await.map(|stored| stored.e_tag().map(str::to_owned)).map_err(Failed::of), condition)
    }

    /// Reads an object.
    pub(super) async fn get(&self, key: &str) -> Result<Option<Existing>, Failed> {
        let got = match &self.signed {
            Some(signed) => signed.get(key).await?,
            None => Box::pin(self.get_by_sdk(key)).await?,
        };
        let Some(Got { tag, content_type, length, digest, body }) = got else { return Ok(None) };
        let Some(tag) = tag else { return Err(Answer::strange(200, content_type.as_deref())) };
        if length > Some(self.read_limit) {
            return Err(Failed::TooLarge { limit: self.read_limit });
        }
        // The timeout of the request ends where the body begins.
        let body = match timeout(self.timeout, collect(body, self.read_limit)).await {
            Ok(body) => body?,
            Err(_) => return Err(Failed::Unreached(Unreached::Late, "the body did not come to its end".into())),
        };
        Ok(Some(Existing { body, tag: Tag(tag), legacy: digest.is_none() }))
    }

    async fn get_by_sdk(&self, key: &str) -> Result<Option<Got>, Failed> {
        let answer = match self.client.get_object().bucket(&self.place.bucket).key(key).send().await.map_err(Failed::of)
        {
            Ok(answer) => answer,
            Err(failed) if failed.code() == Some("NoSuchKey") => return Ok(None),
            Err(failed) => return Err(failed),
        };
        Ok(Some(Got {
            tag: answer.e_tag().map(str::to_owned),
            content_type: answer.content_type().map(str::to_owned),
            length: answer.content_length().and_then(|length| u64::try_from(length).ok()),
            digest: answer.metadata().and_then(|metadata| metadata.get("sha256").cloned()),
            body: answer.body,
        }))
    }

    /// What names the present content of a key.
    pub(super) async fn tag(&self, key: &str) -> Result<Option<Tag>, Failed> {
        Ok(self.head(key).await?.and_then(|found| found.e_tag().map(|tag| Tag(tag.to_owned()))))
    }

    /// An object without its bytes.
    pub(super) async fn head(&self, key: &str) -> Result<Option<HeadObjectOutput>, Failed> {
        match self.client.head_object().bucket(&self.place.bucket).key(key).send().await.map_err(Failed::of) {
            Ok(answer) if answer.e_tag().is_none() => Err(Answer::strange(200, answer.content_type())),
            Ok(answer) => Ok(Some(answer)),
            Err(failed) if failed.status() == Some(404) => Ok(None),
            // To HEAD there is no body, so no code either.
            Err(Failed::Answered(mut answer)) if answer.status == 403 && answer.code.is_none() => {
                answer.code = Some("AccessDenied".into());
                Err(Failed::Answered(answer))
            }
            Err(failed) => Err(failed),
        }
    }

    /// Creates the bucket. Fails also where somebody else did so meanwhile.
    pub(super) async fn create(&self) -> Result<(), Failed> {
        let mut request = self.client.create_bucket().bucket(&self.place.bucket);
        // The first region has no name here: to send it is an error on S3.
        // https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html
        if self.region != "us-east-1" {
            let location = BucketLocationConstraint::from(self.region.as_str());
            let configuration = CreateBucketConfiguration::builder().location_constraint(location).build();
            request = request.create_bucket_configuration(configuration);
        }
        request.send().await.map(drop).map_err(Failed::of)
    }
}

/// What an answer to a write comes to; a good one is its tag.
pub(super) fn judged(answer: Result<Option<String>, Failed>, condition: Condition<'_>) -> Result<Put, Failed> {
    let conditional = !matches!(condition, Condition::None);
    match answer {
        // A server that is none of S3 may answer 200 to anything; only S3 gives a tag for it. One of a page is weak, where
        // a framework adds it by itself.
        Ok(tag) if tag.as_ref().is_none_or(|tag| tag.starts_with("W/")) => Err(Answer::strange(200, None)),
        Ok(_) => Ok(Put::Stored),
        Err(failed) if conditional && failed.status() == Some(412) => Ok(Put::Refused),
        Err(failed) if matches!(condition, Condition::Holds(_)) && failed.code() == Some("NoSuchKey") => {
            Ok(Put::Refused)
        }
        Err(failed) => Err(failed),
    }
}

fn collided(failed: &Failed) -> bool {
    matches!(failed.code(), Some("ConditionalRequestConflict" | "OperationAborted"))
}

/// Some ten to some hundred milliseconds, by chance, so that those who met do not meet again.
fn pause(sent: u32) -> Duration {
    jitter(Duration::from_millis(20 << sent))
}

pub(super) async fn collect(mut stream: ByteStream, limit: u64) -> Result<Bytes, Failed> {
    let broken = |error| Failed::Unreached(broken_body(&error), root_cause(&error));
    let mut whole = BytesMut::new();
    let mut first = Bytes::new();
    while let Some(part) = stream.next().await {
        let part = part.map_err(broken)?;
        if (first.len() + whole.len() + part.len()) as u64 > limit {
            return Err(Failed::TooLarge { limit });
        }
        // Most bodies come in one part, which then need not be copied.
        if first.is_empty() && whole.is_empty() {
            first = part;
        } else {
            whole.extend_from_slice(&std::mem::take(&mut first));
            whole.extend_from_slice(&part);
        }
    }
    Ok(if whole.is_empty() { first } else { whole.freeze() })
}
