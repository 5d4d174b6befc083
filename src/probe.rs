//! Asks the stores how they are while no work does.

use crate::health::{Dependency, Health};
use crate::pipeline::Stores;
use crate::store::StoreError;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Between two questions. Work reports on the stores far more often.
const INTERVAL: Duration = Duration::from_secs(5);
/// For one answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Probes both stores from time to time, for ever, and reports to `health`. Cancel safe.
pub async fn run(stores: &Stores, health: &Health) {
    let (raw, metrics) = (health.dependency(stores.raw.name()), health.dependency(stores.metrics.name()));
    loop {
        tokio::join!(
            ask(&raw, stores.raw.name(), stores.raw.probe()),
            ask(&metrics, stores.metrics.name(), stores.metrics.probe())
        );
        sleep(INTERVAL).await;
    }
}

async fn ask(dependency: &Dependency, store: &str, probe: impl Future<Output = Result<(), StoreError>>) {
    let error = match timeout(TIMEOUT, probe).await {
        Ok(Ok(())) => {
            if dependency.up() {
                tracing::info!(store, "store is up");
            }
            return;
        }
        Ok(Err(error)) => error.chain(),
        Err(_) => format!("no answer within {} s", TIMEOUT.as_secs()),
    };
    if dependency.down(error.as_str()) {
        tracing::warn!(store, error, "store is down");
    }
}
