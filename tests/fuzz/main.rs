//! Whatever bytes come in: nothing panics, nothing is read otherwise than the model reads it, no secret gets out.
//! `tests/run --fuzz N` tries N million cases.

#![allow(clippy::unwrap_used, clippy::panic)]
#![allow(unreachable_pub, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

mod bodies;
mod configuration;
mod damage;
mod keys;
mod sns;

use proptest::prelude::ProptestConfig;

/// Many cases of what takes microseconds, fewer where each costs more. `PROPTEST_CASES` overrules it, for each test.
fn cases(cost: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig { cases: default.cases.saturating_mul(64) / cost, ..default }
}
