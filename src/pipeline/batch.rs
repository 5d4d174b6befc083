//! What travels through the stages: deliveries, taken apart once.

use super::Limits;
use super::delivery::{Cut, Delivery, Message, Origin, Settlement, Stored};
use crate::budget::Hold;
use crate::dead_letter::DeadLetter;
use crate::digest::Sha256;
use crate::event::{Code, Event, Kind, Part, Rejected, Rejection, decode};
use crate::health::Failing;
use crate::metrics::InHeavyLane;
use crate::object::Record;
use crate::store::StoreError;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many dead letters of its own one body may make: a few megabytes of `[1,2,3,…]` must not become a million files.
pub(super) const MAX_LETTERS: usize = 10_000;

/// A group of deliveries on its way through the stages.
#[derive(Debug)]
pub(super) struct Batch<R>(pub(super) Vec<InFlight<R>>);

/// A delivery on its way: what settles it, and the work it makes.
#[derive(Debug)]
pub(super) struct InFlight<R> {
    pub(super) receipt: R,
    pub(super) hold: Hold,
    pub(super) work: Work,
    /// While it is in the lane of heavy keys.
    pub(super) heavy: Option<InHeavyLane>,
}

impl<R> InFlight<R> {
    /// Takes a delivery apart.
    pub(super) fn open(delivery: Delivery<R>, mut hold: Hold, limits: Limits) -> Self {
        let work = Work::new(delivery.message, limits);
        hold.grow(work.records.len() + work.letters.len(), work.oldest_event());
        InFlight { receipt: delivery.receipt, hold, work, heavy: None }
    }

    /// Proof that it is stored. Only the last stage calls this.
    pub(super) fn into_stored(self) -> Stored<R> {
        Stored::new(self.receipt, self.work.settlement, self.work.enqueued_at, self.hold)
    }
}

/// What has to become durable before one message may be acked. Without its receipt: stages cannot settle it.
#[derive(Debug)]
pub(super) struct Work {
    /// The events, with their index in the body.
    pub(super) records: Vec<(u64, Arc<Record>)>,
    /// The dead letters that are not durable yet, by the digest of their bytes: the same bytes again are the same dead
    /// letter.
    pub(super) letters: BTreeMap<Sha256, Arc<DeadLetter>>,
    /// Whether it has to stay behind when its group goes on.
    pub(super) wait: Wait,
    /// How many events of which kind were in it, or were meant to be.
    pub(super) received: Received,
    pub(super) settlement: Settlement,
    pub(super) enqueued_at: Option<DateTime<Utc>>,
    envelope: Envelope,
}

/// Whether a store refuses a part of a message, so that it has to wait for another try while its neighbours go on.
#[derive(Debug, Clone, Default)]
pub(super) enum Wait {
    #[default]
    No,
    /// It does.
    Refused,
    /// It does, and others like it too: it is down for as long as this is there.
    Down(#[expect(dead_code, reason = "what counts is when it is dropped")] Arc<Failing>),
}

impl Wait {
    /// The stronger of both.
    pub(super) fn or(&mut self, other: Wait) {
        if matches!((&self, &other), (Wait::No, _) | (Wait::Refused, Wait::Down(_))) {
            *self = other;
        }
    }

    pub(super) fn is_no(&self) -> bool {
        matches!(self, Wait::No)
    }
}

/// How many events of each kind, and of none that could be told.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Received([u64; Kind::ALL.len() + 1]);

impl Received {
    const KINDS: [Option<Kind>; Kind::ALL.len() + 1] = [None, Some(Kind::Decision), Some(Kind::Step), Some(Kind::Run)];

    pub(super) fn add(&mut self, kind: Option<Kind>, events: u64) {
        let slots = Self::KINDS.iter().zip(&mut self.0);
        slots.filter(|(other, _)| **other == kind).for_each(|(_, slot)| *slot += events);
    }

    /// Those of which there are any.
    pub(super) fn counts(&self) -> impl Iterator<Item = (Option<Kind>, u64)> {
        Self::KINDS.into_iter().zip(self.0).filter(|(_, events)| *events > 0)
    }
}

/// What a dead letter says of the message it came in.
#[derive(Debug, Clone)]
struct Envelope {
    source: Origin,
    deliveries: u32,
    seen: DateTime<Utc>,
}

impl Work {
    /// When the oldest of its events happened, in milliseconds.
    fn oldest_event(&self) -> Option<i64> {
        self.records.iter().map(|(_, record)| record.event.fact.at().millis()).min()
    }

    /// Decodes a message.
    pub(super) fn new(message: Message, limits: Limits) -> Self {
        let envelope = Envelope { source: message.origin.clone(), deliveries: message.deliveries, seen: Utc::now() };
        let mut work = Work {
            records: Vec::new(),
            letters: BTreeMap::new(),
            wait: Wait::No,
            received: Received::default(),
            settlement: Settlement::default(),
            enqueued_at: message.enqueued_at,
            envelope,
        };
        if let Some(cut) = over_limit(&message, limits.max_event_bytes) {
            let reason =
                format!("the body has {} bytes; MAX_EVENT_BYTES is {}", cut.full_bytes, limits.max_event_bytes);
            let kept = message.body.len().min(limits.max_event_bytes);
            let body = message.body.slice(..kept);
            work.reject(
                0,
                cut,
                Rejected { body, kind: message.hint, rejection: Rejection::new(Code::TooLarge, reason) },
            );
            return work;
        }
        let mut index = 0;
        decode(&message.body, message.hint, |part| {
            match part {
                Part::Event(event) => work.accept(index, event),
                Part::Rejected(rejected) => work.reject_part(index, rejected, &message),
            }
            index += 1;
        });
        work
    }

    fn accept(&mut self, index: u64, event: Event) {
        self.received.add(Some(event.kind()), 1);
        self.settlement.stored += 1;
        self.records.push((index, Arc::new(Record::new(event))));
    }

    /// Beyond [`MAX_LETTERS`] the whole body becomes one more dead letter, in place of one for each further part.
    fn reject_part(&mut self, index: u64, rejected: Rejected, message: &Message) {
        let whole = whole(&rejected.body);
        if self.letters.len() < MAX_LETTERS || self.letters.contains_key(&whole.sha256) {
            return self.reject(index, whole, rejected);
        }
        self.note(index, rejected.kind, &rejected.rejection);
        if self.letters.len() == MAX_LETTERS {
            let Rejected { kind, rejection: Rejection { code, reason }, .. } = rejected;
            let reason = format!("more than {MAX_LETTERS} parts of this body are no events, among them this: {reason}");
            let letter = self.envelope.letter(
                message.body.clone(),
                self::whole(&message.body),
                kind,
                Rejection::new(code, reason),
            );
            self.letters.insert(letter.sha256, Arc::new(letter));
        }
    }

    fn reject(&mut self, index: u64, whole: Cut, Rejected { body, kind, rejection }: Rejected) {
        self.note(index, kind, &rejection);
        let letter = || Arc::new(self.envelope.letter(body, whole, kind, rejection));
        self.letters.entry(whole.sha256).or_insert_with(letter);
    }

    fn note(&mut self, index: u64, kind: Option<Kind>, rejection: &Rejection) {
        self.received.add(kind, 1);
        self.settlement.reject(index, rejection);
    }

    /// One of its events becomes a dead letter, which has to be durable before the message is.
    pub(super) fn bury(&mut self, record: &Record, rejection: Rejection) {
        let Event { raw, sha256, .. } = &record.event;
        let whole = Cut { full_bytes: raw.len() as u64, sha256: *sha256 };
        let letter = self.envelope.letter(raw.clone(), whole, Some(record.event.kind()), rejection);
        self.letters.insert(letter.sha256, Arc::new(letter));
    }

    /// Takes out the events that a store refuses for good, with its error each; they become dead letters. The events
    /// are offered with their place, in order.
    pub(super) fn refuse<'e>(&mut self, mut why: impl FnMut(usize, &Record) -> Option<&'e StoreError>) {
        let records = std::mem::take(&mut self.records);
        for (at, (index, record)) in records.into_iter().enumerate() {
            let Some(error) = why(at, &record) else {
                self.records.push((index, record));
                continue;
            };
            let reason = format!("{} refused it: {}", error.store, error.chain());
            let rejection = Rejection::new(Code::StoreRefused, reason);
            self.settlement.stored -= 1;
            self.settlement.reject(index, &rejection);
            self.bury(&record, rejection);
        }
    }
}

impl Envelope {
    fn letter(&self, body: Bytes, whole: Cut, kind: Option<Kind>, rejection: Rejection) -> DeadLetter {
        DeadLetter {
            rejection,
            source: self.source.to_string(),
            kind,
            first_seen: self.seen,
            deliveries: self.deliveries,
            body,
            full_bytes: whole.full_bytes,
            sha256: whole.sha256,
        }
    }
}

/// What a body is known by that was kept whole.
fn whole(body: &Bytes) -> Cut {
    Cut { full_bytes: body.len() as u64, sha256: Sha256::of(body) }
}

/// What is known of all of a body that is too large; `None` for one that is not.
fn over_limit(message: &Message, max: usize) -> Option<Cut> {
    message.cut.or_else(|| {
        let body = &message.body;
        (body.len() > max).then(|| whole(body))
    })
}
