//! A delivery of JetStream in the words of the pipeline.

use crate::event::kind_hint;
use crate::pipeline::{Message, Origin};
use async_nats::Subject;
use chrono::DateTime;
use std::sync::Arc;

/// What the server tells about a delivery in the subject that answers go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Delivered {
    /// The message's number in the stream.
    pub(super) place: u64,
    /// How often it was delivered, this time included.
    times: u32,
    /// When the server took it, in nanoseconds since 1970.
    at: i64,
}

impl Delivered {
    /// `$JS.ACK.<stream>.<consumer>.<times>.<place>.<consumer's count>.<time>.<pending>`; from some servers with a domain and
    /// an account before the stream, and perhaps more at the end.
    pub(super) fn parse(reply: &str) -> Option<Delivered> {
        let words: Vec<_> = reply.strip_prefix("$JS.ACK.")?.split('.').collect();
        let numbers = words.get(if words.len() > 7 { 4 } else { 2 }..)?;
        let [times, place, _, at, ..] = numbers else { return None };
        Some(Delivered { place: place.parse().ok()?, times: times.parse().ok()?, at: at.parse().ok()? })
    }
}

/// Keeps the name of the subject that came last, as most messages share it with the one before.
#[derive(Debug, Default)]
pub(super) struct Names(Option<Arc<str>>);

impl Names {
    fn of(&mut self, subject: &str) -> Arc<str> {
        match &self.0 {
            Some(name) if **name == *subject => name.clone(),
            _ => self.0.insert(subject.into()).clone(),
        }
    }
}

/// The message, where its answers go, and what the server tells of it. `None`: it is no delivery of JetStream.
pub(super) fn message(delivery: async_nats::Message, names: &mut Names) -> Option<(Message, Subject, Delivered)> {
    let reply = delivery.reply?;
    let delivered = Delivered::parse(&reply)?;
    let header = delivery.headers.as_ref().and_then(|headers| headers.get("type"));
    let message = Message {
        hint: kind_hint(header.map(|value| value.as_str()), &delivery.subject),
        origin: Origin { name: names.of(&delivery.subject), position: Some(delivered.place) },
        deliveries: delivered.times,
        enqueued_at: Some(DateTime::from_timestamp_nanos(delivered.at)),
        cut: None,
        body: delivery.payload,
    };
    Some((message, reply, delivered))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Kind;
    use async_nats::HeaderMap;

    #[test]
    fn what_the_reply_tells() {
        let told = Some(Delivered { place: 100, times: 3, at: 1_790_230_470_084_404_000 });
        assert_eq!(Delivered::parse("$JS.ACK.XRAY.worker.3.100.7.1790230470084404000.42"), told);
        assert_eq!(Delivered::parse("$JS.ACK._.hash.XRAY.worker.3.100.7.1790230470084404000.42"), told);
        assert_eq!(Delivered::parse("$JS.ACK.hub.hash.XRAY.worker.3.100.7.1790230470084404000.42.token.more"), told);
        for other in ["", "_INBOX.x.1", "$JS.ACK.", "$JS.ACK.a.b.x.1.1.1.1", "$JS.ACK.a.b.1.1"] {
            assert_eq!(Delivered::parse(other), None, "{other}");
        }
    }

    #[test]
    fn the_kind_by_header_and_subject() {
        let of = |subject: &str, header: Option<&str>| {
            let headers = header.map(|value| {
                let mut headers = HeaderMap::new();
                headers.insert("type", value);
                headers
            });
            let delivery = async_nats::Message {
                subject: subject.into(),
                reply: Some("$JS.ACK.XRAY.worker.1.2.3.4000000000.5".into()),
                payload: "x".into(),
                headers,
                status: None,
                description: None,
                length: 0,
            };
            message(delivery, &mut Names::default()).unwrap().0
        };
        assert_eq!(of("xray.steps", None).hint, Some(Kind::Step));
        assert_eq!(of("xray.steps", Some("run")).hint, Some(Kind::Run));
        assert_eq!(of("xray.steps", Some("no such")).hint, Some(Kind::Step));
        let message = of("inbox", None);
        assert_eq!((message.hint, message.origin.to_string(), message.deliveries), (None, "inbox:2".into(), 1));
        assert_eq!(message.enqueued_at.unwrap().timestamp(), 4);
    }
}
