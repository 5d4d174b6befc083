//! `purge`: erasure.

use super::place::PlaceArgs;
use super::run::Output;
use super::summary::grouped;
use crate::app::{store_failure, stores};
use crate::audit::purge::{Purged, What, purge};
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::progress;
use chrono::NaiveDate;
use clap::Args;
use serde_json::json;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Arguments of `purge`.
#[derive(Args, Debug, Clone)]
#[command(after_help = "\
Says what it would take away; with --yes it does. What is left is as if the rest had never been sent. Deleted is deleted.

Examples:
  xray-processor-worker purge --run 149406d8-fc0e-4e6b-98b8-2b0336070665
  xray-processor-worker purge --before 2025-01-01 --yes")]
pub struct PurgeArgs {
    #[command(flatten)]
    pub(crate) place: PlaceArgs,

    /// This run with its steps and decisions, and the dead letters that name any of them
    #[arg(long, value_name = "ID", required_unless_present = "before", conflicts_with = "before")]
    run: Option<String>,

    /// Everything before this day, by the events' own times in UTC
    #[arg(long, value_name = "DATE")]
    before: Option<NaiveDate>,

    /// Do it; without, only say what would be taken away
    #[arg(long)]
    yes: bool,

    /// text or json
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Purges, or says what a purge would take away.
pub async fn main(args: &PurgeArgs, config: &Config) -> Result<Exit, Failure> {
    args.place.check(config)?;
    let what = match (&args.run, args.before) {
        (Some(run), _) if !run.is_empty() => What::Run(run.clone()),
        (_, Some(day)) => What::Before(day),
        _ => return Err(Failure::usage("name a run with --run, or a day with --before")),
    };
    let audited = stores::audited(config, args.yes).await?;
    let purged = Purged::default();
    let count = |count: &AtomicU64| count.load(Relaxed);
    let (done, nothing) = (|| count(&purged.objects) + count(&purged.letters), AtomicU64::new(0));
    tokio::select! {
        worked = purge(&audited, &what, args.yes, &purged) => worked.map_err(store_failure)?,
        never = progress::show(&done, "objects and dead letters", &nothing, None) => match never {},
    }
    let (objects, bytes) = (count(&purged.objects), count(&purged.bytes));
    let (rows, letters) = (count(&purged.rows), count(&purged.letters));
    super::print(&match args.output {
        Output::Json => {
            let counts =
                json!({ "objects": objects, "bytes": bytes, "rows": rows, "deadLetters": letters, "done": args.yes });
            format!("{counts}\n")
        }
        Output::Text => format!(
            "{} objects ({} bytes), {} rows of facts with what is derived from them, {} dead letters {}\n",
            grouped(objects),
            grouped(bytes),
            grouped(rows),
            grouped(letters),
            if args.yes { "taken away" } else { "would be taken away; nothing was done: add --yes" }
        ),
    })?;
    Ok(Exit::Done)
}
