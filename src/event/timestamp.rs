use chrono::{DateTime, Datelike, NaiveDateTime, SecondsFormat, Utc};
use std::fmt;

/// A point in time, in whole milliseconds since the Unix epoch, from 2000-01-01 to 2261-12-31 UTC.
///
/// Displays as ISO 8601 in UTC with milliseconds, `2026-01-31T23:59:59.123Z`: fixed width, so text order is time order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 2000-01-01T00:00:00.000Z.
    pub const MIN: Timestamp = Timestamp(946_684_800_000);
    /// 2261-12-31T23:59:59.999Z.
    pub const MAX: Timestamp = Timestamp(9_214_646_399_999);

    /// The time `millis` after the epoch, if it lies in the accepted range.
    pub fn from_millis(millis: i64) -> Option<Timestamp> {
        (Self::MIN.0..=Self::MAX.0).contains(&millis).then_some(Timestamp(millis))
    }

    /// Milliseconds since the Unix epoch.
    pub fn millis(self) -> i64 {
        self.0
    }

    /// Reads an RFC 3339 string; without an offset it counts as UTC. What is finer than a millisecond is cut off.
    /// The value is not checked against the accepted range.
    pub(super) fn parse_millis(text: &str) -> Option<i64> {
        // chrono takes a few spellings that RFC 3339 does not; the first 20 bytes pin its layout.
        let bytes = text.as_bytes();
        let separators = [(4, b"-"), (7, b"-"), (13, b":"), (16, b":")];
        let laid_out = bytes.len() >= 19
            && bytes[..19].iter().enumerate().all(|(i, b)| match separators.iter().find(|(at, _)| *at == i) {
                Some((_, separator)) => *b == separator[0],
                None if i == 10 => matches!(b, b'T' | b't'),
                None => b.is_ascii_digit(),
            });
        if !laid_out {
            return None;
        }
        let with_offset = DateTime::parse_from_rfc3339(text).map(|t| t.timestamp_millis());
        with_offset
            .or_else(|_| {
                NaiveDateTime::parse_from_str(&text.replacen('t', "T", 1), "%Y-%m-%dT%H:%M:%S%.f")
                    .map(|t| t.and_utc().timestamp_millis())
            })
            .ok()
    }

    fn datetime(self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.0).unwrap_or_default()
    }

    /// Year and month in UTC as one number, `202601`.
    pub fn month(self) -> u32 {
        let date = self.datetime().date_naive();
        date.year().unsigned_abs() * 100 + date.month()
    }

    /// `2026-01-31`, in UTC.
    pub fn day(self) -> String {
        self.datetime().format("%Y-%m-%d").to_string()
    }

    /// `2026/01/31`, in UTC: the date part of an object key.
    pub fn day_path(self) -> String {
        self.datetime().format("%Y/%m/%d").to_string()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.datetime().to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_and_spelling() {
        assert_eq!(Timestamp::MIN.to_string(), "2000-01-01T00:00:00.000Z");
        assert_eq!(Timestamp::MAX.to_string(), "2261-12-31T23:59:59.999Z");
        assert_eq!(Timestamp::MAX.day_path(), "2261/12/31");
        assert_eq!(Timestamp::from_millis(1_700_000_000), None, "epoch seconds fall below the range");
    }

    #[test]
    fn rfc3339() {
        let at = |text| Timestamp::parse_millis(text);
        let noon = at("2026-01-31T12:00:00Z");
        assert!(noon.is_some());
        assert_eq!(at("2026-01-31T12:00:00"), noon, "no offset counts as UTC");
        assert_eq!(at("2026-01-31T12:00:00.000"), noon);
        assert_eq!(at("2026-01-31t12:00:00z"), noon);
        assert_eq!(at("2026-01-31T13:30:00+01:30"), noon);
        assert_eq!(at("2026-01-31T12:00:00.0009Z"), noon, "cut off, not rounded");
        assert_eq!(at("2026-01-31T12:00:00.123456789"), noon.map(|t| t + 123));
        for bad in [
            "",
            "2026-01-31",
            "2026-01-31T12:00",
            "2026-02-30T12:00:00Z",
            "+2026-01-31T12:00:00Z",
            "now",
            "2026-1-31T12:00:00Z",
            "2026-01-31T12:00:00 Z",
            "2026-01-31 12:00:00Z",
            "2026-01-31T25:00:00Z",
            "2026-01-31T12:00:00.Z",
            "１０26-01-31T12:00:00Z",
        ] {
            assert_eq!(at(bad), None, "{bad:?}");
        }
    }
}
