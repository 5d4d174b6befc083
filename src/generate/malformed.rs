//! Bodies that are no events, each as some producer has sent one.

use super::dice::Dice;
use super::members::{Members, Spelling};
use crate::event::Code;
use std::fmt;

/// What is wrong with a malformed body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Malformation {
    /// An event with single quotes: a dictionary that was printed.
    BrokenJson,
    /// An event that ends in the middle.
    Truncated,
    /// An event with Latin-1 in a field that nobody reads.
    NotUtf8,
    /// A compressed body.
    Gzip,
    /// A Confluent schema-registry prefix before the event.
    SchemaRegistryPrefix,
    /// A decision without `stepId`.
    MissingField,
    /// A step without `startedAt`.
    MissingStart,
    /// A decision with an outcome that does not exist.
    MisspeltOutcome,
    /// A run with a status that does not exist.
    UnknownStatus,
    /// A decision whose time is in epoch seconds.
    EpochSeconds,
    /// A decision whose score is a string.
    TextScore,
    /// A decision with both `stepId` and `step_id`.
    DoubledField,
    /// An object that is none of the three kinds.
    UnknownKind,
    /// A decision in a CloudEvents wrapper.
    CloudEvent,
    /// A bad decision in an array, next to a good event.
    BadElement,
}

impl Malformation {
    /// Every malformation.
    pub const ALL: [Malformation; 15] = [
        Malformation::BrokenJson,
        Malformation::MissingField,
        Malformation::BadElement,
        Malformation::NotUtf8,
        Malformation::MisspeltOutcome,
        Malformation::UnknownKind,
        Malformation::DoubledField,
        Malformation::EpochSeconds,
        Malformation::Truncated,
        Malformation::CloudEvent,
        Malformation::TextScore,
        Malformation::Gzip,
        Malformation::UnknownStatus,
        Malformation::SchemaRegistryPrefix,
        Malformation::MissingStart,
    ];

    /// A short name.
    pub fn as_str(self) -> &'static str {
        match self {
            Malformation::BrokenJson => "broken JSON",
            Malformation::Truncated => "truncated",
            Malformation::NotUtf8 => "not UTF-8",
            Malformation::Gzip => "gzip",
            Malformation::SchemaRegistryPrefix => "schema-registry prefix",
            Malformation::MissingField => "missing field",
            Malformation::MissingStart => "step without start",
            Malformation::MisspeltOutcome => "misspelt outcome",
            Malformation::UnknownStatus => "unknown status",
            Malformation::EpochSeconds => "epoch seconds",
            Malformation::TextScore => "score as text",
            Malformation::DoubledField => "doubled field",
            Malformation::UnknownKind => "unknown kind",
            Malformation::CloudEvent => "CloudEvents wrapper",
            Malformation::BadElement => "bad array element",
        }
    }

    /// The code of the dead letter it becomes, where nothing but the body tells the kind.
    pub fn code(self) -> Code {
        match self {
            Malformation::BrokenJson | Malformation::Truncated | Malformation::SchemaRegistryPrefix => Code::NotJson,
            Malformation::NotUtf8 | Malformation::Gzip => Code::NotUtf8,
            Malformation::MissingField | Malformation::MissingStart => Code::MissingField,
            Malformation::MisspeltOutcome
            | Malformation::UnknownStatus
            | Malformation::EpochSeconds
            | Malformation::TextScore
            | Malformation::BadElement => Code::BadField,
            Malformation::DoubledField => Code::DoubledField,
            Malformation::UnknownKind | Malformation::CloudEvent => Code::UnknownKind,
        }
    }

    /// A body of its own; of [`BadElement`](Self::BadElement), the element alone. Without newlines.
    pub(super) fn body(self, dice: &mut Dice) -> Vec<u8> {
        let mut decision = decision(dice);
        match self {
            Malformation::BrokenJson => {
                json(&decision).into_iter().map(|byte| if byte == b'"' { b'\'' } else { byte }).collect()
            }
            Malformation::Truncated => {
                let mut body = json(&decision);
                body.truncate(body.len() * 2 / 3);
                body
            }
            Malformation::NotUtf8 => {
                let mut body = json(&decision);
                body.pop();
                body.extend_from_slice(b",\"note\":\"caf\xe9\"}");
                body
            }
            Malformation::Gzip => {
                let mut body = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03".to_vec();
                body.extend((0..120).map(|_| dice.between(0x20..=0xff) as u8));
                body
            }
            Malformation::SchemaRegistryPrefix => {
                let mut body = b"\x00\x00\x00\x00\x2a".to_vec();
                body.extend(json(&decision));
                body
            }
            Malformation::MissingField => {
                decision.remove("stepId");
                json(&decision)
            }
            Malformation::MissingStart => {
                let step =
                    Members::new().text("id", &dice.uuid()).text("type", "filter").text("name", "filter_by_price");
                json(&step.json("completedAt", "null"))
            }
            Malformation::MisspeltOutcome => {
                decision.set("outcome", r#""elimnated""#);
                json(&decision)
            }
            Malformation::UnknownStatus => {
                let run = Members::new().text("id", &dice.uuid()).text("pipelineId", "product-search-v2");
                json(&run.text("status", "succeeded").json("startedAt", TIME))
            }
            Malformation::EpochSeconds => {
                decision.set("timestamp", 1_769_904_000);
                json(&decision)
            }
            Malformation::TextScore | Malformation::BadElement => {
                decision.set("score", r#""0.87""#);
                json(&decision)
            }
            Malformation::DoubledField => json(&decision.text("step_id", &dice.uuid())),
            Malformation::UnknownKind => {
                let ping = Members::new().text("event", "heartbeat").text("instance", &dice.uuid());
                json(&ping.json("sentAt", TIME))
            }
            Malformation::CloudEvent => json(
                &Members::new()
                    .text("specversion", "1.0")
                    .text("id", &dice.uuid())
                    .text("source", "/services/search")
                    .text("type", "com.example.xray.decision")
                    .text("datacontenttype", "application/json")
                    .object("data", decision),
            ),
        }
    }
}

impl fmt::Display for Malformation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

const TIME: &str = r#""2026-02-01T00:00:00.000Z""#;

/// A good decision of no run, in ASCII.
fn decision(dice: &mut Dice) -> Members {
    Members::new()
        .text("id", &dice.uuid())
        .text("stepId", &dice.uuid())
        .text("runId", &dice.uuid())
        .text("itemId", "B0C4X7Q2")
        .text("outcome", "kept")
        .json("score", "0.87")
        .json("timestamp", TIME)
        .text("reason", "price and stock are fine")
        .object("metadata", Members::new().json("inputCount", 40).json("outputCount", 17).text("stepType", "filter"))
}

fn json(members: &Members) -> Vec<u8> {
    let mut json = Vec::new();
    members.write(Spelling::CamelCase, &mut json);
    json
}
