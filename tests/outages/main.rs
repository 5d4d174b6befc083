//! Stores that refuse, hang, break off, answer nonsense, lock us out or lose everything, while the worker works.

#![allow(unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod proxy;
