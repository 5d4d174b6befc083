use crate::event::{Code, Kind};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// Counts what this worker has done since it started, for summaries to people.
#[derive(Debug, Default)]
pub struct Tally {
    decisions: AtomicU64,
    steps: AtomicU64,
    runs: AtomicU64,
    created: AtomicU64,
    replaced: AtomicU64,
    unchanged: AtomicU64,
    dead_letters: Mutex<BTreeMap<Code, u64>>,
}

impl Tally {
    pub(super) fn event(&self, kind: Kind) {
        self.of(kind).fetch_add(1, Relaxed);
    }

    pub(super) fn created(&self) {
        self.created.fetch_add(1, Relaxed);
    }

    pub(super) fn replaced(&self) {
        self.replaced.fetch_add(1, Relaxed);
    }

    pub(super) fn unchanged(&self) {
        self.unchanged.fetch_add(1, Relaxed);
    }

    pub(super) fn dead_letter(&self, code: Code) {
        *self.dead_letters.lock().unwrap_or_else(PoisonError::into_inner).entry(code).or_default() += 1;
    }

    fn of(&self, kind: Kind) -> &AtomicU64 {
        match kind {
            Kind::Decision => &self.decisions,
            Kind::Step => &self.steps,
            Kind::Run => &self.runs,
        }
    }

    /// Events of a kind that are stored, duplicates included.
    pub fn events(&self, kind: Kind) -> u64 {
        self.of(kind).load(Relaxed)
    }

    /// Events of all kinds that are stored, duplicates included.
    pub fn all_events(&self) -> u64 {
        Kind::ALL.iter().map(|kind| self.events(*kind)).sum()
    }

    /// Raw objects that were new.
    pub fn objects_created(&self) -> u64 {
        self.created.load(Relaxed)
    }

    /// Raw objects that took the place of an older report, or of the loser of a conflict.
    pub fn objects_replaced(&self) -> u64 {
        self.replaced.load(Relaxed)
    }

    /// Raw objects that were there already, or newer ones in their place.
    pub fn objects_unchanged(&self) -> u64 {
        self.unchanged.load(Relaxed)
    }

    /// Dead letters, those seen before included.
    pub fn dead_letters(&self) -> u64 {
        self.dead_letters_by_code().values().sum()
    }

    /// The same by code; only the codes that occurred.
    pub fn dead_letters_by_code(&self) -> BTreeMap<Code, u64> {
        self.dead_letters.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
