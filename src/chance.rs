//! Failures that may be chance: a server under load refuses some of what it is asked, and takes the rest. That is no outage.

use crate::store::Class;
use std::time::Duration;
use tokio::time::Instant;

/// So many in a row are none yet.
const IN_A_ROW: u32 = 2;
/// But nobody fails by chance for so long.
const LONG: Duration = Duration::from_secs(10);

/// The failures in a row of one piece of work.
#[derive(Debug, Default)]
pub(crate) struct Chance {
    in_a_row: u32,
    since: Option<Instant>,
}

impl Chance {
    /// All that was asked for at this moment has failed. Whether that may be chance.
    pub(crate) fn failed(&mut self, class: Class, asked: Instant) -> bool {
        self.in_a_row += 1;
        let since = *self.since.get_or_insert(asked);
        class == Class::Transient && self.in_a_row <= IN_A_ROW && since.elapsed() < LONG
    }

    /// A part of what was asked for has failed, and the others not. Whether that may be chance.
    pub(crate) fn failed_in_part(&mut self, class: Class) -> bool {
        *self = Chance::default();
        class == Class::Transient
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_third_in_a_row_is_none() {
        let (mut chance, now) = (Chance::default(), Instant::now());
        assert!(chance.failed(Class::Transient, now) && chance.failed(Class::Transient, now));
        assert!(!chance.failed(Class::Transient, now));
        assert!(chance.failed_in_part(Class::Transient), "it takes others");
        assert!(chance.failed(Class::Transient, now));
        assert!(!chance.failed(Class::Us, now), "nothing else cures that");
    }

    #[tokio::test(start_paused = true)]
    async fn nor_is_silence() {
        let (mut chance, asked) = (Chance::default(), Instant::now());
        tokio::time::advance(LONG).await;
        assert!(!chance.failed(Class::Transient, asked));
    }
}
