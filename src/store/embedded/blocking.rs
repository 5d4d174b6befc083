//! Disk work off the async threads.

use crate::store::{Class, StoreError};
use std::sync::Arc;
use tokio::sync::Mutex;

/// Runs `work` on a thread that may block. A panic in it becomes an error: the call may be repeated.
pub(super) async fn blocking<T: Send + 'static>(
    store: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        StoreError::new(store, Class::Transient, format!("the {store} thread failed, which is a bug")).because(error)
    })
}

/// What one call at a time may use.
///
/// Who gives up on a call only drops its future: the work goes on on its thread until the disk lets go of it. The turn
/// ends with the work, so whoever tries again waits for it and never runs beside it.
#[derive(Debug)]
pub(super) struct Turns<R>(Arc<Mutex<R>>);

impl<R> Clone for Turns<R> {
    fn clone(&self) -> Self {
        Turns(self.0.clone())
    }
}

impl<R: Send + 'static> Turns<R> {
    pub(super) fn new(resource: R) -> Self {
        Turns(Arc::new(Mutex::new(resource)))
    }

    /// Waits for a turn and runs `work` as [`blocking`] does. Dropped while it waits, it never runs.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        store: &'static str,
        work: impl FnOnce(&mut R) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let mut resource = self.0.clone().lock_owned().await;
        blocking(store, move || work(&mut resource)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;
    use std::time::Duration;
    use tokio::time::timeout;

    #[tokio::test]
    async fn what_was_given_up_is_waited_for() {
        let turns = Turns::new(0);
        let (go_on, wait) = channel::<()>();
        let (started, has_started) = channel();
        let hung = turns.blocking("test", move |count| {
            started.send(()).unwrap();
            wait.recv().unwrap();
            *count += 1;
        });
        assert!(timeout(Duration::from_millis(20), hung).await.is_err());
        has_started.recv().unwrap();
        let retry = turns.blocking("test", |count| *count);
        assert!(timeout(Duration::from_millis(20), retry).await.is_err(), "it runs beside the first");
        go_on.send(()).unwrap();
        assert_eq!(turns.blocking("test", |count| *count).await.unwrap(), 1, "the retry that was dropped never ran");
    }

    #[tokio::test]
    async fn a_panic_ends_the_turn() {
        let turns = Turns::new(());
        assert!(turns.blocking("test", |()| panic!("for a test")).await.is_err());
        turns.blocking("test", |()| ()).await.unwrap();
    }
}
