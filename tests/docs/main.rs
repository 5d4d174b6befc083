//! What the documentation says: its links lead somewhere, its commands do what is shown, its claims have proof.

#![allow(unreachable_pub, clippy::unwrap_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod claims;
mod commands;
mod links;
mod markdown;
mod session;
mod unrun;
