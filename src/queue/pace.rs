//! How long to wait before the next try.

use crate::jitter::jitter;
use std::time::{Duration, Instant};

const SHORTEST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(5);
/// What held for so long begins anew.
const STEADY: Duration = Duration::from_secs(10);

/// Pauses that double, with jitter.
#[derive(Debug, Default)]
pub(super) struct Pace {
    last: Option<(Instant, Duration)>,
}

impl Pace {
    /// The pause now.
    pub(super) fn next(&mut self) -> Duration {
        let now = Instant::now();
        let pause = match self.last {
            Some((since, last)) if now - since < STEADY + last => (last * 2).min(LONGEST),
            _ => SHORTEST,
        };
        self.last = Some((now, pause));
        jitter(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound() {
        let mut pace = Pace::default();
        let pauses: Vec<_> = (0..8).map(|_| pace.next()).collect();
        assert!(pauses[0] <= SHORTEST && pauses[0] >= SHORTEST / 2);
        assert!(pauses[7] <= LONGEST && pauses[7] >= LONGEST / 2);
    }
}
