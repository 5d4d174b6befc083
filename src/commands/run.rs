//! `run`: the worker, on a queue or on an input.

use super::place::{PlaceArgs, flag};
use super::summary::Summary;
use crate::app;
use crate::config::{Flag, Loaded, QueueType};
use crate::exit::{Exit, Failure};
use crate::feed::Input;
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// Arguments of `run`.
#[derive(Args, Debug, Clone, Default)]
#[command(after_help = "\
Examples:
  xray-processor-worker run --embedded --data ./data
  xray-processor-worker run --embedded --data ./data --input events.ndjson
  xray-processor-worker generate | xray-processor-worker run --embedded --data ./data --input - --output json")]
pub struct RunArgs {
    #[command(flatten)]
    place: PlaceArgs,

    /// Work off this file (- for standard input), NDJSON or one body, and end when all of it is durable
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,

    /// With --input: the summary on standard output, as text or as one JSON object
    #[arg(long, value_enum, default_value_t, requires = "input")]
    output: Output,

    /// With --input: exit with 3 where anything became a dead letter
    #[arg(long, requires = "input")]
    strict: bool,

    /// With --input: fail once a store has been away for so long, e.g. 30s, 5m, 1h [default: 5m]
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "input")]
    give_up_after: Option<Duration>,

    /// Listen here for /ingest, /metrics, /healthz, /readyz; with --input no port is opened without it
    #[arg(long, value_name = "ADDR:PORT")]
    http_addr: Option<String>,
}

/// How results are printed.
#[derive(ValueEnum, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// How long stores may stay away while an input is worked off.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(300);

impl RunArgs {
    /// The arguments that are settings.
    pub fn flags(&self) -> Vec<Flag> {
        let http = self.http_addr.iter().map(|addr| flag("http.addr", "--http-addr", addr));
        self.place.flags().into_iter().chain(http).collect()
    }
}

/// Runs until told to stop, or until the input is done.
pub async fn main(args: &RunArgs, loaded: &Loaded) -> Result<Exit, Failure> {
    let config = &loaded.config;
    args.place.check(config)?;
    // Where it is wrong, the error alone is what to read.
    let begin = || app::where_to_begin(loaded, args.input.is_some()).iter().for_each(|hint| tracing::info!("{hint}"));
    let Some(path) = &args.input else {
        begin();
        app::serve(config).await?;
        return Ok(Exit::Done);
    };
    if config.queue.kind != QueueType::Memory {
        return Err(Failure::usage(format!(
            "--input feeds the memory queue, and QUEUE_TYPE is {}: unset it, or leave --input out",
            config.queue.kind
        )));
    }
    let input = Input::open(path).await?;
    begin();
    let give_up_after = args.give_up_after.unwrap_or(GIVE_UP_AFTER);
    let report = app::work_off(config, input, give_up_after, args.http_addr.is_some()).await?;
    let summary = Summary::new(&report);
    super::print(&match args.output {
        Output::Text => summary.to_string(),
        Output::Json => format!("{}\n", summary.json()),
    })?;
    Ok(if args.strict && report.tally.dead_letters() > 0 { Exit::Found } else { Exit::Done })
}

/// `90`, `90s`, `5m`, `1h`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.char_indices().find(|(_, c)| !c.is_ascii_digit()) {
        Some((at, _)) => text.split_at(at),
        None => (text, "s"),
    };
    let seconds = match unit {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        _ => return Err("a number with a unit is needed: 30s, 5m or 1h".into()),
    };
    let number: u64 = number.parse().map_err(|_| "a whole number with a unit is needed: 30s, 5m or 1h".to_owned())?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(|| "that is too long".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3600)));
        for bad in ["", "m", "1d", "-1s", "1.5m", "99999999999999999h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
