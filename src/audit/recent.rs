//! What is too recent to be judged. Pure.

use chrono::{DateTime, TimeDelta, Utc};
use std::time::Duration;

/// So far may clocks be apart, and so long a store may take for what is on its way.
pub const MARGIN: TimeDelta = TimeDelta::minutes(10);

/// A time around now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recent {
    /// After this.
    pub since: DateTime<Utc>,
    /// And not after this: a clock may be ahead, but what is further ahead was written by no clock.
    pub until: DateTime<Utc>,
}

impl Recent {
    /// What is not older than this, nor further ahead; of no time at all, nothing.
    pub fn of(min_age: Duration) -> Recent {
        let (now, age) = (Utc::now(), TimeDelta::from_std(min_age).unwrap_or_default());
        let (since, until) = (now.checked_sub_signed(age), now.checked_add_signed(age));
        Recent { since: since.unwrap_or(DateTime::<Utc>::MIN_UTC), until: until.unwrap_or(DateTime::<Utc>::MAX_UTC) }
    }

    /// Whether this is.
    pub fn has(&self, at: DateTime<Utc>) -> bool {
        self.since < at && at <= self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn around_now() {
        let (now, hours) = (Utc::now(), TimeDelta::hours);
        let recent = Recent::of(Duration::from_secs(7200));
        let has = [-3, -1, 0, 1, 3].map(|ahead| recent.has(now + hours(ahead)));
        assert_eq!(has, [false, true, true, true, false]);
        let none = Recent::of(Duration::ZERO);
        assert!(![-1, 0, 1].iter().any(|ahead| none.has(none.since + hours(*ahead))));
    }
}
