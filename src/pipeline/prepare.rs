//! Before any work: both stores made ready.

use super::Stores;
use super::attempt::{Attempts, GivenUp};
use crate::health::Health;
use crate::metrics::Metrics;
use crate::store::StoreError;
use tokio_util::sync::CancellationToken;

/// How [`prepare`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Prepared {
    /// Both stores are ready.
    Ready,
    /// `stop` was cancelled first.
    Stopped,
}

/// Makes both stores ready, for as long as it takes: a server that is down, a wrong password or a missing bucket is
/// waited for. `Err` where a store is not ours or newer than this program, which no waiting cures.
pub async fn prepare(
    stores: &Stores,
    metrics: &Metrics,
    health: &Health,
    stop: &CancellationToken,
) -> Result<Prepared, StoreError> {
    let pulse = health.pulse("prepare");
    let attempts = |store| Attempts::new(store, health, &pulse, metrics, stop);
    let raw = attempts((stores.raw.name(), stores.raw.patience()));
    let tables = attempts((stores.metrics.name(), stores.metrics.patience()));
    let both = tokio::try_join!(
        raw.unless_foreign(|| stores.raw.prepare()),
        tables.unless_foreign(|| stores.metrics.prepare())
    );
    match both {
        Err(GivenUp) => Ok(Prepared::Stopped),
        Ok((raw, tables)) => raw.and(tables).map(|()| Prepared::Ready),
    }
}
