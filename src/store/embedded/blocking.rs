//! Disk work off the async threads.

use crate::store::{Class, StoreError};

/// Runs `work` on a thread that may block. A panic in it becomes an error: the call may be repeated.
pub(super) async fn blocking<T: Send + 'static>(
    store: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        StoreError::new(store, Class::Transient, format!("the {store} thread failed, which is a bug")).because(error)
    })
}
