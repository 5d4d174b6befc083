use super::document::Tables;
use crate::store::recent::Recent;
use crate::store::{MetricsStore, StoreError};
use chrono::Utc;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};

/// However many look, the tables are not read more often.
const REST: Duration = Duration::from_secs(5);
/// Nor for more than one in so many parts of the time.
const SHARE: u32 = 20;
/// Who asks first waits so long for an answer. Later the last answer is there at once.
const PATIENCE: Duration = Duration::from_secs(2);
/// For one reading.
const TIMEOUT: Duration = Duration::from_secs(20);

/// What was last read of the tables. They are read while somebody asks, by one who reads for all.
#[derive(Debug, Default)]
pub(super) struct Cache {
    asked: Notify,
    /// Whether anybody reads.
    reading: AtomicBool,
    known: watch::Sender<Option<Tables>>,
}

impl Cache {
    /// Reads whenever somebody has asked, for ever. Cancel safe.
    pub(super) async fn refresh(&self, store: &dyn MetricsStore) -> Infallible {
        self.reading.store(true, Relaxed);
        loop {
            self.asked.notified().await;
            let began = Instant::now();
            let read = timeout(TIMEOUT, store.recent()).await;
            self.learn(read.unwrap_or_else(|_| Err(late(store))));
            sleep((began.elapsed() * SHARE).max(REST)).await;
        }
    }

    fn learn(&self, read: Result<Recent, StoreError>) {
        self.known.send_modify(|known| match read {
            Ok(mut recent) => {
                // A part that cannot be read is what it was.
                if let Some(Tables { recent: before, .. }) = known {
                    if recent.runs_error.is_some() {
                        recent.runs = std::mem::take(&mut before.runs);
                    }
                    if recent.dead_letters_error.is_some() {
                        recent.dead_letters = std::mem::take(&mut before.dead_letters);
                    }
                }
                *known = Some(Tables { read: Some(Utc::now()), error: None, recent });
            }
            Err(error) => {
                let empty = || Tables { read: None, error: None, recent: Recent::default() };
                known.get_or_insert_with(empty).error = Some(error.chain());
            }
        });
    }

    /// What is known. Whoever asks sees to it that it is read again.
    pub(super) async fn ask(&self) -> Option<Tables> {
        self.asked.notify_one();
        let mut known = self.known.subscribe();
        if !self.reading.load(Relaxed) {
            return known.borrow().clone();
        }
        let first = timeout(PATIENCE, known.wait_for(Option::is_some)).await;
        first.ok().and_then(Result::ok).and_then(|known| known.clone())
    }
}

fn late(store: &dyn MetricsStore) -> StoreError {
    let text = format!("no answer within {} s", TIMEOUT.as_secs());
    StoreError::new(store.name(), crate::store::Class::Transient, text)
}

#[cfg(test)]
impl Cache {
    pub(super) fn know(&self, recent: Recent) {
        self.learn(Ok(recent));
    }
}
