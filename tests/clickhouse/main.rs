//! The tables on the real ClickHouse engine.

#![allow(unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod agreement;
mod dashboards;
mod queries;
mod refusals;
mod schema;
