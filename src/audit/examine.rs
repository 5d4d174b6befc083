//! Finding out all about a group of keys, for [`judge`](super::judge) to judge.

use super::judge::{Case, Content, Loser, Seen};
use super::pairs::Pair;
use super::persist::persist;
use super::scope::day_of;
use super::walk::{folder_of, stat};
use super::{Audited, report::Counts};
use crate::dead_letter;
use crate::event::{Code, Kind, Rejection, parse_event};
use crate::key;
use crate::object::Record;
use crate::store::audit::{Among, FactId, FactRow, Listed};
use crate::store::{Class, StoreError};
use bytes::Bytes;
use futures_util::TryStreamExt;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// What was read of objects, by key; `None` where there is none.
type Bodies = BTreeMap<String, Option<Bytes>>;

/// A key with all that is known about it, and its bytes where they are damaged.
pub(super) struct Examined {
    pub(super) key: String,
    pub(super) case: Case,
    pub(super) body: Option<Bytes>,
}

/// Reads these objects. One that the store does not give us for a reason of its own does not keep us from the others.
pub(super) async fn read(
    audited: &Audited,
    keys: &[String],
) -> Result<Vec<Result<Option<Bytes>, StoreError>>, StoreError> {
    let answers = persist(|| async {
        let answers = audited.objects.read(keys).await;
        match answers.iter().find_map(|answer| answer.as_ref().err().filter(|error| error.class != Class::Item)) {
            Some(error) => Err(error.again()),
            None => Ok(answers),
        }
    });
    let answers = answers.await?;
    Ok(answers.into_iter().map(|answer| answer.map(|found| found.map(|existing| existing.body))).collect())
}

/// Examines pairs of one kind: reads their objects and, if `deep`, the dead letters that explain rows.
pub(super) async fn examine(
    audited: &Audited,
    kind: Kind,
    pairs: Vec<Pair<FactRow>>,
    deep: bool,
    counts: &Counts,
) -> Result<Vec<Examined>, StoreError> {
    let pairs = stored_since(audited, kind, pairs).await?;
    let keys: Vec<String> = pairs.iter().filter(|pair| pair.object.is_some()).map(|pair| pair.key.clone()).collect();
    let mut contents: BTreeMap<String, (Content, Option<Bytes>)> = BTreeMap::new();
    for (key, body) in keys.iter().zip(read(audited, &keys).await?) {
        counts.bodies.fetch_add(1, Relaxed);
        contents.insert(key.clone(), content(kind, key, body));
    }
    let lacks = |pair: &Pair<FactRow>| {
        let record = event(&contents.get(&pair.key)?.0)?;
        let id = FactId::of(&record.event.fact);
        (!pair.rows.iter().any(|row| row.id == id)).then(|| record.clone())
    };
    let lacking: Vec<Arc<Record>> = pairs.iter().filter_map(lacks).collect();
    let elsewhere = by_id(audited, kind, &lacking).await?;
    let refusals: Vec<String> = lacking.iter().map(|record| key::dead_letter(record.event.sha256)).collect();
    let refused: Bodies = refusals.iter().cloned().zip(bodies(read(audited, &refusals).await?)).collect();

    let mut examined = Vec::with_capacity(pairs.len());
    for pair in pairs {
        let (content, body) = contents.remove(&pair.key).unwrap_or((Content::Absent, None));
        let id = event(&content).map(|record| FactId::of(&record.event.fact));
        let mut rows = Vec::with_capacity(pair.rows.len());
        for row in pair.rows {
            let own = Some(&row.id) == id.as_ref();
            let lost = if own || kind != Kind::Decision { None } else { loser(audited, &row, deep).await? };
            rows.push(Seen { row, lost });
        }
        let refused = event(&content).is_some_and(|record| {
            let key = key::dead_letter(record.event.sha256);
            let letter = refused.get(&key).and_then(|body| dead_letter::parse(&key, body.as_ref()?));
            letter.is_some_and(|letter| letter.code() == Code::StoreRefused)
        });
        let elsewhere = id.and_then(|id| elsewhere.get(&id).cloned());
        let case = Case { kind, object: content, rows, elsewhere, refused };
        examined.push(Examined { key: pair.key, case, body });
    }
    Ok(examined)
}

/// A listing may be older than the rows beside it: what is there by now has an object.
pub(super) async fn stored_since(
    audited: &Audited,
    kind: Kind,
    mut pairs: Vec<Pair<FactRow>>,
) -> Result<Vec<Pair<FactRow>>, StoreError> {
    let is_bare = |pair: &&Pair<FactRow>| pair.object.is_none() && is_ours(kind, &pair.key);
    let bare: Vec<String> = pairs.iter().filter(is_bare).map(|pair| pair.key.clone()).collect();
    let there: BTreeMap<String, Listed> =
        stat(&*audited.objects, &bare).await?.into_iter().map(|listed| (listed.key.clone(), listed)).collect();
    for pair in pairs.iter_mut().filter(|pair| pair.object.is_none()) {
        pair.object = there.get(&pair.key).cloned();
    }
    Ok(pairs)
}

/// Whether workers write under this key: what a row names may be anything.
fn is_ours(kind: Kind, key: &str) -> bool {
    let name = day_of(key).and_then(|day| key.strip_prefix(&folder_of(kind, day)).map(str::to_owned));
    name.is_some_and(|name| !name.is_empty() && !name.contains('/') && name.len() <= 255)
}

fn bodies(answers: Vec<Result<Option<Bytes>, StoreError>>) -> impl Iterator<Item = Option<Bytes>> {
    answers.into_iter().map(|answer| answer.ok().flatten())
}

fn event(content: &Content) -> Option<&Arc<Record>> {
    match content {
        Content::Event(record) => Some(record),
        _ => None,
    }
}

/// What an object is.
pub(super) fn content(kind: Kind, key: &str, body: Result<Option<Bytes>, StoreError>) -> (Content, Option<Bytes>) {
    let body = match body {
        Err(error) => return (Content::Unread(error.chain()), None),
        Ok(None) => return (Content::Absent, None),
        Ok(Some(body)) => body,
    };
    let damaged = match parse_event(kind, &body).map(Record::new) {
        Ok(record) if record.key == key => return (Content::Event(Arc::new(record)), None),
        Ok(record) => Rejection::new(Code::Conflict, format!("it is the event that belongs under {}", record.key)),
        Err(rejection) if body.is_empty() => Rejection::new(Code::Empty, rejection.reason),
        Err(rejection) => rejection,
    };
    (Content::Damaged(damaged), Some(body))
}

/// The rows of these events, whichever key they name.
async fn by_id(
    audited: &Audited,
    kind: Kind,
    records: &[Arc<Record>],
) -> Result<BTreeMap<FactId, FactRow>, StoreError> {
    let ids: Vec<FactId> = records.iter().map(|record| FactId::of(&record.event.fact)).collect();
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows: Vec<FactRow> =
        persist(|| async { audited.tables.facts(kind, Among::Ids(ids.clone())).try_collect().await }).await?;
    Ok(rows.into_iter().map(|row| (row.id.clone(), row)).collect())
}

/// The dead letter that tells that this row's decision lost a conflict. A decision's version is made of its digest.
async fn loser(audited: &Audited, row: &FactRow, deep: bool) -> Result<Option<Loser>, StoreError> {
    let Some(digest) = row.version.decision_digest() else { return Ok(None) };
    let prefix = format!("{}{digest}", key::dead_letter_folder(&digest));
    let Some(listed) = persist(|| async { audited.objects.list(&prefix, "").await }).await?.into_iter().next() else {
        return Ok(None);
    };
    if !deep {
        return Ok(Some(Loser::Unread));
    }
    let Some(Ok(body)) = read(audited, std::slice::from_ref(&listed.key)).await?.into_iter().next() else {
        return Ok(Some(Loser::Unread));
    };
    let letter = body.and_then(|body| dead_letter::parse(&listed.key, &body));
    let record = letter.and_then(|letter| parse_event(Kind::Decision, &letter.body).ok()).map(Record::new);
    Ok(record.filter(|record| FactId::of(&record.event.fact) == row.id).map(|record| Loser::Event(Arc::new(record))))
}
