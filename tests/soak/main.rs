//! Bad days: workers, broker and stores fail at random, as a seed has it, while events come in; afterwards nothing is
//! missing, nothing is wrong, and memory has stayed within its bound. `tests/run --soak MINUTES` makes it longer.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(unreachable_pub, missing_docs, dead_code)]

#[path = "../support/mod.rs"]
mod support;

#[path = "../conformance/harness.rs"]
mod harness;
#[path = "../conformance/kafka/mod.rs"]
mod kafka;
#[path = "../conformance/nats/mod.rs"]
mod nats;
#[path = "../conformance/rabbitmq/mod.rs"]
mod rabbitmq;
#[path = "../conformance/rig.rs"]
mod rig;
#[path = "../conformance/sqs/mod.rs"]
mod sqs;

mod day;
mod dice;
mod faults;
mod feed;
mod fleet;

use std::time::Duration;

use day::Day;
use dice::Dice;
use futures_util::future::LocalBoxFuture;

/// The longest of days: then all is judged, and another one begins.
const LONGEST: Duration = Duration::from_secs(300);

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|error| panic!("{name}: {error}")))
}

type DayOn = fn(Day) -> LocalBoxFuture<'static, ()>;

/// A day on each. `XRAY_SOAK_BROKERS` names some, separated by commas.
const BROKERS: &[(&str, DayOn)] = &[
    ("kafka", |day| Box::pin(day.on::<kafka::KafkaHarness<kafka::Cooperative>>())),
    ("rabbitmq", |day| Box::pin(day.on::<rabbitmq::Quorum>())),
    ("nats", |day| Box::pin(day.on::<nats::NatsHarness<nats::Current>>())),
    ("sqs", |day| Box::pin(day.on::<sqs::Standard>())),
];

/// Days on each broker in turn, two minutes in all unless told otherwise.
#[tokio::test(flavor = "multi_thread", worker_threads = 12)]
async fn bad_days() {
    let seed = variable("XRAY_SOAK_SEED").unwrap_or_else(rand::random);
    let all = Duration::from_secs(60 * variable("XRAY_SOAK_MINUTES").unwrap_or(2));
    println!("repeat it with tests/run --soak {} --seed {seed}", all.as_secs() / 60);
    let named = std::env::var("XRAY_SOAK_BROKERS").ok();
    let asked = |name: &str| named.as_ref().is_none_or(|named| named.split(',').any(|one| one == name));
    let brokers: Vec<DayOn> = BROKERS.iter().filter(|(name, _)| asked(name)).map(|(_, day)| *day).collect();
    assert!(!brokers.is_empty(), "XRAY_SOAK_BROKERS names no broker");
    let days = (all.as_secs() as usize).div_ceil(LONGEST.as_secs() as usize).next_multiple_of(brokers.len());
    let mut dice = Dice::new(seed, 0);
    for day in brokers.iter().cycle().take(days) {
        day(Day { seed: dice.seed(), length: all / days as u32 }).await;
    }
}
