//! `demo`: the whole job on made-up pipelines, and what came out, for a person to look at.

use super::place::{flag, utf8_path};
use super::run::GIVE_UP_AFTER;
use super::summary::{Summary, grouped};
use crate::app::{self, Report};
use crate::config::{Config, Flag};
use crate::exit::{Exit, Failure};
use crate::feed::Input;
use crate::generate::{self, Lines, Plan};
use crate::numbers::{RunRow, StepRow};
use crate::store::StoreError;
use crate::store::audit::DeadLetterRow;
use crate::store::embedded::Reader;
use clap::Args;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// How many runs are shown with their steps.
const RUNS_SHOWN: usize = 12;
/// How many malformed bodies are shown each with their reason.
const LETTERS_SHOWN: usize = 15;

/// Arguments of `demo`.
#[derive(Args, Debug, Clone)]
pub struct DemoArgs {
    /// Where the objects and tables go; kept, so that you can look at them
    #[arg(long, value_name = "DIR", value_parser = utf8_path, default_value = "xray-demo")]
    data: PathBuf,

    /// How many runs to make up; one is about 80 events
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..))]
    runs: u64,

    /// Another seed, other ids, items and outcomes
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

impl DemoArgs {
    /// The arguments that are settings. Whatever queue is configured, the demo brings its own.
    pub fn flags(&self) -> Vec<Flag> {
        vec![flag("embedded.data_dir", "--data", &self.data.display()), flag("queue.type", "demo", &"memory")]
    }
}

/// Runs the demo. Fails where something is missing afterwards.
pub async fn main(args: &DemoArgs, config: &Config) -> Result<Exit, Failure> {
    let used_before = is_used(&args.data);
    let plan = Plan {
        seed: args.seed,
        runs: args.runs,
        duplicates: 0.1,
        conflicting: 0.01,
        malformed: 0.02,
        ..Plan::default()
    };
    let input = Input::Generated(Box::new(Lines::new(plan)));
    let report = app::work_off(config, input, GIVE_UP_AFTER, false).await?;
    let found = Found::read(&args.data).map_err(|error| Failure::failed(error.chain()))?;
    let generated = report.generated.clone().unwrap_or_default();
    let missing = missing(&generated, &report, found.objects);

    super::print(&render(&args.data, &generated, &report, &found, &missing, used_before))?;
    if missing.is_empty() || used_before {
        return Ok(Exit::Done);
    }
    Err(Failure::failed(format!("something is missing: {}", missing.join("; "))))
}

/// Whether anything is there that a run before may have left; an empty directory is a fresh one.
fn is_used(data: &Path) -> bool {
    std::fs::read_dir(data).is_ok_and(|mut entries| entries.next().is_some())
}

/// What stands in the directory afterwards, read from the files and tables themselves.
struct Found {
    runs: Vec<(RunRow, Vec<StepRow>)>,
    dead_letters: Vec<DeadLetterRow>,
    objects: u64,
}

impl Found {
    fn read(data: &Path) -> Result<Found, StoreError> {
        let reader = Reader::open(data)?;
        let runs = reader.runs(RUNS_SHOWN)?.into_iter();
        let runs = runs.map(|run| Ok((reader.steps(&run.run_id)?, run)).map(|(steps, run)| (run, steps)));
        Ok(Found {
            runs: runs.collect::<Result<_, StoreError>>()?,
            dead_letters: reader.dead_letters(usize::MAX)?,
            objects: ["decisions", "steps", "runs"].iter().map(|kind| files(&data.join("objects").join(kind))).sum(),
        })
    }
}

/// How many files there are in a folder and all folders in it. What cannot be read is missing, and shows as that.
fn files(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries.flatten().map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { 1 }).sum()
}

/// What was generated against what is there.
fn missing(generated: &generate::Tally, report: &Report, objects: u64) -> Vec<String> {
    let rows = report.rows.unwrap_or_default();
    [
        ("runs", generated.runs, rows.runs),
        ("steps", generated.steps, rows.steps),
        ("decisions", generated.decisions, rows.decision_events),
        ("raw objects", generated.objects(), objects),
        ("dead letters", generated.dead_letters(), rows.dead_letters),
    ]
    .into_iter()
    .filter(|(_, expected, found)| expected != found)
    .map(|(what, expected, found)| format!("{} {what} instead of {}", grouped(found), grouped(expected)))
    .collect()
}

/// The line number of a source such as `demo:17`.
fn position(source: &str) -> &str {
    source.rsplit(':').next().unwrap_or(source)
}

fn render(
    data: &Path,
    generated: &generate::Tally,
    report: &Report,
    found: &Found,
    missing: &[String],
    used_before: bool,
) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let mut line = |args: std::fmt::Arguments<'_>| writeln!(text, "{args}").unwrap_or_default();

    line(format_args!("Sent      {generated}"));
    line(format_args!("          out of order, steps without their runId, some in envelopes and arrays"));
    line(format_args!(""));
    let width = found.runs.iter().flat_map(|(_, steps)| steps).map(|step| step.step_name.len()).max().unwrap_or(0);
    for (run, steps) in &found.runs {
        line(format_args!(
            "run {}  {}  {}  {} steps  {:.1} % eliminated{}",
            run.run_id,
            run.pipeline_id,
            run.status.as_str(),
            run.total_steps,
            run.overall_elimination_ratio * 100.0,
            run.error.as_ref().map(|error| format!("  ({error})")).unwrap_or_default(),
        ));
        for step in steps {
            line(format_args!(
                "    {:<width$}  {:<9} {:>4} in {:>4} out {:>6.1} %   {} kept, {} eliminated, {} scored",
                step.step_name,
                step.step_type,
                grouped(step.input_count),
                grouped(step.output_count),
                step.elimination_ratio * 100.0,
                step.kept_count,
                step.eliminated_count,
                step.scored_count,
            ));
        }
    }
    let more = report.rows.unwrap_or_default().runs.saturating_sub(found.runs.len() as u64);
    if more > 0 {
        line(format_args!("... and {} more runs", grouped(more)));
    }
    line(format_args!(""));
    let (conflicts, malformed): (Vec<_>, Vec<_>) = found.dead_letters.iter().partition(|l| l.code == "conflict");
    line(format_args!("{} malformed, kept as dead letters with their bytes and a reason:", malformed.len()));
    for letter in malformed.iter().take(LETTERS_SHOWN) {
        line(format_args!("    line {:<6} {:<13} {}", position(&letter.source), letter.code, letter.reason));
    }
    if malformed.len() > LETTERS_SHOWN {
        line(format_args!("    ... and {} more in the table dead_letters", malformed.len() - LETTERS_SHOWN));
    }
    line(format_args!(
        "{} conflicts: a decision sent twice under one id with different bytes; one counts, the other is a dead letter",
        conflicts.len()
    ));
    line(format_args!(""));
    line(format_args!("{}", Summary::new(report).to_string().trim_end()));
    line(format_args!(""));
    if missing.is_empty() {
        line(format_args!(
            "Nothing is missing: of {} runs, {} steps and {} decisions there are as many objects and rows, and {} dead letters.",
            grouped(generated.runs),
            grouped(generated.steps),
            grouped(generated.decisions),
            grouped(generated.dead_letters()),
        ));
    } else if used_before {
        line(format_args!(
            "{} held other events before, so what was sent now cannot be counted in it; name a fresh --data to see.",
            data.display()
        ));
    }
    line(format_args!("objects   {}", data.join("objects").display()));
    line(format_args!("tables    {}   (e.g. sqlite3 {0} 'SELECT * FROM runs')", data.join("xray.db").display()));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_directory_is_a_fresh_one() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!is_used(dir.path()) && !is_used(&dir.path().join("none")));
        std::fs::write(dir.path().join("xray.db"), "").unwrap();
        assert!(is_used(dir.path()));
    }
}
