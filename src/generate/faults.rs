//! What is wrong with what is sent: events that conflict and bodies that are none.

use super::dice::{Dice, Purpose};
use super::events::Event;
use super::framing::Line;
use super::malformed::Malformation;
use super::plan::Plan;
use super::tally::Tally;
use crate::event::Kind;

/// What is sent: an event that is still to be framed, or a line as it is.
#[derive(Debug)]
pub(super) enum Outgoing {
    Event(Event),
    Line(Line),
}

#[derive(Debug)]
pub(super) struct Faults {
    dice: Dice,
    /// In turn rather than by chance: so few are enough to see them all.
    malformations: std::iter::Cycle<std::array::IntoIter<Malformation, { Malformation::ALL.len() }>>,
}

impl Faults {
    pub(super) fn new(plan: &Plan) -> Self {
        Faults { dice: Dice::new(plan.seed, Purpose::Faults), malformations: Malformation::ALL.into_iter().cycle() }
    }

    /// The events and what goes wrong between them.
    pub(super) fn add(&mut self, plan: &Plan, events: Vec<Event>, tally: &mut Tally) -> Vec<Outgoing> {
        let mut outgoing = Vec::with_capacity(events.len() + events.len() / 16);
        for event in events {
            let rival = (event.kind == Kind::Decision && self.dice.chance(plan.conflicting)).then(|| event.rival());
            tally.conflicts += u64::from(rival.is_some());
            let malformed = self.dice.chance(plan.malformed).then(|| self.malformations.next()).flatten();
            match malformed {
                None => outgoing.push(Outgoing::Event(event)),
                Some(malformation) => {
                    *tally.malformed.entry(malformation).or_default() += 1;
                    let body = malformation.body(&mut self.dice);
                    if malformation == Malformation::BadElement {
                        outgoing.push(Outgoing::Line(Line::array_of(&event, &body)));
                    } else {
                        outgoing.extend([Outgoing::Event(event), Outgoing::Line(Line::malformed(body))]);
                    }
                }
            }
            outgoing.extend(rival.map(Outgoing::Event));
        }
        outgoing
    }
}
