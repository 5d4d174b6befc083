use crate::digest::Sha256;
use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign};

/// How much a row has seen: a 256-bit number, see the [module](super). Of two rows the greater version wins.
///
/// Displays as 64 lower-case hex digits, so that text order is number order.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version([u64; 4]); // most significant first, so that the derived order is that of numbers

impl Version {
    /// Nothing seen.
    pub const ZERO: Version = Version([0; 4]);
    /// What one link counts.
    pub const ONE: Version = Version([0, 0, 0, 1]);
    const MAX: Version = Version([u64::MAX; 4]);

    /// What one decision counts.
    pub fn of_decision(sha256: Sha256) -> Version {
        Version::from_parts(0, 0, sha256) + Version::ONE
    }

    /// The upper 160 bits, in hex, of the SHA-256 of the one decision that counts this; `None` for what no decision
    /// counts.
    pub fn decision_digest(self) -> Option<String> {
        let mut bytes = self.to_be_bytes();
        let mut borrow = true;
        for byte in bytes.iter_mut().rev() {
            (*byte, borrow) = byte.overflowing_sub(u8::from(borrow));
        }
        let (head, digest) = bytes.split_at(12);
        (!borrow && head.iter().all(|byte| *byte == 0)).then(|| hex::encode(digest))
    }

    /// `high << 204 | millis << 160 | upper 160 bits of the hash`. `millis` must fit in 44 bits; every
    /// [`Timestamp`](crate::event::Timestamp) does.
    pub(super) fn from_parts(high: u8, millis: u64, sha256: Sha256) -> Version {
        let mut bytes = [0; 32];
        // Bits 160 and up: the first 12 bytes.
        let head = u128::from(high) << 44 | u128::from(millis);
        bytes[..12].copy_from_slice(&head.to_be_bytes()[4..]);
        bytes[12..].copy_from_slice(&sha256.0[..20]);
        Version::from_be_bytes(bytes)
    }

    /// The number with these bytes, most significant first.
    pub fn from_be_bytes(bytes: [u8; 32]) -> Version {
        let (words, _) = bytes.as_chunks::<8>();
        let mut limbs = [0; 4];
        for (limb, word) in limbs.iter_mut().zip(words) {
            *limb = u64::from_be_bytes(*word);
        }
        Version(limbs)
    }

    /// Its bytes, most significant first.
    pub fn to_be_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (word, limb) in bytes.chunks_exact_mut(8).zip(self.0) {
            word.copy_from_slice(&limb.to_be_bytes());
        }
        bytes
    }

    /// Reads 64 hex digits; `None` for anything else.
    pub fn from_hex(text: &str) -> Option<Version> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Version::from_be_bytes(bytes))
    }
}

impl Add for Version {
    type Output = Version;

    /// Ends at the greatest number rather than start again at zero: a version must not fall.
    fn add(self, other: Version) -> Version {
        let mut sum = [0; 4];
        let mut carry = false;
        for i in (0..4).rev() {
            let (partial, first) = self.0[i].overflowing_add(other.0[i]);
            let (limb, second) = partial.overflowing_add(u64::from(carry));
            sum[i] = limb;
            carry = first || second;
        }
        if carry { Version::MAX } else { Version(sum) }
    }
}

impl AddAssign for Version {
    fn add_assign(&mut self, other: Version) {
        *self = *self + other;
    }
}

impl Sum for Version {
    fn sum<I: Iterator<Item = Version>>(versions: I) -> Version {
        versions.fold(Version::ZERO, Add::add)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.to_be_bytes()))
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
