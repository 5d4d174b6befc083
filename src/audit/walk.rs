//! Listings: the days there are, and their objects in the order of keys, the next days listed while one is read.

use super::persist::persist;
use super::scope::Scope;
use crate::event::Kind;
use crate::store::StoreError;
use crate::store::audit::{Listed, ObjectAudit, Rows};
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

/// The days in scope that have objects of a kind, by month.
pub async fn days(
    objects: &dyn ObjectAudit,
    kind: Kind,
    scope: &Scope,
) -> Result<BTreeMap<u32, Vec<NaiveDate>>, StoreError> {
    let mut days: BTreeMap<u32, Vec<NaiveDate>> = BTreeMap::new();
    let root = format!("{}/", kind.plural());
    for year in persist(|| async { objects.folders(&root).await }).await? {
        let prefix = format!("{root}{year}/");
        for month in persist(|| async { objects.folders(&prefix).await }).await? {
            let Some(number) = number(&year, &month).filter(|number| scope.has_month(*number)) else { continue };
            let prefix = format!("{prefix}{month}/");
            for day in persist(|| async { objects.folders(&prefix).await }).await? {
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
