use crate::span::span;
use chrono::{DateTime, Utc};
use serde::Serialize;
use std::time::Duration;
use tokio::time::timeout;

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
    asking: String,
}

impl Findings {
    /// None yet.
    pub fn about(subject: &'static str) -> Self {
        Findings { subject, all: Vec::new(), asking: String::new() }
    }

    /// Asks all questions, for no longer than `limit`: a server may take a connection and never say a word.
    pub async fn within(&mut self, limit: Duration, questions: impl AsyncFnOnce(&mut Self)) {
        if timeout(limit, questions(self)).await.is_err() {
            let (asking, limit) = (&self.asking, span(limit.as_secs_f64()));
            self.fail_with(
                format!("no answer within {limit} in all; the last question was {asking}"),
                "look at whether it hangs, and at what is in between; what comes after that question was not looked at",
            );
        }
    }

    /// This is the next question.
    pub fn ask(&mut self, question: impl Into<String>) {
        self.asking = question.into();
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

    #[tokio::test(start_paused = true)]
    async fn who_never_answers_is_not_waited_for() {
        let mut found = Findings::about("x");
        found
            .within(Duration::from_secs(10), async |found| {
                found.ok("it lets us in");
                found.ask("how it is");
                std::future::pending().await
            })
            .await;
        let [first, last] = &found.into_all()[..] else { panic!() };
        assert_eq!((first.level, last.level), (Level::Ok, Level::Fail));
        assert_eq!(last.text, "no answer within 10 s in all; the last question was how it is");
    }

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
