//! What arrives: the three kinds of events, and how a message body becomes them.
//!
//! Pure code without I/O. [`decode`] is the only way from bytes to an [`Event`]; what is no event
//! comes out as [`Rejected`], with a code and a sentence, and never as a panic.

mod facts;
mod framing;
mod kind;
mod members;
mod reject;
mod sns;
mod strangers;
mod timestamp;
mod values;

pub use facts::{Decision, Fact, Outcome, RunReport, Status, StepReport};
pub use framing::{Part, Rejected, decode, parse_event};
pub use kind::{Kind, kind_hint};
pub use reject::{Code, Rejection};
pub use sns::{Notification, unwrap_sns};
pub use timestamp::Timestamp;

use crate::digest::Sha256;
use bytes::Bytes;

/// One event: its exact bytes and what the tables need of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The bytes from its `{` to the matching `}`, as they came. A slice of the message body, not a copy.
    pub raw: Bytes,
    /// SHA-256 of [`raw`](Self::raw).
    pub sha256: Sha256,
    /// What it says.
    pub fact: Fact,
}

impl Event {
    /// Which of the three kinds it is.
    pub fn kind(&self) -> Kind {
        match self.fact {
            Fact::Decision(_) => Kind::Decision,
            Fact::Step(_) => Kind::Step,
            Fact::Run(_) => Kind::Run,
        }
    }
}
