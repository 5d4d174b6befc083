//! What may happen to bytes on their way.

use proptest::prelude::*;
use proptest::sample::{Index, select};

/// What parsers stumble over.
const TOKENS: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\"",
    b"\\",
    b" ",
    b"\n",
    b"\0",
    b"null",
    b"-",
    b"1e999",
    b"0",
    b"\xff",
    b"\xc3",
    b"\xef\xbb\xbf",
    b"\\u0000",
    b"\\ud800",
    b"\\u0069d",
    b"\"id\":",
    b"\"type\":\"run\",",
    b"\"data\":",
    b"{}",
    b"[]",
    b"\"\"",
    b"\"Type\":\"Notification\",",
    b"\x1f\x8b",
    b"[[[[[[[[[[[[[[[[",
];

#[derive(Debug, Clone)]
enum Damage {
    Byte(Index, u8),
    Insert(Index, &'static [u8]),
    Cut(Index, Index),
    Twice(Index, Index),
}

impl Damage {
    fn on(&self, bytes: &mut Vec<u8>) {
        let at = |index: &Index, bytes: &[u8]| index.index(bytes.len() + 1);
        let range = |a: &Index, b: &Index, bytes: &[u8]| {
            let (a, b) = (at(a, bytes), at(b, bytes));
            a.min(b)..a.max(b)
        };
        match self {
            Damage::Byte(index, byte) => {
                let at = at(index, bytes);
                bytes.get_mut(at).into_iter().for_each(|there| *there = *byte);
            }
            Damage::Insert(index, token) => {
                let at = at(index, bytes);
                bytes.splice(at..at, token.iter().copied());
            }
            Damage::Cut(a, b) => drop(bytes.drain(range(a, b, bytes))),
            Damage::Twice(a, b) => {
                let range = range(a, b, bytes);
                let (end, copy) = (range.end, bytes[range].to_vec());
                bytes.splice(end..end, copy);
            }
        }
    }
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<Index>;
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Damage::Byte(at, byte)),
        (at(), select(TOKENS)).prop_map(|(at, token)| Damage::Insert(at, token)),
        (at(), at()).prop_map(|(a, b)| Damage::Cut(a, b)),
        (at(), at()).prop_map(|(a, b)| Damage::Twice(a, b)),
    ]
}

/// As it is, half of the time; else with a few of these.
pub fn damaged(text: impl Strategy<Value = String>) -> impl Strategy<Value = Vec<u8>> {
    let few = prop_oneof![Just(Vec::new()), prop::collection::vec(damage(), 1..4)];
    (text, few).prop_map(|(text, damages)| {
        let mut bytes = text.into_bytes();
        damages.iter().for_each(|damage| damage.on(&mut bytes));
        bytes
    })
}
