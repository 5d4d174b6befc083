//! Raw objects on real S3 servers of two makes, on fakes that fail as no real server does on request, and, for what all
//! stores have in common, in a directory.

#![allow(unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod aws;
mod conditions;
mod contract;
mod fake;
mod outages;
mod refusals;
mod strangers;
