use std::fmt;

/// Why something is a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)] // the names are the documented codes
pub enum Code {
    Empty,
    NotJson,
    NotUtf8,
    TooLarge,
    UnknownKind,
    MissingField,
    BadField,
    DoubledField,
    Conflict,
    StoreRefused,
}

impl Code {
    /// Every code, in the order of the documentation.
    pub const ALL: [Code; 10] = [
        Code::Empty,
        Code::NotJson,
        Code::NotUtf8,
        Code::TooLarge,
        Code::UnknownKind,
        Code::MissingField,
        Code::BadField,
        Code::DoubledField,
        Code::Conflict,
        Code::StoreRefused,
    ];

    /// The code as it stands in objects, rows, metrics and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::Empty => "empty",
            Code::NotJson => "not_json",
            Code::NotUtf8 => "not_utf8",
            Code::TooLarge => "too_large",
            Code::UnknownKind => "unknown_kind",
            Code::MissingField => "missing_field",
            Code::BadField => "bad_field",
            Code::DoubledField => "doubled_field",
            Code::Conflict => "conflict",
            Code::StoreRefused => "store_refused",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A code and the sentence for the person who reads it: names the field and what was found, never the whole payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Which of the documented reasons.
    pub code: Code,
    /// One sentence, at most a few hundred bytes.
    pub reason: String,
}

impl Rejection {
    /// A rejection with its sentence.
    pub fn new(code: Code, reason: impl Into<String>) -> Self {
        Rejection { code, reason: reason.into() }
    }
}
