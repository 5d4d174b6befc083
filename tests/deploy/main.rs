//! What is handed to those who deploy: image, compose files, manifests, unit, releases. Held against the code, against the tools
//! that read them, and against real servers.

#![allow(unreachable_pub, clippy::unwrap_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod brokers;
mod compose;
mod files;
mod image;
mod manifests;
mod releases;
mod settings;
