//! The second stage, the facts of a group, and the third, the rows derived from them.

use super::attempt::{Attempts, GivenUp};
use super::batch::Work;
use super::heat::Heat;
use super::objects::Objects;
use super::stage::Writer;
use super::tally::Tally;
use crate::dead_letter::DeadLetter;
use crate::metrics::Stage;
use crate::object::Record;
use crate::store::{MetricsStore, StoreError, Touched};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::time::Instant;

/// So many records, or touched keys, go into one call: a group may hold an array of a hundred thousand events, and a
/// call must end within the store's patience.
const AT_ONCE: usize = 5000;

/// Inserts the facts of groups.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) store: Arc<dyn MetricsStore>,
    pub(super) attempts: Attempts,
    /// For the dead letters of what the store refuses.
    pub(super) objects: Arc<Objects>,
}

impl Writer for Facts {
    const STAGE: Stage = Stage::Facts;
    // One group at a time, as large as what waits: few large inserts are what tables want.
    const JOIN: usize = 16_384;
    const OVERLAP: usize = 1;

    /// `Ok` once all facts are inserted; what the store refuses for good is a dead letter instead.
    async fn write(&self, group: &mut [&mut Work]) -> Result<(), GivenUp> {
        let records = records(group);
        let mut refused = BTreeMap::new();
        // A refused part is halved until the refused item is alone, so that its neighbours are not held up.
        let starts = (0..records.len()).step_by(AT_ONCE);
        let mut open: Vec<_> = starts.map(|start| start..records.len().min(start + AT_ONCE)).collect();
        while let Some(part) = open.pop() {
            if let Err(error) = self.attempts.one(|| self.store.insert_facts(&records[part.clone()])).await? {
                if part.len() == 1 {
                    refused.insert(part.start, error);
                } else {
                    let middle = part.start + part.len() / 2;
                    open.extend([part.start..middle, middle..part.end]);
                }
            }
        }
        self.objects.write_letters(refuse(group, &refused)).await
    }
}

/// Takes out of the group what is refused, by its place in [`records`].
fn refuse(group: &mut [&mut Work], refused: &BTreeMap<usize, StoreError>) -> Vec<Arc<DeadLetter>> {
    let (mut letters, mut before) = (Vec::new(), 0);
    for work in group {
        let count = work.records.len();
        letters.extend(work.refuse(|at, _| refused.get(&(before + at))));
        before += count;
    }
    letters
}

/// Recomputes what depends on the facts of groups.
#[derive(Debug)]
pub(super) struct Derived {
    pub(super) store: Arc<dyn MetricsStore>,
    pub(super) attempts: Attempts,
    pub(super) tally: Arc<Tally>,
    pub(super) heat: Arc<Heat>,
    /// How many microseconds the last group took the store, without what failed before.
    pub(super) took: AtomicU64,
}

impl Derived {
    /// How long the last group took the store; an outage before it does not count.
    pub(super) fn took(&self) -> Duration {
        Duration::from_micros(self.took.load(Relaxed))
    }
}

impl Writer for Derived {
    const STAGE: Stage = Stage::Derived;
    // One group at a time, as large as what waits: few large inserts are what tables want.
    const JOIN: usize = 16_384;
    const OVERLAP: usize = 1;

    /// `Ok` once every derived row that depends on the group is right and durable.
    async fn write(&self, group: &mut [&mut Work]) -> Result<(), GivenUp> {
        let records = records(group);
        let mut took = Duration::ZERO;
        for touched in Touched::by(&records).parts(AT_ONCE) {
            let recompute = || async {
                let began = Instant::now();
                let heavy = self.store.recompute(&touched).await?;
                Ok((heavy, began.elapsed()))
            };
            let (heavy, this) = self.attempts.insist(recompute).await?;
            took += this;
            self.heat.note(heavy);
        }
        self.took.store(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Relaxed);
        for record in records {
            self.tally.event(record.event.kind());
        }
        Ok(())
    }
}

fn records(group: &[&mut Work]) -> Vec<Arc<Record>> {
    group.iter().flat_map(|work| work.records.iter().map(|(_, record)| record.clone())).collect()
}
