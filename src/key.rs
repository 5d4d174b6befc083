//! Object keys: pure, one to one, safe for S3 and for a file system.

use crate::digest::Sha256;
use crate::event::{Kind, Timestamp};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// All but `A-Z a-z 0-9 - _ . ~`.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// An encoded id longer than this is named by its digest: S3 keys end at 1,024 bytes and file names at 255.
const MAX_SEGMENT: usize = 200;

/// The key of an event's raw object: `{kind}s/{yyyy}/{mm}/{dd}/{id}.json`, the date that of the event, in UTC.
pub fn event(kind: Kind, at: Timestamp, id: &str) -> String {
    format!("{}/{}/{}", kind.plural(), at.day_path(), file_name(id))
}

/// The key of a dead letter with this body.
pub fn dead_letter(body: Sha256) -> String {
    let name = body.to_string();
    format!("{}{name}.json", dead_letter_folder(&name))
}

/// Where the dead letters are whose digest begins like this.
pub fn dead_letter_folder(digest: &str) -> String {
    format!("dead-letters/{}/", digest.get(..2).unwrap_or_default())
}

/// The digest that names a dead letter, from its key; `None` for a key that is none of a dead letter's.
pub fn dead_letter_digest(key: &str) -> Option<Sha256> {
    let name = key.rsplit('/').next()?.strip_suffix(".json")?;
    let mut bytes = [0; 32];
    hex::decode_to_slice(name, &mut bytes).ok()?;
    Some(Sha256(bytes)).filter(|sha256| dead_letter(*sha256) == key)
}

/// The file name of an event's raw object.
pub fn file_name(id: &str) -> String {
    format!("{}.json", segment(id))
}

/// An id as one path segment. Never empty, `.`, `..`, longer than 200 bytes, or the same for two ids: what is only dots
/// is encoded whole, and `!`, which stands before a digest, is otherwise always encoded.
fn segment(id: &str) -> String {
    let encoded = if id.bytes().all(|b| b == b'.') {
        "%2E".repeat(id.len())
    } else {
        utf8_percent_encode(id, ENCODED).to_string()
    };
    if encoded.len() <= MAX_SEGMENT { encoded } else { format!("!{}", Sha256::of(id.as_bytes())) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use percent_encoding::percent_decode_str;
    use proptest::prelude::*;

    const NOON: &str = "2026/01/31";

    fn key_of(id: &str) -> String {
        event(Kind::Decision, Timestamp::from_millis(1_769_860_800_000).unwrap(), id)
    }

    #[test]
    fn documented_examples() {
        let uuid = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
        assert_eq!(key_of(uuid), format!("decisions/{NOON}/{uuid}.json"));
        assert_eq!(key_of("../../x"), format!("decisions/{NOON}/..%2F..%2Fx.json"));
        assert_eq!(key_of(".."), format!("decisions/{NOON}/%2E%2E.json"));
        assert_eq!(key_of("ü!%"), format!("decisions/{NOON}/%C3%BC%21%25.json"));
        assert_eq!(key_of(&"a".repeat(200)), format!("decisions/{NOON}/{}.json", "a".repeat(200)));
        assert_eq!(
            key_of(&"a".repeat(201)),
            format!("decisions/{NOON}/!{}.json", Sha256::of("a".repeat(201).as_bytes()))
        );
        assert_eq!(key_of(&"a".repeat(201)).len(), "decisions/2026/01/31/!.json".len() + 64);
    }

    proptest! {
        #[test]
        fn segments_are_safe_and_one_to_one(id in "\\PC{1,300}", other in "\\PC{1,300}") {
            let name = segment(&id);
            prop_assert!(!name.is_empty() && name.len() <= MAX_SEGMENT);
            prop_assert!(name.bytes().any(|b| b != b'.'));
            prop_assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.~%!".contains(&b)));
            match name.strip_prefix('!') {
                Some(digest) => prop_assert_eq!(digest.len(), 64),
                None => prop_assert_eq!(percent_decode_str(&name).decode_utf8_lossy(), id.as_str()),
            }
            prop_assert_eq!(name == segment(&other), id == other);
        }
    }
}
