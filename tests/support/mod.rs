//! What the integration tests share. Each test binary uses a part of it.

#![allow(dead_code, unused_imports, unreachable_pub, missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod bodies;
pub mod bucket;
pub mod clickhouse;
pub mod context;
pub mod deployment;
pub mod events;
pub mod faulty;
pub mod instant;
pub mod ledger;
pub mod load;
pub mod model;
pub mod nothing;
pub mod pieces;
pub mod place;
pub mod proxy;
pub mod raw_store;
pub mod servers;
pub mod state;
pub mod worker;
