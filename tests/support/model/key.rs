//! The keys of the objects.

use chrono::DateTime;
use sha2::{Digest, Sha256};

pub fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// `folder` is `decisions`, `steps` or `runs`; `millis` the event's own time.
pub fn object_key(folder: &str, millis: i64, id: &str) -> String {
    let day = DateTime::from_timestamp_millis(millis).unwrap().format("%Y/%m/%d");
    format!("{folder}/{day}/{}.json", encoded(id))
}

/// `sha256` is that of the body.
pub fn dead_letter_key(sha256: &str) -> String {
    format!("dead-letters/{}/{sha256}.json", &sha256[..2])
}

fn encoded(id: &str) -> String {
    let only_dots = id.bytes().all(|byte| byte == b'.');
    let mut encoded = String::new();
    for byte in id.bytes() {
        let plain = byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
        if plain && !only_dots {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    if encoded.len() > 200 { format!("!{}", sha256_hex(id.as_bytes())) } else { encoded }
}
