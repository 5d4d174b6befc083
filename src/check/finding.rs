use crate::span::span;
use chrono::{DateTime, Utc};
use serde::Serialize;
use std::time::Duration;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works, and could be better.
    Warn,
    /// It does not work, or loses something.
    Fail,
}

impl Level {
    /// As it is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Ok => "ok",
            Level::Warn => "warn",
            Level::Fail => "fail",
        }
    }
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What it is about: `settings`, `s3`, `kafka`.
    pub subject: &'static str,
    /// What was found.
    pub text: String,
    /// What to do, where that is not said already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// What was found about one subject, in the order in which it was looked at.
#[derive(Debug, Clone)]
pub struct Findings {
    subject: &'static str,
    all: Vec<Finding>,
}

impl Findings {
    /// None yet.
    pub fn about(subject: &'static str) -> Self {
        Findings { subject, all: Vec::new() }
    }

    /// All is well with this.
    pub fn ok(&mut self, text: impl Into<String>) {
        self.add(Level::Ok, text.into(), None);
    }

    /// It works, and there is something to do.
    pub fn warn(&mut self, text: impl Into<String>, advice: impl Into<String>) {
        self.add(Level::Warn, text.into(), Some(advice.into()));
    }

    /// It does not work; the text itself says what to do.
    pub fn fail(&mut self, text: impl Into<String>) {
        self.add(Level::Fail, text.into(), None);
    }

    /// It does not work, and this is what to do.
    pub fn fail_with(&mut self, text: impl Into<String>, advice: impl Into<String>) {
        self.add(Level::Fail, text.into(), Some(advice.into()));
    }

    fn add(&mut self, level: Level, text: String, advice: Option<String>) {
        self.all.push(Finding { level, subject: self.subject, text, advice });
    }

    /// One after the other.
    pub fn into_all(self) -> Vec<Finding> {
        self.all
    }

    /// Holds the clock of a server against ours, which were looked at not further apart than `within`.
    pub fn clock(&mut self, theirs: DateTime<Utc>, ours: DateTime<Utc>, within: Duration) {
        let skew = (theirs - ours).as_seconds_f64();
        let text = match skew {
            _ if near(theirs, ours, within) => return self.ok("its clock and ours agree"),
            0.0.. => format!("its clock is {} ahead of ours", span(skew)),
            _ => format!("its clock is {} behind ours", span(-skew)),
        };
        self.warn(
            text,
            "set both by NTP: S3 refuses signatures that are 15 min off, and times of arrival are measured by it",
        );
    }
}

/// Whether two clocks say the same, as far as that can be seen.
fn near(theirs: DateTime<Utc>, ours: DateTime<Utc>, within: Duration) -> bool {
    (theirs - ours).abs().to_std().is_ok_and(|apart| apart <= within)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks() {
        let now = Utc::now();
        let said = |theirs: DateTime<Utc>| {
            let mut found = Findings::about("x");
            found.clock(theirs, now, Duration::from_secs(5));
            let finding = found.into_all().remove(0);
            (finding.level, finding.text)
        };
        assert_eq!(said(now - Duration::from_secs(4)).0, Level::Ok);
        assert_eq!(said(now + Duration::from_secs(1200)), (Level::Warn, "its clock is 20 min ahead of ours".into()));
        assert_eq!(said(now - Duration::from_secs(60)), (Level::Warn, "its clock is 60 s behind ours".into()));
    }
}
