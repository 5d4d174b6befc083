//! A delivery of RabbitMQ in the words of the pipeline.

use crate::event::{Kind, kind_hint};
use crate::pipeline::{Message, Origin};
use bytes::Bytes;
use chrono::DateTime;
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::AMQPValue;
use std::sync::Arc;

/// The message. Headers that are not ours are ignored, whatever their type.
pub(super) fn message(queue: &Arc<str>, delivery: Delivery) -> Message {
    let properties = &delivery.properties;
    Message {
        hint: hint(queue, properties),
        origin: Origin { name: queue.clone(), position: None },
        deliveries: deliveries(properties, delivery.redelivered),
        enqueued_at: properties
            .timestamp()
            .and_then(|seconds| i64::try_from(seconds).ok())
            .and_then(|seconds| DateTime::from_timestamp(seconds, 0)),
        cut: None,
        body: Bytes::from(delivery.data),
    }
}

fn header<'a>(properties: &'a BasicProperties, name: &str) -> Option<&'a AMQPValue> {
    properties.headers().as_ref()?.inner().get(name)
}

/// By the header `type`, else by the property of that name, else by the queue.
fn hint(queue: &str, properties: &BasicProperties) -> Option<Kind> {
    let header = match header(properties, "type") {
        Some(AMQPValue::LongString(text)) => std::str::from_utf8(text.as_bytes()).ok(),
        Some(AMQPValue::ShortString(text)) => Some(text.as_str()),
        _ => None,
    };
    let property = properties.kind().as_ref().map(|kind| kind.as_str());
    kind_hint(header, "").or_else(|| kind_hint(property, queue))
}

/// Quorum queues count; classic ones only know that it is not the first time.
fn deliveries(properties: &BasicProperties, redelivered: bool) -> u32 {
    let before = match header(properties, "x-delivery-count") {
        Some(AMQPValue::LongLongInt(count)) => u32::try_from(*count).unwrap_or(0),
        Some(AMQPValue::LongInt(count)) => u32::try_from(*count).unwrap_or(0),
        Some(AMQPValue::LongUInt(count)) => *count,
        Some(AMQPValue::ShortInt(count)) => u32::try_from(*count).unwrap_or(0),
        Some(AMQPValue::ShortUInt(count)) => u32::from(*count),
        Some(AMQPValue::ShortShortInt(count)) => u32::try_from(*count).unwrap_or(0),
        Some(AMQPValue::ShortShortUInt(count)) => u32::from(*count),
        _ => 0,
    };
    before.max(redelivered.into()).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapin::types::{FieldTable, LongString};

    fn with(headers: Vec<(&str, AMQPValue)>) -> BasicProperties {
        let mut table = FieldTable::default();
        for (name, value) in headers {
            table.insert(name.into(), value);
        }
        BasicProperties::default().with_headers(table)
    }

    fn text(text: &str) -> AMQPValue {
        AMQPValue::LongString(LongString::from(text))
    }

    #[test]
    fn the_kind_by_header_property_and_queue() {
        let none = BasicProperties::default();
        assert_eq!(hint("xray.steps", &none), Some(Kind::Step));
        assert_eq!(hint("inbox", &none), None);
        assert_eq!(hint("inbox", &with(vec![("type", text("run"))])), Some(Kind::Run));
        assert_eq!(hint("inbox", &with(vec![("type", AMQPValue::ShortString("run".into()))])), Some(Kind::Run));
        let property = none.with_type("decision".into());
        assert_eq!(hint("xray.steps", &property), Some(Kind::Decision));
        let both = with(vec![("type", text("run"))]).with_type("decision".into());
        assert_eq!(hint("xray.steps", &both), Some(Kind::Run));
        let strange = with(vec![("type", AMQPValue::LongInt(7)), ("", AMQPValue::Void)]).with_type("no such".into());
        assert_eq!(hint("xray.steps", &strange), Some(Kind::Step));
        let bytes = with(vec![("type", AMQPValue::LongString(LongString::from(vec![0xff, 0xfe])))]);
        assert_eq!(hint("xray.steps", &bytes), Some(Kind::Step));
    }

    #[test]
    fn how_often() {
        let none = BasicProperties::default();
        assert_eq!((deliveries(&none, false), deliveries(&none, true)), (1, 2));
        let third = with(vec![("x-delivery-count", AMQPValue::LongLongInt(2))]);
        assert_eq!((deliveries(&third, true), deliveries(&third, false)), (3, 3));
        let wrong = with(vec![("x-delivery-count", text("many"))]);
        assert_eq!(deliveries(&wrong, true), 2);
        assert_eq!(deliveries(&with(vec![("x-delivery-count", AMQPValue::LongLongInt(-1))]), false), 1);
    }

    #[test]
    fn the_time_where_it_is_one() {
        let at = |seconds: u64| {
            let mut delivery = Delivery::mock(1, "".into(), "q".into(), false, b"x".to_vec());
            delivery.properties = BasicProperties::default().with_timestamp(seconds);
            message(&"q".into(), delivery).enqueued_at.map(|at| at.timestamp())
        };
        assert_eq!((at(1_700_000_000), at(u64::MAX)), (Some(1_700_000_000), None));
    }
}
