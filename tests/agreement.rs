//! The worker and the model, each written from the specification without the other, on bodies put together at random
//! from valid, odd and wrong pieces.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use proptest::prelude::*;
use support::model::{Input, diff, expected};
use support::pieces::body;
use support::state::read_embedded;
use support::worker::{work_off, write_lines};

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.div_ceil(16), ..ProptestConfig::default() })]

    #[test]
    fn same_state_for_the_same_bodies(bodies in prop::collection::vec(body(), 1..300)) {
        let dir = tempfile::tempdir().unwrap();
        let bodies: Vec<Vec<u8>> = bodies.into_iter().map(String::into_bytes).collect();
        let input = write_lines(dir.path().join("input"), &bodies);
        work_off(dir.path(), "data", &input);
        let expected = expected(bodies.iter().map(|body| Input { body, hint: None }));
        let differences = diff(&expected, &read_embedded(&dir.path().join("data")));
        prop_assert!(differences.is_empty(), "{}", differences.join("\n"));
    }
}
