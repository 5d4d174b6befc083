//! Lines from events: bare, in envelopes, several in an array.

use super::dice::{Dice, Purpose};
use super::events::Event;
use super::faults::Outgoing;
use super::plan::Plan;
use bytes::Bytes;

const MAX_BATCH: u64 = 20;

/// One line of NDJSON.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) body: Bytes,
    /// How many well-formed events are in it.
    pub(super) events: u64,
}

impl Line {
    pub(super) fn malformed(body: Vec<u8>) -> Self {
        Line { body: body.into(), events: 0 }
    }

    /// An array of a good event and something else.
    pub(super) fn array_of(event: &Event, other: &[u8]) -> Self {
        let mut body = b"[".to_vec();
        event.write(&mut body);
        body.push(b',');
        body.extend_from_slice(other);
        body.push(b']');
        Line { body: body.into(), events: 1 }
    }
}

#[derive(Debug)]
pub(super) struct Framing {
    dice: Dice,
}

impl Framing {
    pub(super) fn new(plan: &Plan) -> Self {
        Framing { dice: Dice::new(plan.seed, Purpose::Framing) }
    }

    /// Packs what is to be sent into lines; the order stays.
    pub(super) fn pack(&mut self, plan: &Plan, outgoing: Vec<Outgoing>) -> Vec<Line> {
        let mut lines = Vec::with_capacity(outgoing.len());
        let mut outgoing = outgoing.into_iter().peekable();
        while let Some(next) = outgoing.next() {
            let event = match next {
                Outgoing::Line(line) => {
                    lines.push(line);
                    continue;
                }
                Outgoing::Event(event) => event,
            };
            if !self.dice.chance(plan.batched) {
                lines.push(self.single(plan, &event));
                continue;
            }
            let size = self.dice.between(2..=MAX_BATCH) as usize;
            let mut batch = vec![event];
            while batch.len() < size
                && let Some(Outgoing::Event(event)) = outgoing.next_if(|next| matches!(next, Outgoing::Event(_)))
            {
                batch.push(event);
            }
            lines.push(self.batch(&batch));
        }
        lines
    }

    fn single(&mut self, plan: &Plan, event: &Event) -> Line {
        let mut body = Vec::with_capacity(512);
        if self.dice.chance(plan.enveloped) {
            body.extend_from_slice(format!(r#"{{"messageId":"{}","#, self.dice.uuid()).as_bytes());
            write_type_and_data(event, &mut body);
            body.push(b'}');
        } else {
            event.write(&mut body);
        }
        Line { body: body.into(), events: 1 }
    }

    /// Events of one kind go as a bare array or in one envelope; of several, each in an envelope of its own.
    fn batch(&mut self, events: &[Event]) -> Line {
        let mut body = Vec::with_capacity(512 * events.len());
        if events.windows(2).any(|pair| pair[0].kind != pair[1].kind) {
            write_array(events, &mut body, |event, body| {
                body.push(b'{');
                write_type_and_data(event, body);
                body.push(b'}');
            });
        } else if let Some(first) = events.first()
            && self.dice.chance(0.5)
        {
            body.extend_from_slice(format!(r#"{{"type":"{}","data":"#, first.kind.plural()).as_bytes());
            write_array(events, &mut body, Event::write);
            body.push(b'}');
        } else {
            write_array(events, &mut body, Event::write);
        }
        Line { body: body.into(), events: events.len() as u64 }
    }
}

fn write_type_and_data(event: &Event, body: &mut Vec<u8>) {
    body.extend_from_slice(format!(r#""type":"{}","data":"#, event.kind).as_bytes());
    event.write(body);
}

fn write_array(events: &[Event], body: &mut Vec<u8>, write: impl Fn(&Event, &mut Vec<u8>)) {
    body.push(b'[');
    for (at, event) in events.iter().enumerate() {
        if at > 0 {
            body.push(b',');
        }
        write(event, body);
    }
    body.push(b']');
}
