//! Asks the stores how they are while no work does.

use crate::chance::Chance;
use crate::health::{Dependency, Health};
use crate::jitter::jitter;
use crate::pipeline::Stores;
use crate::store::{Class, StoreError};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// Between two questions. Work reports on the stores far more often.
const INTERVAL: Duration = Duration::from_secs(5);
/// The same while it fails, to say soon that it is down, or back.
const WHILE_FAILING: Duration = Duration::from_secs(1);
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
    let mut chance = Chance::default();
    loop {
        let answered = ask(&dependency, store, probe(), &mut chance).await;
        sleep(jitter(if answered && health.is_up(store) { INTERVAL } else { WHILE_FAILING })).await;
    }
}

/// Whether it answered.
async fn ask(
    dependency: &Dependency,
    store: &'static str,
    probe: impl Future<Output = Result<(), StoreError>>,
    chance: &mut Chance,
) -> bool {
    let late = || {
        let text = format!(
            "{store} gave no answer within {} s: look at whether it hangs, or what is in between",
            TIMEOUT.as_secs()
        );
        StoreError::new(store, Class::Transient, text)
    };
    let began = Instant::now();
    let error = match timeout(TIMEOUT, probe).await.unwrap_or_else(|_| Err(late())) {
        Ok(()) => {
            *chance = Chance::default();
            if dependency.up() {
                tracing::info!(store, "store is up");
            }
            return true;
        }
        Err(error) => error,
    };
    let (text, may_be_chance) = (error.chain(), chance.failed(error.class, began));
    if !may_be_chance && dependency.down(text.as_str()) {
        tracing::warn!(store, error = text, "store is down");
    }
    false
}
