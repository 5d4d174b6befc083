//! The second stage, the facts of a group, and the third, the rows derived from them.

use super::attempt::{Attempts, GivenUp};
use super::batch::Work;
use super::heat::Heat;
use super::objects::Objects;
use super::refusals::Refusals;
use super::stage::Writer;
use super::tally::Tally;
use crate::metrics::Stage;
use crate::object::Record;
use crate::store::{MetricsStore, Touched};
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
    pub(super) refusals: Arc<Refusals>,
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
        let before = self.refusals.taken();
        let records = records(group);
        let refused = self.attempts.isolate(&records, AT_ONCE, |records| self.store.insert_facts(records)).await?;
        self.refusals.settle(group, before, |at, _| refused.get(&at));
        self.objects.write_letters(group).await
    }
}

/// Recomputes what depends on the facts of groups.
#[derive(Debug)]
pub(super) struct Derived {
    pub(super) store: Arc<dyn MetricsStore>,
    pub(super) attempts: Attempts,
    pub(super) refusals: Arc<Refusals>,
    /// For the dead letters of what the store refuses.
    pub(super) objects: Arc<Objects>,
    pub(super) tally: Arc<Tally>,
    pub(super) heat: Arc<Heat>,
    /// It may take one in so many parts of the time.
    pub(super) share: u32,
    /// How many microseconds the last group took the store, without what failed before.
    pub(super) took: AtomicU64,
}

impl Writer for Derived {
    const STAGE: Stage = Stage::Derived;
    // One group at a time, as large as what waits: few large inserts are what tables want.
    const JOIN: usize = 16_384;
    const OVERLAP: usize = 1;

    fn rest(&self) -> Duration {
        Duration::from_micros(self.took.load(Relaxed)) * (self.share - 1)
    }

    /// `Ok` once every derived row that depends on the group is right and durable. Where the store refuses such a row
    /// for good, the events that it depends on are dead letters instead.
    async fn write(&self, group: &mut [&mut Work]) -> Result<(), GivenUp> {
        let before = self.refusals.taken();
        let keys = Touched::by(&records(group)).parts(1);
        self.took.store(0, Relaxed);
        let recompute = async |keys: &[Touched]| {
            let began = Instant::now();
            let heavy = self.store.recompute(&Touched::all(keys)).await?;
            self.took.fetch_add(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX), Relaxed);
            self.heat.note(heavy);
            Ok(())
        };
        let refused = self.attempts.isolate(&keys, AT_ONCE, recompute).await?;
        let refused: BTreeMap<_, _> = refused.into_iter().map(|(at, refusal)| (&keys[at], refusal)).collect();
        self.refusals.settle(group, before, |_, record| match refused.is_empty() {
            true => None,
            false => refused.get(&Touched::by_one(record)),
        });
        self.objects.write_letters(group).await?;
        for work in group.iter().filter(|work| work.wait.is_no()) {
            work.records.iter().for_each(|(_, record)| self.tally.event(record.event.kind()));
        }
        Ok(())
    }
}

fn records(group: &[&mut Work]) -> Vec<Arc<Record>> {
    group.iter().flat_map(|work| work.records.iter().map(|(_, record)| record.clone())).collect()
}
