use super::{ReportOrder, StepTotals, Version};
use crate::event::{RunReport, Status, StepReport, Timestamp};

/// The greatest sum of counts: what a signed 64-bit column holds, so that every store shows the same.
const MAX_SUM: u64 = i64::MAX as u64;

/// The row of a step.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)] // the columns, as documented for users
pub struct StepRow {
    pub step_id: String,
    pub run_id: String,
    pub pipeline_id: String,
    pub step_type: String,
    pub step_name: String,
    pub input_count: u64,
    pub output_count: u64,
    pub elimination_ratio: f64,
    pub kept_count: u64,
    pub eliminated_count: u64,
    pub scored_count: u64,
    pub started_at: Timestamp,
    pub completed_at: Option<Timestamp>,
    pub version: Version,
}

/// The row of a run.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)] // the columns, as documented for users
pub struct RunRow {
    pub run_id: String,
    pub pipeline_id: String,
    pub status: Status,
    pub started_at: Timestamp,
    pub completed_at: Option<Timestamp>,
    pub error: Option<String>,
    pub total_steps: u32,
    pub total_input_count: u64,
    pub total_output_count: u64,
    pub overall_elimination_ratio: f64,
    pub metadata: String,
    pub version: Version,
}

/// What is known of a step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StepFacts {
    /// Its newest report, if there is any yet.
    pub report: Option<(StepReport, ReportOrder)>,
    /// Its decisions.
    pub totals: StepTotals,
}

/// What a step needs to know of a run it was ever linked to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkedRun {
    /// The run.
    pub run_id: String,
    /// Pipeline and place of its newest report, if there is any yet.
    pub report: Option<(String, ReportOrder)>,
}

/// The row of a step; `None` as long as it was never reported. `runs` are all it was ever linked to.
pub fn step_row(step: &StepFacts, runs: &[LinkedRun]) -> Option<StepRow> {
    let StepFacts { report: Some((report, order)), totals } = step else { return None };
    let run_id = run_of(report, totals);
    let pipeline_id = if report.pipeline_id.is_empty() {
        let run = runs.iter().find(|run| run.run_id == run_id);
        run.and_then(|run| run.report.as_ref()).map_or("", |(pipeline_id, _)| pipeline_id)
    } else {
        &report.pipeline_id
    };
    let (input, output) = counts(report, totals);
    let links = runs.iter().map(|run| match &run.report {
        Some((_, order)) => Version::ONE + order.counter(),
        None => Version::ONE,
    });
    Some(StepRow {
        step_id: report.step_id.clone(),
        run_id: run_id.to_owned(),
        pipeline_id: pipeline_id.to_owned(),
        step_type: report.step_type.clone(),
        step_name: report.step_name.clone(),
        input_count: input,
        output_count: output,
        elimination_ratio: elimination_ratio(input, output),
        kept_count: totals.kept,
        eliminated_count: totals.eliminated,
        scored_count: totals.scored,
        started_at: report.started_at,
        completed_at: report.completed_at,
        version: totals.version + order.counter() + links.sum(),
    })
}

/// The row of a run. `steps` are all that were ever linked to it; those that belong to it now are found among them.
pub fn run_row(report: &RunReport, order: ReportOrder, steps: &[StepFacts]) -> RunRow {
    let (mut total_steps, mut input, mut output) = (0_u32, 0_u64, 0_u64);
    let mut version = order.counter();
    for step in steps {
        version += Version::ONE + step.totals.version;
        let Some((step_report, step_order)) = &step.report else { continue };
        version += step_order.counter();
        if run_of(step_report, &step.totals) == report.run_id {
            let (step_input, step_output) = counts(step_report, &step.totals);
            total_steps = total_steps.saturating_add(1);
            input = input.saturating_add(step_input).min(MAX_SUM);
            output = output.saturating_add(step_output).min(MAX_SUM);
        }
    }
    RunRow {
        run_id: report.run_id.clone(),
        pipeline_id: report.pipeline_id.clone(),
        status: report.status,
        started_at: report.started_at,
        completed_at: report.completed_at,
        error: report.error.clone(),
        total_steps,
        total_input_count: input,
        total_output_count: output,
        overall_elimination_ratio: elimination_ratio(input, output),
        metadata: report.metadata.clone(),
        version,
    }
}

/// The run a step belongs to: its own, else the least of its decisions, else none.
fn run_of<'a>(report: &'a StepReport, totals: &'a StepTotals) -> &'a str {
    if report.run_id.is_empty() { &totals.least_run_id } else { &report.run_id }
}

/// What went into a step and what came out. An explicit 0 is a value, not an absence.
fn counts(report: &StepReport, totals: &StepTotals) -> (u64, u64) {
    let input = report.input_count.or(totals.max_input).unwrap_or(totals.decisions());
    let output = report.output_count.or(totals.max_output).unwrap_or(totals.kept + totals.scored);
    (input.min(MAX_SUM), output.min(MAX_SUM))
}

/// The share that was taken out: 0 where nothing went in, negative where more came out than went in.
fn elimination_ratio(input: u64, output: u64) -> f64 {
    if input == 0 { 0.0 } else { 1.0 - output as f64 / input as f64 }
}
