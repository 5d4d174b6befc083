//! How much is asked for at a time, and what has come of it.

use super::terms::Terms;
use crate::budget::weight;
use async_nats::jetstream::consumer::pull::BatchConfig;
use std::time::Duration;

/// So long the server keeps a request that it has no messages for. Nothing is out at most so long after one stops asking:
/// only then can what is held be given back without getting it again.
const EXPIRES: Duration = Duration::from_secs(1);

/// What the inbox has room for: at most, and what is in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Space {
    pub(super) bound: (usize, usize),
    pub(super) held: (usize, usize),
}

/// What to ask for now; `None`: there is enough. A message that is larger than what one asks for is never given, so one is
/// asked for `alone`, whatever its size, once all others are gone.
pub(super) fn next(space: Space, terms: &Terms, alone: bool) -> Option<BatchConfig> {
    let Space { bound, held } = space;
    if alone {
        return (held.0 == 0).then(|| request(1, 0, terms));
    }
    // By halves, so that a request is worth its while, and is back before the rest is worked off.
    if held.0 * 2 > bound.0 || held.1 * 2 > bound.1 {
        return None;
    }
    let (messages, bytes) = (bound.0 - held.0, bound.1 - held.1);
    // The server counts bytes without what we add for each message.
    let batch = messages.min(bytes / 2 / weight(0)).min(terms.batch).max(1);
    let bytes = bytes.saturating_sub(batch * weight(0)).min(terms.bytes).max(1);
    Some(request(batch, bytes, terms))
}

fn request(batch: usize, max_bytes: usize, terms: &Terms) -> BatchConfig {
    BatchConfig { batch, max_bytes, expires: Some(EXPIRES.min(terms.expires)), ..BatchConfig::default() }
}

/// What a message without a body means, that came in answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    /// No more comes of it, and all is well.
    Done,
    /// The next message is larger than what was asked for.
    TooLarge,
    /// Nothing yet.
    Goes,
    /// The consumer is not what it was, or not where it was.
    Changed,
    /// It is refused, in the server's words.
    Refused(String),
}

impl Ending {
    pub(super) fn of(status: u16, words: &str) -> Ending {
        let lower = words.to_lowercase();
        let says = |part: &str| lower.contains(part);
        match status {
            100 => Ending::Goes,
            404 | 408 => Ending::Done,
            409 if says("exceeds maxbytes") => Ending::TooLarge,
            409 if says("batch completed") => Ending::Done,
            409 if says("deleted") || says("leadership") || says("shutdown") => Ending::Changed,
            503 => Ending::Changed,
            _ => Ending::Refused(format!("{status} {words}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn terms(batch: usize, bytes: usize) -> Terms {
        let (lease, expires) = (Duration::from_secs(30), Duration::MAX);
        Terms { lease, batch, bytes, expires, remarks: Vec::new() }
    }

    proptest! {
        #[test]
        fn never_more_than_fits(
            bound in (1_usize..3000, 1_usize..20_000_000), held in (0_usize..4000, 0_usize..30_000_000),
            limit in (1_usize..5000, 1_usize..10_000_000),
        ) {
            let terms = terms(limit.0, limit.1);
            if let Some(next) = next(Space { bound, held }, &terms, false) {
                prop_assert!(next.batch >= 1 && next.batch <= limit.0 && next.batch + held.0 <= bound.0.max(1));
                prop_assert!(next.max_bytes >= 1 && next.max_bytes <= limit.1);
                // Less than the bound, but where that is less than a message takes.
                prop_assert!(held.1 + next.max_bytes + (next.batch - 1) * weight(0) <= bound.1);
            }
        }

        #[test]
        fn an_empty_inbox_asks(bound in (1_usize..3000, 1_usize..20_000_000), alone in any::<bool>()) {
            let next = next(Space { bound, held: (0, 0) }, &terms(usize::MAX, usize::MAX), alone);
            prop_assert!(next.is_some());
        }
    }

    #[test]
    fn one_that_is_too_large_waits_for_all_others() {
        let (bound, terms) = ((10, 10_000), terms(100, 100));
        assert_eq!(next(Space { bound, held: (1, 1) }, &terms, true), None);
        let asked = next(Space { bound, held: (0, 0) }, &terms, true).unwrap();
        assert_eq!((asked.batch, asked.max_bytes), (1, 0), "0 is without a limit");
    }

    #[test]
    fn what_servers_say() {
        assert_eq!(Ending::of(408, "Request Timeout"), Ending::Done);
        assert_eq!(Ending::of(409, "Message Size Exceeds MaxBytes"), Ending::TooLarge);
        assert_eq!(Ending::of(409, "Batch Completed"), Ending::Done);
        assert_eq!(Ending::of(100, "Idle Heartbeat"), Ending::Goes);
        for words in ["Consumer Deleted", "Leadership Change", "Server Shutdown"] {
            assert_eq!(Ending::of(409, words), Ending::Changed);
        }
        assert_eq!(Ending::of(503, ""), Ending::Changed);
        assert_eq!(Ending::of(409, "Exceeded MaxWaiting"), Ending::Refused("409 Exceeded MaxWaiting".into()));
        assert_eq!(Ending::of(400, "Bad Request"), Ending::Refused("400 Bad Request".into()));
    }
}
