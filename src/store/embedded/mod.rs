//! The stores of embedded mode: objects as files under `DIR/objects/`, the tables in one SQLite file `DIR/xray.db`.
//!
//! Both survive kill -9 and, when opened as durable, a power cut; without, a power cut may lose or damage what was
//! written shortly before. Any number of processes may work on one directory; they should agree on durability. It must
//! be on a local file system, as SQLite's log and the locks ask for, and one that tells upper from lower case, or ids
//! that differ in nothing else share an object.

mod audit;
mod blocking;
mod columns;
mod decisions;
mod derived;
mod directory;
mod exchange;
mod fact_rows;
mod facts;
mod files;
mod inspect;
mod io_fault;
mod listing;
mod lock;
mod metrics;
#[cfg(test)]
mod metrics_tests;
mod objects;
#[cfg(test)]
mod objects_tests;
mod open;
#[cfg(test)]
mod open_tests;
mod publish;
mod reader;
mod recent;
mod recompute;
mod removal;
mod reports;
mod scratch;
mod shards;
mod sqlite_fault;
mod sync;
mod totals;

pub use inspect::inspect;
pub use metrics::SqliteMetrics;
pub use objects::FileObjects;
pub use reader::Reader;

use super::StoreError;
use std::path::Path;

/// Opens both stores in `dir`, which is created if absent. The tables first: where they are refused, nothing else is
/// left behind.
pub fn open(dir: &Path, durable: bool, max_event_bytes: usize) -> Result<(FileObjects, SqliteMetrics), StoreError> {
    let metrics = SqliteMetrics::open(dir, durable)?;
    Ok((FileObjects::open(dir, durable, max_event_bytes)?, metrics))
}
