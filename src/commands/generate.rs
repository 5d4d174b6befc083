//! `generate`: realistic pipelines as NDJSON.

use crate::event::Timestamp;
use crate::exit::{Exit, Failure};
use crate::generate::{Lines, Plan, Tally};
use chrono::{DateTime, Datelike, NaiveDate, NaiveTime};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

const BUFFER_BYTES: usize = 64 * 1024;

/// Writes events of made-up pipelines, one message body a line, as SDKs would send them: runs, steps and decisions, out
/// of order, some twice, a few wrong. The same arguments give the same bytes on every machine.
#[derive(Args, Debug, Clone)]
#[command(after_help = "\
Examples:
  xray-processor-worker generate | head
  xray-processor-worker generate --malformed 0 --conflicting 0 --output good.ndjson
  xray-processor-worker generate --runs 100000 --payload-bytes 1000 --output load.ndjson
  xray-processor-worker run --embedded --data try --input load.ndjson")]
pub struct GenerateArgs {
    /// Another seed, other ids, items and outcomes
    #[arg(long, value_name = "N", default_value_t = Plan::default().seed)]
    pub seed: u64,

    /// How many runs; one is about 80 events
    #[arg(long, value_name = "N", default_value_t = Plan::default().runs)]
    pub runs: u64,

    /// Share of lines that are sent twice
    #[arg(long, value_name = "SHARE", value_parser = share, default_value_t = Plan::default().duplicates)]
    pub duplicates: f64,

    /// Share of lines that some later ones overtake
    #[arg(long, value_name = "SHARE", value_parser = share, default_value_t = Plan::default().reordered)]
    pub reordered: f64,

    /// Share of lines that arrive when the rest of their run is over
    #[arg(long, value_name = "SHARE", value_parser = share, default_value_t = Plan::default().late)]
    pub late: f64,

    /// Share of decisions that are sent again with another outcome under the same id
    #[arg(long, value_name = "SHARE", value_parser = share, default_value_t = Plan::default().conflicting)]
    pub conflicting: f64,

    /// Malformed bodies per event: broken JSON, missing and bad fields, gzip, ...
    #[arg(long, value_name = "SHARE", value_parser = share, default_value_t = Plan::default().malformed)]
    pub malformed: f64,

    /// Share of events in an envelope {"type": ..., "data": ...}
    #[arg(long, value_name = "SHARE", value_parser = share, default_value_t = Plan::default().enveloped)]
    pub enveloped: f64,

    /// Share of lines that hold several events in an array
    #[arg(long, value_name = "SHARE", value_parser = share, default_value_t = Plan::default().batched)]
    pub batched: f64,

    /// Share of runs whose steps do not name them, as with the SDK in use today
    #[arg(long, value_name = "SHARE", value_parser = share, default_value_t = Plan::default().without_run_id)]
    pub without_run_id: f64,

    /// About how large each event is, up to 64 MiB; 0: as it comes, about half a kilobyte
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(..=64 << 20), default_value_t = 0)]
    pub payload_bytes: u64,

    /// When the first run starts: a date or an RFC 3339 time, from 2000 to 2199
    #[arg(long, value_name = "TIME", value_parser = start, default_value_t = Plan::default().start)]
    pub start: Timestamp,

    /// Over how many days the starts of the runs are spread
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=3650), default_value_t = Plan::default().days)]
    pub days: u32,

    /// Write to this file, replacing it, rather than to standard output
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

impl GenerateArgs {
    /// What the arguments ask for.
    pub fn plan(&self) -> Plan {
        Plan {
            seed: self.seed,
            runs: self.runs,
            duplicates: self.duplicates,
            reordered: self.reordered,
            late: self.late,
            conflicting: self.conflicting,
            malformed: self.malformed,
            enveloped: self.enveloped,
            batched: self.batched,
            without_run_id: self.without_run_id,
            payload_bytes: self.payload_bytes as usize,
            start: self.start,
            days: self.days,
            ..Plan::default()
        }
    }
}

/// Generates, and says on standard error what.
pub fn main(args: &GenerateArgs) -> Result<Exit, Failure> {
    let tally = run(args, &mut io::stdout().lock()).map_err(|error| Failure::failed(error.to_string()))?;
    if let Some(tally) = tally {
        eprintln!("{tally}");
    }
    Ok(Exit::Done)
}

/// Writes the lines to `--output`, else to `stdout`, and returns what is in them. `None`: whoever read them has seen
/// enough and closed the pipe, which is no error.
pub fn run(args: &GenerateArgs, stdout: &mut dyn Write) -> io::Result<Option<Tally>> {
    let lines = Lines::new(args.plan());
    let (written, target) = match &args.output {
        None => (write(lines, stdout, &ProgressBar::hidden()), "standard output".to_owned()),
        Some(path) => (write(lines, &mut create(path)?, &progress(args.runs)), path.display().to_string()),
    };
    match written {
        Ok(tally) => Ok(Some(tally)),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(None),
        Err(error) => Err(io::Error::new(error.kind(), format!("cannot write to {target}: {error}"))),
    }
}

fn create(path: &Path) -> io::Result<File> {
    File::create(path)
        .map_err(|error| io::Error::new(error.kind(), format!("cannot create {}: {error}", path.display())))
}

fn write(mut lines: Lines, out: &mut dyn Write, progress: &ProgressBar) -> io::Result<Tally> {
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, out);
    while let Some(line) = lines.next() {
        out.write_all(&line)?;
        out.write_all(b"\n")?;
        progress.set_position(lines.tally().runs);
    }
    out.flush()?;
    progress.finish_and_clear();
    Ok(lines.tally().clone())
}

/// Shows itself on a terminal only.
fn progress(runs: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_bar} {human_pos} of {human_len} runs, {eta} left");
    ProgressBar::new(runs).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("a share is a number from 0 to 1: 0.05 is five per cent".to_owned()),
    }
}

fn start(text: &str) -> Result<Timestamp, String> {
    let midnight = text.parse::<NaiveDate>().map(|date| date.and_time(NaiveTime::MIN).and_utc());
    let time = midnight.or_else(|_| DateTime::parse_from_rfc3339(text).map(|time| time.to_utc()));
    time.ok()
        .filter(|time| (2000..=2199).contains(&time.year()))
        .and_then(|time| Timestamp::from_millis(time.timestamp_millis()))
        .ok_or_else(|| {
            "give a date such as 2026-01-31 or a time such as 2026-01-31T22:00:00Z, from 2000 to 2199".into()
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser, Debug)]
    struct Cli {
        #[command(flatten)]
        args: GenerateArgs,
    }

    fn args(flags: &[&str]) -> Result<GenerateArgs, clap::Error> {
        Cli::try_parse_from([&["generate"], flags].concat()).map(|cli| cli.args)
    }

    #[test]
    fn without_arguments_it_is_the_default_plan() {
        assert_eq!(args(&[]).unwrap().plan(), Plan::default());
    }

    #[test]
    fn wrong_values_say_what_is_right() {
        for (flags, hint) in [
            (["--late", "5"], "from 0 to 1"),
            (["--late", "NaN"], "from 0 to 1"),
            (["--malformed", "1%"], "from 0 to 1"),
            (["--start", "1769990400"], "2026-01-31"),
            (["--start", "1999-12-31"], "from 2000"),
            (["--days", "0"], "1..=3650"),
        ] {
            let message = args(&flags).unwrap_err().to_string();
            assert!(message.contains(hint), "{flags:?}: {message}");
        }
    }

    #[test]
    fn a_date_is_midnight_in_utc() {
        let start = |text| args(&["--start", text]).unwrap().start.to_string();
        assert_eq!(start("2026-03-01"), "2026-03-01T00:00:00.000Z");
        assert_eq!(start("2026-03-01T00:30:00+01:00"), "2026-02-28T23:30:00.000Z");
    }

    #[test]
    fn writes_what_it_says() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let to_file = args(&["--runs", "2", "--output", file.path().to_str().unwrap()]).unwrap();
        let mut nothing = Vec::new();
        let tally = run(&to_file, &mut nothing).unwrap().unwrap();
        assert!(nothing.is_empty());
        let mut stdout = Vec::new();
        assert_eq!(run(&args(&["--runs", "2"]).unwrap(), &mut stdout).unwrap().unwrap(), tally);
        assert_eq!(std::fs::read(file.path()).unwrap(), stdout);
        assert_eq!(stdout.len() as u64, tally.bytes);
        assert_eq!(stdout.iter().filter(|byte| **byte == b'\n').count() as u64, tally.lines);
    }

    #[test]
    fn a_reader_who_has_enough_is_no_error() {
        struct Head;
        impl Write for Head {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        assert_eq!(run(&args(&[]).unwrap(), &mut Head).unwrap(), None);
        let error = run(&args(&["-o", "/nowhere/at/all"]).unwrap(), &mut Head).unwrap_err();
        assert!(error.to_string().starts_with("cannot create /nowhere/at/all: "), "{error}");
    }
}
