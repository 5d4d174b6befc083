//! The words between queues and the pipeline: what was delivered, and the proof that it was stored.

use crate::budget::Hold;
use crate::digest::Sha256;
use crate::event::{Kind, Rejection};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use std::fmt;
use std::sync::Arc;

/// A message as a queue delivered it.
#[derive(Debug, Clone)]
pub struct Message {
    /// The whole body, or its beginning where [`cut`](Self::cut) is set.
    pub body: Bytes,
    /// Set where the source did not keep all of a body that was over `MAX_EVENT_BYTES`.
    pub cut: Option<Cut>,
    /// What header and source tell about its kind, see [`kind_hint`](crate::event::kind_hint).
    pub hint: Option<Kind>,
    /// Where it came from.
    pub origin: Origin,
    /// How often it has been delivered, this time included; 1 where the broker cannot tell.
    pub deliveries: u32,
    /// When the broker took it.
    pub enqueued_at: Option<DateTime<Utc>>,
}

/// What is known of a body that was not kept whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Its full length, in bytes.
    pub full_bytes: u64,
    /// SHA-256 of all of it.
    pub sha256: Sha256,
}

/// Where a message came from: the queue, topic, subject or file, and the place in it where there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The name.
    pub name: Arc<str>,
    /// A line number, an offset.
    pub position: Option<u64>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            Some(position) => write!(f, "{}:{position}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// A message and what its queue needs to settle it.
///
/// Dropping it, at any point, must end in redelivery and never in an ack: that is the queue's duty (see
/// [`QueueBackend`](crate::queue::QueueBackend)).
#[derive(Debug)]
#[must_use]
pub struct Delivery<R> {
    /// What was delivered.
    pub message: Message,
    /// How to settle it.
    pub receipt: R,
}

/// A receipt whose message is durable: objects, rows and derived rows, or its dead letters.
///
/// Only the pipeline can make one, and [`QueueBackend::ack`](crate::queue::QueueBackend::ack) takes nothing else, so no
/// other code can ack what was not stored.
#[derive(Debug)]
#[must_use]
pub struct Stored<R> {
    receipt: R,
    settlement: Settlement,
    enqueued_at: Option<DateTime<Utc>>,
    /// Frees the message's share of the budget when the ack is done.
    hold: Hold,
}

impl<R> Stored<R> {
    pub(super) fn new(receipt: R, settlement: Settlement, enqueued_at: Option<DateTime<Utc>>, hold: Hold) -> Self {
        Stored { receipt, settlement, enqueued_at, hold }
    }

    /// When the broker took the message.
    pub fn enqueued_at(&self) -> Option<DateTime<Utc>> {
        self.enqueued_at
    }

    /// What became of the message.
    pub fn settlement(&self) -> &Settlement {
        &self.settlement
    }

    /// The receipt, to ack with; what became of the message; and its hold, to drop once the ack is done.
    pub fn into_parts(self) -> (R, Settlement, Hold) {
        (self.receipt, self.settlement, self.hold)
    }

    /// The receipts of these, in order, and their holds, to drop once the ack is done.
    pub fn split(stored: Vec<Stored<R>>) -> (Vec<R>, Vec<Hold>) {
        stored.into_iter().map(|stored| (stored.receipt, stored.hold)).unzip()
    }
}

/// What became of a stored message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settlement {
    /// How many events of it are stored, conflicts included.
    pub stored: u64,
    /// What in it was no event, each with its dead letter; the first [`MAX_LISTED`](Self::MAX_LISTED) of them.
    pub rejected: Vec<RejectedPart>,
    /// How many there are in all.
    pub rejected_total: u64,
}

impl Settlement {
    /// How many rejected parts are listed: a large array of nonsense must not become a larger list of reasons.
    pub const MAX_LISTED: usize = 1000;

    pub(super) fn reject(&mut self, index: u64, rejection: &Rejection) {
        self.rejected_total += 1;
        if self.rejected.len() < Self::MAX_LISTED {
            self.rejected.push(RejectedPart { index, rejection: rejection.clone() });
        }
    }
}

/// A part of a message that was no event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedPart {
    /// Which event of the body, counted from 0.
    pub index: u64,
    /// Why.
    pub rejection: Rejection,
}
