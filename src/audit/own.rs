//! Whose a dead letter is: told by the fields of its events, or, where its bytes are no events, by whole quoted values.

use crate::dead_letter::DeadLetter;
use crate::event::{Code, Kind, unwrap_sns};
use serde_json::Value;
use std::collections::BTreeSet;

/// A run and its steps.
#[derive(Debug)]
pub(super) struct Owner<'a> {
    pub(super) run_id: &'a str,
    pub(super) steps: &'a BTreeSet<String>,
}

impl Owner<'_> {
    /// Whether a dead letter tells of the run or of one of its steps. Of a body with several events one is enough.
    pub(super) fn has(&self, letter: &DeadLetter) -> bool {
        let inside = unwrap_sns(&letter.body).map(|notification| notification.message);
        let body = inside.as_ref().unwrap_or(&letter.body);
        match serde_json::from_slice::<Value>(body) {
            // Of a field that is there twice only one is seen.
            Ok(value) if letter.code() != Code::DoubledField => self.has_events(&value, letter.kind),
            _ => body.split(|byte| *byte == b'"').skip(1).any(|quoted| self.is(unescaped(quoted))),
        }
    }

    fn is(&self, id: &[u8]) -> bool {
        std::str::from_utf8(id).is_ok_and(|id| id == self.run_id || self.steps.contains(id))
    }

    /// An event, an envelope of them, or an array of either.
    fn has_events(&self, value: &Value, kind: Option<Kind>) -> bool {
        match value {
            Value::Array(elements) => elements.iter().any(|element| self.has_events(element, kind)),
            Value::Object(members) => {
                let named = |name: &str| members.get(name).and_then(Value::as_str);
                let word = named("type").and_then(Kind::from_word);
                if let Some(data) = members.get("data").filter(|_| !members.contains_key("id")) {
                    return self.has_events(data, word.or(kind));
                }
                // The id of a decision is none of these, even if it is the same word.
                let own = named("id").filter(|_| kind != Some(Kind::Decision));
                ["runId", "run_id"].into_iter().filter_map(named).any(|id| id == self.run_id)
                    || ["stepId", "step_id"].into_iter().filter_map(named).any(|id| self.steps.contains(id))
                    || own.is_some_and(|id| self.is(id.as_bytes()))
            }
            _ => false,
        }
    }
}

/// Quotes within quotes are escaped, once or more.
fn unescaped(mut quoted: &[u8]) -> &[u8] {
    while let [rest @ .., b'\\'] = quoted {
        quoted = rest;
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sha256;
    use crate::event::Rejection;
    use bytes::Bytes;
    use chrono::DateTime;

    fn is_own(code: Code, kind: Option<Kind>, body: &str) -> bool {
        let letter = DeadLetter {
            rejection: Rejection::new(code, ""),
            source: String::new(),
            kind,
            first_seen: DateTime::UNIX_EPOCH,
            deliveries: 1,
            full_bytes: body.len() as u64,
            sha256: Sha256::of(body.as_bytes()),
            body: Bytes::copy_from_slice(body.as_bytes()),
        };
        Owner { run_id: "run-1", steps: &["step-1".to_owned()].into() }.has(&letter)
    }

    #[test]
    fn by_fields() {
        for own in [
            r#"{"id":"d","runId":"run-1"}"#,
            r#"{"id":"d","run_id":"run-1"}"#,
            r#"{"id":"d","stepId":"step-1","runId":"run-10"}"#,
            r#"{"id":"run-1","status":"odd"}"#,
            r#"{"type":"decisions","data":[{"id":"d","runId":"run-2"},{"id":"e","runId":"run-1"}]}"#,
            r#"[{"id":"step-1"}]"#,
            r#"{"Type":"Notification","Message":"{\"runId\":\"run-1\"}"}"#,
        ] {
            assert!(is_own(Code::MissingField, None, own), "{own}");
        }
        for other in [
            r#"{"id":"d","runId":"run-10","stepId":"step-10","itemId":"run-1"}"#,
            r#"{"id":"d","runId":"run-2","reason":"as in run-1","metadata":{"runId":"run-1"}}"#,
            r#"{"id":"d","runId":"run-2","stepId":"run-1"}"#,
            r#""run-1""#,
            "[]",
        ] {
            assert!(!is_own(Code::MissingField, None, other), "{other}");
        }
        assert!(!is_own(Code::BadField, Some(Kind::Decision), r#"{"id":"run-1","runId":"run-2"}"#));
    }

    #[test]
    fn by_whole_values_where_it_is_no_event() {
        for own in [r#"{"runId":"run-1","#, r#"{"Type":"Notification","Message":"{\"runId\":\"run-1\""#, "\"step-1\"\0"]
        {
            assert!(is_own(Code::NotJson, None, own), "{own}");
        }
        assert!(is_own(Code::DoubledField, None, r#"{"runId":"run-1","runId":"run-2"}"#));
        for other in [r#"{"runId":"run-10","#, "run-1", ""] {
            assert!(!is_own(Code::NotJson, None, other), "{other}");
        }
    }
}
