//! Dead letters: objects against rows.

use super::Audited;
use super::examine::read;
use super::judge::Mend;
use super::pairs::{Pair, Pairs};
use super::persist::persist;
use super::repair::Work;
use super::report::{Finding, Problem};
use super::scope::Scope;
use super::verify::Check;
use super::walk::in_folders;
use crate::dead_letter::{self, DeadLetter};
use crate::event::{Code, Kind, parse_event};
use crate::key;
use crate::object::Record;
use crate::store::StoreError;
use crate::store::audit::{Among, DeadLetterRow, FactId, FactRow, Listed, Rows};
use futures_util::TryStreamExt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Letters that are looked at together.
const AT_ONCE: usize = 64;

/// Every dead letter's object that there is, in the order of keys.
pub(super) async fn listed(audited: &Audited) -> Result<Rows<Listed>, StoreError> {
    let folders = persist(|| async { audited.objects.folders("dead-letters/").await }).await?;
    let folders = folders.into_iter().map(|folder| format!("dead-letters/{folder}/")).collect();
    Ok(in_folders(&audited.objects, folders))
}

/// Checks all of them: they have no day and no kind that could be relied on.
pub(super) async fn check(check: &Check<'_>) -> Result<(), StoreError> {
    let Check { audited, options, since, counts, .. } = check;
    let mut pairs = Pairs::new(listed(audited).await?, audited.tables.letters(None));
    let mut group = Vec::new();
    while let Some(pair) = pairs.next().await? {
        counts.objects.fetch_add(u64::from(pair.object.is_some()), Relaxed);
        if pair.object.as_ref().is_some_and(|object| object.modified > *since) {
            counts.young.fetch_add(1, Relaxed);
            continue;
        }
        if pair.object.is_none() {
            for row in pair.rows {
                orphan(check, &row).await?;
            }
        } else if pair.rows.is_empty() || options.deep {
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
    let Check { audited, options, .. } = check;
    let mut repaired = options.repair;
    if options.repair {
        // The object may stand where it should, and the row only name another place: then it is written anew from there.
        let own = format!("{}{}.json", key::dead_letter_folder(&row.sha256), row.sha256);
        if persist(|| async { audited.objects.list(&own, "").await }).await?.is_empty() {
            repaired = check.may_take_away();
            if repaired {
                persist(|| async { audited.tables.remove_letters(std::slice::from_ref(&row.sha256)).await }).await?;
            }
        }
    }
    say(check, Problem::OrphanLetter, &row.s3_key, "the row has no object".into(), repaired);
    Ok(())
}

async fn some(check: &Check<'_>, group: Vec<Pair<DeadLetterRow>>) -> Result<(), StoreError> {
    let Check { audited, options, counts, .. } = check;
    let keys: Vec<String> = group.iter().map(|pair| pair.key.clone()).collect();
    let mut rows = Vec::new();
    for (pair, body) in group.iter().zip(read(audited, &keys).await?) {
        counts.bodies.fetch_add(1, Relaxed);
        let body = body.ok().flatten().unwrap_or_default();
        let Some(letter) = dead_letter::parse(&pair.key, &body) else {
            say(
                check,
                Problem::DamagedLetter,
                &pair.key,
                "the object is no dead letter, or not the one of its key".into(),
                false,
            );
            continue;
        };
        let sha256 = letter.sha256;
        let row = pair.rows.first();
        let differs = row.is_some_and(|row| row.bytes != letter.full_bytes || row.sha256 != sha256.to_string());
        if options.repair && (row.is_none() || differs) {
            let sha256 = [sha256.to_string()];
            persist(|| async { audited.tables.remove_letters(&sha256).await }).await?;
            let letters = [Arc::new(letter.clone())];
            persist(|| async { audited.tables.insert_dead_letters(&letters).await }).await?;
        }
        match row {
            None => {
                let detail = format!("{} is not in dead_letters", letter.rejection.code);
                say(check, Problem::MissingLetter, &pair.key, detail, options.repair);
            }
            Some(row) if differs => {
                let detail = format!("bytes is {}, not {}", row.bytes, letter.full_bytes);
                say(check, Problem::DamagedLetter, &pair.key, detail, options.repair);
            }
            Some(_) => {}
        }
        rows.extend(loser(&letter).filter(|row| in_scope(&options.scope, row)));
    }
    if options.deep { losers(check, rows).await } else { Ok(()) }
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
    let Check { audited, options, .. } = check;
    if records.is_empty() {
        return Ok(());
    }
    let ids: Vec<FactId> = records.iter().map(|record| FactId::of(&record.event.fact)).collect();
    let rows: Vec<FactRow> =
        persist(|| async { audited.tables.facts(Kind::Decision, Among::Ids(ids.clone())).try_collect().await }).await?;
    let mut work = Work::default();
    for record in records {
        let expected = FactRow::of(&record);
        if rows.iter().any(|row| row.id == expected.id && row.version >= expected.version) {
            continue;
        }
        let detail = format!("{} lost a conflict and is not in decision_events", expected.id);
        let (id, repaired) = (record.key.clone(), options.repair);
        work.add(&record.key, Kind::Decision, None, Mend::Insert(record.clone()));
        check.found(&Finding { problem: Problem::MissingRow, table: None, id, detail, repaired });
    }
    if options.repair { work.done(audited, check.lowered).await } else { Ok(()) }
}
