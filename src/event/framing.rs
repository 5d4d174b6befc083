//! From a message body to its events: envelope, bare object or array.

use super::facts::{Decision, Fact, Outcome, RunReport, Status, StepReport};
use super::kind::Kind;
use super::members::{Field, Members, elements};
use super::reject::{Code, Rejection};
use super::values::{Reader, bad, free_count, free_id, missing, show, string};
use super::{Event, strangers};
use crate::digest::Sha256;
use bytes::Bytes;

/// One part of a body: an event, or what is none.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// An event with its exact slice of the body.
    Event(Event),
    /// What becomes a dead letter.
    Rejected(Rejected),
}

/// What is no event.
#[derive(Debug, Clone, PartialEq)]
pub struct Rejected {
    /// The untouched bytes: of the whole body, or of a bad element of an array.
    pub body: Bytes,
    /// The kind it was taken for, where that is known.
    pub kind: Option<Kind>,
    /// Why it is none.
    pub rejection: Rejection,
}

/// Takes a message body apart into its events and hands them over in order. `hint` is the kind of bare events that header
/// or source name.
///
/// Slices share the memory of `body`. Broken JSON or UTF-8 makes the whole body one rejected part; in an array that
/// parses, only the bad elements are rejected. An empty array has no parts. Never panics, and does not recurse, however
/// deep ignored fields are nested.
pub fn decode(body: &Bytes, hint: Option<Kind>, mut each: impl FnMut(Part)) {
    let mut framing = Framing { body, hint, each: &mut each };
    if let Err(rejection) = framing.body() {
        each(Part::Rejected(Rejected { body: body.clone(), kind: None, rejection }));
    }
}

/// White space as JSON has it.
const JSON_WHITE_SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

/// Parses bytes that are one event of a known kind, such as a raw object.
pub fn parse_event(kind: Kind, raw: &Bytes) -> Result<Event, Rejection> {
    let text = simdutf8::compat::from_utf8(raw).map_err(|error| strangers::not_utf8(raw, error.valid_up_to()))?;
    let members = Members::parse(text).map_err(|error| strangers::not_json(text, &error))?;
    event(kind, &members, raw.clone())
}

struct Framing<'a> {
    body: &'a Bytes,
    hint: Option<Kind>,
    each: &'a mut dyn FnMut(Part),
}

impl Framing<'_> {
    /// The whole body. `Err` rejects all of it; then nothing was handed over.
    fn body(&mut self) -> Result<(), Rejection> {
        let body = self.body;
        let text = simdutf8::compat::from_utf8(body)
            .map_err(|error| strangers::not_utf8(body, error.valid_up_to()))?
            .trim_matches(JSON_WHITE_SPACE);
        let broken = |error| strangers::not_json(text, &error);
        match text.bytes().next() {
            None => Err(Rejection::new(Code::Empty, "the body is empty")),
            // What elements parse to is valid JSON, so that after the first line nothing fails for its syntax.
            Some(b'[') => elements(text)
                .and_then(|found| found.into_iter().try_for_each(|element| self.object(element, self.slice(element))))
                .map_err(broken),
            Some(_) => self.object(text, body.clone()).map_err(broken),
        }
    }

    /// One bare event or envelope. What is wrong with it as a whole rejects `whole`.
    fn object(&mut self, text: &str, whole: Bytes) -> Result<(), serde_json::Error> {
        if !text.starts_with('{') {
            let found: &serde_json::value::RawValue = serde_json::from_str(text)?;
            let reason = format!("an event is a JSON object; found {}", show(found.get()));
            self.reject(whole, None, Rejection::new(Code::UnknownKind, reason));
            return Ok(());
        }
        let members = Members::parse(text)?;
        if let Some(kind) = envelope_kind(&members) {
            return self.envelope(kind, &members, whole);
        }
        match self.kind_of(&members) {
            Ok(kind) => self.event(kind, &members, text, whole),
            Err(rejection) => self.reject(whole, None, rejection),
        }
        Ok(())
    }

    fn envelope(&mut self, kind: Kind, members: &Members<'_>, whole: Bytes) -> Result<(), serde_json::Error> {
        let reader = Reader(members);
        let data = reader.raw(Field::Type).and_then(|_| reader.raw(Field::Data));
        match data.and_then(|data| data.ok_or_else(|| missing(Field::Data))) {
            Err(rejection) => self.reject(whole, Some(kind), rejection),
            Ok(data) if data.starts_with('[') => {
                for element in elements(data)? {
                    self.data(kind, element, self.slice(element))?;
                }
            }
            Ok(data) => self.data(kind, data, whole)?,
        }
        Ok(())
    }

    /// One event in an envelope.
    fn data(&mut self, kind: Kind, text: &str, whole: Bytes) -> Result<(), serde_json::Error> {
        if text.starts_with('{') {
            self.event(kind, &Members::parse(text)?, text, whole);
        } else {
            self.reject(whole, Some(kind), bad(Field::Data, "an event or an array of events", show(text)));
        }
        Ok(())
    }

    /// The kind of a bare event: header or source, else its shape.
    fn kind_of(&self, members: &Members<'_>) -> Result<Kind, Rejection> {
        if let Some(kind) = self.hint {
            return Ok(kind);
        }
        let both = |a, b| members.get(a).is_some() && members.get(b).is_some();
        let shapes = [
            (Kind::Decision, both(Field::Outcome, Field::ItemId)),
            (Kind::Run, both(Field::PipelineId, Field::Status)),
            (Kind::Step, both(Field::Type, Field::Name)),
        ];
        let mut matching = shapes.iter().filter(|(_, matches)| *matches).map(|(kind, _)| *kind);
        match (matching.next(), matching.next()) {
            (Some(kind), None) => Ok(kind),
            (Some(one), Some(other)) => {
                let reason = format!("has the shape of both a {one} and a {other}, and no `type` header says which");
                Err(Rejection::new(Code::UnknownKind, reason))
            }
            (None, _) => Err(strangers::unknown_kind(members)),
        }
    }

    fn event(&mut self, kind: Kind, members: &Members<'_>, text: &str, whole: Bytes) {
        match event(kind, members, self.slice(text)) {
            Ok(event) => (self.each)(Part::Event(event)),
            Err(rejection) => self.reject(whole, Some(kind), rejection),
        }
    }

    fn reject(&mut self, body: Bytes, kind: Option<Kind>, rejection: Rejection) {
        (self.each)(Part::Rejected(Rejected { body, kind, rejection }));
    }

    fn slice(&self, text: &str) -> Bytes {
        self.body.slice_ref(text.as_bytes())
    }
}

/// The kind an envelope names; `None` for what is no envelope.
fn envelope_kind(members: &Members<'_>) -> Option<Kind> {
    if members.get(Field::Id).is_some() || members.get(Field::Data).is_none() {
        return None;
    }
    kind_word(members)
}

/// The kind that its `type` is the word for.
pub(super) fn kind_word(members: &Members<'_>) -> Option<Kind> {
    members.get(Field::Type).and_then(|raw| Kind::from_word(&string(Field::Type, raw).ok()?))
}

fn event(kind: Kind, members: &Members<'_>, raw: Bytes) -> Result<Event, Rejection> {
    let fact = match kind {
        Kind::Decision => decision(members).map(Fact::Decision),
        Kind::Step => step(members).map(Fact::Step),
        Kind::Run => run(members).map(Fact::Run),
    };
    let fact = fact.map_err(|rejection| strangers::named(members, rejection))?;
    Ok(Event { sha256: Sha256::of(&raw), raw, fact })
}

/// The members of a free-form field, where it is an object.
fn free_form(raw: Option<&str>) -> Option<Members<'_>> {
    raw.and_then(|raw| Members::parse(raw).ok())
}

fn decision(members: &Members<'_>) -> Result<Decision, Rejection> {
    let read = Reader(members);
    let mut decision = Decision {
        event_id: read.id(Field::Id)?,
        step_id: read.id(Field::StepId)?,
        run_id: read.id(Field::RunId)?,
        outcome: read.word(Field::Outcome, &Outcome::ALL, Outcome::as_str)?,
        item_id: read.id(Field::ItemId)?,
        timestamp: read.time(Field::Timestamp)?,
        pipeline_id: read.optional_id(Field::PipelineId)?,
        score: read.optional_number(Field::Score)?,
        input_count: None,
        output_count: None,
    };
    if let Some(metadata) = free_form(read.raw(Field::Metadata)?) {
        decision.input_count = free_count(&metadata, Field::InputCount);
        decision.output_count = free_count(&metadata, Field::OutputCount);
        if decision.pipeline_id.is_empty() {
            decision.pipeline_id = free_id(&metadata, Field::PipelineId);
        }
    }
    Ok(decision)
}

fn step(members: &Members<'_>) -> Result<StepReport, Rejection> {
    let read = Reader(members);
    let config = free_form(read.raw(Field::Config)?);
    let count = |field| -> Result<Option<u64>, Rejection> {
        Ok(read.optional_count(field)?.or_else(|| free_count(config.as_ref()?, field)))
    };
    Ok(StepReport {
        step_id: read.id(Field::Id)?,
        step_type: read.text(Field::Type)?,
        step_name: read.text(Field::Name)?,
        started_at: read.time(Field::StartedAt)?,
        completed_at: read.optional_time(Field::CompletedAt)?,
        run_id: read.optional_id(Field::RunId)?,
        pipeline_id: read.optional_id(Field::PipelineId)?,
        input_count: count(Field::InputCount)?,
        output_count: count(Field::OutputCount)?,
    })
}

fn run(members: &Members<'_>) -> Result<RunReport, Rejection> {
    let read = Reader(members);
    Ok(RunReport {
        run_id: read.id(Field::Id)?,
        pipeline_id: read.id(Field::PipelineId)?,
        status: read.word(Field::Status, &Status::ALL, Status::as_str)?,
        started_at: read.time(Field::StartedAt)?,
        completed_at: read.optional_time(Field::CompletedAt)?,
        error: read.optional_text(Field::Error)?,
        metadata: read.raw(Field::Metadata)?.unwrap_or("{}").to_owned(),
    })
}
