//! Where two states differ, for the message of a failing test.

use std::collections::BTreeMap;
use std::fmt::Debug;

use super::{DeadLetter, Row, State};

const MAX_LINES: usize = 20;

/// What differs, a line each and no more than a screenful; empty when the states are equal.
pub fn diff(expected: &State, found: &State) -> Vec<String> {
    let mut lines = Vec::new();
    compare("object", &expected.objects, &found.objects, &mut lines, |key, expected, found| {
        vec![format!("object {key:?}: expected {}, found {}", shown(expected), shown(found))]
    });
    compare("dead letter", &expected.dead_letters, &found.dead_letters, &mut lines, |_, expected, found| {
        vec![format!("dead letter: expected {}, found {}", shown_letter(expected), shown_letter(found))]
    });
    compare_rows(&expected.decision_events, &found.decision_events, &mut lines);
    compare_rows(&expected.steps, &found.steps, &mut lines);
    compare_rows(&expected.runs, &found.runs, &mut lines);
    if lines.len() > MAX_LINES {
        let left_out = lines.len() - MAX_LINES;
        lines.truncate(MAX_LINES);
        lines.push(format!("… and {left_out} more"));
    }
    lines
}

fn compare_rows<K: Ord + Debug, R: Row + Debug>(
    expected: &BTreeMap<K, R>,
    found: &BTreeMap<K, R>,
    lines: &mut Vec<String>,
) {
    compare(R::TABLE, expected, found, lines, |id, expected, found| {
        let values = expected.shown().into_iter().zip(found.shown());
        let columns = R::COLUMNS.iter().zip(values).filter(|(_, (expected, found))| expected != found);
        columns
            .map(|(column, (expected, found))| {
                format!("{} {id:?} {column}: expected {expected}, found {found}", R::TABLE)
            })
            .collect()
    });
}

fn compare<K: Ord + Debug, V: PartialEq + Debug>(
    what: &str,
    expected: &BTreeMap<K, V>,
    found: &BTreeMap<K, V>,
    lines: &mut Vec<String>,
    differences: impl Fn(&K, &V, &V) -> Vec<String>,
) {
    for (id, value) in expected {
        match found.get(id) {
            None => lines.push(format!("{what} {id:?}: missing")),
            Some(other) if other != value => lines.extend(differences(id, value, other)),
            Some(_) => {}
        }
    }
    for id in found.keys().filter(|id| !expected.contains_key(id)) {
        lines.push(format!("{what} {id:?}: not expected"));
    }
}

fn shown_letter(letter: &DeadLetter) -> String {
    format!("{} {} ({})", letter.key, shown(&letter.body), letter.code)
}

fn shown(bytes: &[u8]) -> String {
    let start = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]);
    if bytes.len() > 200 { format!("{start}… ({} bytes)", bytes.len()) } else { start.into_owned() }
}
