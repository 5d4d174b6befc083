//! From message bodies to the set of events and dead letters in them.

use std::collections::BTreeMap;

use super::events::{Code, Decision, Fields, RunReport, StepReport};
use super::{DeadLetter, Input, json, key};

/// The set of what arrived: events by their bytes, dead letters by the SHA-256 of their body.
#[derive(Default)]
pub struct Facts {
    pub decisions: BTreeMap<String, Decision>,
    pub steps: BTreeMap<String, StepReport>,
    pub runs: BTreeMap<String, RunReport>,
    pub dead_letters: BTreeMap<String, DeadLetter>,
}

impl Facts {
    pub fn add_dead_letter(&mut self, code: Code, body: &[u8]) {
        self.add_cut_dead_letter(code, body, body.len());
    }

    fn add_cut_dead_letter(&mut self, code: Code, body: &[u8], kept: usize) {
        let sha256 = key::sha256_hex(body);
        let key = key::dead_letter_key(&sha256);
        self.dead_letters.entry(sha256).or_insert(DeadLetter {
            code: code.to_owned(),
            body: body[..kept].to_vec(),
            key,
        });
    }
}

pub fn read(input: Input<'_>, max_event_bytes: usize, facts: &mut Facts) {
    let Input { body, hint } = input;
    if body.len() > max_event_bytes {
        return facts.add_cut_dead_letter("too_large", body, max_event_bytes);
    }
    if body.iter().all(|byte| b" \t\r\n".contains(byte)) {
        return facts.add_dead_letter("empty", body);
    }
    let Ok(text) = str::from_utf8(body) else { return facts.add_dead_letter("not_utf8", body) };
    let Some(value) = json::document(text) else { return facts.add_dead_letter("not_json", body) };
    let hint = hint.and_then(kind_of_word);
    if json::is_array(value) {
        for element in json::elements(value) {
            read_framed(element, hint, element.as_bytes(), facts);
        }
    } else {
        read_framed(value, hint, body, facts);
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Decision,
    Step,
    Run,
}

fn kind_of_word(word: &str) -> Option<Kind> {
    match word {
        "decision" | "decisions" => Some(Kind::Decision),
        "step" | "steps" => Some(Kind::Step),
        "run" | "runs" => Some(Kind::Run),
        _ => None,
    }
}

/// Reads a value that is bare or an envelope. `whole` is what becomes a dead letter if it is neither.
fn read_framed(value: &str, hint: Option<Kind>, whole: &[u8], facts: &mut Facts) {
    if !json::is_object(value) {
        return facts.add_dead_letter("unknown_kind", whole);
    }
    let fields = Fields::of(value);
    match envelope(&fields) {
        Err(code) => facts.add_dead_letter(code, whole),
        Ok(Some((kind, data))) if json::is_array(data) => {
            for element in json::elements(data) {
                read_event(element, kind, element.as_bytes(), facts);
            }
        }
        Ok(Some((kind, data))) => read_event(data, kind, whole, facts),
        Ok(None) => match hint.or_else(|| kind_of_shape(&fields)) {
            Some(kind) => read_event(value, kind, whole, facts),
            None => facts.add_dead_letter("unknown_kind", whole),
        },
    }
}

fn envelope<'a>(fields: &Fields<'a>) -> Result<Option<(Kind, &'a str)>, Code> {
    if fields.has("id") {
        return Ok(None);
    }
    let kind = fields.single("type")?.and_then(json::string).and_then(|word| kind_of_word(&word));
    Ok(kind.zip(fields.single("data")?))
}

fn kind_of_shape(fields: &Fields<'_>) -> Option<Kind> {
    let matches = [
        (fields.has("outcome") && fields.has("itemId"), Kind::Decision),
        (fields.has("pipelineId") && fields.has("status"), Kind::Run),
        (fields.has("type") && fields.has("name"), Kind::Step),
    ];
    let mut kinds = matches.into_iter().filter_map(|(matches, kind)| matches.then_some(kind));
    kinds.next().filter(|_| kinds.next().is_none())
}

fn read_event(slice: &str, kind: Kind, whole: &[u8], facts: &mut Facts) {
    if !json::is_object(slice) {
        return facts.add_dead_letter("bad_field", whole);
    }
    let bytes = slice.to_owned();
    let rejected = match kind {
        Kind::Decision => Decision::read(slice).map(|event| drop(facts.decisions.insert(bytes, event))),
        Kind::Step => StepReport::read(slice).map(|report| drop(facts.steps.insert(bytes, report))),
        Kind::Run => RunReport::read(slice).map(|report| drop(facts.runs.insert(bytes, report))),
    };
    if let Err(code) = rejected {
        facts.add_dead_letter(code, whole);
    }
}
