//! Listings: the days there are, and their objects in the order of keys, the next days listed while one is read.

use super::Audited;
use super::pairs::Pairs;
use super::persist::persist;
use super::scope::Scope;
use crate::event::Kind;
use crate::store::StoreError;
use crate::store::audit::{Among, FactRow, Listed, ObjectAudit, Rows};
use chrono::{Datelike, NaiveDate};
use futures_util::StreamExt;
use futures_util::stream;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::mpsc::channel;
use tokio_stream::wrappers::ReceiverStream;

/// Folders of one walk that are listed at the same time.
const FOLDERS_AT_ONCE: usize = 8;
/// Pages of a folder that wait to be read.
const PAGES_AHEAD: usize = 2;

/// Objects of one call of [`stat`].
const STAT_AT_ONCE: usize = 1000;

/// The months in scope that have objects or rows of a kind, with the days that have objects.
pub(super) async fn months(
    audited: &Audited,
    kind: Kind,
    scope: &Scope,
) -> Result<BTreeMap<u32, Vec<NaiveDate>>, StoreError> {
    let mut months = days(&*audited.objects, kind, scope).await?;
    for month in persist(|| async { audited.tables.months(kind).await }).await? {
        if scope.has_month(month) {
            months.entry(month).or_default();
        }
    }
    Ok(months)
}

/// The objects of a kind on these days of a month and the rows of that month, side by side.
pub(super) fn pairs(audited: &Audited, kind: Kind, month: u32, days: Vec<NaiveDate>) -> Pairs<FactRow> {
    let folders = days.into_iter().map(|day| folder_of(kind, day)).collect();
    Pairs::new(in_folders(&audited.objects, folders), audited.tables.facts(kind, Among::Month(month)))
}

/// What stands beside the days, where no worker writes: keys, and prefixes that end with `/`.
pub(super) async fn strays(objects: &dyn ObjectAudit, kind: Kind) -> Result<Vec<String>, StoreError> {
    let root = format!("{}/", kind.plural());
    let (mut strays, mut open) = (Vec::new(), vec![String::new()]);
    while let Some(path) = open.pop() {
        let prefix = format!("{root}{path}");
        let level = persist(|| async { objects.level(&prefix).await }).await?;
        strays.extend(level.objects);
        for folder in level.folders {
            let path = format!("{path}{folder}");
            match leads_to_a_day(&path) {
                false => strays.push(format!("{root}{path}/")),
                true if path.len() < "2026/01/31".len() => open.push(format!("{path}/")),
                true => {}
            }
        }
    }
    strays.sort_unstable();
    Ok(strays)
}

/// `2026`, `2026/01` and `2026/01/31` do, spelt as workers spell them.
fn leads_to_a_day(path: &str) -> bool {
    let day = match path.len() {
        4 => format!("{path}/01/01"),
        7 => format!("{path}/01"),
        _ => path.to_owned(),
    };
    let parsed = day.replace('/', "-").parse::<NaiveDate>();
    parsed.is_ok_and(|parsed| parsed.format("%Y/%m/%d").to_string() == day)
}

/// Those of these objects that there are.
pub(super) async fn stat(objects: &dyn ObjectAudit, keys: &[String]) -> Result<Vec<Listed>, StoreError> {
    let mut found = Vec::new();
    for keys in keys.chunks(STAT_AT_ONCE) {
        let answers = || async { objects.stat(keys).await.into_iter().collect::<Result<Vec<_>, _>>() };
        found.extend(persist(answers).await?.into_iter().flatten());
    }
    Ok(found)
}

/// The days in scope that have objects of a kind, by month.
pub async fn days(
    objects: &dyn ObjectAudit,
    kind: Kind,
    scope: &Scope,
) -> Result<BTreeMap<u32, Vec<NaiveDate>>, StoreError> {
    let mut days: BTreeMap<u32, Vec<NaiveDate>> = BTreeMap::new();
    let root = format!("{}/", kind.plural());
    for year in persist(|| async { objects.level(&root).await }).await?.folders {
        let prefix = format!("{root}{year}/");
        for month in persist(|| async { objects.level(&prefix).await }).await?.folders {
            let Some(number) = number(&year, &month).filter(|number| scope.has_month(*number)) else { continue };
            let prefix = format!("{prefix}{month}/");
            for day in persist(|| async { objects.level(&prefix).await }).await?.folders {
                let date = format!("{year}-{month}-{day}").parse().ok().filter(|date| scope.has_day(*date));
                days.entry(number).or_default().extend(date);
            }
        }
    }
    Ok(days)
}

fn number(year: &str, month: &str) -> Option<u32> {
    Some(year.parse::<u32>().ok()? * 100 + month.parse::<u32>().ok()?)
}

/// Where the objects of a kind and day are, `decisions/2026/01/31/`.
pub fn folder_of(kind: Kind, day: NaiveDate) -> String {
    format!("{}/{:04}/{:02}/{:02}/", kind.plural(), day.year(), day.month(), day.day())
}

/// The objects of one day, in the order of keys.
pub fn objects_of_day(objects: &Arc<dyn ObjectAudit>, kind: Kind, day: NaiveDate) -> Rows<Listed> {
    in_folder(objects.clone(), folder_of(kind, day))
}

/// The objects of these folders, which are in order; so the objects come in the order of keys.
pub(super) fn in_folders(objects: &Arc<dyn ObjectAudit>, folders: Vec<String>) -> Rows<Listed> {
    let objects = objects.clone();
    let listings = stream::iter(folders).map(move |folder| {
        let listing = in_folder(objects.clone(), folder);
        async move { listing }
    });
    listings.buffered(FOLDERS_AT_ONCE).flatten().boxed()
}

/// Begins at once, and goes on until its pages are no longer read.
fn in_folder(objects: Arc<dyn ObjectAudit>, folder: String) -> Rows<Listed> {
    let (sender, receiver) = channel(PAGES_AHEAD);
    tokio::spawn(async move {
        let mut after = String::new();
        loop {
            let page = persist(|| async { objects.list(&folder, &after).await }).await;
            let last = page.as_ref().ok().and_then(|page| page.last()).map(|last| last.key.clone());
            if sender.send(page).await.is_err() {
                return;
            }
            match last {
                Some(last) => after = last,
                None => return,
            }
        }
    });
    let pages = ReceiverStream::new(receiver).map(|page| match page {
        Ok(page) => stream::iter(page.into_iter().map(Ok).collect::<Vec<_>>()),
        Err(error) => stream::iter(vec![Err(error)]),
    });
    pages.flatten().boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_days() {
        for path in ["2026", "2026/01", "2026/01/31", "2024/02/29"] {
            assert!(leads_to_a_day(path), "{path}");
        }
        for path in ["", "26", "2026/1", "2026/13", "2026/01/1", "2026/02/30", "_tmp", "2026-", "2026/01/31/x"] {
            assert!(!leads_to_a_day(path), "{path}");
        }
    }
}
