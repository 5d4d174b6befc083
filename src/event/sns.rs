//! The wrapper that Amazon SNS puts around what it forwards to SQS.

use bytes::Bytes;
use serde::Deserialize;

/// The message inside an SNS notification (`Type: Notification`, string `Message`); `None` for any other body.
pub fn unwrap_sns(body: &Bytes) -> Option<Bytes> {
    #[derive(Deserialize)]
    struct Notification {
        #[serde(rename = "Type")]
        kind: String,
        #[serde(rename = "Message")]
        message: String,
    }
    let notification: Notification = serde_json::from_slice(body).ok()?;
    (notification.kind == "Notification").then(|| Bytes::from(notification.message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_notifications_are_unwrapped() {
        let wrapped = Bytes::from(r#"{"Type":"Notification","MessageId":"m","Message":"{\"id\":\"ü\"}"}"#);
        assert_eq!(unwrap_sns(&wrapped), Some(Bytes::from(r#"{"id":"ü"}"#)));
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
