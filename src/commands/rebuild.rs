//! `rebuild`: the tables from the objects alone.

use super::place::PlaceArgs;
use super::run::Output;
use super::summary::grouped;
use super::verify::RangeArgs;
use crate::app::stores;
use crate::audit::rebuild::{Options, Outcome, Rebuilt, rebuild};
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::progress;
use crate::store::{Class, StoreError};
use clap::Args;
use serde_json::json;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Arguments of `rebuild`.
#[derive(Args, Debug, Clone)]
#[command(after_help = "\
Makes all tables anew from the objects, beside those in use, and exchanges them at the end. Workers may go on: what they
store meanwhile is taken over. Broken off, it goes on where it was. With --from, --to or --kind only these objects are
read, and what they say is added to the tables as they are.

Examples:
  xray-processor-worker rebuild
  xray-processor-worker rebuild --from 2026-01-01 --to 2026-01-31 --kind decision")]
pub struct RebuildArgs {
    #[command(flatten)]
    pub(crate) place: PlaceArgs,

    #[command(flatten)]
    range: RangeArgs,

    /// Begin from the start, whatever an earlier rebuild that broke off has done
    #[arg(long, conflicts_with_all = ["from", "to", "kind"])]
    anew: bool,

    /// Keep the tables that were exchanged: the database ..._rebuild, or DIR/rebuild
    #[arg(long, conflicts_with_all = ["from", "to", "kind"])]
    keep: bool,

    /// Exchange the tables even if the objects give far fewer rows than stand in those in use
    #[arg(long)]
    force: bool,

    /// text or json
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Rebuilds. 3 where objects are damaged, which `verify --deep` names, or refused by the tables.
pub async fn main(args: &RebuildArgs, config: &Config) -> Result<Exit, Failure> {
    args.place.check(config)?;
    let began = Instant::now();
    let scope = args.range.scope()?;
    let (audited, tables) = stores::rebuildable(config).await?;
    let options = Options { scope, anew: args.anew, keep: args.keep, force: args.force };
    let rebuilt = Rebuilt::default();
    let count = |count: &AtomicU64| count.load(Relaxed);
    let done = || count(&rebuilt.events) + count(&rebuilt.letters) + count(&rebuilt.derived);
    let nothing = AtomicU64::new(0);
    let outcome = tokio::select! {
        worked = rebuild(&audited, &*tables, &options, &rebuilt) => worked.map_err(|error| broken_off(&error, "rebuild"))?,
        never = progress::show(&done, "events, dead letters and derived rows done", &nothing, None) => match never {},
    };
    if let Outcome::Refused(why) = outcome {
        return Err(Failure::failed(why));
    }
    let damaged = count(&rebuilt.damaged);
    super::print(&match args.output {
        Output::Json => {
            let counts = json!({
                "events": count(&rebuilt.events), "deadLetters": count(&rebuilt.letters), "damaged": damaged,
                "refused": count(&rebuilt.refused), "derived": count(&rebuilt.derived), "resumed": count(&rebuilt.resumed),
                "seconds": (began.elapsed().as_secs_f64() * 1000.0).round() / 1000.0,
            });
            format!("{counts}\n")
        }
        Output::Text => rebuilt_in_words(&rebuilt, began.elapsed()),
    })?;
    Ok(if damaged + count(&rebuilt.refused) > 0 { Exit::Found } else { Exit::Done })
}

/// What failed, and whether to start again.
pub(super) fn broken_off(error: &StoreError, command: &str) -> Failure {
    match error.class {
        Class::Transient => {
            Failure::failed(format!("{}; what is done stays done: start `{command}` again", error.chain()))
        }
        _ => Failure::failed(error.chain()),
    }
}

/// What was done, in a line.
pub(super) fn rebuilt_in_words(rebuilt: &Rebuilt, took: Duration) -> String {
    let count = |count: &AtomicU64| count.load(Relaxed);
    let (events, seconds) = (count(&rebuilt.events), took.as_secs_f64());
    let resumed = match count(&rebuilt.resumed) {
        0 => String::new(),
        resumed => format!(", after {} folders that were done before", grouped(resumed)),
    };
    let damaged = match count(&rebuilt.damaged) {
        0 => String::new(),
        damaged => {
            format!("; {} objects are no events or cannot be read: `verify --deep` names them", grouped(damaged))
        }
    };
    let refused = match count(&rebuilt.refused) {
        0 => String::new(),
        refused => format!("; {} are refused by the tables, each named above", grouped(refused)),
    };
    format!(
        "rebuilt from {} events and {} dead letters in {seconds:.1} s ({} a second){resumed}{damaged}{refused}\n",
        grouped(events),
        grouped(count(&rebuilt.letters)),
        grouped(if seconds > 0.0 { (events as f64 / seconds) as u64 } else { events })
    )
}
