use std::fmt;

/// The three kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// What happened to one item in one step.
    Decision,
    /// A report of one stage of a run.
    Step,
    /// A report of one execution of a pipeline.
    Run,
}

impl Kind {
    /// Every kind, in the order they are listed to people.
    pub const ALL: [Kind; 3] = [Kind::Decision, Kind::Step, Kind::Run];

    /// The kind named by `word`, singular or plural; `None` for any other word.
    pub fn from_word(word: &str) -> Option<Kind> {
        match word {
            "decision" | "decisions" => Some(Kind::Decision),
            "step" | "steps" => Some(Kind::Step),
            "run" | "runs" => Some(Kind::Run),
            _ => None,
        }
    }

    /// The singular name: `decision`, `step`, `run`.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Decision => "decision",
            Kind::Step => "step",
            Kind::Run => "run",
        }
    }

    /// The plural, which is also the first segment of an object key.
    pub fn plural(self) -> &'static str {
        match self {
            Kind::Decision => "decisions",
            Kind::Step => "steps",
            Kind::Run => "runs",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a message tells about the kind of its bare events before anyone looks inside: its own `type` header (an
/// unknown one is ignored), else the last word of the queue, topic or subject it came from.
///
/// A `.fifo` suffix (SQS) is taken off first; words are split at `.`, `-` and `_`.
pub fn kind_hint(header: Option<&str>, source: &str) -> Option<Kind> {
    header.and_then(Kind::from_word).or_else(|| {
        let name = source.strip_suffix(".fifo").unwrap_or(source);
        name.rsplit(['.', '-', '_']).next().and_then(Kind::from_word)
    })
}
