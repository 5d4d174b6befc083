//! Tables made anew beside those in use, and put in their place.

use super::StoreError;
use super::audit::TableAudit;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Tables that can be made anew while workers use them.
#[async_trait]
pub trait Rebuild: TableAudit {
    /// Fresh tables beside these, or those that a rebuild which broke off has filled so far; `anew` throws these away.
    async fn fresh(&self, anew: bool) -> Result<Arc<dyn Fresh>, StoreError>;
}

/// Tables on their way to take the place of others.
#[async_trait]
pub trait Fresh: Send + Sync {
    /// The tables.
    fn tables(&self) -> Arc<dyn TableAudit>;

    /// How far it is.
    async fn progress(&self) -> Result<Progress, StoreError>;

    /// Notes durably that a part is done.
    async fn mark(&self, part: &str) -> Result<(), StoreError>;

    /// Puts these tables in the place of the others, and takes over what workers have inserted there since `since` and
    /// until the very end. Workers go on meanwhile, and nothing of theirs is lost. May be repeated after it broke off.
    /// Unless `keep`, what was there before is gone afterwards.
    async fn exchange(&self, since: DateTime<Utc>, keep: bool) -> Result<(), StoreError>;
}

/// How far a rebuild is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// When it began.
    pub began: DateTime<Utc>,
    /// What is done.
    pub done: BTreeSet<String>,
    /// Who [claimed](owner) it last.
    pub owner: Option<String>,
}

/// The part that is marked when a rebuild begins, or goes on where another one broke off.
pub const BEGAN: &str = "began";

/// The part with which somebody claims a rebuild: whoever did so last goes on with it.
pub fn owner(name: &str) -> String {
    format!("{OWNER}{name}")
}

const OWNER: &str = "owner ";

impl Progress {
    /// From the parts that were marked, each with the time when it first was.
    pub fn of(parts: impl IntoIterator<Item = (String, DateTime<Utc>)>) -> Progress {
        let mut progress = Progress { began: Utc::now(), done: BTreeSet::new(), owner: None };
        let mut claimed = None;
        for (part, at) in parts {
            if part == BEGAN {
                progress.began = at;
            }
            match part.strip_prefix(OWNER) {
                Some(name) => claimed = claimed.max(Some((at, name.to_owned()))),
                None => drop(progress.done.insert(part)),
            }
        }
        progress.owner = claimed.map(|(_, name)| name);
        progress
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_claimed_it_last() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        let parts =
            [(owner("b"), at(3)), (BEGAN.to_owned(), at(1)), (owner("c"), at(2)), ("folder/".to_owned(), at(9))];
        let progress = Progress::of(parts);
        assert_eq!((progress.began, progress.owner.as_deref()), (at(1), Some("b")));
        assert_eq!(progress.done, [BEGAN.to_owned(), "folder/".to_owned()].into());
        assert_eq!(Progress::of([]).owner, None);
    }
}
