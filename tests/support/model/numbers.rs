//! From the set of events to objects and rows.

use std::collections::BTreeMap;

use super::events::{Decision, RunReport, StepReport};
use super::framing::Facts;
use super::values::iso;
use super::{DecisionRow, RunRow, State, StepRow};

pub fn state(mut facts: Facts) -> State {
    let mut state = State::default();

    let mut losers = Vec::new();
    for (key, decisions) in grouped(facts.decisions.values(), |decision| decision.raw.key.clone()) {
        let winner = greatest(&decisions);
        state.objects.insert(key, winner.raw.bytes.clone());
        losers
            .extend(decisions.iter().map(|decision| decision.raw.bytes.clone()).filter(|raw| *raw != winner.raw.bytes));
    }
    for (key, reports) in grouped(facts.steps.values(), |report| report.raw.key.clone()) {
        state.objects.insert(key, newest_step(&reports).raw.bytes.clone());
    }
    for (key, reports) in grouped(facts.runs.values(), |report| report.raw.key.clone()) {
        state.objects.insert(key, newest_run(&reports).raw.bytes.clone());
    }

    let mut decisions = Vec::new();
    for (id, with_id) in grouped(facts.decisions.values(), |decision| decision_row(decision).id()) {
        let winner = greatest(&with_id);
        decisions.push(winner);
        state.decision_events.insert(id, decision_row(winner));
    }
    let runs = grouped(facts.runs.values(), |report| report.run_id.clone());
    for (step_id, reports) in grouped(facts.steps.values(), |report| report.step_id.clone()) {
        let of_step: Vec<_> = decisions.iter().copied().filter(|decision| decision.step_id == step_id).collect();
        state.steps.insert(step_id, step_row(newest_step(&reports), &of_step, &runs));
    }
    for (run_id, reports) in &runs {
        let of_run: Vec<_> = state.steps.values().filter(|step| step.run_id == *run_id).collect();
        state.runs.insert(run_id.clone(), run_row(newest_run(reports), &of_run));
    }

    for body in losers {
        facts.add_dead_letter("conflict", &body);
    }
    state.dead_letters = facts.dead_letters;
    state
}

fn grouped<'a, T, K: Ord>(events: impl Iterator<Item = &'a T>, by: impl Fn(&T) -> K) -> BTreeMap<K, Vec<&'a T>> {
    let mut groups: BTreeMap<K, Vec<&T>> = BTreeMap::new();
    for event in events {
        groups.entry(by(event)).or_default().push(event);
    }
    groups
}

/// The decision that wins a conflict.
fn greatest<'a>(decisions: &[&'a Decision]) -> &'a Decision {
    decisions.iter().max_by_key(|decision| &decision.raw.sha256).unwrap()
}

fn newest_step<'a>(reports: &[&'a StepReport]) -> &'a StepReport {
    reports.iter().max_by_key(|report| report.newness()).unwrap()
}

fn newest_run<'a>(reports: &[&'a RunReport]) -> &'a RunReport {
    reports.iter().max_by_key(|report| report.newness()).unwrap()
}

fn decision_row(decision: &Decision) -> DecisionRow {
    DecisionRow {
        event_id: decision.event_id.clone(),
        step_id: decision.step_id.clone(),
        run_id: decision.run_id.clone(),
        pipeline_id: decision.pipeline_id.clone(),
        outcome: decision.outcome.clone(),
        item_id: decision.item_id.clone(),
        score: decision.score,
        timestamp: iso(decision.timestamp),
        s3_key: decision.raw.key.clone(),
    }
}

fn step_row(newest: &StepReport, decisions: &[&Decision], runs: &BTreeMap<String, Vec<&RunReport>>) -> StepRow {
    let with_outcome = |outcome| decisions.iter().filter(|decision| decision.outcome == outcome).count() as i64;
    let (kept_count, eliminated_count, scored_count) =
        (with_outcome("kept"), with_outcome("eliminated"), with_outcome("scored"));

    let input_count = newest
        .input_count
        .or(decisions.iter().filter_map(|decision| decision.input_count).max())
        .unwrap_or(decisions.len() as i64);
    let output_count = newest
        .output_count
        .or(decisions.iter().filter_map(|decision| decision.output_count).max())
        .unwrap_or(kept_count + scored_count);

    let least_of_decisions = || decisions.iter().map(|decision| decision.run_id.clone()).min();
    let run_id = newest.run_id.clone().or_else(least_of_decisions).unwrap_or_default();
    let of_run = || runs.get(&run_id).map(|reports| newest_run(reports).pipeline_id.clone());
    let pipeline_id = newest.pipeline_id.clone().or_else(of_run).unwrap_or_default();

    StepRow {
        step_id: newest.step_id.clone(),
        run_id,
        pipeline_id,
        step_type: newest.step_type.clone(),
        step_name: newest.step_name.clone(),
        input_count,
        output_count,
        elimination_ratio: elimination_ratio(input_count, output_count),
        kept_count,
        eliminated_count,
        scored_count,
        started_at: iso(newest.started_at),
        completed_at: newest.completed_at.map(iso),
    }
}

fn run_row(newest: &RunReport, steps: &[&StepRow]) -> RunRow {
    let total_input_count = steps.iter().map(|step| step.input_count).sum();
    let total_output_count = steps.iter().map(|step| step.output_count).sum();
    RunRow {
        run_id: newest.run_id.clone(),
        pipeline_id: newest.pipeline_id.clone(),
        status: newest.status.clone(),
        started_at: iso(newest.started_at),
        completed_at: newest.completed_at.map(iso),
        error: newest.error.clone(),
        total_steps: steps.len() as i64,
        total_input_count,
        total_output_count,
        overall_elimination_ratio: elimination_ratio(total_input_count, total_output_count),
        metadata: newest.metadata.clone(),
    }
}

fn elimination_ratio(input: i64, output: i64) -> f64 {
    if input == 0 { 0.0 } else { 1.0 - output as f64 / input as f64 }
}
