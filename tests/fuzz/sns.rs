//! What Amazon SNS wraps.

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::select;
use xray_processor_worker::event::{Notification, unwrap_sns};

use crate::cases;
use crate::damage::damaged;
use crate::support::model::json;
use crate::support::pieces::body;

/// A body in a notification, with what else SNS says of it.
fn wrapped(body: &str, order: bool, other: &str) -> String {
    let message = format!(r#""Message" : {}"#, serde_json::to_string(body).unwrap());
    let kind = r#""Type":"Notification""#.to_owned();
    let (first, last) = if order { (message, kind) } else { (kind, message) };
    format!(
        r#"{{{first}, "MessageId":"m",{other}"TopicArn":"arn:aws:sns:x:1:t","Timestamp":"2026-01-31T12:00:00.000Z",{last}}}"#
    )
}

/// Written without the worker: an object with one `Type`, which is `Notification`, and one `Message`, which is text.
fn unwrapped(body: &str) -> Option<String> {
    let value = json::document(body).filter(|value| json::is_object(value))?;
    // Names that are no text are legal, but not SNS's.
    let named = json::members(value).into_iter().map(|(name, value)| Some((json::string(name)?, value)));
    let members: Vec<_> = named.collect::<Option<_>>()?;
    let one = |name: &str| {
        let mut there = members.iter().filter(|(other, _)| other == name);
        there.next().filter(|_| there.next().is_none()).and_then(|(_, value)| json::string(value))
    };
    one("Message").filter(|_| one("Type").as_deref() == Some("Notification"))
}

proptest! {
    #![proptest_config(cases(1))]

    #[test]
    fn what_was_wrapped_comes_out(
        body in prop_oneof![body(), "\\PC{0,40}"],
        order in any::<bool>(),
        other in select(&["", r#""Subject":null,"#, r#""MessageAttributes":{"type":{"Type":"String","Value":"run"}},"#][..]),
    ) {
        let found = unwrap_sns(&Bytes::from(wrapped(&body, order, other)));
        let kind = other.contains("MessageAttributes").then(|| "run".to_owned());
        prop_assert_eq!(found, Some(Notification { message: Bytes::from(body), kind }));
    }

    #[test]
    fn what_is_damaged_is_a_notification_or_not(
        bytes in damaged((body(), any::<bool>()).prop_map(|(body, order)| wrapped(&body, order, ""))),
    ) {
        // What SQS gives out is text.
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let found = unwrap_sns(&Bytes::from(text.clone())).map(|notification| notification.message);
        prop_assert_eq!(found, unwrapped(&text).map(Bytes::from), "{}", text);
    }
}
