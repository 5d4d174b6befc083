//! The wrapper that Amazon SNS puts around what it forwards to SQS.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

/// What is inside an SNS notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// The message as it was published.
    pub message: Bytes,
    /// Its attribute `type`: in the wrapper, as SQS is given none.
    pub kind: Option<String>,
}

/// Takes an SNS notification apart (`Type: Notification`, string `Message`); `None` for any other body.
pub fn unwrap_sns(body: &Bytes) -> Option<Notification> {
    #[derive(Deserialize)]
    struct Wrapper {
        #[serde(rename = "Type")]
        kind: String,
        #[serde(rename = "Message")]
        message: String,
        #[serde(rename = "MessageAttributes", default)]
        attributes: Value,
    }
    let wrapper: Wrapper = serde_json::from_slice(body).ok()?;
    let kind = wrapper.attributes.pointer("/type/Value").and_then(Value::as_str).map(str::to_owned);
    (wrapper.kind == "Notification").then(|| Notification { message: Bytes::from(wrapper.message), kind })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_notifications_are_unwrapped() {
        let wrapped = Bytes::from(r#"{"Type":"Notification","MessageId":"m","Message":"{\"id\":\"ü\"}"}"#);
        let inside = |kind: Option<&str>| {
            Some(Notification { message: Bytes::from(r#"{"id":"ü"}"#), kind: kind.map(str::to_owned) })
        };
        assert_eq!(unwrap_sns(&wrapped), inside(None));
        let attributes =
            r#""MessageAttributes":{"type":{"Type":"String","Value":"run"},"n":{"Type":"Number","Value":"1"}}"#;
        let wrapped = format!(r#"{{"Type":"Notification",{attributes},"Message":"{{\"id\":\"ü\"}}"}}"#);
        assert_eq!(unwrap_sns(&Bytes::from(wrapped)), inside(Some("run")));
        for other in [
            r#"{"Type":"SubscriptionConfirmation","Message":"x"}"#,
            r#"{"Type":"Notification","Message":{}}"#,
            "[]",
            "x",
        ] {
            assert_eq!(unwrap_sns(&Bytes::from(other)), None, "{other}");
        }
    }
}
