//! Asks the stores how they are while no work does.

use crate::health::{Dependency, Health};
use crate::jitter::jitter;
use crate::pipeline::Stores;
use crate::store::StoreError;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Between two questions. Work reports on the stores far more often.
const INTERVAL: Duration = Duration::from_secs(5);
/// The same while a store is down, to say soon that it is back.
const WHILE_DOWN: Duration = Duration::from_secs(1);
/// For one answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Probes both stores from time to time, for ever, and reports to `health`. Cancel safe.
pub async fn run(stores: &Stores, health: &Health) {
    let Stores { raw, metrics } = stores;
    tokio::join!(
        watch(health, raw.name(), || raw.probe()),
        // Neither waits for an answer of the other.
        watch(health, metrics.name(), || metrics.probe())
    );
}

async fn watch<F>(health: &Health, store: &'static str, probe: impl Fn() -> F)
where
    F: Future<Output = Result<(), StoreError>>,
{
    let dependency = health.dependency(store);
    loop {
        ask(&dependency, store, probe()).await;
        sleep(jitter(if health.is_up(store) { INTERVAL } else { WHILE_DOWN })).await;
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
