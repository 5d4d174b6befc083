//! `verify`: the tables against the objects.

use super::place::PlaceArgs;
use super::run::{Output, duration};
use super::summary::grouped;
use crate::app::{store_failure, stores};
use crate::audit::report::{Counts, Finding, Sink};
use crate::audit::scope::Scope;
use crate::audit::{self, MARGIN, Options};
use crate::config::Config;
use crate::event::Kind;
use crate::exit::{Exit, Failure};
use crate::progress;
use chrono::NaiveDate;
use clap::Args;
use serde_json::json;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Findings that are listed for people; all are counted.
const LISTED: u64 = 1000;

/// Arguments of `verify`.
#[derive(Args, Debug, Clone)]
#[command(after_help = "\
Finds objects without rows, rows without objects, rows that differ from what their object says, and derived rows that
differ from a recompute. By default objects are listed, and only those about which something looks wrong are read.
Ends with 0 where all is well or was mended, and with 3 where something is off.

Examples:
  xray-processor-worker verify
  xray-processor-worker verify --from 2026-01-01 --to 2026-01-31 --deep --output json
  xray-processor-worker verify --run 149406d8-fc0e-4e6b-98b8-2b0336070665 --repair")]
pub struct VerifyArgs {
    #[command(flatten)]
    pub(crate) place: PlaceArgs,

    #[command(flatten)]
    range: RangeArgs,

    /// Only this run, with its steps and decisions
    #[arg(long, value_name = "ID", conflicts_with_all = ["from", "to"])]
    run: Option<String>,

    /// Read every object, and compare what it says column by column
    #[arg(long)]
    deep: bool,

    /// Write what is missing from the objects, take away what no object says, recompute
    #[arg(long)]
    repair: bool,

    /// Repair also where so many rows have no object that these look like another bucket's
    #[arg(long, requires = "repair")]
    force: bool,

    /// Leave out what is younger than this: it may be on its way
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "10m")]
    min_age: Duration,

    /// text, or json: a line for each finding, and the counts in the last
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Days and kinds.
#[derive(Args, Debug, Clone, Default)]
pub(super) struct RangeArgs {
    /// Not before this day, by the events' own times in UTC, e.g. 2026-01-31
    #[arg(long, value_name = "DATE")]
    from: Option<NaiveDate>,

    /// Not after this day
    #[arg(long, value_name = "DATE")]
    to: Option<NaiveDate>,

    /// Only these: decision, step or run (may be repeated, or separated by commas)
    #[arg(long, value_name = "KIND", value_delimiter = ',', value_parser = kind)]
    kind: Vec<Kind>,
}

impl RangeArgs {
    /// What they leave. That is never nothing: of nothing all would be well.
    pub(super) fn scope(&self) -> Result<Scope, Failure> {
        if let (Some(from), Some(to)) = (self.from, self.to)
            && to < from
        {
            return Err(Failure::usage(format!("--from {from} is after --to {to}")));
        }
        let kinds = Kind::ALL.into_iter().filter(|kind| self.kind.is_empty() || self.kind.contains(kind)).collect();
        Ok(Scope { kinds, from: self.from, to: self.to, run: None })
    }
}

pub(super) fn kind(word: &str) -> Result<Kind, String> {
    Kind::from_word(word).ok_or_else(|| "a kind is decision, step or run".to_owned())
}

/// Verifies. 3 where something is off.
pub async fn main(args: &VerifyArgs, config: &Config) -> Result<Exit, Failure> {
    args.place.check(config)?;
    let began = Instant::now();
    let mut scope = args.range.scope()?;
    if args.run.as_ref().is_some_and(String::is_empty) {
        return Err(Failure::usage("--run: an id has at least one character"));
    }
    let audited = stores::audited(config, args.repair).await?;
    if let Some(run_id) = &args.run {
        let Some(of_run) = audit::one_run(&audited, run_id).await.map_err(store_failure)? else {
            return Err(Failure::usage(format!(
                "neither a row nor a report names the run {run_id}: try `lookup`, or `verify` without --run"
            )));
        };
        scope = Scope { kinds: scope.kinds, ..of_run };
    }
    let options = Options {
        scope,
        deep: args.deep,
        repair: args.repair,
        force: args.force,
        min_age: args.min_age,
        lag: MARGIN,
        facts_first: !args.deep,
    };
    let counts = Counts::default();
    let list = List { output: args.output, listed: AtomicU64::new(0) };
    let (done, nothing) = (|| counts.objects.load(Relaxed) + counts.derived.load(Relaxed), AtomicU64::new(0));
    let verified = tokio::select! {
        verified = audit::verify(&audited, &options, &counts, &list) => verified,
        never = progress::show(&done, "objects and derived rows checked", &nothing, None) => match never {},
    };
    verified.map_err(store_failure)?;
    super::print(&match args.output {
        Output::Text => summary(&counts, &list, began.elapsed()),
        Output::Json => {
            let mut summary = counts.json();
            summary["seconds"] = json!((began.elapsed().as_secs_f64() * 1000.0).round() / 1000.0);
            format!("{}\n", json!({ "summary": summary }))
        }
    })?;
    Ok(if counts.left() > 0 || counts.withheld.get().is_some() { Exit::Found } else { Exit::Done })
}

/// Prints findings as they come.
struct List {
    output: Output,
    listed: AtomicU64,
}

impl Sink for List {
    fn found(&self, finding: &Finding) {
        let listed = self.listed.fetch_add(1, Relaxed);
        let line = match self.output {
            Output::Json => serde_json::to_string(finding).unwrap_or_default(),
            Output::Text if listed < LISTED => {
                let place = finding.table.map(|table| format!("{table}: ")).unwrap_or_default();
                let repaired = if finding.repaired { " (repaired)" } else { "" };
                format!("{}: {place}{}: {}{repaired}", finding.problem.words(), finding.id, finding.detail)
            }
            Output::Text => return,
        };
        // Whoever closed the pipe has seen enough; the exit code says the rest.
        super::print(&format!("{line}\n")).ok();
    }
}

fn summary(counts: &Counts, list: &List, took: Duration) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let mut line = |args: std::fmt::Arguments<'_>| writeln!(text, "{args}").unwrap_or_default();
    let number = |count: &AtomicU64| grouped(count.load(Relaxed));
    if list.listed.load(Relaxed) > LISTED {
        line(format_args!("... and {} more; --output json lists all", grouped(list.listed.load(Relaxed) - LISTED)));
    }
    line(format_args!(
        "checked       {} objects ({} of them read), {} rows, {} derived rows, in {:.1} s",
        number(&counts.objects),
        number(&counts.bodies),
        number(&counts.rows),
        number(&counts.derived),
        took.as_secs_f64()
    ));
    line(format_args!("left out      {} that are too young", number(&counts.young)));
    line(format_args!("explained     {} by a conflict or a refusal, see dead-letters", number(&counts.explained)));
    for (problem, (found, repaired)) in counts.problems() {
        line(format_args!("found         {} {}, {} repaired", grouped(found), problem.words(), grouped(repaired)));
    }
    if let Some(why) = counts.withheld.get() {
        line(format_args!("Nothing was repaired: {why} --force repairs all the same, --from and --to a part."));
        return text;
    }
    match (counts.left(), counts.problems().is_empty()) {
        (0, true) => line(format_args!("All is well.")),
        (0, false) => line(format_args!("All that was off is repaired.")),
        (left, _) => {
            line(format_args!("{} are off; `verify --deep --repair` mends what can be mended.", grouped(left)))
        }
    }
    text
}
