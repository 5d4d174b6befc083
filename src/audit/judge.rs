//! What is wrong under one key, and what would mend it. Pure: the answer depends on what stands there alone.

use super::report::Problem;
use crate::event::{Fact, Kind, Rejection};
use crate::object::Record;
use crate::store::audit::{FactId, FactRow};
use std::sync::Arc;

/// All that is known about a key.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// The kind that the key says.
    pub kind: Kind,
    /// What stands there.
    pub object: Content,
    /// The rows that name the key.
    pub rows: Vec<Seen>,
    /// The row of the object's event, where it names another key.
    pub elsewhere: Option<FactRow>,
    /// A dead letter says that a store refused the event.
    pub refused: bool,
}

/// What stands under a key.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Nothing.
    Absent,
    /// The event that belongs there.
    Event(Arc<Record>),
    /// Something else.
    Damaged(Rejection),
    /// The store does not give it, for this reason: it is archived, or too large to be read.
    Unread(String),
}

/// A row, and what a dead letter of a lost conflict says about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// The row.
    pub row: FactRow,
    /// The loser that it is the row of.
    pub lost: Option<Loser>,
}

/// A decision that lost a conflict and whose bytes are a dead letter.
#[derive(Debug, Clone, PartialEq)]
pub enum Loser {
    /// Its bytes were not read.
    Unread,
    /// This event.
    Event(Arc<Record>),
}

/// What is wrong with one thing.
#[derive(Debug, Clone, PartialEq)]
pub struct Wrong {
    /// What.
    pub problem: Problem,
    /// The row in question; `None` where it is about the object.
    pub row: Option<FactId>,
    /// What is there and what should be.
    pub detail: String,
    /// What mends it.
    pub mend: Mend,
}

/// What mends something.
#[derive(Debug, Clone, PartialEq)]
pub enum Mend {
    /// Insert the row of this event.
    Insert(Arc<Record>),
    /// The same, once the row that stands there is gone.
    Replace(FactRow, Arc<Record>),
    /// Take this row away.
    Remove(FactRow),
    /// Keep the object's bytes as a dead letter and take it away.
    SetAside(Rejection),
    /// Nothing that we could do.
    Nothing,
}

/// What was found out about a key.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ruling {
    /// What is wrong.
    pub wrong: Vec<Wrong>,
    /// What only looks wrong: dead letters tell why it is so.
    pub explained: u64,
}

/// Judges a key.
pub fn judge(case: &Case) -> Ruling {
    let mut ruling = Ruling::default();
    let own = match &case.object {
        Content::Event(record) => {
            ruling.own(case, record);
            Some(FactId::of(&record.event.fact))
        }
        Content::Damaged(rejection) => {
            ruling.add(Problem::DamagedObject, None, rejection.reason.clone(), Mend::SetAside(rejection.clone()));
            None
        }
        Content::Unread(why) => {
            // What its rows should say nobody knows: they stay as they are.
            ruling.add(Problem::UnreadObject, None, why.clone(), Mend::Nothing);
            return ruling;
        }
        Content::Absent => None,
    };
    for Seen { row, lost } in case.rows.iter().filter(|seen| Some(&seen.row.id) != own.as_ref()) {
        match lost {
            Some(Loser::Unread) => ruling.explained += 1,
            Some(Loser::Event(record)) if row.says(&FactRow::of(record)) => ruling.explained += 1,
            Some(Loser::Event(record)) => {
                let detail = differences(row, &FactRow::of(record));
                let mend = Mend::Replace(row.clone(), record.clone());
                ruling.add(Problem::DifferentRow, Some(row), detail, mend);
            }
            None => {
                let detail = match case.object {
                    Content::Absent => format!("there is no object {}", row.key),
                    Content::Damaged(_) | Content::Unread(_) => format!("the object {} is damaged", row.key),
                    Content::Event(_) => format!("the object {} is of another event", row.key),
                };
                ruling.add(Problem::OrphanRow, Some(row), detail, Mend::Remove(row.clone()));
            }
        }
    }
    ruling
}

impl Ruling {
    /// Judges the row of the event that the object is.
    fn own(&mut self, case: &Case, record: &Arc<Record>) {
        let expected = FactRow::of(record);
        let here = case.rows.iter().map(|seen| &seen.row).find(|row| row.id == expected.id);
        let Some(row) = here.or(case.elsewhere.as_ref()) else {
            if case.refused {
                self.explained += 1;
            } else {
                let detail = format!("{} is not in {}", expected.id, expected.id.table());
                self.add(Problem::MissingRow, None, detail, Mend::Insert(record.clone()));
            }
            return;
        };
        // Reports with different starts are two objects and one row: that of the newest.
        let superseded = case.kind != Kind::Decision && row.key != expected.key && row.version > expected.version;
        if !row.says(&expected) && !superseded {
            let mend = Mend::Replace(row.clone(), record.clone());
            self.add(Problem::DifferentRow, Some(row), differences(row, &expected), mend);
        }
    }

    fn add(&mut self, problem: Problem, row: Option<&FactRow>, detail: String, mend: Mend) {
        self.wrong.push(Wrong { problem, row: row.map(|row| row.id.clone()), detail, mend });
    }
}

/// `outcome is kept, not scored; …`
pub fn differences(found: &FactRow, expected: &FactRow) -> String {
    let Some(fact) = &found.fact else { return "it holds values that no worker writes".to_owned() };
    let mut columns = vec![("s3_key", found.key.clone(), expected.key.clone())];
    if let Some(wanted) = &expected.fact {
        let both = shown(fact).into_iter().zip(shown(wanted));
        columns.extend(both.map(|((name, found), (_, expected))| (name, found, expected)));
    }
    columns.push(("version", found.version.to_string(), expected.version.to_string()));
    let differing = columns.into_iter().filter(|(_, found, expected)| found != expected);
    let words: Vec<String> = differing
        .map(|(name, found, expected)| format!("{name} is {}, not {}", shortened(&found), shortened(&expected)))
        .collect();
    words.join("; ")
}

/// Values may be whole documents.
pub(super) fn shortened(value: &str) -> String {
    match value.char_indices().nth(80) {
        None if value.is_empty() => "empty".to_owned(),
        None => value.to_owned(),
        Some((at, _)) => format!("{}…", &value[..at]),
    }
}

fn shown(fact: &Fact) -> Vec<(&'static str, String)> {
    fn some<T: ToString>(value: Option<T>) -> String {
        value.map_or_else(|| "NULL".to_owned(), |value| value.to_string())
    }
    match fact {
        Fact::Decision(decision) => vec![
            ("pipeline_id", decision.pipeline_id.clone()),
            ("outcome", decision.outcome.as_str().to_owned()),
            ("item_id", decision.item_id.clone()),
            ("score", some(decision.score)),
            ("timestamp", decision.timestamp.to_string()),
            ("input_count", some(decision.input_count)),
            ("output_count", some(decision.output_count)),
        ],
        Fact::Step(report) => vec![
            ("run_id", report.run_id.clone()),
            ("pipeline_id", report.pipeline_id.clone()),
            ("step_type", report.step_type.clone()),
            ("step_name", report.step_name.clone()),
            ("started_at", report.started_at.to_string()),
            ("completed_at", some(report.completed_at)),
            ("input_count", some(report.input_count)),
            ("output_count", some(report.output_count)),
        ],
        Fact::Run(report) => vec![
            ("pipeline_id", report.pipeline_id.clone()),
            ("status", report.status.as_str().to_owned()),
            ("started_at", report.started_at.to_string()),
            ("completed_at", some(report.completed_at)),
            ("error", some(report.error.clone())),
            ("metadata", report.metadata.clone()),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Outcome, parse_event};
    use bytes::Bytes;
    use proptest::prelude::*;

    fn record(kind: Kind, body: String) -> Arc<Record> {
        Arc::new(Record::new(parse_event(kind, &Bytes::from(body)).unwrap()))
    }

    fn decision(run: &str, outcome: &str) -> Arc<Record> {
        let body = format!(
            r#"{{"id":"e","stepId":"s","runId":"{run}","outcome":"{outcome}","itemId":"i","timestamp":"2026-01-31T12:00:00Z"}}"#
        );
        record(Kind::Decision, body)
    }

    fn step(day: u8, end: Option<u8>) -> Arc<Record> {
        let end = end.map(|hour| format!(r#","completedAt":"2026-02-02T{hour:02}:00:00Z""#)).unwrap_or_default();
        record(
            Kind::Step,
            format!(r#"{{"id":"s","type":"t","name":"n","startedAt":"2026-01-{day:02}T12:00:00Z"{end}}}"#),
        )
    }

    fn case(kind: Kind, object: Content, rows: Vec<FactRow>) -> Case {
        let rows = rows.into_iter().map(|row| Seen { row, lost: None }).collect();
        Case { kind, object, rows, elsewhere: None, refused: false }
    }

    fn problems(case: &Case) -> Vec<Problem> {
        judge(case).wrong.into_iter().map(|wrong| wrong.problem).collect()
    }

    #[test]
    fn what_is_as_it_should_be() {
        let kept = decision("r", "kept");
        assert_eq!(
            judge(&case(Kind::Decision, Content::Event(kept.clone()), vec![FactRow::of(&kept)])),
            Ruling::default()
        );
        // The older of two reports with different starts.
        let (older, newer) = (step(30, None), step(31, Some(1)));
        let mut superseded = case(Kind::Step, Content::Event(older.clone()), Vec::new());
        superseded.elsewhere = Some(FactRow::of(&newer));
        assert_eq!(judge(&superseded), Ruling::default());
        // And the reverse: the table never got the newer one.
        let mut behind = case(Kind::Step, Content::Event(newer), Vec::new());
        behind.elsewhere = Some(FactRow::of(&older));
        assert_eq!(problems(&behind), [Problem::DifferentRow]);
    }

    #[test]
    fn a_conflict_explains_a_row_and_nothing_else_does() {
        let (kept, scored) = (decision("r", "kept"), decision("r2", "scored"));
        let rows = vec![FactRow::of(&kept), FactRow::of(&scored)];
        let mut conflict = case(Kind::Decision, Content::Event(kept), rows);
        assert_eq!(problems(&conflict), [Problem::OrphanRow]);
        conflict.rows[1].lost = Some(Loser::Event(scored.clone()));
        assert_eq!(judge(&conflict), Ruling { wrong: Vec::new(), explained: 1 });
        if let Some(Fact::Decision(decision)) = &mut conflict.rows[1].row.fact {
            decision.outcome = Outcome::Kept;
        }
        let ruling = judge(&conflict);
        assert_eq!(ruling.wrong[0].detail, "outcome is kept, not scored");
        assert!(matches!(&ruling.wrong[0].mend, Mend::Replace(_, record) if *record == scored));
        let refused = Case { refused: true, ..case(Kind::Decision, Content::Event(scored), Vec::new()) };
        assert_eq!(judge(&refused), Ruling { wrong: Vec::new(), explained: 1 });
    }

    #[test]
    fn what_cannot_be_read_takes_no_row_away() {
        let archived = Content::Unread("it is archived".to_owned());
        let ruling = judge(&case(Kind::Decision, archived, vec![FactRow::of(&decision("r", "kept"))]));
        assert_eq!(
            ruling.wrong.iter().map(|wrong| (wrong.problem, &wrong.mend)).collect::<Vec<_>>(),
            [(Problem::UnreadObject, &Mend::Nothing)]
        );
    }

    proptest! {
        /// What mends a key leaves nothing wrong with it.
        #[test]
        fn mended_it_is_right(present in 0..3_u8, rows in proptest::collection::vec((0..2_u8, 0..3_u8), 0..4)) {
            let events = [decision("r", "kept"), decision("r", "scored"), decision("r2", "kept")];
            let object = match present {
                0 => Content::Absent,
                1 => Content::Event(events[0].clone()),
                _ => Content::Damaged(Rejection::new(crate::event::Code::NotJson, "cut off")),
            };
            let mut found: Vec<FactRow> = Vec::new();
            for (altered, event) in rows {
                let mut row = FactRow::of(&events[usize::from(event)]);
                if altered == 1 {
                    row.fact = None;
                }
                if !found.iter().any(|other| other.id == row.id) {
                    found.push(row);
                }
            }
            let mut case = case(Kind::Decision, object, found);
            for wrong in judge(&case).wrong {
                let mut remove = |row: &FactRow| case.rows.retain(|seen| seen.row != *row);
                match wrong.mend {
                    Mend::Insert(record) => case.rows.push(Seen { row: FactRow::of(&record), lost: None }),
                    Mend::Replace(row, record) => {
                        remove(&row);
                        case.rows.push(Seen { row: FactRow::of(&record), lost: None });
                    }
                    Mend::Remove(row) => remove(&row),
                    Mend::SetAside(_) => case.object = Content::Absent,
                    Mend::Nothing => {}
                }
            }
            prop_assert_eq!(judge(&case), Ruling::default());
        }
    }
}
