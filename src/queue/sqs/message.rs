//! A message of SQS in the words of the pipeline.

use super::source::Source;
use crate::event::{kind_hint, unwrap_sns};
use crate::pipeline::{Message, Origin};
use aws_sdk_sqs::types::{self, MessageSystemAttributeName as Attribute};
use bytes::Bytes;
use chrono::DateTime;
use std::sync::Arc;

/// The attribute that tells the kind of an event.
pub(super) const TYPE: &str = "type";
/// What else is asked for of each message.
pub(super) const ATTRIBUTES: [Attribute; 3] =
    [Attribute::ApproximateReceiveCount, Attribute::SentTimestamp, Attribute::MessageGroupId];

/// What came, and what is needed to settle it.
pub(super) struct Came {
    pub(super) handle: String,
    /// In a queue that keeps an order.
    pub(super) group: Option<Arc<str>>,
    pub(super) message: Message,
}

/// `None`: it cannot be settled, as it has no receipt handle.
pub(super) fn message(source: &Source, from: types::Message) -> Option<Came> {
    let attribute = |name: &Attribute| from.attributes()?.get(name).map(String::as_str);
    let number = |name: &Attribute| attribute(name)?.parse::<i64>().ok();
    let deliveries = number(&Attribute::ApproximateReceiveCount).and_then(|count| u32::try_from(count).ok());
    let enqueued_at = number(&Attribute::SentTimestamp).and_then(DateTime::from_timestamp_millis);
    let group = attribute(&Attribute::MessageGroupId).filter(|_| source.is_fifo()).map(Arc::from);
    let header = from.message_attributes().and_then(|all| all.get(TYPE)?.string_value()).map(str::to_owned);
    let body = Bytes::from(from.body.unwrap_or_default());
    let (body, wrapped) = match unwrap_sns(&body) {
        Some(notification) => (notification.message, notification.kind),
        None => (body, None),
    };
    let message = Message {
        body,
        cut: None,
        hint: kind_hint(header.as_deref(), "").or_else(|| kind_hint(wrapped.as_deref(), &source.name)),
        origin: Origin { name: source.name.clone(), position: None },
        deliveries: deliveries.unwrap_or(1).max(1),
        enqueued_at,
    };
    Some(Came { handle: from.receipt_handle?, group, message })
}

/// Why SQS would not take this body; `None`: it would, if it is short enough.
pub(super) fn refused(body: &[u8]) -> Option<&'static str> {
    let allowed =
        |char: char| matches!(char, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    match std::str::from_utf8(body) {
        Err(_) => Some("it is no UTF-8 text"),
        Ok("") => Some("it is empty"),
        Ok(text) if !text.chars().all(allowed) => Some("it holds control characters"),
        Ok(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Kind;
    use aws_sdk_sqs::types::MessageAttributeValue;

    fn source(name: &str) -> Source {
        Source::parse(&format!("http://host/1/{name}")).unwrap()
    }

    fn came(name: &str, message: types::builders::MessageBuilder) -> Came {
        super::message(&source(name), message.receipt_handle("h").build()).unwrap()
    }

    fn text(kind: &str) -> MessageAttributeValue {
        MessageAttributeValue::builder().data_type("String").string_value(kind).build().unwrap()
    }

    #[test]
    fn the_kind_by_attribute_wrapper_and_queue() {
        let plain = || types::Message::builder().body("{}");
        let sns =
            r#"{"Type":"Notification","Message":"x","MessageAttributes":{"type":{"Type":"String","Value":"step"}}}"#;
        let hint = |name: &str, message| came(name, message).message.hint;
        assert_eq!((hint("xray-runs", plain()), hint("inbox", plain())), (Some(Kind::Run), None));
        assert_eq!(hint("xray-runs.fifo", plain()), Some(Kind::Run));
        assert_eq!(hint("xray-runs", plain().message_attributes("type", text("decision"))), Some(Kind::Decision));
        assert_eq!(hint("xray-runs", plain().message_attributes("type", text("no such"))), Some(Kind::Run));
        assert_eq!(hint("xray-runs", plain().body(sns)), Some(Kind::Step));
        assert_eq!(
            hint("xray-runs", plain().body(sns).message_attributes("type", text("decision"))),
            Some(Kind::Decision)
        );
    }

    #[test]
    fn what_sqs_knows_about_it() {
        let message = types::Message::builder()
            .body(r#"{"Type":"Notification","Message":"inside"}"#)
            .attributes(Attribute::ApproximateReceiveCount, "3")
            .attributes(Attribute::SentTimestamp, "1700000000123")
            .attributes(Attribute::MessageGroupId, "g");
        let fifo = came("q.fifo", message.clone());
        assert_eq!((&fifo.message.body[..], fifo.message.deliveries), (&b"inside"[..], 3));
        assert_eq!(fifo.message.enqueued_at.map(|at| at.timestamp_millis()), Some(1_700_000_000_123));
        assert_eq!((fifo.group.as_deref(), came("q", message).group), (Some("g"), None));
        let odd = types::Message::builder()
            .attributes(Attribute::ApproximateReceiveCount, "-1")
            .attributes(Attribute::SentTimestamp, "soon");
        let odd = came("q", odd);
        assert_eq!((odd.message.deliveries, odd.message.enqueued_at, odd.message.body.len()), (1, None, 0));
        assert!(super::message(&source("q"), types::Message::builder().body("x").build()).is_none());
    }

    #[test]
    fn bodies_that_sqs_does_not_take() {
        for (body, taken) in [
            ("{\"a\":\t\"ü\u{1F980}\"}\r\n".as_bytes(), true),
            (b"", false),
            (b"\xff", false),
            (b"a\0", false),
            ("\u{fffe}".as_bytes(), false),
        ] {
            assert_eq!(refused(body).is_none(), taken, "{body:?}");
        }
    }
}
