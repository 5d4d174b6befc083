//! The tables against the objects: what is found, what is mended, what is made again; by the binary, on files and on real
//! servers, with the model as judge.

#![allow(unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod damage;
mod letters;
mod lookup;
mod place;
mod purge;
mod rebuild;
