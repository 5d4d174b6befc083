use crate::causes::chain;
use std::error::Error;
use std::fmt;

/// What the caller of a store should do about a failure. Decided once, where the driver's error is at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Time cures it: retry with backoff, for ever.
    Transient,
    /// This item is refused and would be again: separate it from its neighbours.
    Item,
    /// We are refused, whatever the item: wrong rights, missing table, full disk. Stop writing and say so; someone has
    /// to repair it, then the retry succeeds.
    Us,
    /// What stands there is not ours, or is newer than this program: to write into it would do harm. At the start this
    /// ends the worker; later it is like [`Us`](Self::Us).
    Foreign,
}

impl Class {
    /// Lower-case name, for logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Class::Transient => "transient",
            Class::Item => "item",
            Class::Us => "us",
            Class::Foreign => "foreign",
        }
    }
}

/// A failed call of a store: what failed, on what, what to do about it. The cause is the [`source`](Error::source) and
/// not repeated in the text; use [`chain`](Self::chain) for one line with everything.
#[derive(Debug)]
pub struct StoreError {
    /// Which store: a metric label, e.g. `objects` or `database`.
    pub store: &'static str,
    /// How to react.
    pub class: Class,
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl StoreError {
    /// An error whose `message` says what failed on what, and if possible what to do.
    pub fn new(store: &'static str, class: Class, message: impl Into<String>) -> Self {
        StoreError { store, class, message: message.into(), source: None }
    }

    /// The same with its cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same once more, for another element of its group; the causes become part of the message.
    #[must_use]
    pub fn again(&self) -> Self {
        StoreError::new(self.store, self.class, self.chain())
    }

    /// The message and all causes, in one line.
    pub fn chain(&self) -> String {
        chain(self)
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}
