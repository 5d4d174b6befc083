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

/// The cases of one test, fewer where each costs so much more: of all together there are `XRAY_FUZZ_MILLIONS`.
fn cases(cost: u32) -> ProptestConfig {
    let millions = std::env::var("XRAY_FUZZ_MILLIONS").ok().map(|value| value.parse::<u32>().unwrap());
    // Nearly all are of the seven tests that cost little. `PROPTEST_CASES` would overrule this.
    let cases = millions.map_or(16_000, |millions| millions.saturating_mul(1_000_000) / 7);
    ProptestConfig::with_cases(cases / cost)
}
