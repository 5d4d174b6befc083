//! The final state is a function of the set of events: small pipelines in which everything that is hard happens, handled by
//! several workers that are interleaved at every call of a store, with crashes, faults before and after effect, and
//! redelivery; compared with the model. On the embedded stores and on real servers.

// Everything is on one thread, so that the schedule decides.
#![allow(clippy::future_not_send)]
#![allow(unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod histories;
mod processes;
mod requests;
mod scenario;
mod traps;
mod turns;
mod workers;
