//! `lookup`: where is my event?

use super::place::PlaceArgs;
use super::run::{Output, duration};
use super::summary::grouped;
use super::verify::RangeArgs;
use crate::app::{store_failure, stores};
use crate::audit::lookup::{Found, LETTERS_SEARCHED, Off, Verdict, lookup};
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::printable::printable;
use crate::store::audit::{Derived, FactRow, NAMED};
use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::time::Duration;

/// Arguments of `lookup`.
#[derive(Args, Debug, Clone)]
#[command(after_help = "\
ID is that of an event, an item, a step or a run, or the SHA-256 of a dead letter. Shows its objects, its rows with the
number of copies that wait for a merge, what a recompute would say, its dead letters, and one sentence.
Ends with 0 where all is well or on its way, else with 3.

Examples:
  xray-processor-worker lookup 149406d8-fc0e-4e6b-98b8-2b0336070665
  xray-processor-worker lookup --data ./data --output json cand_00417")]
pub struct LookupArgs {
    /// Of an event, item, step or run
    id: String,

    #[command(flatten)]
    pub(crate) place: PlaceArgs,

    #[command(flatten)]
    range: RangeArgs,

    /// What is younger than this may be on its way
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "10m")]
    min_age: Duration,

    /// text or json
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Looks for an id.
pub async fn main(args: &LookupArgs, config: &Config) -> Result<Exit, Failure> {
    args.place.check(config)?;
    if args.id.is_empty() {
        return Err(Failure::usage("an id has at least one character"));
    }
    let scope = args.range.scope()?;
    let audited = stores::audited(config, false).await?;
    let found = lookup(&audited, &args.id, &scope).await.map_err(store_failure)?;
    let verdict = found.verdict(args.min_age);
    super::print(&match args.output {
        // Ids and names are whatever a producer made of them.
        Output::Text => text(&args.id, &found, verdict).lines().map(|line| printable(line) + "\n").collect(),
        Output::Json => format!("{}\n", json(&args.id, &found, verdict)),
    })?;
    Ok(match verdict {
        Verdict::AllWell | Verdict::Waiting => Exit::Done,
        _ => Exit::Found,
    })
}

fn sentence(verdict: Verdict, found: &Found) -> String {
    match verdict {
        Verdict::AllWell => "All well: objects and rows agree.".to_owned(),
        Verdict::NotSeen => "Not seen: no object, row or dead letter has this id.".to_owned(),
        Verdict::RowMissing => "Stored, but a row is missing: `verify --repair` writes it from the object.".to_owned(),
        Verdict::Waiting => "Waiting: it was stored a moment ago, and its rows may be on their way.".to_owned(),
        Verdict::DeadLetter => match found.letters.as_slice() {
            [letter] => format!("It is a dead letter ({}): see `dead-letters show`.", letter.code()),
            letters => format!("It is only in {} dead letters: see `dead-letters show`.", letters.len()),
        },
        Verdict::Differs => "Something is off: `verify --deep --repair` mends it.".to_owned(),
    }
}

fn iso(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn text(id: &str, found: &Found, verdict: Verdict) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let mut line = |args: std::fmt::Arguments<'_>| writeln!(text, "{args}").unwrap_or_default();
    line(format_args!("{id}"));
    for object in &found.objects {
        let newest = match object.newest {
            Some(true) => "newest",
            Some(false) => "superseded by a newer report",
            None => "damaged, or it cannot be read",
        };
        let listed = &object.listed;
        line(format_args!(
            "object       {}  {} bytes  {}  {newest}",
            listed.key,
            grouped(listed.bytes),
            iso(listed.modified)
        ));
    }
    for row in &found.rows {
        let copies = if row.copies > 1 { format!("  {} copies not merged yet", row.copies) } else { String::new() };
        line(format_args!("row          {}  {}  {}{copies}", row.id.table(), row.id, iso(row.updated_at)));
    }
    for row in &found.derived {
        let says = match (&row.stored, &row.computed) {
            (stored, computed) if stored == computed => "as a recompute gives it",
            (None, _) => "MISSING",
            _ => "NOT as a recompute gives it",
        };
        line(format_args!("derived row  {}  {}  {}  {says}", row.table, row.key.join(" / "), columns(row)));
    }
    for letter in &found.letters {
        let reason = &letter.rejection.reason;
        line(format_args!("dead letter  {}  {}  {}  {reason}", letter.sha256, letter.code(), letter.first_seen()));
    }
    if found.letters_left {
        line(format_args!("             only {} dead letters were searched", grouped(LETTERS_SEARCHED as u64)));
    }
    if found.rows_left {
        line(format_args!(
            "             only the first {} rows of a kind are shown and checked",
            grouped(NAMED as u64)
        ));
    }
    for Off { problem, detail, .. } in &found.wrong {
        line(format_args!("off          {}: {detail}", problem.words()));
    }
    line(format_args!("{}", sentence(verdict, found)));
    text
}

/// The numbers that people ask for.
fn columns(row: &Derived) -> String {
    let wanted = ["status", "input_count", "output_count", "total_steps", "total_input_count", "total_output_count"];
    let values = row.stored.iter().flatten();
    let shown = row.columns.iter().zip(values).filter(|(column, _)| wanted.contains(column));
    shown.filter_map(|(column, value)| Some(format!("{column}={}", value.as_deref()?))).collect::<Vec<_>>().join(" ")
}

fn json(id: &str, found: &Found, verdict: Verdict) -> Value {
    let objects: Vec<Value> = found
        .objects
        .iter()
        .map(|object| {
            json!({
                "kind": object.kind.as_str(), "key": object.listed.key, "bytes": object.listed.bytes,
                "modified": iso(object.listed.modified), "newest": object.newest,
            })
        })
        .collect();
    let row = |row: &FactRow| {
        json!({
            "table": row.id.table(), "id": row.id.to_string(), "key": row.key, "version": row.version.to_string(),
            "updatedAt": iso(row.updated_at), "copies": row.copies,
        })
    };
    let values = |row: &Derived, values: &Option<Vec<Option<String>>>| -> Value {
        let Some(values) = values else { return Value::Null };
        let both = row.columns.iter().zip(values);
        Value::Object(both.map(|(column, value)| ((*column).to_owned(), json!(value))).collect::<Map<_, _>>())
    };
    let derived = |row: &Derived| {
        json!({
            "table": row.table, "id": row.key.join(" / "), "stored": values(row, &row.stored),
            "computed": values(row, &row.computed),
        })
    };
    let letters: Vec<Value> = found
        .letters
        .iter()
        .map(|letter| {
            json!({
                "sha256": letter.sha256.to_string(), "code": letter.code().as_str(), "reason": letter.rejection.reason,
                "source": letter.source, "firstSeen": letter.first_seen(),
            })
        })
        .collect();
    let wrong: Vec<Value> =
        found.wrong.iter().map(|off| json!({ "problem": off.problem.as_str(), "detail": off.detail })).collect();
    json!({
        "id": id,
        "verdict": verdict.as_str(),
        "sentence": sentence(verdict, found),
        "objects": objects,
        "rows": found.rows.iter().map(row).collect::<Vec<_>>(),
        "derived": found.derived.iter().map(derived).collect::<Vec<_>>(),
        "deadLetters": letters,
        "complete": !found.rows_left && !found.letters_left,
        "wrong": wrong,
    })
}
