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
}
