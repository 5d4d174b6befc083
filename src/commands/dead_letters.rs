//! `dead-letters`: what was no event, for people to look at and to send again.

use super::place::PlaceArgs;
use super::run::{GIVE_UP_AFTER, Output, duration};
use super::summary::grouped;
use crate::app::{self, Redriven, store_failure, stores};
use crate::audit::Audited;
use crate::audit::selection::{Filter, bodies, discard, select};
use crate::config::Config;
use crate::dead_letter::DeadLetter;
use crate::event::{Code, Kind};
use crate::exit::{Exit, Failure};
use crate::printable::harmless;
use crate::progress;
use crate::store::audit::DeadLetterRow;
use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Arguments of `dead-letters`.
#[derive(Args, Debug, Clone)]
#[command(after_help = "\
Examples:
  xray-processor-worker dead-letters list --code bad_field --since 2026-01-31
  xray-processor-worker dead-letters show 3f9a
  xray-processor-worker dead-letters redrive --code store_refused
  xray-processor-worker dead-letters discard --until 2026-01-01 --yes")]
pub struct DeadLettersArgs {
    #[command(flatten)]
    pub(crate) place: PlaceArgs,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug, Clone)]
enum Command {
    /// List them, the latest last
    List(ListArgs),
    /// Show one with its body
    Show(ShowArgs),
    /// Send them again, through the same processor or onto the broker; what is still bad stays
    Redrive(RedriveArgs),
    /// Delete them for good
    Discard(DiscardArgs),
}

#[derive(Args, Debug, Clone)]
struct FilterArgs {
    /// Of these SHA-256, or beginnings of them
    #[arg(value_name = "SHA256", value_parser = digest)]
    ids: Vec<String>,

    /// Of this code, e.g. bad_field (may be repeated, or separated by commas)
    #[arg(long, value_name = "CODE", value_delimiter = ',', value_parser = code)]
    code: Vec<Code>,

    /// First seen then or later: a date or an RFC 3339 time
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<DateTime<Utc>>,

    /// First seen before then
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<DateTime<Utc>>,

    /// With this in their source: a queue, a topic, a file
    #[arg(long, value_name = "TEXT")]
    source: Option<String>,

    /// With this in their reason or body
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
}

impl FilterArgs {
    fn filter(&self, redriven: Option<bool>) -> Filter {
        Filter {
            ids: self.ids.clone(),
            codes: self.code.clone(),
            since: self.since,
            until: self.until,
            source: self.source.clone(),
            text: self.text.clone(),
            redriven,
        }
    }

    fn is_everything(&self) -> bool {
        self.filter(None) == Filter::default()
    }
}

#[derive(Args, Debug, Clone)]
struct ListArgs {
    #[command(flatten)]
    filter: FilterArgs,

    /// Only those that were not sent again yet
    #[arg(long)]
    open: bool,

    /// The latest so many; 0 for all, in no order of time
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,

    /// text, or json: one a line
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Args, Debug, Clone)]
struct ShowArgs {
    /// Its SHA-256, or a beginning that only it has
    #[arg(value_name = "SHA256", value_parser = digest)]
    id: String,

    /// Nothing but the bytes of the body, as they came
    #[arg(long, conflicts_with = "output")]
    raw: bool,

    /// text or json
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Args, Debug, Clone)]
struct RedriveArgs {
    #[command(flatten)]
    filter: FilterArgs,

    /// All that were not sent again yet
    #[arg(long)]
    all: bool,

    /// Also those that were sent again before
    #[arg(long)]
    again: bool,

    /// Onto the broker of QUEUE_TYPE rather than through this process
    #[arg(long)]
    to_queue: bool,

    /// Fail once a store has been away for so long
    #[arg(long, value_name = "TIME", value_parser = duration)]
    give_up_after: Option<Duration>,

    /// text or json
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Args, Debug, Clone)]
struct DiscardArgs {
    #[command(flatten)]
    filter: FilterArgs,

    /// All of them
    #[arg(long)]
    all: bool,

    /// Do it; without, only say what would be deleted
    #[arg(long)]
    yes: bool,
}

fn digest(text: &str) -> Result<String, String> {
    let hex = text.to_ascii_lowercase();
    match (4..=64).contains(&hex.len()) && hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => Ok(hex),
        false => Err("a SHA-256 in hex, or its first four digits or more".to_owned()),
    }
}

fn code(word: &str) -> Result<Code, String> {
    let names = || Code::ALL.map(Code::as_str).join(", ");
    Code::ALL.into_iter().find(|code| code.as_str() == word).ok_or_else(|| format!("a code is one of {}", names()))
}

fn time(text: &str) -> Result<DateTime<Utc>, String> {
    let midnight = text.parse::<NaiveDate>().map(|date| date.and_time(NaiveTime::MIN).and_utc());
    midnight
        .or_else(|_| DateTime::parse_from_rfc3339(text).map(|time| time.to_utc()))
        .map_err(|_| "give a date such as 2026-01-31 or a time such as 2026-01-31T22:00:00Z".into())
}

/// Does what was asked for.
pub async fn main(args: &DeadLettersArgs, config: &Config) -> Result<Exit, Failure> {
    args.place.check(config)?;
    match &args.command {
        Command::List(args) => list(args, &stores::audited(config, false).await?).await,
        Command::Show(args) => show(args, &stores::audited(config, false).await?).await,
        Command::Redrive(args) => redrive(args, config).await,
        Command::Discard(args) => remove(args, &stores::audited(config, args.yes).await?).await,
    }
}

async fn list(args: &ListArgs, audited: &Audited) -> Result<Exit, Failure> {
    let filter = args.filter.filter(args.open.then_some(false));
    let mut selection = select(audited, &filter);
    let print = |row: &DeadLetterRow| {
        super::print(&match args.output {
            Output::Text => line(row),
            Output::Json => format!("{}\n", of_row(row)),
        })
    };
    // The latest so many are held; for all there is no order.
    let (mut latest, mut count) = (BTreeMap::new(), 0_u64);
    loop {
        let rows = selection.rows().await.map_err(store_failure)?;
        if rows.is_empty() {
            break;
        }
        count += rows.len() as u64;
        for row in rows {
            if args.limit == 0 {
                print(&row)?;
                continue;
            }
            latest.insert((row.first_seen.clone(), row.sha256.clone()), row);
            if latest.len() > args.limit {
                latest.pop_first();
            }
        }
    }
    latest.values().try_for_each(print)?;
    if args.output == Output::Text {
        let shown = if args.limit == 0 { count } else { latest.len() as u64 };
        eprintln!("{} of {} dead letters", grouped(shown), grouped(count));
    }
    Ok(Exit::Done)
}

fn line(row: &DeadLetterRow) -> String {
    let mark = if row.redriven_at.is_some() { "  (sent again)" } else { "" };
    format!(
        "{:.12}  {}  {:<13}  {:>9}  {}  {}{mark}\n",
        row.sha256,
        row.first_seen,
        row.code,
        grouped(row.bytes),
        row.source,
        row.reason
    )
}

fn of_row(row: &DeadLetterRow) -> Value {
    json!({
        "sha256": row.sha256, "code": row.code, "reason": row.reason, "source": row.source, "kind": row.kind,
        "key": row.s3_key, "bytes": row.bytes, "firstSeen": row.first_seen, "redrivenAt": row.redriven_at,
    })
}

async fn show(args: &ShowArgs, audited: &Audited) -> Result<Exit, Failure> {
    let filter = Filter { ids: vec![args.id.clone()], ..Filter::default() };
    let rows = select(audited, &filter).rows().await.map_err(store_failure)?;
    let row = match rows.as_slice() {
        [row] => row,
        [] => return Err(Failure::failed(format!("no dead letter's SHA-256 begins with {}", args.id))),
        rows => {
            let ids: Vec<&str> = rows.iter().take(5).map(|row| row.sha256.as_str()).collect();
            return Err(Failure::usage(format!("{} begin with {}: {}", rows.len(), args.id, ids.join(", "))));
        }
    };
    let letters = bodies(audited, std::slice::from_ref(row)).await.map_err(store_failure)?;
    let Some(letter) = letters.into_iter().flatten().next() else {
        return Err(Failure::failed(format!("the object {} is gone or damaged: `verify` says more", row.s3_key)));
    };
    match (args.raw, args.output) {
        (true, _) => super::print_bytes(&letter.body)?,
        (false, Output::Text) => super::print(&in_full(row, &letter))?,
        (false, Output::Json) => {
            let mut json = of_row(row);
            json["deliveries"] = letter.deliveries.into();
            let (name, body) = match std::str::from_utf8(&letter.body) {
                Ok(text) => ("body", text.to_owned()),
                Err(_) => ("bodyBase64", base64(&letter.body)),
            };
            json[name] = body.into();
            super::print(&format!("{json}\n"))?;
        }
    }
    Ok(Exit::Done)
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn in_full(row: &DeadLetterRow, letter: &DeadLetter) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let mut line = |name: &str, value: &str| writeln!(text, "{name:<12} {value}").unwrap_or_default();
    line("sha256", &row.sha256);
    line("code", &row.code);
    line("reason", &row.reason);
    line("kind", letter.kind.map_or("unknown", Kind::as_str));
    line("source", &row.source);
    line("first seen", &row.first_seen);
    line("sent again", row.redriven_at.as_deref().unwrap_or("no"));
    line("deliveries", &letter.deliveries.to_string());
    line("object", &row.s3_key);
    let kept = letter.body.len() as u64;
    let bytes = match letter.is_whole() {
        true => grouped(kept),
        false => format!("{}, of which {} were kept", grouped(letter.full_bytes), grouped(kept)),
    };
    line("bytes", &bytes);
    let shown: String = String::from_utf8_lossy(&letter.body)
        .chars()
        .map(|char| if matches!(char, '\n' | '\t') { char } else { harmless(char) })
        .collect();
    text.push('\n');
    text.push_str(shown.trim_end());
    text.push('\n');
    text
}

async fn redrive(args: &RedriveArgs, config: &Config) -> Result<Exit, Failure> {
    if args.filter.is_everything() && !args.all {
        return Err(Failure::usage("which? Name some, or a filter such as --code bad_field, or --all"));
    }
    let filter = args.filter.filter((!args.again).then_some(false));
    let redriven = Redriven::default();
    let (done, nothing) = (|| redriven.all(), AtomicU64::new(0));
    let work = async {
        match args.to_queue {
            true => app::requeue(config, &filter, &redriven).await,
            false => app::redrive(config, &filter, args.give_up_after.unwrap_or(GIVE_UP_AFTER), &redriven).await,
        }
    };
    tokio::select! {
        worked = work => worked?,
        never = progress::show(&done, "dead letters sent again", &nothing, None) => match never {},
    }
    let count = |count: &AtomicU64| count.load(Relaxed);
    let (sent, still, lost) = (count(&redriven.sent), count(&redriven.still), count(&redriven.lost));
    super::print(&match args.output {
        Output::Json => format!("{}\n", json!({ "sent": sent, "stillBad": still, "lost": lost })),
        Output::Text => {
            let how = if args.to_queue { "on the broker" } else { "stored" };
            format!(
                "{} {how} and marked, {} still bad, {} that cannot be sent (only their beginning was kept, or their object is gone)\n",
                grouped(sent),
                grouped(still),
                grouped(lost)
            )
        }
    })?;
    Ok(Exit::Done)
}

async fn remove(args: &DiscardArgs, audited: &Audited) -> Result<Exit, Failure> {
    if args.filter.is_everything() && !args.all {
        return Err(Failure::usage("which? Name some, or a filter such as --code bad_field, or --all"));
    }
    let filter = args.filter.filter(None);
    let count = discard(audited, &filter, args.yes).await.map_err(store_failure)?;
    super::print(&match args.yes {
        true => format!("{} deleted\n", grouped(count)),
        false => format!("{} would be deleted; nothing was done: add --yes\n", grouped(count)),
    })?;
    Ok(Exit::Done)
}
