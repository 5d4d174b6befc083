//! The tables on a ClickHouse server.
//!
//! Facts are inserted as they came; rows derived from them are recomputed on the server, by `INSERT … SELECT` over the
//! facts of the keys that were touched. Nothing depends on who writes first: every table is a `ReplacingMergeTree`
//! whose version only grows as facts are added (see [`numbers`](crate::numbers)).
//!
//! "Durable" means that the server has acknowledged a synchronous insert. By its own defaults that survives the end of
//! its process, not a power cut; `CLICKHOUSE_FSYNC` makes it wait for the disk.

mod adopt;
mod audit;
mod connection;
mod derived;
mod exchange;
mod fact_rows;
mod facts;
mod fault;
mod genuine;
mod inspect;
mod layout;
mod migrations;
mod recent;
mod recompute;
mod removal;
mod rows;
mod sql;
mod tables;
mod tls;

pub use adopt::Rename;
pub use tables::ClickHouseTables;

/// The name of this store in metrics, logs and errors.
pub const NAME: &str = "clickhouse";
