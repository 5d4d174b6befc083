//! Sentences for bodies that are no events, naming well-known strangers.

use super::framing::kind_word;
use super::members::{Field, Members};
use super::reject::{Code, Rejection};
use super::values::show;

/// Formats that arrive by mistake, told by how they begin.
const MAGIC: &[(&[u8], &str)] = &[
    (b"\x1f\x8b", "gzip data: send it uncompressed"),
    (b"\x28\xb5\x2f\xfd", "zstd data: send it uncompressed"),
    (b"\x04\x22\x4d\x18", "LZ4 data: send it uncompressed"),
    (b"\xff\xfe", "UTF-16 text: send UTF-8"),
    (b"\xfe\xff", "UTF-16 text: send UTF-8"),
    (b"\xef\xbb\xbf", "a byte order mark: send plain UTF-8 without one"),
    (b"\xc3\x01", "an Avro record: send JSON"),
    (b"<", "XML or HTML: send JSON"),
];

fn stranger(body: &[u8]) -> Option<String> {
    if let [0, a, b, c, d, _, ..] = *body {
        let id = u32::from_be_bytes([a, b, c, d]);
        return Some(format!("a Confluent schema-registry prefix (schema id {id}): send plain JSON without it"));
    }
    MAGIC.iter().find(|(magic, _)| body.starts_with(magic)).map(|(_, name)| (*name).to_owned())
}

pub(super) fn not_utf8(body: &[u8], valid_up_to: usize) -> Rejection {
    Rejection::new(
        Code::NotUtf8,
        match stranger(body) {
            Some(name) => format!("the body starts like {name}"),
            None => format!("the body is not UTF-8: byte {valid_up_to} of {} is the first wrong one", body.len()),
        },
    )
}

pub(super) fn not_json(text: &str, error: &serde_json::Error) -> Rejection {
    Rejection::new(
        Code::NotJson,
        match stranger(text.as_bytes()) {
            Some(name) => format!("the body starts like {name}"),
            None => format!("the body is not JSON: {error}"),
        },
    )
}

pub(super) fn unknown_kind(members: &Members<'_>) -> Rejection {
    const SHAPES: &str = "neither header nor source says what it is, and it has not the shape of a decision \
        (`outcome`, `itemId`), a run (`pipelineId`, `status`) or a step (`type`, `name`)";
    let wrapped =
        members.get(Field::Type).filter(|_| members.get(Field::Data).is_some() && members.get(Field::Id).is_none());
    let reason = match wrapped {
        Some(word) => format!("an envelope of type {}: expected decision(s), step(s) or run(s)", show(word)),
        None if members.get(Field::Id).is_none() && kind_word(members).is_some() => {
            "with such a `type` and no `id` it looks like an envelope, but its field `data` is missing or null"
                .to_owned()
        }
        None => SHAPES.to_owned(),
    };
    named(members, Rejection::new(Code::UnknownKind, reason))
}

/// Adds to the sentence what the object is, where that can be told.
pub(super) fn named(members: &Members<'_>, mut rejection: Rejection) -> Rejection {
    if members.get(Field::SpecVersion).is_some() {
        rejection.reason.push_str("; it is a CloudEvents wrapper: send its data alone");
    }
    rejection
}
