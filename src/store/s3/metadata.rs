//! Which metadata an object gets.

use crate::object::Object;

/// The metadata of an object, without the prefix `x-amz-meta-`: its digest, and what of the rest survives as a header.
pub(super) fn metadata(object: &Object) -> impl Iterator<Item = (&'static str, String)> {
    let rest = object.metadata.iter().filter(|(_, value)| survives(value)).cloned();
    [("sha256", object.sha256.to_string())].into_iter().chain(rest)
}

/// Whether a value comes back as it was written. HTTP takes blanks at the ends for no part of a value, and for the
/// signature several blanks are one, about which servers disagree: an id with such is left out rather than changed.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>
fn survives(value: &str) -> bool {
    let printable = value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    printable && !value.is_empty() && !value.starts_with(' ') && !value.ends_with(' ') && !value.contains("  ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sha256;
    use bytes::Bytes;

    #[test]
    fn only_what_survives() {
        for value in ["a", "a b", "a/b?c=d&e%20", "\"quoted\", listed", "=?x?=", &"x".repeat(256)] {
            assert!(survives(value), "{value:?}");
        }
        for value in ["", " a", "a ", "a  b", "a\tb", "ü", "a\r\nx-amz-acl: public-read", "\u{7f}"] {
            assert!(!survives(value), "{value:?}");
        }
        let body = Bytes::from_static(b"{}");
        let names = vec![("event-id", "e 1".to_owned()), ("run-id", " r".to_owned())];
        let object = Object { key: "k".into(), sha256: Sha256::of(&body), body, metadata: names };
        let kept: Vec<_> = metadata(&object).collect();
        assert_eq!(kept, [("sha256", object.sha256.to_string()), ("event-id", "e 1".into())]);
    }
}
