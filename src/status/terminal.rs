//! The document for a terminal. What others wrote is shown without anything that a terminal would obey.

use super::document::{Document, Flush, Tables};
use super::verdict::Level;
use crate::health::State;
use crate::iso;
use crate::printable::printable;
use crate::span::span;
use std::fmt::{self, Write as _};

/// All of it as text.
pub fn text(document: &Document) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    write(&mut out, document).unwrap_or_default();
    out
}

fn write(out: &mut String, document: &Document) -> fmt::Result {
    let Document { version, queue, started, now, verdict, flow, in_flight, .. } = document;
    let up = span((*now - *started).as_seconds_f64());
    writeln!(out, "xray-processor-worker {}  on {}  for {up}", printable(version), printable(queue))?;
    for (at, sentence) in verdict.sentences.iter().enumerate() {
        let mark = match (verdict.level, at) {
            (Level::Good, _) => "ok  ",
            (Level::Warn, 0) => "warn",
            (Level::Bad, 0) => "BAD ",
            _ => "    ",
        };
        writeln!(out, "{mark}  {}", printable(sentence))?;
    }
    writeln!(out)?;
    let rates = &flow.rates;
    writeln!(out, "in              {}/s, {} since the start", rates.received, flow.received)?;
    writeln!(out, "stored          {}/s, {}", rates.stored, flow.stored)?;
    writeln!(out, "dead letters    {}/s, {}", rates.dead_letters, flow.dead_letters)?;
    writeln!(out, "lag             {}", lag(document))?;
    writeln!(out, "oldest unacked  {}", span(flow.oldest_unacked_seconds))?;
    writeln!(out, "complete up to  {}", complete(document))?;
    writeln!(
        out,
        "in flight       {} of {} messages, {:.1} of {:.1} MiB; {} in the heavy lane",
        in_flight.messages,
        in_flight.max_messages,
        mib(in_flight.bytes),
        mib(in_flight.max_bytes),
        in_flight.heavy_lane
    )?;
    writeln!(out)?;
    dependencies(out, document)?;
    document.flushes.iter().try_for_each(|flush| self::flush(out, flush))?;
    match &document.tables {
        Some(tables) => self::tables(out, tables),
        None => writeln!(out, "\nThe tables have not been read yet."),
    }
}

fn lag(document: &Document) -> String {
    match (document.flow.lag, document.flow.rates.lag) {
        (None, _) => "the broker does not tell".into(),
        (Some(lag), None) => lag.to_string(),
        (Some(lag), Some(grows)) => format!("{lag} ({grows:+}/s)"),
    }
}

/// Up to when all that happened is visible, as far as anybody can say.
fn complete(document: &Document) -> String {
    let complete = &document.complete;
    let waiting = match complete.waiting {
        None => ", but for what waits at the broker".into(),
        Some(0) => String::new(),
        Some(waiting) => format!(", but for {waiting} messages that wait at the broker"),
    };
    match complete.up_to {
        Some(time) => format!("{}{waiting}", iso::text(&time)),
        None => format!("now{waiting}"),
    }
}

fn dependencies(out: &mut String, document: &Document) -> fmt::Result {
    for (name, status) in &document.readiness.dependencies {
        let state = match status.state {
            State::Unknown => "?",
            State::Up => "up",
            State::Down => "DOWN",
        };
        write!(out, "{:<16}{state} since {}", printable(name), iso::text(&status.since))?;
        match (&status.last_error, &status.last_outage) {
            (Some(error), _) => writeln!(out, ": {}", printable(error))?,
            (None, Some(outage)) => {
                let away = span((outage.ended - outage.began).as_seconds_f64());
                writeln!(out, ", after {away} down: {}", printable(&outage.error))?;
            }
            (None, None) => writeln!(out)?,
        }
    }
    Ok(())
}

fn flush(out: &mut String, flush: &Flush) -> fmt::Result {
    let Flush { stage, count, events, mean_seconds, max_seconds } = flush;
    let (mean, max) = (span(*mean_seconds), span(*max_seconds));
    match count {
        0 => writeln!(out, "{:<16}no flush within the last minute", printable(stage)),
        _ => writeln!(out, "{:<16}{count} flushes of {events} events: {mean} each, {max} at most", printable(stage)),
    }
}

fn tables(out: &mut String, tables: &Tables) -> fmt::Result {
    let Tables { read, error, recent } = tables;
    if let Some(error) = error {
        writeln!(out, "\nThe tables cannot be read: {}", printable(error))?;
    }
    // None were read: that is not the same as none.
    let Some(read) = read else { return Ok(()) };
    writeln!(out, "\nThe latest runs, as read {}", iso::text(read))?;
    unread(out, recent.runs_error.as_deref())?;
    for run in &recent.runs {
        writeln!(
            out,
            "run {}  {}  {}  {} steps  {} in, {} out, {} eliminated  {}",
            printable(&run.run_id),
            printable(&run.pipeline_id),
            printable(&run.status),
            run.total_steps,
            run.input_count,
            run.output_count,
            percent(run.elimination_ratio),
            printable(&run.started_at),
        )?;
        for step in &run.steps {
            writeln!(
                out,
                "    {:<28} {:<10} {:>8} in {:>8} out  {:>7}   {} kept, {} eliminated, {} scored",
                printable(&step.step_name),
                printable(&step.step_type),
                step.input_count,
                step.output_count,
                percent(step.elimination_ratio),
                step.kept_count,
                step.eliminated_count,
                step.scored_count,
            )?;
        }
    }
    writeln!(out, "\nThe latest dead letters")?;
    unread(out, recent.dead_letters_error.as_deref())?;
    for letter in &recent.dead_letters {
        let id = letter.sha256.get(..12).unwrap_or(&letter.sha256);
        let (code, source, reason) = (printable(&letter.code), printable(&letter.source), printable(&letter.reason));
        writeln!(out, "{}  {code:<14} {source}  {reason}", printable(&letter.first_seen))?;
        writeln!(out, "    xray-processor-worker dead-letters show {}", printable(id))?;
    }
    Ok(())
}

/// What follows is of before.
fn unread(out: &mut String, error: Option<&str>) -> fmt::Result {
    error.map_or(Ok(()), |error| writeln!(out, "They cannot be read now: {}", printable(error)))
}

fn percent(ratio: f64) -> String {
    format!("{:.1} %", ratio * 100.0)
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
