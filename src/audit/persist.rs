//! Calls of a store outside the pipeline: some patience, and then an end.

use crate::jitter::jitter;
use crate::store::{Class, StoreError};
use std::time::Duration;
use tokio::time::sleep;

/// The pauses grow to half a minute in all.
const ATTEMPTS: u32 = 9;
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Repeats a call while what fails may pass by itself, for about half a minute. A person waits for the end of it: unlike
/// a worker it gives up.
pub async fn persist<T, F>(call: impl Fn() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut pause = FIRST_PAUSE;
    for _ in 1..ATTEMPTS {
        match call().await {
            Err(error) if error.class == Class::Transient => {
                tracing::debug!(store = error.store, error = error.chain(), "attempt failed");
                sleep(jitter(pause)).await;
                pause *= 2;
            }
            outcome => return outcome,
        }
    }
    call().await
}
