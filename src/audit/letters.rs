//! Dead letters: objects against rows.

use super::Audited;
use super::examine::read;
use super::judge::{Mend, shortened};
use super::pairs::{Pair, Pairs};
use super::persist::persist;
use super::repair::Work;
use super::report::{Finding, Problem};
use super::scope::Scope;
use super::selection::own_key;
use super::verify::Check;
use super::walk::{in_folders, stat};
use crate::dead_letter::{self, DeadLetter};
use crate::event::{Code, Kind, parse_event};
use crate::object::Record;
use crate::store::StoreError;
use crate::store::audit::{Among, DeadLetterRow, FactId, FactRow, Listed, Rows};
use chrono::DateTime;
use futures_util::TryStreamExt;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Letters that are looked at together.
const AT_ONCE: usize = 64;

/// Every dead letter's object that there is, in the order of keys.
pub(super) async fn listed(audited: &Audited) -> Result<Rows<Listed>, StoreError> {
    let folders = persist(|| async { audited.objects.level("dead-letters/").await }).await?.folders;
    let folders = folders.into_iter().map(|folder| format!("dead-letters/{folder}/")).collect();
    Ok(in_folders(&audited.objects, folders))
}

/// What stands beside their folders.
pub(super) async fn strays(audited: &Audited) -> Result<Vec<String>, StoreError> {
    Ok(persist(|| async { audited.objects.level("dead-letters/").await }).await?.objects)
}

/// Checks all of them: they have no day and no kind that could be relied on.
pub(super) async fn check(check: &Check<'_>) -> Result<(), StoreError> {
    let Check { audited, options, recent, counts, .. } = check;
    let mut pairs = Pairs::new(listed(audited).await?, audited.tables.letters(None));
    let mut group = Vec::new();
    while let Some(pair) = pairs.next().await? {
        counts.objects.fetch_add(u64::from(pair.object.is_some()), Relaxed);
        if pair.object.as_ref().is_some_and(|object| recent.has(object.modified)) {
            counts.young.fetch_add(1, Relaxed);
            continue;
        }
        if pair.object.is_none() {
            for row in pair.rows {
                orphan(check, &row).await?;
            }
        } else if pair.rows.len() != 1 || options.deep {
            group.push(pair);
        }
        if group.len() == AT_ONCE {
            some(check, std::mem::take(&mut group)).await?;
        }
    }
    some(check, group).await
}

fn say(check: &Check<'_>, problem: Problem, id: &str, detail: String, repaired: bool) {
    check.found(&Finding { problem, table: Some("dead_letters"), id: id.to_owned(), detail, repaired });
}

/// A row whose key has no object.
async fn orphan(check: &Check<'_>, row: &DeadLetterRow) -> Result<(), StoreError> {
    let Check { audited, .. } = check;
    let repaired = check.mends_rows();
    let own = own_key(row);
    let is_stored = !stat(&*audited.objects, std::slice::from_ref(&own)).await?.is_empty();
    if is_stored && row.s3_key == own {
        // A worker has stored it since the objects were listed.
        return Ok(());
    }
    if repaired {
        // The object may stand where it should, and the row only name another place: then it is written anew from there.
        if !is_stored {
            persist(|| async { audited.tables.remove_letters(std::slice::from_ref(&row.sha256)).await }).await?;
        }
    }
    say(check, Problem::OrphanLetter, &row.s3_key, "the row has no object".into(), repaired);
    Ok(())
}

async fn some(check: &Check<'_>, group: Vec<Pair<DeadLetterRow>>) -> Result<(), StoreError> {
    let Check { audited, options, counts, .. } = check;
    let repair = check.mends_rows();
    let keys: Vec<String> = group.iter().map(|pair| pair.key.clone()).collect();
    let mut rows = Vec::new();
    for (pair, body) in group.iter().zip(read(audited, &keys).await?) {
        counts.bodies.fetch_add(1, Relaxed);
        let body = match body {
            Ok(body) => body.unwrap_or_default(),
            Err(error) => {
                say(check, Problem::UnreadObject, &pair.key, error.chain(), false);
                continue;
            }
        };
        let Some(letter) = dead_letter::parse(&pair.key, &body) else {
            let detail = "the object is no dead letter, or not the one of its key".into();
            say(check, Problem::DamagedLetter, &pair.key, detail, false);
            continue;
        };
        let (own, others): (Vec<_>, Vec<_>) = pair.rows.iter().partition(|row| row.sha256 == letter.sha256.to_string());
        for other in others {
            // One that has its object is written anew from there.
            if repair && stat(&*audited.objects, &[own_key(other)]).await?.is_empty() {
                persist(|| async { audited.tables.remove_letters(std::slice::from_ref(&other.sha256)).await }).await?;
            }
            let detail = format!("the object is that of another, not of {}", other.sha256);
            say(check, Problem::OrphanLetter, &pair.key, detail, repair);
        }
        let wrong = match own.first() {
            None => Some((Problem::MissingLetter, format!("{} is not in dead_letters", letter.rejection.code))),
            Some(row) => differences(row, &DeadLetterRow::of(&letter)).map(|detail| (Problem::DamagedLetter, detail)),
        };
        if let Some((problem, detail)) = wrong {
            if repair {
                write_again(audited, own.first().copied(), &letter).await?;
            }
            say(check, problem, &pair.key, detail, repair);
        }
        rows.extend(loser(&letter).filter(|row| in_scope(&options.scope, row)));
    }
    losers(check, rows).await
}

/// Puts the row of a letter in the place of what stands there. That it was sent again stands nowhere else.
async fn write_again(audited: &Audited, row: Option<&DeadLetterRow>, letter: &DeadLetter) -> Result<(), StoreError> {
    let ids: BTreeSet<String> =
        row.map(|row| row.sha256.clone()).into_iter().chain([letter.sha256.to_string()]).collect();
    let ids: Vec<String> = ids.into_iter().collect();
    persist(|| async { audited.tables.remove_letters(&ids).await }).await?;
    let letters = [Arc::new(letter.clone())];
    persist(|| async { audited.tables.insert_dead_letters(&letters).await }).await?;
    let redriven = row.and_then(|row| row.redriven_at.as_deref());
    let Some(at) = redriven.and_then(|at| DateTime::parse_from_rfc3339(at).ok()) else { return Ok(()) };
    let own = [letter.sha256.to_string()];
    persist(|| async { audited.tables.mark_redriven(&own, at.to_utc()).await }).await
}

/// `code is empty, not bad_field; …`; `None` where there are none.
fn differences(found: &DeadLetterRow, expected: &DeadLetterRow) -> Option<String> {
    let columns = |row: &DeadLetterRow| {
        let bytes = row.bytes.to_string();
        let DeadLetterRow { sha256, code, reason, source, kind, s3_key, first_seen, .. } = row.clone();
        [sha256, code, reason, source, kind, s3_key, bytes, first_seen]
    };
    let names = ["sha256", "code", "reason", "source", "kind", "s3_key", "bytes", "first_seen"];
    let both = columns(found).into_iter().zip(columns(expected));
    let words: Vec<String> = names
        .into_iter()
        .zip(both)
        .filter(|(_, (found, expected))| found != expected)
        .map(|(name, (found, expected))| format!("{name} is {}, not {}", shortened(&found), shortened(&expected)))
        .collect();
    (!words.is_empty()).then(|| words.join("; "))
}

fn in_scope(scope: &Scope, record: &Arc<Record>) -> bool {
    scope.kinds.contains(&Kind::Decision) && scope.has_record(record)
}

/// The decision that lost a conflict and became this letter. Its row stands in the tables all the same, unless it is
/// that of the winner.
pub(super) fn loser(letter: &DeadLetter) -> Option<Arc<Record>> {
    let is_loser = letter.code() == Code::Conflict && letter.kind == Some(Kind::Decision);
    let event = parse_event(Kind::Decision, &letter.body).ok().filter(|_| is_loser)?;
    Some(Arc::new(Record::new(event)))
}

/// Each of these, or one with the greater digest, must be a row.
async fn losers(check: &Check<'_>, records: Vec<Arc<Record>>) -> Result<(), StoreError> {
    let Check { audited, .. } = check;
    if records.is_empty() {
        return Ok(());
    }
    let ids: Vec<FactId> = records.iter().map(|record| FactId::of(&record.event.fact)).collect();
    let rows: Vec<FactRow> =
        persist(|| async { audited.tables.facts(Kind::Decision, Among::Ids(ids.clone())).try_collect().await }).await?;
    let (mut work, mut findings) = (Work::default(), Vec::new());
    for record in records {
        let expected = FactRow::of(&record);
        if rows.iter().any(|row| row.id == expected.id && row.version >= expected.version) {
            continue;
        }
        let detail = format!("{} lost a conflict and is not in decision_events", expected.id);
        let (id, repaired) = (record.key.clone(), check.mends_rows());
        work.add(&record.key, Kind::Decision, None, Mend::Insert(record.clone()));
        findings.push(Finding { problem: Problem::MissingRow, table: None, id, detail, repaired });
    }
    let work = if check.mends_rows() { work } else { Work::default() };
    let refused = work.done(audited, check.lowered).await?;
    for mut finding in findings {
        finding.repaired &= !refused.contains(&finding.id);
        check.found(&finding);
    }
    Ok(())
}
