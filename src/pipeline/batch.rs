//! What travels through the stages: deliveries, taken apart once.

use super::Limits;
use super::delivery::{Cut, Delivery, Message, Settlement, Stored};
use crate::budget::Hold;
use crate::dead_letter::DeadLetter;
use crate::digest::Sha256;
use crate::event::{Code, Kind, Part, Rejected, Rejection, decode};
use crate::object::Record;
use crate::store::{StoreError, Touched};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use std::sync::Arc;

/// A group of deliveries on its way through the stages.
#[derive(Debug)]
pub(super) struct Batch<R>(pub(super) Vec<InFlight<R>>);

/// A delivery on its way: what settles it, and the work it makes.
#[derive(Debug)]
pub(super) struct InFlight<R> {
    pub(super) receipt: R,
    pub(super) hold: Hold,
    pub(super) work: Work,
}

impl<R> InFlight<R> {
    /// Takes a delivery apart.
    pub(super) fn open(delivery: Delivery<R>, hold: Hold, limits: Limits) -> Self {
        InFlight { receipt: delivery.receipt, hold, work: Work::new(delivery.message, limits) }
    }

    /// Proof that it is stored. Only the last stage calls this.
    pub(super) fn into_stored(self) -> Stored<R> {
        Stored::new(self.receipt, self.work.settlement, self.work.enqueued_at, self.hold)
    }
}

impl<R> Batch<R> {
    /// Several batches as one, so that they are written together.
    pub(super) fn merge(batches: Vec<Batch<R>>) -> Batch<R> {
        Batch(batches.into_iter().flat_map(|batch| batch.0).collect())
    }
}

/// What has to become durable before one message may be acked. Without its receipt: stages cannot settle it.
#[derive(Debug)]
pub(super) struct Work {
    /// The events, with their index in the body.
    pub(super) records: Vec<(u64, Arc<Record>)>,
    /// What is no event; [`Objects`](super::objects) also takes these.
    pub(super) letters: Vec<Arc<DeadLetter>>,
    pub(super) settlement: Settlement,
    pub(super) enqueued_at: Option<DateTime<Utc>>,
    envelope: Envelope,
}

/// What a dead letter says of the message it came in.
#[derive(Debug, Clone)]
struct Envelope {
    source: String,
    deliveries: u32,
    seen: DateTime<Utc>,
}

impl Work {
    /// Decodes a message.
    pub(super) fn new(message: Message, limits: Limits) -> Self {
        let envelope =
            Envelope { source: message.origin.to_string(), deliveries: message.deliveries, seen: Utc::now() };
        let mut work = Work {
            records: Vec::new(),
            letters: Vec::new(),
            settlement: Settlement::default(),
            enqueued_at: message.enqueued_at,
            envelope,
        };
        if let Some(cut) = over_limit(&message, limits.max_event_bytes) {
            let reason =
                format!("the body has {} bytes; MAX_EVENT_BYTES is {}", cut.full_bytes, limits.max_event_bytes);
            let kept = message.body.len().min(limits.max_event_bytes);
            let rejection = Rejection::new(Code::TooLarge, reason);
            work.letters.push(Arc::new(work.envelope.letter(
                message.body.slice(..kept),
                cut,
                message.hint,
                rejection.clone(),
            )));
            work.settlement.reject(0, &rejection);
            return work;
        }
        for (index, part) in (0..).zip(decode(&message.body, message.hint)) {
            match part {
                Part::Event(event) => work.records.push((index, Arc::new(Record::new(event)))),
                Part::Rejected(rejected) => work.reject(index, rejected),
            }
        }
        work.settlement.stored = work.records.len() as u64;
        work
    }

    fn reject(&mut self, index: u64, Rejected { body, kind, rejection }: Rejected) {
        self.settlement.reject(index, &rejection);
        let whole = Cut { full_bytes: body.len() as u64, sha256: Sha256::of(&body) };
        self.letters.push(Arc::new(self.envelope.letter(body, whole, kind, rejection)));
    }

    /// The dead letter of one of its events.
    pub(super) fn letter(&self, record: &Record, rejection: Rejection) -> DeadLetter {
        let event = &record.event;
        let whole = Cut { full_bytes: event.raw.len() as u64, sha256: event.sha256 };
        self.envelope.letter(event.raw.clone(), whole, Some(event.kind()), rejection)
    }

    /// Takes out the event that `store` refuses for good, and returns its dead letter.
    pub(super) fn refuse(&mut self, record: &Arc<Record>, error: &StoreError) -> Option<Arc<DeadLetter>> {
        let at = self.records.iter().position(|(_, mine)| Arc::ptr_eq(mine, record))?;
        let (index, record) = self.records.remove(at);
        let rejection = Rejection::new(Code::StoreRefused, format!("{} refused it: {}", error.store, error.chain()));
        let letter = Arc::new(self.letter(&record, rejection));
        self.settlement.stored -= 1;
        self.settlement.reject(index, &letter.rejection);
        Some(letter)
    }
}

impl Envelope {
    fn letter(&self, body: Bytes, whole: Cut, kind: Option<Kind>, rejection: Rejection) -> DeadLetter {
        DeadLetter {
            rejection,
            source: self.source.clone(),
            kind,
            first_seen: self.seen,
            deliveries: self.deliveries,
            body,
            full_bytes: whole.full_bytes,
            sha256: whole.sha256,
        }
    }
}

/// What is known of all of a body that is too large; `None` for one that is not.
fn over_limit(message: &Message, max: usize) -> Option<Cut> {
    message.cut.or_else(|| {
        let body = &message.body;
        (body.len() > max).then(|| Cut { full_bytes: body.len() as u64, sha256: Sha256::of(body) })
    })
}

/// The entities that these events say something about.
pub(super) fn touched(records: &[Arc<Record>]) -> Touched {
    use crate::event::Fact;
    let mut touched = Touched::default();
    for record in records {
        match &record.event.fact {
            Fact::Decision(decision) => touched.steps.insert(decision.step_id.clone()),
            Fact::Step(report) => touched.steps.insert(report.step_id.clone()),
            Fact::Run(report) => touched.runs.insert(report.run_id.clone()),
        };
    }
    touched
}
