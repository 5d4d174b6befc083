//! What is kept of something that is no event, or that lost a conflict, or that a store refused.

use crate::digest::Sha256;
use crate::event::{Code, Kind, Rejection};
use crate::key;
use crate::object::Object;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

/// A dead letter: the untouched bytes and why they are here. The same body again is the same dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Code and sentence.
    pub rejection: Rejection,
    /// Where the message came from.
    pub source: String,
    /// The kind, where it is known.
    pub kind: Option<Kind>,
    /// When this worker saw it.
    pub first_seen: DateTime<Utc>,
    /// How often it had been delivered.
    pub deliveries: u32,
    /// The bytes; the beginning of them where `full_bytes` is more.
    pub body: Bytes,
    /// The length of all of it.
    pub full_bytes: u64,
    /// SHA-256 of all of it: its identity.
    pub sha256: Sha256,
}

/// Reads the object under this key back; `None` for what is no dead letter, or not the one that the key names.
pub fn parse(key: &str, object: &[u8]) -> Option<DeadLetter> {
    let sha256 = key::dead_letter_digest(key)?;
    let read: Read = serde_json::from_slice(object).ok()?;
    let body = match (read.body, read.body_base64) {
        (Some(text), None) => Bytes::from(text),
        (None, Some(base64)) => Bytes::from(STANDARD.decode(base64).ok()?),
        _ => return None,
    };
    let code = Code::ALL.into_iter().find(|code| code.as_str() == read.code)?;
    let letter = DeadLetter {
        rejection: Rejection::new(code, read.reason),
        source: read.source,
        kind: read.kind.as_deref().and_then(Kind::from_word),
        first_seen: DateTime::parse_from_rfc3339(&read.first_seen).ok()?.to_utc(),
        deliveries: read.deliveries,
        full_bytes: read.full_bytes.unwrap_or(body.len() as u64),
        body,
        sha256,
    };
    (!letter.is_whole() || Sha256::of(&letter.body) == sha256).then_some(letter)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Read {
    code: String,
    reason: String,
    source: String,
    kind: Option<String>,
    first_seen: String,
    deliveries: u32,
    full_bytes: Option<u64>,
    body: Option<String>,
    body_base64: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Content<'a> {
    code: &'static str,
    reason: &'a str,
    source: &'a str,
    kind: Option<&'static str>,
    first_seen: String,
    deliveries: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    full_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

impl DeadLetter {
    /// The same with no more than the first `kept` bytes of its body.
    #[must_use]
    pub fn cut(&self, kept: usize) -> DeadLetter {
        DeadLetter { body: self.body.slice(..kept.min(self.body.len())), ..self.clone() }
    }

    /// Its code.
    pub fn code(&self) -> Code {
        self.rejection.code
    }

    /// Whether all of its body was kept.
    pub fn is_whole(&self) -> bool {
        self.full_bytes == self.body.len() as u64
    }

    /// The key of its object.
    pub fn key(&self) -> String {
        key::dead_letter(self.sha256)
    }

    /// `2026-01-31T23:59:59.123Z`.
    pub fn first_seen(&self) -> String {
        self.first_seen.to_rfc3339_opts(SecondsFormat::Millis, true)
    }

    /// Its object: `{code, reason, source, kind, firstSeen, deliveries, body | bodyBase64}`, the body as text where it
    /// is UTF-8, and `fullBytes` where only the beginning was kept.
    pub fn object(&self) -> Object {
        let text = simdutf8::basic::from_utf8(&self.body).ok();
        let content = Content {
            code: self.code().as_str(),
            reason: &self.rejection.reason,
            source: &self.source,
            kind: self.kind.map(Kind::as_str),
            first_seen: self.first_seen(),
            deliveries: self.deliveries,
            full_bytes: (!self.is_whole()).then_some(self.full_bytes),
            body: text,
            body_base64: text.is_none().then(|| STANDARD.encode(&self.body)),
        };
        // Strings, numbers and options cannot fail to serialize.
        let body = Bytes::from(serde_json::to_vec(&content).unwrap_or_default());
        Object { key: self.key(), sha256: Sha256::of(&body), body, metadata: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_back(body: Vec<u8>, cut in 0..3_u64, kind in 0..4_usize) {
            let body = Bytes::from(body);
            let letter = DeadLetter {
                rejection: Rejection::new(Code::BadField, "a \"reason\" \u{0}"),
                source: "queue:7".into(),
                kind: Kind::ALL.get(kind).copied(),
                first_seen: DateTime::from_timestamp_millis(1_769_860_800_123).unwrap(),
                deliveries: 3,
                full_bytes: body.len() as u64 + cut,
                sha256: Sha256::of(&body),
                body,
            };
            let object = letter.object();
            prop_assert_eq!(parse(&object.key, &object.body), Some(letter));
            prop_assert_eq!(parse(&key::dead_letter(Sha256([0; 32])), &object.body).is_none(), cut == 0);
        }
    }
}
