//! What to do about a request that failed. Decided here and nowhere else.

use super::NAME;
use super::failed::{Answer, Failed};
use super::place::Place;
use super::verdict::{Verdict, verdict};
use crate::aws::Unreached;
use crate::config::S3Flavor;
use crate::store::{Class, StoreError};
use chrono::Utc;

/// What a request was to do.
#[derive(Debug, Clone, Copy)]
pub(super) enum Doing<'a> {
    /// Write the object under this key, or look what is there before.
    Write(&'a str),
    /// Read it.
    Read(&'a str),
    /// List what is below this prefix.
    List(&'a str),
    /// Delete the object under this key.
    Delete(&'a str),
    /// Create the bucket.
    CreateBucket,
}

impl<'a> Doing<'a> {
    fn text(self, place: &Place) -> String {
        match self {
            Doing::Write(key) => format!("write {key} to {place}"),
            Doing::Read(key) => format!("read {key} from {place}"),
            Doing::List(prefix) => format!("list {prefix} in {place}"),
            Doing::Delete(key) => format!("delete {key} from {place}"),
            Doing::CreateBucket => format!("create {place}"),
        }
    }

    fn key(self) -> Option<&'a str> {
        match self {
            Doing::Write(key) | Doing::Read(key) | Doing::Delete(key) => Some(key),
            Doing::List(_) | Doing::CreateBucket => None,
        }
    }

    /// What is needed for it. A write on condition of what was read needs both.
    fn rights(self) -> &'static str {
        match self {
            Doing::Write(_) => "s3:PutObject (and s3:GetObject) on its objects",
            Doing::Read(_) => "s3:GetObject on its objects and s3:ListBucket on itself",
            Doing::List(_) => "s3:ListBucket on the bucket",
            Doing::Delete(_) => "s3:DeleteObject on its objects",
            Doing::CreateBucket => "s3:CreateBucket",
        }
    }
}

/// The failure of `doing` something at `place`.
pub(super) fn fault(doing: Doing<'_>, failed: &Failed, place: &Place) -> StoreError {
    let (class, advice) = match failed {
        Failed::Answered(answer) => answered(doing, answer, place),
        Failed::Unreached(why, _) => unreached(*why, place),
        Failed::Credentials(_) => (Class::Us, no_credentials()),
        Failed::TooLarge { .. } => (
            Class::Item,
            "an object of somebody else's stands there, too long to be read: move it away, then redrive the dead letter"
                .into(),
        ),
    };
    StoreError::new(NAME, class, format!("cannot {}: {advice}", doing.text(place))).because(failed.cause())
}

fn no_credentials() -> String {
    "AWS's default chain found no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this machine a \
     profile or a role"
        .into()
}

fn answered(doing: Doing<'_>, answer: &Answer, place: &Place) -> (Class, String) {
    match verdict(answer, doing.key()) {
        Verdict::UnknownAccessKey => {
            (Class::Us, format!("the server does not know this access key: check {}", place.access_key()))
        }
        Verdict::WrongSecret => {
            (Class::Us, format!("the secret key does not fit the access key: check {}", place.secret_key()))
        }
        Verdict::ExpiredCredentials => {
            (Class::Us, "the temporary credentials have expired or are not valid: renew them".into())
        }
        Verdict::Denied if !place.signed => (
            Class::Us,
            format!(
                "no keys are set, and the server asks for some: set {} and {}",
                place.access_key(),
                place.secret_key()
            ),
        ),
        Verdict::Denied => {
            (Class::Us, format!("access denied: the worker's keys need {} (docs/s3.md has a policy)", doing.rights()))
        }
        Verdict::NoBucket => (
            Class::Us,
            format!(
                "there is no such bucket: create it, set S3_CREATE_BUCKET=true to have it created, or check {}",
                place.bucket_setting()
            ),
        ),
        Verdict::BadBucketName => {
            (Class::Us, format!("this is no valid name of a bucket: check {}", place.bucket_setting()))
        }
        Verdict::WrongRegion => (Class::Us, wrong_region(answer, place)),
        Verdict::WrongClock => (Class::Us, wrong_clock(answer)),
        Verdict::Full => (Class::Us, "the server's disk is full: free some space; the worker goes on by itself".into()),
        Verdict::OverQuota => {
            (Class::Us, "the quota is used up: free some space or raise it; the worker goes on by itself".into())
        }
        Verdict::Busy => (Class::Transient, "the server is in trouble or overloaded".into()),
        Verdict::Collision => (Class::Transient, "others were writing the same key".into()),
        Verdict::Damaged => (Class::Transient, "the body was damaged or cut on its way".into()),
        Verdict::TooLarge => (Class::Item, "it is too large for the server, or for a proxy in front of it".into()),
        Verdict::BadObject => (Class::Item, "the server refuses this object".into()),
        Verdict::Archived => {
            (Class::Item, "what is there is archived: restore it, then redrive the dead letter".into())
        }
        Verdict::Encryption => (
            Class::Us,
            "the server cannot use the bucket's encryption key: check that key and the right to use it".into(),
        ),
        Verdict::InTheWay => (
            Class::Us,
            "an object of somebody else's stands where a folder must be, or the reverse: move it away".into(),
        ),
        Verdict::Unsupported => (Class::Us, "the server cannot do that: is it a read-only gateway?".into()),
        Verdict::WantsTls => (Class::Us, format!("the server asks for TLS: {}", place.tls_setting(true))),
        Verdict::NotS3 => (Class::Us, not_s3(answer, place)),
        Verdict::Gateway => {
            (Class::Transient, format!("something between here and the server failed ({})", described(answer)))
        }
        Verdict::Refused => (Class::Us, "the server refuses it".into()),
        Verdict::RefusedForNow => (Class::Transient, "the server refuses it for now".into()),
    }
}

fn not_s3(answer: &Answer, place: &Place) -> String {
    format!(
        "{} does not answer like an S3 server ({}): is that the right port? Check {}",
        place.server,
        described(answer),
        place.address_setting()
    )
}

/// `HTTP 404, text/html`
fn described(answer: &Answer) -> String {
    match &answer.content_type {
        Some(content_type) => format!("HTTP {}, {content_type}", answer.status),
        None => format!("HTTP {}", answer.status),
    }
}

fn wrong_region(answer: &Answer, place: &Place) -> String {
    let setting = place.region_setting();
    match (&answer.region, &answer.host) {
        (Some(region), _) => format!("the bucket is in another region: set {setting}={region}"),
        (None, Some(host)) if place.flavor == S3Flavor::Aws => {
            format!("the bucket is reached under {host}: check {setting} and AWS_S3_ENDPOINT")
        }
        (None, Some(host)) => format!("the bucket is reached under {host}: check {}", place.address_setting()),
        (None, None) => format!("the bucket or server is in another region: check {setting}"),
    }
}

fn wrong_clock(answer: &Answer) -> String {
    let off = match answer.server_time.map(|server| (Utc::now() - server).num_seconds()) {
        Some(ahead @ 60..) => format!("the clock of this machine is {} ahead of the server's", minutes(ahead)),
        Some(behind @ ..=-60) => format!("the clock of this machine is {} behind the server's", minutes(-behind)),
        _ => "the clocks of this machine and the server disagree".to_owned(),
    };
    format!("{off}, and signatures are good for 15 min: set it right (NTP)")
}

fn minutes(seconds: i64) -> String {
    format!("{} min", (seconds + 30) / 60)
}

fn unreached(why: Unreached, place: &Place) -> (Class, String) {
    let address = place.address_setting();
    let advice = match why {
        Unreached::Refused => format!("nothing listens there: start the server, or check {address}"),
        Unreached::Unresolved => format!("its name has no address: check {address}"),
        Unreached::NoConnection => format!("no connection comes about: check {address}, and what is in between"),
        Unreached::Late => "no answer in time (S3_TIMEOUT_MS)".into(),
        Unreached::Broken => "the connection broke before the end of the answer".into(),
        Unreached::HungUp => format!(
            "what listens there hangs up without an answer: if it wants TLS, {}, else check {address}",
            place.tls_setting(true)
        ),
        Unreached::NotTls => {
            format!("what listens there does not speak TLS: {}, or check {address}", place.tls_setting(false))
        }
        Unreached::UnknownIssuer => {
            "its certificate is signed by nobody who is trusted here: name the CA's certificate in S3_CA_FILE".into()
        }
        Unreached::WrongName => format!("its certificate is for another name: check {address}, or the certificate"),
        Unreached::Expired => "its certificate is not valid now: renew it, or set this machine's clock right".into(),
        Unreached::Tls => "TLS fails".into(),
        Unreached::NotHttp => format!(
            "what listens there does not answer in HTTP: is that the right port? Check {address}, or {}",
            place.tls_setting(true)
        ),
        Unreached::Unsendable => "the request cannot be made".into(),
        Unreached::Unknown => "there was no answer".into(),
    };
    (Class::Transient, advice)
}
