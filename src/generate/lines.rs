use super::dice::{Dice, Purpose};
use super::faults::Faults;
use super::framing::{Framing, Line};
use super::plan::Plan;
use super::script::Script;
use super::tally::Tally;
use bytes::Bytes;
use std::collections::BTreeMap;

/// How many runs are under way at a time.
const CONCURRENT_RUNS: u64 = 4;
/// By how many lines at most a reordered or repeated line comes later.
const WINDOW: u64 = 64;

/// The lines of a plan, without their newlines, in the order in which they are sent.
///
/// Holds what a handful of runs send, however many the plan has.
#[derive(Debug)]
pub struct Lines {
    plan: Plan,
    script: Script,
    faults: Faults,
    framing: Framing,
    order: Dice,
    started_runs: u64,
    /// The slot where the next run starts. What waits for an earlier one can go.
    frontier: u64,
    /// By slot, a position on the way out that lines may share, and by number, which makes it unique.
    waiting: BTreeMap<(u64, u64), Bytes>,
    scheduled: u64,
    tally: Tally,
}

impl Lines {
    /// The lines of this plan.
    pub fn new(plan: Plan) -> Self {
        Lines {
            script: Script::new(&plan),
            faults: Faults::new(&plan),
            framing: Framing::new(&plan),
            order: Dice::new(plan.seed, Purpose::Order),
            plan,
            started_runs: 0,
            frontier: 0,
            waiting: BTreeMap::new(),
            scheduled: 0,
            tally: Tally::default(),
        }
    }

    /// What has been generated. It runs a little ahead of the lines, and is that of all of them once they have ended.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Gives every line of the next run its slot. Each run takes every nth slot from where it starts, and the next one
    /// starts after as many slots as it has lines: so n are under way at a time, and slots are about as many as lines.
    fn start_run(&mut self) {
        let scene = self.script.run(&self.plan, self.started_runs);
        self.tally.runs += 1;
        self.tally.steps += scene.steps;
        self.tally.decisions += scene.decisions();
        let outgoing = self.faults.add(&self.plan, scene.events, &mut self.tally);
        let lines = self.framing.pack(&self.plan, outgoing);
        let start = self.frontier;
        let length = lines.len() as u64 * CONCURRENT_RUNS;
        for (at, line) in (0..).zip(&lines) {
            let mut slot = start + at * CONCURRENT_RUNS;
            if self.order.chance(self.plan.late) {
                slot = start + length + self.order.between(0..=length);
            } else if self.order.chance(self.plan.reordered) {
                slot += self.order.between(1..=WINDOW);
            }
            self.schedule(line, slot);
            if self.order.chance(self.plan.duplicates) {
                slot += self.order.between(0..=WINDOW);
                self.schedule(line, slot);
                self.tally.duplicates += 1;
            }
        }
        self.started_runs += 1;
        self.frontier += lines.len() as u64;
    }

    fn schedule(&mut self, line: &Line, slot: u64) {
        self.waiting.insert((slot, self.scheduled), line.body.clone());
        self.scheduled += 1;
        self.tally.lines += 1;
        self.tally.bytes += line.body.len() as u64 + 1;
        self.tally.events += line.events;
    }
}

impl Iterator for Lines {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        while self.started_runs < self.plan.runs
            && self.waiting.first_key_value().is_none_or(|((slot, _), _)| *slot >= self.frontier)
        {
            self.start_run();
        }
        self.waiting.pop_first().map(|(_, line)| line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_a_few_runs_however_many_there_are() {
        let mut lines = Lines::new(Plan { runs: 1500, steps_per_run: 2..=3, late: 0.5, ..Plan::default() });
        let (mut held, mut largest_run, mut seen) = (0, 0, 0);
        while lines.next().is_some() {
            held = held.max(lines.waiting.len() as u64);
            largest_run = largest_run.max(lines.frontier - seen);
            seen = lines.frontier;
        }
        assert!(lines.tally.lines > 50_000);
        assert!(held < (2 * CONCURRENT_RUNS + 2) * largest_run + WINDOW, "{held} held, the largest run {largest_run}");
    }

    #[test]
    fn runs_interleave() {
        let lines = Lines::new(Plan { runs: 3, ..Plan::orderly() });
        let runs: Vec<String> = lines
            .filter_map(|line| {
                let event: serde_json::Value = serde_json::from_slice(&line).unwrap();
                let id = event.get("runId").or_else(|| event.get("run_id"))?;
                id.as_str().map(str::to_owned)
            })
            .collect();
        let changes = runs.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert!(changes > 10, "{changes}");
    }
}
