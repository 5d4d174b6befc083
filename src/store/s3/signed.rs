//! Small PUTs and GETs, signed and sent without the SDK: one request an event is what a worker spends most of its time on,
//! and there the SDK costs several times what the request itself does.
//!
//! Credentials and signature stay those of the SDK's own crates, and where the bucket is it is asked once. What it cannot do
//! goes through the SDK: buckets that are open to all, S3 Express, access points of several regions, and large bodies.

use super::failed::{Answer, Failed};
use super::metadata::metadata;
use super::request::{Condition, Got, Put, collect, judged};
use super::wire::Wire;
use crate::aws::{Keys, Unreached, root_cause};
use crate::digest::Sha256;
use crate::object::Object;
use aws_credential_types::Credentials;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningInstructions, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use bytes::Bytes;
use chrono::Utc;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Request, Response};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::borrow::Cow;
use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};
use tokio::time::timeout;

/// Larger bodies ask first whether they are welcome, which is the SDK's business.
const MAX_BODY: usize = 1 << 20;
/// What is read of an answer: an error is a few hundred bytes.
const MAX_ANSWER: u64 = 64 << 10;
/// In seconds. No clock is off by so much.
const A_YEAR: i64 = 365 * 86_400;
/// As S3 wants it in a path.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// Who we are in the server's log, spelt so that the same words are in what the SDK sends.
const OURSELVES: &str =
    concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"), " app/", env!("CARGO_PKG_NAME"));

const DIGEST: HeaderName = HeaderName::from_static("x-amz-meta-sha256");

/// Name and value.
type Header<'a> = (Cow<'static, str>, &'a str);

/// What signs and sends.
#[derive(Debug)]
pub(super) struct Signed {
    wire: Wire,
    keys: Keys,
    region: String,
    /// `https://bucket.s3.eu-west-1.amazonaws.com/`, or with the bucket in the path.
    base: String,
    timeout: Duration,
    /// How many seconds the server's clock is ahead of ours, once it has told us off.
    ahead: AtomicI64,
    /// Whether the server ended the connection after its last answer.
    hung_up: AtomicBool,
}

/// What is needed for it.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) wire: Wire,
    pub(super) keys: Keys,
    pub(super) region: String,
    pub(super) timeout: Duration,
}

/// Whether the SDK is not needed for a bucket of this name.
pub(super) fn is_plain(bucket: &str) -> bool {
    !bucket.starts_with("arn:") && !bucket.ends_with("--x-s3")
}

/// Whether it is not needed for this body.
pub(super) fn is_small(object: &Object) -> bool {
    object.body.len() <= MAX_BODY
}

impl Signed {
    /// Asks the SDK where the bucket is. Speaks to no server.
    pub(super) async fn new(client: &Client, bucket: &str, parts: Parts) -> Result<Self, Failed> {
        let Parts { wire, keys, region, timeout } = parts;
        let soon = PresigningConfig::expires_in(Duration::from_secs(60));
        let soon = soon.map_err(|error| Failed::unsendable(error.to_string()))?;
        // The answer does not depend on the keys, and those of the chain may not be there yet.
        let anybody = Credentials::new("anybody", "anybody", None, None, "placeholder");
        let client = Client::from_conf(client.config().to_builder().credentials_provider(anybody).build());
        let asked = client.put_object().bucket(bucket).key("k").presigned(soon).await.map_err(Failed::of)?;
        let base = asked.uri().split('?').next().and_then(|path| path.strip_suffix('k'));
        let base = base.ok_or_else(|| Failed::unsendable(format!("the SDK has no URL for the bucket {bucket}")))?;
        Ok(Signed {
            wire,
            keys,
            region,
            base: base.to_owned(),
            timeout,
            ahead: AtomicI64::new(0),
            hung_up: AtomicBool::new(false),
        })
    }

    /// Writes an object, once. Where the clocks are too far apart for that, the next request goes by the server's.
    pub(super) async fn put(&self, object: &Object, condition: Condition<'_>) -> Result<Put, Failed> {
        let mut headers = vec![("content-type".into(), "application/json")];
        let metadata: Vec<_> = metadata(object).collect();
        headers.extend(metadata.iter().map(|(name, value)| (format!("x-amz-meta-{name}").into(), value.as_str())));
        match condition {
            Condition::None => {}
            Condition::Absent => headers.push(("if-none-match".into(), "*")),
            Condition::Holds(tag) => headers.push(("if-match".into(), &tag.0)),
        }
        let body = (object.body.clone(), object.sha256);
        let answer = self.in_time(async {
            let response = self.send("PUT", &object.key, &headers, body).await?;
            let tag = text(&response, &ETAG);
            // Read to its end, or the connection could not be used again.
            collect(ByteStream::from_body_1_x(response.into_body()), MAX_ANSWER).await?;
            Ok(tag)
        });
        judged(answer.await, condition)
    }

    /// Reads an object; `None` where there is none.
    pub(super) async fn get(&self, key: &str) -> Result<Option<Got>, Failed> {
        let answer = self.in_time(async {
            let response = self.send("GET", key, &[], (Bytes::new(), Sha256::of(b""))).await?;
            let (tag, content_type) = (text(&response, &ETAG), text(&response, &CONTENT_TYPE));
            let length = text(&response, &CONTENT_LENGTH).and_then(|length| length.parse().ok());
            let digest = text(&response, &DIGEST);
            Ok(Got { tag, content_type, length, digest, body: ByteStream::from_body_1_x(response.into_body()) })
        });
        match answer.await {
            Ok(got) => Ok(Some(got)),
            Err(failed) if failed.code() == Some("NoSuchKey") => Ok(None),
            Err(failed) => Err(failed),
        }
    }

    async fn in_time<T>(&self, request: impl Future<Output = Result<T, Failed>>) -> Result<T, Failed> {
        let late = |_| {
            let seconds = self.timeout.as_secs_f32();
            Err(Failed::Unreached(Unreached::Late, format!("no answer within {seconds} s")))
        };
        timeout(self.timeout, request).await.unwrap_or_else(late)
    }

    /// Answers with a good answer, whose body has not been read.
    async fn send(
        &self,
        method: &str,
        key: &str,
        headers: &[Header<'_>],
        body: (Bytes, Sha256),
    ) -> Result<Response<Incoming>, Failed> {
        let identity = self.keys.get().await.map_err(|error| Failed::Credentials(root_cause(&error)))?;
        let request = self.request(method, key, headers, body, &identity);
        let request = request.map_err(|error| Failed::unsendable(error.to_string()))?;
        let response = self.wire.send(request).await?;
        let last =
            response.headers().get(CONNECTION).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"));
        self.hung_up.store(last, Relaxed);
        if response.status().is_success() {
            return Ok(response);
        }
        let (head, body) = response.into_parts();
        let body = collect(ByteStream::from_body_1_x(body), MAX_ANSWER).await?;
        let head = HttpResponse::try_from(Response::from_parts(head, SdkBody::empty()));
        let failed = Answer::in_full(&head.map_err(|error| Failed::unsendable(error.to_string()))?, &body);
        let ahead = failed.skewed().map(|server_time| (server_time - Utc::now()).num_seconds());
        if let Some(ahead) = ahead.filter(|ahead| ahead.abs() < A_YEAR) {
            self.ahead.store(ahead, Relaxed);
        }
        Err(failed)
    }

    /// Whether the server takes no second request on a connection.
    pub(super) fn hangs_up(&self) -> bool {
        self.hung_up.load(Relaxed)
    }

    fn request(
        &self,
        method: &str,
        key: &str,
        headers: &[Header<'_>],
        (body, digest): (Bytes, Sha256),
        identity: &Identity,
    ) -> Result<Request<Full<Bytes>>, Box<dyn Error + Send + Sync>> {
        let uri = format!("{}{}", self.base, utf8_percent_encode(key, ENCODED));
        let signature = signature(method, &uri, headers, &digest, identity, &self.region, self.now())?;
        let mut request = Request::builder().method(method).uri(uri).body(Full::new(body))?;
        let all = request.headers_mut();
        for (name, value) in headers {
            all.insert(HeaderName::try_from(&**name)?, HeaderValue::try_from(*value)?);
        }
        all.insert(USER_AGENT, HeaderValue::from_static(OURSELVES));
        signature.apply_to_request_http1x(&mut request);
        Ok(request)
    }

    /// By the server's clock, as far as we know it.
    fn now(&self) -> SystemTime {
        match self.ahead.load(Relaxed) {
            ahead @ ..0 => SystemTime::now() - seconds(ahead),
            ahead => SystemTime::now() + seconds(ahead),
        }
    }
}

fn text(response: &Response<Incoming>, name: &HeaderName) -> Option<String> {
    Some(response.headers().get(name)?.to_str().ok()?.to_owned())
}

fn seconds(count: i64) -> Duration {
    Duration::from_secs(count.unsigned_abs())
}

/// The headers that sign a request with these.
fn signature(
    method: &str,
    uri: &str,
    headers: &[Header<'_>],
    body: &Sha256,
    identity: &Identity,
    region: &str,
    now: SystemTime,
) -> Result<SigningInstructions, Box<dyn Error + Send + Sync>> {
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    let params = v4::SigningParams::builder().identity(identity).region(region).name("s3").time(now);
    let params = params.settings(settings).build()?.into();
    let headers = headers.iter().map(|(name, value)| (&**name, *value));
    let request = SignableRequest::new(method, uri, headers, SignableBody::Precomputed(body.to_string()))?;
    Ok(sign(request, &params)?.into_parts().0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example that AWS publishes for a PUT.
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>
    #[test]
    fn the_published_signature() {
        let keys = ("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
        let identity = Identity::from(Credentials::new(keys.0, keys.1, None, None, "test"));
        let uri = format!("https://examplebucket.s3.amazonaws.com/{}", utf8_percent_encode("test$file.text", ENCODED));
        let headers = [("date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")]
            .map(|(name, value)| (name.into(), value));
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_369_353_600);
        let body = Sha256::of(b"Welcome to Amazon S3.");
        let signed = signature("PUT", &uri, &headers, &body, &identity, "us-east-1", now).unwrap();
        let header = |name: &str| signed.headers().find(|header| header.0 == name).unwrap().1.to_owned();
        assert_eq!(
            header("authorization"),
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, \
             SignedHeaders=date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class, \
             Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
        );
        assert_eq!(header("x-amz-date"), "20130524T000000Z");
        let digest = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072";
        assert_eq!(header("x-amz-content-sha256"), digest);
    }

    #[test]
    fn who_needs_the_sdk() {
        assert!(is_plain("xray-raw") && is_plain("a.b.c"));
        assert!(!is_plain("fast--use1-az4--x-s3") && !is_plain("arn:aws:s3::123456789012:accesspoint/a.mrap"));
    }
}
