//! Which dead letters: by SHA-256, code, time, source, text.

use super::Audited;
use super::examine::read;
use super::letters::loser;
use super::lowered::Lowered;
use super::persist::persist;
use crate::dead_letter::{self, DeadLetter};
use crate::event::{Code, Kind};
use crate::key;
use crate::store::StoreError;
use crate::store::audit::{Among, DeadLetterRow, FactId, FactRow, Rows};
use chrono::{DateTime, SecondsFormat, Utc};
use futures_util::TryStreamExt;

/// Letters whose objects are read together.
const AT_ONCE: usize = 64;

/// What is asked for; an empty one is everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Beginnings of SHA-256s in hex, any of them.
    pub ids: Vec<String>,
    /// Any of these codes.
    pub codes: Vec<Code>,
    /// First seen then or later.
    pub since: Option<DateTime<Utc>>,
    /// First seen before then.
    pub until: Option<DateTime<Utc>>,
    /// Somewhere in the source.
    pub source: Option<String>,
    /// Somewhere in the reason or the body.
    pub text: Option<String>,
    /// Only those that were sent again, or only those that were not.
    pub redriven: Option<bool>,
}

impl Filter {
    /// What can be told from the row; the text may still be in the body.
    pub fn takes(&self, row: &DeadLetterRow) -> bool {
        let time = |at: &DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Millis, true);
        (self.ids.is_empty() || self.ids.iter().any(|id| row.sha256.starts_with(id.as_str())))
            && (self.codes.is_empty() || self.codes.iter().any(|code| code.as_str() == row.code))
            && self.since.as_ref().is_none_or(|since| row.first_seen >= time(since))
            && self.until.as_ref().is_none_or(|until| row.first_seen < time(until))
            && self.source.as_ref().is_none_or(|source| row.source.contains(source.as_str()))
            && self.redriven.is_none_or(|redriven| redriven == row.redriven_at.is_some())
    }
}

/// The dead letters that a filter takes, a group at a time.
pub struct Selection<'a> {
    audited: &'a Audited,
    filter: &'a Filter,
    rows: Rows<DeadLetterRow>,
}

impl std::fmt::Debug for Selection<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Selection").field("filter", self.filter).finish_non_exhaustive()
    }
}

/// Selects.
pub fn select<'a>(audited: &'a Audited, filter: &'a Filter) -> Selection<'a> {
    let exact = !filter.ids.is_empty() && filter.ids.iter().all(|id| id.len() == 64);
    Selection { audited, filter, rows: audited.tables.letters(exact.then(|| filter.ids.clone())) }
}

impl Selection<'_> {
    /// The next rows; empty at the end.
    pub async fn rows(&mut self) -> Result<Vec<DeadLetterRow>, StoreError> {
        loop {
            let mut taken = Vec::new();
            while taken.len() < AT_ONCE {
                let Some(row) = self.rows.try_next().await? else { break };
                if self.filter.takes(&row) {
                    taken.push(row);
                }
            }
            let at_end = taken.is_empty();
            let taken = match &self.filter.text {
                Some(text) => with_text(self.audited, taken, text).await?,
                None => taken,
            };
            // Of these perhaps none, but there may be others.
            if at_end || !taken.is_empty() {
                return Ok(taken);
            }
        }
    }
}

/// Those of these whose reason or body has this text.
async fn with_text(audited: &Audited, rows: Vec<DeadLetterRow>, text: &str) -> Result<Vec<DeadLetterRow>, StoreError> {
    let bodies = bodies(audited, &rows).await?;
    let in_body = |letter: &DeadLetter| super::lookup::contains(&letter.body, text.as_bytes());
    let has = |(row, letter): (DeadLetterRow, Option<DeadLetter>)| {
        (row.reason.contains(text) || letter.as_ref().is_some_and(in_body)).then_some(row)
    };
    Ok(rows.into_iter().zip(bodies).filter_map(has).collect())
}

/// The letters of these rows; `None` for one whose object is gone or damaged.
pub async fn bodies(audited: &Audited, rows: &[DeadLetterRow]) -> Result<Vec<Option<DeadLetter>>, StoreError> {
    let keys: Vec<String> = rows.iter().map(own_key).collect();
    let found = keys.iter().zip(read(audited, &keys).await?);
    let letter =
        |(key, body): (&String, Result<Option<bytes::Bytes>, StoreError>)| dead_letter::parse(key, &body.ok()??);
    Ok(found.map(letter).collect())
}

/// Where the object of this row belongs: what the row says of it may be wrong, and the object of something else.
pub(super) fn own_key(row: &DeadLetterRow) -> String {
    format!("{}{}.json", key::dead_letter_folder(&row.sha256), row.sha256)
}

/// Counts the dead letters that `filter` takes and, if `erase`, deletes them.
pub async fn discard(audited: &Audited, filter: &Filter, erase: bool) -> Result<u64, StoreError> {
    let lowered = Lowered::new(audited);
    let (mut selection, mut count) = (select(audited, filter), 0);
    loop {
        let rows = selection.rows().await?;
        if rows.is_empty() {
            break;
        }
        count += rows.len() as u64;
        if erase {
            take_away(audited, &rows, &lowered).await?;
        }
    }
    lowered.settle().await?;
    Ok(count)
}

/// Deletes these dead letters. A decision that lost a conflict goes with its row, where it has one of its own.
pub(super) async fn take_away(
    audited: &Audited,
    rows: &[DeadLetterRow],
    lowered: &Lowered<'_>,
) -> Result<(), StoreError> {
    let letters = bodies(audited, rows).await?;
    let losers: Vec<FactRow> = letters.iter().flatten().filter_map(loser).map(|record| FactRow::of(&record)).collect();
    if !losers.is_empty() {
        let ids: Vec<FactId> = losers.iter().map(|row| row.id.clone()).collect();
        let facts = || async { audited.tables.facts(Kind::Decision, Among::Ids(ids.clone())).try_collect().await };
        let found: Vec<FactRow> = persist(facts).await?;
        let own: Vec<FactRow> = found.into_iter().filter(|row| losers.iter().any(|loser| loser.says(row))).collect();
        if !own.is_empty() {
            let own = unless_objects(audited, own).await?;
            let touched = persist(|| async { audited.tables.remove(&own).await }).await?;
            lowered.recompute(touched).await?;
        }
    }
    delete(audited, rows).await
}

/// Deletes the objects and rows of these letters, and nothing else.
pub(super) async fn delete(audited: &Audited, rows: &[DeadLetterRow]) -> Result<(), StoreError> {
    let keys: Vec<String> = rows.iter().map(own_key).collect();
    persist(|| async { audited.objects.delete(&keys).await.into_iter().collect::<Result<(), _>>() }).await?;
    let ids: Vec<String> = rows.iter().map(|row| row.sha256.clone()).collect();
    persist(|| async { audited.tables.remove_letters(&ids).await }).await
}

/// Leaves out rows whose very event is an object too: it won after all.
async fn unless_objects(audited: &Audited, rows: Vec<FactRow>) -> Result<Vec<FactRow>, StoreError> {
    let keys: Vec<String> = rows.iter().map(|row| row.key.clone()).collect();
    let mut left = Vec::new();
    for (row, body) in rows.into_iter().zip(read(audited, &keys).await?) {
        let same = body
            .ok()
            .flatten()
            .is_some_and(|body| crate::numbers::Version::of_decision(crate::digest::Sha256::of(&body)) == row.version);
        if !same {
            left.push(row);
        }
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> DeadLetterRow {
        DeadLetterRow {
            sha256: "ab".repeat(32),
            code: "bad_field".into(),
            reason: "field `score` is no number".into(),
            source: "xray.decisions:7".into(),
            kind: "decision".into(),
            s3_key: String::new(),
            bytes: 3,
            first_seen: "2026-01-31T12:00:00.000Z".into(),
            redriven_at: None,
        }
    }

    #[test]
    fn each_part_of_a_filter() {
        let at = |text: &str| Some(DateTime::parse_from_rfc3339(text).unwrap().to_utc());
        let noon = || at("2026-01-31T12:00:00Z");
        let all = Filter::default;
        assert!(all().takes(&row()));
        for (takes, filter) in [
            (true, Filter { ids: vec!["ff".into(), "abab".into()], ..all() }),
            (false, Filter { ids: vec!["ff".into()], ..all() }),
            (true, Filter { codes: vec![Code::Empty, Code::BadField], ..all() }),
            (false, Filter { codes: vec![Code::Empty], ..all() }),
            (true, Filter { since: noon(), ..all() }),
            (false, Filter { until: noon(), ..all() }),
            (true, Filter { until: at("2026-01-31T12:00:00.001Z"), ..all() }),
            (true, Filter { source: Some("decisions".into()), ..all() }),
            (false, Filter { source: Some("steps".into()), ..all() }),
            (true, Filter { redriven: Some(false), ..all() }),
            (false, Filter { redriven: Some(true), ..all() }),
        ] {
            assert_eq!(filter.takes(&row()), takes, "{filter:?}");
        }
    }
}
