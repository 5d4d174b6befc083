//! The habits of the SDKs that send events.

use super::members::Spelling;
use chrono::{DateTime, FixedOffset, SecondsFormat, Utc};

#[derive(Debug)]
pub(super) struct Sdk {
    /// As it names itself in the metadata of runs.
    pub(super) name: &'static str,
    pub(super) spelling: Spelling,
    pub(super) clock: Clock,
    /// Where its decisions say which pipeline they belong to.
    pub(super) pipeline: PipelineId,
    /// Whether its steps count items in fields of their own rather than in `config`.
    pub(super) count_fields: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PipelineId {
    Field,
    Metadata,
    Absent,
}

/// How times are written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Clock {
    /// `2026-01-31T23:59:59.123Z`
    Utc,
    /// `2026-02-01T05:29:59.123+05:30`: minutes east of Greenwich.
    Local(i32),
    /// `2026-01-31T23:59:59.123000`, meant as UTC.
    WithoutOffset,
    /// Milliseconds since the epoch.
    EpochMillis,
}

/// One of them sends most of the traffic.
pub(super) static SDKS: [&Sdk; 6] = [&TYPESCRIPT, &TYPESCRIPT, &TYPESCRIPT, &PYTHON, &GO, &JAVA];

static TYPESCRIPT: Sdk = Sdk {
    name: "xray-ts/1.4.2",
    spelling: Spelling::CamelCase,
    clock: Clock::Utc,
    pipeline: PipelineId::Metadata,
    count_fields: false,
};
static PYTHON: Sdk = Sdk {
    name: "xray-python/0.9.1",
    spelling: Spelling::SnakeCase,
    clock: Clock::WithoutOffset,
    pipeline: PipelineId::Absent,
    count_fields: false,
};
static GO: Sdk = Sdk {
    name: "xray-go/0.3.0",
    spelling: Spelling::CamelCase,
    clock: Clock::Local(330),
    pipeline: PipelineId::Field,
    count_fields: true,
};
static JAVA: Sdk = Sdk {
    name: "xray-java/2.0.0",
    spelling: Spelling::CamelCase,
    clock: Clock::EpochMillis,
    pipeline: PipelineId::Metadata,
    count_fields: true,
};

impl Clock {
    /// The JSON of a time.
    pub(super) fn json(self, millis: i64) -> String {
        let at = DateTime::<Utc>::from_timestamp_millis(millis).unwrap_or_default();
        match self {
            Clock::Utc => format!("\"{}\"", at.to_rfc3339_opts(SecondsFormat::Millis, true)),
            Clock::Local(minutes) => match FixedOffset::east_opt(minutes * 60) {
                Some(zone) => format!("\"{}\"", at.with_timezone(&zone).to_rfc3339_opts(SecondsFormat::Millis, false)),
                None => Clock::Utc.json(millis),
            },
            Clock::WithoutOffset => format!("\"{}\"", at.format("%Y-%m-%dT%H:%M:%S%.6f")),
            Clock::EpochMillis => millis.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_time_in_every_spelling() {
        let at = |clock: Clock| clock.json(1_769_903_999_123);
        assert_eq!(at(Clock::Utc), r#""2026-01-31T23:59:59.123Z""#);
        assert_eq!(at(Clock::Local(330)), r#""2026-02-01T05:29:59.123+05:30""#);
        assert_eq!(at(Clock::Local(-300)), r#""2026-01-31T18:59:59.123-05:00""#);
        assert_eq!(at(Clock::WithoutOffset), r#""2026-01-31T23:59:59.123000""#);
        assert_eq!(at(Clock::EpochMillis), "1769903999123");
    }
}
