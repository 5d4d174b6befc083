//! Dead letters: objects against rows.

use super::Audited;
use super::examine::{digest_of, read};
use super::judge::Mend;
use super::pairs::{Pair, Pairs};
use super::persist::persist;
use super::repair::Work;
use super::report::{Counts, Finding, Problem, Sink};
use super::scope::Scope;
use super::verify::Options;
use super::walk::in_folders;
use crate::dead_letter;
use crate::digest::Sha256;
use crate::event::{Code, Kind, parse_event};
use crate::object::Record;
use crate::store::StoreError;
use crate::store::audit::{Among, DeadLetterRow, FactId, FactRow, Listed, Rows};
use bytes::Bytes;
use chrono::{DateTime, Utc};
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
pub(super) async fn check(
    audited: &Audited,
    options: &Options,
    since: DateTime<Utc>,
    counts: &Counts,
    sink: &dyn Sink,
) -> Result<(), StoreError> {
    let mut pairs = Pairs::new(listed(audited).await?, audited.tables.letters(None));
    let mut group = Vec::new();
    let say = |problem, id: &str, detail: String, repaired| {
        let finding = Finding { problem, table: Some("dead_letters"), id: id.to_owned(), detail, repaired };
        counts.found(&finding);
        sink.found(&finding);
    };
    while let Some(pair) = pairs.next().await? {
        counts.objects.fetch_add(u64::from(pair.object.is_some()), Relaxed);
        if pair.object.as_ref().is_some_and(|object| object.modified > since) {
            counts.young.fetch_add(1, Relaxed);
            continue;
        }
        if pair.object.is_none() {
            for row in pair.rows {
                // Its own object may stand where it should, and the row only name another place.
                let repaired = options.repair;
                if repaired {
                    persist(|| async { audited.tables.remove_letters(std::slice::from_ref(&row.sha256)).await })
                        .await?;
                }
                say(Problem::OrphanLetter, &pair.key, "the row has no object".into(), repaired);
            }
        } else if pair.rows.is_empty() || options.deep {
            group.push(pair);
        }
        if group.len() == AT_ONCE {
            some(audited, options, std::mem::take(&mut group), counts, sink, &say).await?;
        }
    }
    some(audited, options, group, counts, sink, &say).await
}

async fn some(
    audited: &Audited,
    options: &Options,
    group: Vec<Pair<DeadLetterRow>>,
    counts: &Counts,
    sink: &dyn Sink,
    say: &(dyn Fn(Problem, &str, String, bool) + Sync),
) -> Result<(), StoreError> {
    let keys: Vec<String> = group.iter().map(|pair| pair.key.clone()).collect();
    let mut rows = Vec::new();
    for (pair, body) in group.iter().zip(read(audited, &keys).await?) {
        counts.bodies.fetch_add(1, Relaxed);
        let body = body.ok().flatten().unwrap_or_default();
        let (Some(sha256), Some(found)) = (digest_of(&pair.key), dead_letter::parse(&body)) else {
            say(Problem::DamagedLetter, &pair.key, "the object is no dead letter".into(), false);
            continue;
        };
        if found.full_bytes == found.body.len() as u64 && Sha256::of(&found.body) != sha256 {
            say(Problem::DamagedLetter, &pair.key, "its body is not the one that its key names".into(), false);
            continue;
        }
        let letter = found.letter(sha256);
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
                say(Problem::MissingLetter, &pair.key, detail, options.repair);
            }
            Some(row) if differs => {
                let detail = format!("bytes is {}, not {}", row.bytes, letter.full_bytes);
                say(Problem::DamagedLetter, &pair.key, detail, options.repair);
            }
            Some(_) => {}
        }
        rows.extend(loser(&letter.body, letter.code(), letter.kind).filter(|row| in_scope(&options.scope, row)));
    }
    if options.deep { losers(audited, options, rows, counts, sink).await } else { Ok(()) }
}

fn in_scope(scope: &Scope, record: &Arc<Record>) -> bool {
    scope.kinds.contains(&Kind::Decision) && scope.has_record(record)
}

/// The decision that lost a conflict and became this letter. Its row stands in the tables all the same, unless it is
/// that of the winner.
pub(super) fn loser(body: &Bytes, code: Code, kind: Option<Kind>) -> Option<Arc<Record>> {
    let is_loser = code == Code::Conflict && kind == Some(Kind::Decision);
    let event = parse_event(Kind::Decision, body).ok().filter(|_| is_loser)?;
    Some(Arc::new(Record::new(event)))
}

/// Each of these, or one with the greater digest, must be a row.
async fn losers(
    audited: &Audited,
    options: &Options,
    records: Vec<Arc<Record>>,
    counts: &Counts,
    sink: &dyn Sink,
) -> Result<(), StoreError> {
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
        let finding = Finding {
            problem: Problem::MissingRow,
            table: None,
            id: record.key.clone(),
            detail,
            repaired: options.repair,
        };
        work.add(&record.key, Kind::Decision, None, Mend::Insert(record.clone()));
        counts.found(&finding);
        sink.found(&finding);
    }
    if options.repair { work.done(audited).await } else { Ok(()) }
}
