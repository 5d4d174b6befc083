use std::error::Error;
use std::fmt;

/// Everything that is wrong with a configuration, one line each, by the names the user typed. No line holds the value of
/// a secret.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(Vec<String>);

impl Problems {
    /// The lines.
    pub fn lines(&self) -> &[String] {
        &self.0
    }

    /// One more: what it is about, and what is wrong with it.
    pub(super) fn add(&mut self, name: &str, what: impl fmt::Display) {
        self.0.push(format!("{name}: {what}"));
    }

    /// `Ok` where there are none.
    pub(super) fn none_or<T>(self, value: T) -> Result<T, Problems> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl Error for Problems {}
