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

/// Takes a message body apart into its events, in order. `hint` is the kind of bare events that header or source name.
///
/// Slices of the result share the memory of `body`. Broken JSON or UTF-8 makes the whole body one rejected part; in an
/// array that parses, only the bad elements are rejected. An empty array has no parts. Never panics, and does not
/// recurse, however deep ignored fields are nested.
pub fn decode(body: &Bytes, hint: Option<Kind>) -> Vec<Part> {
    let reject = |kind, rejection| vec![Part::Rejected(Rejected { body: body.clone(), kind, rejection })];
    let text = match simdutf8::compat::from_utf8(body) {
        Ok(text) => text.trim_matches(JSON_WHITE_SPACE),
        Err(error) => return reject(None, strangers::not_utf8(body, error.valid_up_to())),
    };
    let framing = Framing { body, hint };
    let parts = match text.bytes().next() {
        None => return reject(None, Rejection::new(Code::Empty, "the body is empty")),
        Some(b'[') => elements(text).map(|elements| {
            let mut parts = Vec::with_capacity(elements.len());
            for element in elements {
                // Elements are valid JSON, so nothing here fails for its syntax.
                match framing.object(element, element) {
                    Ok(mut found) => parts.append(&mut found),
                    Err(error) => parts.push(framing.rejected(element, None, strangers::not_json(text, &error))),
                }
            }
            parts
        }),
        Some(_) => framing.object(text, text).map(|mut parts| {
            // The dead letter of a body that is one event is the body, white space included.
            if let [Part::Rejected(rejected)] = parts.as_mut_slice()
                && rejected.body.len() == text.len()
            {
                rejected.body = body.clone();
            }
            parts
        }),
    };
    parts.unwrap_or_else(|error| reject(None, strangers::not_json(text, &error)))
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
}

impl Framing<'_> {
    /// One bare event or envelope. What is wrong with it as a whole rejects `whole`.
    fn object(&self, text: &str, whole: &str) -> Result<Vec<Part>, serde_json::Error> {
        if !text.starts_with('{') {
            let found: &serde_json::value::RawValue = serde_json::from_str(text)?;
            let reason = format!("an event is a JSON object; found {}", show(found.get()));
            return Ok(vec![self.rejected(whole, None, Rejection::new(Code::UnknownKind, reason))]);
        }
        let members = Members::parse(text)?;
        if let Some(kind) = envelope_kind(&members) {
            return self.envelope(kind, &members, whole);
        }
        Ok(vec![match self.kind_of(&members) {
            Ok(kind) => self.event(kind, &members, text, whole),
            Err(rejection) => self.rejected(whole, None, rejection),
        }])
    }

    fn envelope(&self, kind: Kind, members: &Members<'_>, whole: &str) -> Result<Vec<Part>, serde_json::Error> {
        let reader = Reader(members);
        let data = match reader.raw(Field::Type).and_then(|_| reader.raw(Field::Data)) {
            Ok(Some(data)) => data,
            Ok(None) => return Ok(vec![self.rejected(whole, Some(kind), missing(Field::Data))]),
            Err(rejection) => return Ok(vec![self.rejected(whole, Some(kind), rejection)]),
        };
        let one = |text: &str, whole: &str| -> Result<Part, serde_json::Error> {
            if !text.starts_with('{') {
                let rejection = bad(Field::Data, "an event or an array of events", show(text));
                return Ok(self.rejected(whole, Some(kind), rejection));
            }
            Ok(self.event(kind, &Members::parse(text)?, text, whole))
        };
        if data.starts_with('[') {
            elements(data)?.into_iter().map(|element| one(element, element)).collect()
        } else {
            Ok(vec![one(data, whole)?])
        }
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

    fn event(&self, kind: Kind, members: &Members<'_>, text: &str, whole: &str) -> Part {
        match event(kind, members, self.slice(text)) {
            Ok(event) => Part::Event(event),
            Err(rejection) => self.rejected(whole, Some(kind), rejection),
        }
    }

    fn rejected(&self, whole: &str, kind: Option<Kind>, rejection: Rejection) -> Part {
        Part::Rejected(Rejected { body: self.slice(whole), kind, rejection })
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
