//! The tables against the objects: what is found, what is mended, what is made again; by the binary, on files and on real
//! servers, with the model as judge.

#![allow(unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;
use support::place;

/// Each of these cases as a test on files and one on MinIO and ClickHouse.
macro_rules! on_every_pair {
    ($($case:ident),*) => {
        mod files {
            $(#[test] fn $case() { super::$case(&crate::place::Place::files()); })*
        }
        mod minio_and_clickhouse {
            $(#[test] fn $case() { super::$case(&crate::place::Place::servers("minio")); })*
        }
    };
}

mod adopt;
mod damage;
mod letters;
mod lookup;
mod memory;
mod purge;
mod rebuild;
mod resumed;
mod trust;
