//! What is the matter, in words, the weightiest first. Pure.

use super::document::Document;
use crate::health::State;
use crate::span::span;
use serde::{Deserialize, Serialize};

/// Above this share of its bound the worker is as good as full.
const NEAR_BOUND: f64 = 0.9;
/// A message that is held for longer is not just on its way.
const HELD_LONG: f64 = 60.0;
/// More dead letters than this share of all are no accident.
const MANY_DEAD: f64 = 0.05;
/// More failed calls a second are no accident either.
const MANY_FAILED: f64 = 0.1;
/// A lag below this comes and goes.
const SOME_LAG: u64 = 1000;

/// How grave it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Nothing is to be done.
    #[default]
    Good,
    /// Somebody should look.
    Warn,
    /// Nothing goes on until somebody does something.
    Bad,
}

/// What is the matter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Of the gravest.
    pub level: Level,
    /// At least one sentence, the gravest first.
    pub sentences: Vec<String>,
}

/// The verdict on all the rest of the document.
pub(super) fn of(document: &Document) -> Verdict {
    let mut found: Vec<(Level, String)> = Vec::new();
    for stuck in &document.stuck {
        let text = format!(
            "The loop {} has made no progress for {}, which is a bug: restart the worker.",
            stuck.name,
            span(stuck.seconds as f64)
        );
        found.push((Level::Bad, text));
    }
    found.extend(dependencies(document));
    if document.readiness.draining {
        found.push((Level::Warn, "The worker is stopping: it finishes what it holds.".into()));
    }
    if found.is_empty() {
        found.extend(load(document));
    }
    found.extend(dead_letters(document));
    if found.is_empty() {
        found.push((Level::Good, good(document)));
    }
    found.sort_by_key(|(level, _)| std::cmp::Reverse(*level));
    let level = found.first().map(|(level, _)| *level).unwrap_or_default();
    Verdict { level, sentences: found.into_iter().map(|(_, sentence)| sentence).collect() }
}

fn dependencies(document: &Document) -> impl Iterator<Item = (Level, String)> {
    document.readiness.dependencies.iter().filter_map(|(name, status)| match status.state {
        State::Up => None,
        State::Unknown => Some((Level::Warn, format!("Nothing has been heard of {name} yet."))),
        State::Down => {
            let since = span((document.now - status.since).as_seconds_f64());
            let error = status.last_error.as_deref().unwrap_or("nobody said why");
            Some((Level::Bad, format!("{name} has been down for {since}: {error}")))
        }
    })
}

/// Why what comes in takes long, where all are up.
fn load(document: &Document) -> Vec<(Level, String)> {
    let mut found = Vec::new();
    let (flow, in_flight) = (&document.flow, &document.in_flight);
    let (share, bound) = in_flight.share();
    let full = share >= NEAR_BOUND;
    if flow.rates.repeated > MANY_FAILED {
        let text = format!(
            "Stores fail {} calls a second and take the rest: they are repeated, and the log has their words.",
            flow.rates.repeated
        );
        found.push((Level::Warn, text));
    }
    if full {
        let slowest = document.flushes.iter().max_by(|a, b| a.mean_seconds.total_cmp(&b.mean_seconds));
        let slowest = slowest.filter(|flush| flush.count > 0).map_or_else(
            || "no stage has finished anything within the last minute".to_owned(),
            |flush| format!("the slowest stage is {} ({} each time)", flush.stage, span(flush.mean_seconds)),
        );
        let share = (share * 100.0).round();
        let text = format!("The worker holds {share} % of {bound}: the stores take less than comes in; {slowest}.");
        found.push((Level::Warn, text));
    }
    let grows = flow.rates.lag.is_some_and(|grows| grows > 0.0 && grows > 0.01 * flow.rates.stored);
    if let (Some(lag), true) = (flow.lag, grows && !full)
        && lag >= SOME_LAG
    {
        found.push((
            Level::Warn,
            format!(
                "{lag} messages wait and more come in than are stored: this worker alone is too small for the load."
            ),
        ));
    }
    if flow.oldest_unacked_seconds >= HELD_LONG && !full {
        let held = span(flow.oldest_unacked_seconds);
        found.push((
            Level::Warn,
            match in_flight.heavy_lane {
                0 => format!("A message has been held for {held}: a store refuses it while it takes others."),
                lane => {
                    format!("A message has been held for {held}; {lane} wait for rows that take long to recompute.")
                }
            },
        ));
    }
    found
}

fn dead_letters(document: &Document) -> Option<(Level, String)> {
    let rates = &document.flow.rates;
    // Of what was finished: after an outage much of that came long ago.
    let finished = rates.stored + rates.dead_letters;
    (rates.dead_letters >= 0.1 && rates.dead_letters > MANY_DEAD * finished).then(|| {
        let share = (100.0 * rates.dead_letters / finished).round();
        (Level::Warn, format!("{share} % of what comes in becomes dead letters: a producer sends what is no event."))
    })
}

fn good(document: &Document) -> String {
    let rates = &document.flow.rates;
    match rates.received.max(rates.stored) {
        0.0 => "All is well; nothing comes in at the moment.".into(),
        _ => format!("All is well: {} events a second come in, {} are stored.", rates.received, rates.stored),
    }
}
