//! All chance of a plan, from its seed.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::ops::RangeInclusive;

/// What the dice are thrown for. Each has a stream of its own, so that the same seed gives the same runs whatever else
/// is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    Script,
    Faults,
    Framing,
    Order,
    Padding,
}

#[derive(Debug)]
pub(super) struct Dice(ChaCha8Rng);

impl Dice {
    pub(super) fn new(seed: u64, purpose: Purpose) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(purpose as u64);
        Dice(rng)
    }

    /// Whether something happens that happens in this share of the cases.
    pub(super) fn chance(&mut self, share: f64) -> bool {
        self.0.random::<f64>() < share
    }

    /// Uniform; the start of a range that is empty.
    pub(super) fn between(&mut self, range: RangeInclusive<u64>) -> u64 {
        if range.is_empty() { *range.start() } else { self.0.random_range(range) }
    }

    /// One of a list that must not be empty.
    pub(super) fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.0.random_range(0..list.len() as u64) as usize]
    }

    /// A version 4 UUID.
    pub(super) fn uuid(&mut self) -> String {
        let (high, low) = self.0.random::<(u64, u64)>();
        let (third, fourth) = (high & 0xfff | 0x4000, low >> 48 & 0x3fff | 0x8000);
        format!(
            "{:08x}-{:04x}-{third:04x}-{fourth:04x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            low & 0xffff_ffff_ffff
        )
    }
}
