//! What an input came to, for people and for programs.

use crate::app::Report;
use crate::event::Kind;
use crate::store::RowCounts;
use serde_json::json;
use std::fmt;

/// The summary of a finished input.
#[derive(Debug)]
pub(super) struct Summary<'a> {
    report: &'a Report,
}

impl<'a> Summary<'a> {
    pub(super) fn new(report: &'a Report) -> Self {
        Summary { report }
    }

    /// One line of JSON.
    pub(super) fn json(&self) -> String {
        let Report { tally, rows, took, generated: _ } = self.report;
        let rows = rows.map(|RowCounts { decision_events, steps, runs, dead_letters }| {
            json!({ "decision_events": decision_events, "steps": steps, "runs": runs, "dead_letters": dead_letters })
        });
        let codes: serde_json::Map<_, _> =
            tally.dead_letters_by_code().into_iter().map(|(code, n)| (code.as_str().to_owned(), n.into())).collect();
        json!({
            "events": {
                "decision": tally.events(Kind::Decision), "step": tally.events(Kind::Step), "run": tally.events(Kind::Run),
            },
            "objects": {
                "created": tally.objects_created(), "replaced": tally.objects_replaced(), "unchanged": tally.objects_unchanged(),
            },
            "rows": rows,
            "deadLetters": tally.dead_letters(),
            "deadLettersByCode": codes,
            "seconds": (took.as_secs_f64() * 1000.0).round() / 1000.0,
        })
        .to_string()
    }
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { tally, rows, took, generated: _ } = self.report;
        let (events, seconds) = (tally.all_events(), took.as_secs_f64());
        let rate = if seconds > 0.0 { (events as f64 / seconds) as u64 } else { events };
        writeln!(
            f,
            "events        {}: {} decisions, {} steps, {} runs, in {seconds:.1} s ({} a second)",
            grouped(events),
            grouped(tally.events(Kind::Decision)),
            grouped(tally.events(Kind::Step)),
            grouped(tally.events(Kind::Run)),
            grouped(rate),
        )?;
        writeln!(
            f,
            "objects       {} new, {} replaced by a newer report or a conflict's winner, {} there already",
            grouped(tally.objects_created()),
            grouped(tally.objects_replaced()),
            grouped(tally.objects_unchanged()),
        )?;
        match rows {
            Some(rows) => writeln!(
                f,
                "rows now      {} decision_events, {} steps, {} runs, {} dead_letters",
                grouped(rows.decision_events),
                grouped(rows.steps),
                grouped(rows.runs),
                grouped(rows.dead_letters),
            )?,
            None => writeln!(f, "rows now      not counted")?,
        }
        let codes: Vec<_> =
            tally.dead_letters_by_code().into_iter().map(|(code, n)| format!("{} {code}", grouped(n))).collect();
        match codes.as_slice() {
            [] => writeln!(f, "dead letters  none"),
            codes => writeln!(f, "dead letters  {}: {}", grouped(tally.dead_letters()), codes.join(", ")),
        }
    }
}

/// `1234567` as `1,234,567`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_are_grouped() {
        assert_eq!(
            ["0", "999", "1,000", "1,234,567"],
            [0, 999, 1000, 1_234_567].map(super::grouped).each_ref().map(String::as_str)
        );
    }
}
