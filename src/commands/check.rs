//! `check`: what is wrong with the set-up, told before the first event.

use super::place::PlaceArgs;
use super::run::Output;
use crate::app;
use crate::check::{Finding, Level};
use crate::config::Loaded;
use crate::exit::{Exit, Failure};
use crate::printable::printable;
use clap::Args;
use serde_json::json;
use std::io::{IsTerminal, stdout};

/// Arguments of `check`.
#[derive(Args, Debug, Clone)]
#[command(after_help = "\
One line for each setting that is set and for each thing that was looked at: ok, warn or fail, and what to do. Exit code 0:
nothing fails; 3: something does; 2: the configuration itself is wrong. No row is written; a small object of its own is put in
the bucket and deleted afterwards; messages are left to the workers.")]
pub struct CheckArgs {
    #[command(flatten)]
    pub(crate) place: PlaceArgs,

    /// text, or json: one finding a line, the counts in the last
    #[arg(long, value_enum, default_value_t)]
    output: Output,

    /// Leave out what is ok
    #[arg(long)]
    quiet: bool,
}

/// Looks at everything once.
pub async fn main(args: &CheckArgs, loaded: &Loaded) -> Result<Exit, Failure> {
    args.place.check(&loaded.config)?;
    let colours = stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
    let (mut all, mut printed) = (Vec::new(), Ok(()));
    app::inspect(loaded, |found: Vec<Finding>| {
        let shown = found.iter().filter(|finding| !args.quiet || finding.level != Level::Ok);
        let text: String = match args.output {
            Output::Text => shown.map(|finding| line(finding, colours)).collect(),
            // Made of strings, which cannot fail to serialize.
            Output::Json => shown.map(|finding| json!(finding).to_string() + "\n").collect(),
        };
        if printed.is_ok() {
            printed = super::print(&text);
        }
        all.extend(found);
    })
    .await;
    printed?;
    super::print(&match args.output {
        Output::Text => summary(&all),
        Output::Json => json!({ "summary": counts(&all) }).to_string() + "\n",
    })?;
    Ok(if all.iter().any(|finding| finding.level == Level::Fail) { Exit::Found } else { Exit::Done })
}

fn line(Finding { level, subject, text, advice }: &Finding, colours: bool) -> String {
    let level = match (level, colours) {
        (level, false) => format!("{:<4}", level.as_str()),
        (Level::Ok, true) => "\u{1b}[32mok\u{1b}[0m  ".into(),
        (Level::Warn, true) => "\u{1b}[33mwarn\u{1b}[0m".into(),
        (Level::Fail, true) => "\u{1b}[1;31mfail\u{1b}[0m".into(),
    };
    // What servers say may hold anything.
    match advice {
        Some(advice) => format!("{level}  {subject:<10}  {}; {}\n", printable(text), printable(advice)),
        None => format!("{level}  {subject:<10}  {}\n", printable(text)),
    }
}

fn counts(all: &[Finding]) -> serde_json::Value {
    let count = |level: Level| all.iter().filter(|finding| finding.level == level).count();
    json!({ "ok": count(Level::Ok), "warn": count(Level::Warn), "fail": count(Level::Fail) })
}

fn summary(all: &[Finding]) -> String {
    let counts = counts(all);
    match counts["fail"].as_u64() {
        Some(0) => format!("Nothing fails: {} ok, {} to look at.\n", counts["ok"], counts["warn"]),
        _ => format!("{} fail: {} ok, {} to look at.\n", counts["fail"], counts["ok"], counts["warn"]),
    }
}
