//! Where events end: raw objects and the tables of metrics, behind two traits.
//!
//! The traits are small on purpose. Which report wins, what is a conflict, in which order things become durable, what
//! is retried: all of that is decided once, in [`pipeline`](crate::pipeline), for every pair of stores.

pub mod audit;
pub mod clickhouse;
pub mod embedded;
mod error;
pub mod rebuild;
pub mod recent;
pub mod s3;
mod touched;

pub use error::{Class, StoreError};
pub use touched::{DecisionGroup, Heavy, Touched};

use crate::dead_letter::DeadLetter;
use crate::object::{Object, Record};
use async_trait::async_trait;
use bytes::Bytes;
use recent::Recent;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

/// What [`RawStore::create`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// The key was free; the object is durable under it.
    Created,
    /// The key holds something; nothing was changed.
    Exists,
}

/// What [`RawStore::replace`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replaced {
    /// The key held what the tag names; now the new object is durable under it.
    Replaced,
    /// The key holds something else by now, or nothing; nothing was changed.
    Changed,
}

/// What a store found under a key.
#[derive(Debug, Clone)]
pub struct Existing {
    /// The object's bytes.
    pub body: Bytes,
    /// Names this very content for [`replace`](RawStore::replace).
    pub tag: Tag,
    /// Written by the worker of before: it carries no `sha256` of its own.
    pub legacy: bool,
}

/// A store's own name for the present content of a key (an `ETag`, a digest).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag(pub String);

/// Objects under keys, with conditional writes.
///
/// Each call takes a group and answers element by element, in order; a failed element says nothing about the others.
/// `Ok` means durable, also for what was found to [exist](Created::Exists): whoever wrote it may not have got that far.
/// The conditions hold between concurrent calls of any number of processes. Every call may be repeated. Dropping the
/// future may leave any part of the group done.
#[async_trait]
pub trait RawStore: Debug + Send + Sync + 'static {
    /// The name of this store in metrics, logs and errors.
    fn name(&self) -> &'static str;

    /// A call that takes longer has gone wrong in a way the store did not notice: the caller drops it and calls again.
    fn patience(&self) -> Duration {
        Duration::from_secs(60)
    }

    /// Makes the store ready for work, and creates what is missing where that was asked for. Called until it answers
    /// `Ok`, before any other call.
    async fn prepare(&self) -> Result<(), StoreError>;

    /// Writes each object whose key is free. No key may stand twice in one group.
    async fn create(&self, objects: &[Arc<Object>]) -> Vec<Result<Created, StoreError>>;

    /// Reads the objects under `keys`; `None` where there is none.
    async fn read(&self, keys: &[String]) -> Vec<Result<Option<Existing>, StoreError>>;

    /// Replaces each object whose key still holds what its tag names. No key may stand twice in one group.
    async fn replace(&self, objects: &[(Arc<Object>, Tag)]) -> Vec<Result<Replaced, StoreError>>;

    /// Proves cheaply that the store answers and would take a write.
    async fn probe(&self) -> Result<(), StoreError>;
}

/// The longest object that is read, in bytes: 64 MiB, or more where we may write more ourselves. Longest is the dead letter
/// of a message of `max_event_bytes` whose bytes need six each (`\u0001`).
pub fn read_limit(max_event_bytes: usize) -> u64 {
    let letter = (max_event_bytes as u64).saturating_mul(6).saturating_add(64 << 10);
    letter.max(64 << 20)
}

/// The tables: facts as they came, and rows derived from them.
///
/// Every call may be repeated, and calls of any number of processes may overlap in any order: the tables end up as a
/// function of the set of facts (see [`numbers`](crate::numbers)). `Ok` means durable: for facts, once a later
/// [`recompute`](Self::recompute) that covers them answered `Ok`. An `Err` says nothing about what was written.
#[async_trait]
pub trait MetricsStore: Debug + Send + Sync + 'static {
    /// The name of this store in metrics, logs and errors.
    fn name(&self) -> &'static str;

    /// A call that takes longer has gone wrong in a way the store did not notice: the caller drops it and calls again.
    fn patience(&self) -> Duration {
        Duration::from_secs(60)
    }

    /// Makes the tables ready for work: brings them up to date, or refuses those that are not ours. Called until it
    /// answers `Ok`, before any other call.
    async fn prepare(&self) -> Result<(), StoreError>;

    /// Adds the facts of these events. Known ones change nothing; of several reports of one entity the newest counts,
    /// of conflicting decisions the greater SHA-256.
    async fn insert_facts(&self, records: &[Arc<Record>]) -> Result<(), StoreError>;

    /// Brings every derived row that depends on a touched key up to date with all facts inserted before the call. Answers
    /// with those keys whose rows take long to recompute, for as much as depends on them.
    async fn recompute(&self, touched: &Touched) -> Result<Heavy, StoreError>;

    /// Adds the rows of dead letters; one that is there already stays as it is.
    async fn insert_dead_letters(&self, letters: &[Arc<DeadLetter>]) -> Result<(), StoreError>;

    /// Counts what is in the tables. May take long; for people.
    async fn row_counts(&self) -> Result<RowCounts, StoreError>;

    /// What was stored lately, for people. Cheap, however much is stored.
    async fn recent(&self) -> Result<Recent, StoreError> {
        Ok(Recent::default())
    }

    /// Proves cheaply that the store answers and would take a write.
    async fn probe(&self) -> Result<(), StoreError>;
}

/// How many rows each table has, each row counted once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)] // the names of the tables
pub struct RowCounts {
    pub decision_events: u64,
    pub steps: u64,
    pub runs: u64,
    pub dead_letters: u64,
}

impl RowCounts {
    /// All of them together.
    pub fn all(&self) -> u64 {
        self.decision_events + self.steps + self.runs + self.dead_letters
    }
}

#[cfg(test)]
mod tests {
    use super::read_limit;

    #[test]
    fn what_we_write_can_be_read() {
        assert_eq!(read_limit(10 << 20), 64 << 20);
        assert_eq!(read_limit(1 << 30), (6 << 30) + (64 << 10));
    }
}
