//! What a batch has new facts about, and what of it is costly.

use crate::event::Fact;
use crate::object::Record;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What has new facts. What else depends on it (the runs a step was ever linked to, the steps of a run) is for the
/// store to find.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Touched {
    /// Where decisions are new.
    pub decisions: BTreeSet<DecisionGroup>,
    /// Steps with a new report.
    pub steps: BTreeSet<String>,
    /// Runs with a new report.
    pub runs: BTreeSet<String>,
}

impl Touched {
    /// What these events are facts about.
    pub fn by(records: &[Arc<Record>]) -> Touched {
        let mut touched = Touched::default();
        records.iter().for_each(|record| touched.add(record));
        touched
    }

    /// The one key that this event is a fact about.
    pub fn by_one(record: &Record) -> Touched {
        let mut touched = Touched::default();
        touched.add(record);
        touched
    }

    fn add(&mut self, record: &Record) {
        match &record.event.fact {
            Fact::Decision(decision) => self.decisions.insert(DecisionGroup {
                month: decision.timestamp.month(),
                run_id: decision.run_id.clone(),
                step_id: decision.step_id.clone(),
            }),
            Fact::Step(report) => self.steps.insert(report.step_id.clone()),
            Fact::Run(report) => self.runs.insert(report.run_id.clone()),
        };
    }

    /// All of these together.
    pub fn all(parts: &[Touched]) -> Touched {
        let mut all = Touched::default();
        parts.iter().for_each(|part| all.extend(part.clone()));
        all
    }

    /// Adds what another has.
    pub fn extend(&mut self, other: Touched) {
        self.decisions.extend(other.decisions);
        self.steps.extend(other.steps);
        self.runs.extend(other.runs);
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.decisions.len() + self.steps.len() + self.runs.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same in parts of at most so many keys each, to be recomputed one after the other.
    pub fn parts(mut self, at_most: usize) -> Vec<Touched> {
        let mut parts = Vec::new();
        while !self.is_empty() {
            let (mut part, mut room) = (Touched::default(), at_most.max(1));
            move_keys(&mut self.decisions, &mut part.decisions, &mut room);
            move_keys(&mut self.steps, &mut part.steps, &mut room);
            move_keys(&mut self.runs, &mut part.runs, &mut room);
            parts.push(part);
        }
        parts
    }

    /// Steps with a new decision or report.
    pub fn all_steps(&self) -> BTreeSet<&str> {
        let deciding = self.decisions.iter().map(|group| group.step_id.as_str());
        deciding.chain(self.steps.iter().map(String::as_str)).collect()
    }
}

fn move_keys<K: Ord>(from: &mut BTreeSet<K>, to: &mut BTreeSet<K>, room: &mut usize) {
    while *room > 0
        && let Some(key) = from.pop_first()
    {
        to.insert(key);
        *room -= 1;
    }
}

/// The decisions of a step that name one run and lie in one month.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DecisionGroup {
    /// Year and month in UTC, `202601`.
    pub month: u32,
    /// The run that the decisions name; their step may belong to another.
    pub run_id: String,
    /// The step.
    pub step_id: String,
}

/// Keys that so much depends on that recomputing their rows takes long.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heavy {
    /// Steps with very many decisions, or linked to very many runs.
    pub steps: BTreeSet<String>,
    /// Runs with very many steps.
    pub runs: BTreeSet<String>,
}

impl Heavy {
    /// From so many decisions, runs or steps on. Below that they are nothing beside the request itself.
    pub const FROM: u64 = 20_000;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_the_whole_and_no_larger_than_asked() {
        let keys = |prefix: &str, count: usize| (0..count).map(|n| format!("{prefix}{n}")).collect::<BTreeSet<_>>();
        let group = |step_id| DecisionGroup { month: 202_601, run_id: "r".into(), step_id };
        let touched = Touched {
            decisions: keys("d", 5).into_iter().map(group).collect(),
            steps: keys("s", 4),
            runs: keys("r", 3),
        };
        let parts = touched.clone().parts(5);
        assert_eq!(parts.iter().map(Touched::len).collect::<Vec<_>>(), [5, 5, 2]);
        let mut whole = Touched::default();
        for part in parts {
            whole.extend(part);
        }
        assert_eq!(whole, touched);
        assert_eq!(Touched::default().parts(5), []);
    }
}
