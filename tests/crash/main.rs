//! The binary with kill points, killed at each of them, on real servers: nothing is forgotten early, nothing is missing or
//! wrong afterwards.

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

mod broker;
mod ingest;
mod matrix;
mod outage;
mod source;

use matrix::{Stores, crash};
use outage::{Store, outages};

/// A test for each of these points; what stands after `more` is for `tests/run --crashes`.
macro_rules! crashes {
    ($name:ident, $source:ty, $stores:path: $($point:ident)* $(; more $($other:ident)*)?) => {
        mod $name {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $point() {
                    crash::<$source>($stores, matrix::$point).await;
                }
            )*
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                #[ignore = "the whole matrix: tests/run --crashes"]
                async fn $other() {
                    crash::<$source>($stores, matrix::$other).await;
                }
            )*)?
        }
    };
}

/// All of them, always.
macro_rules! everywhere {
    ($name:ident, $source:ty, $stores:path) => {
        crashes! { $name, $source, $stores:
            after_receive half_of_the_objects all_objects facts derived_rows
            just_before_the_ack in_the_middle_of_acks during_shutdown during_recovery
        }
    };
}

/// All of them by hand, two always.
macro_rules! here_and_there {
    ($name:ident, $source:ty, $stores:path) => {
        crashes! { $name, $source, $stores:
            facts in_the_middle_of_acks;
            more after_receive half_of_the_objects all_objects derived_rows
            just_before_the_ack during_shutdown during_recovery
        }
    };
}

/// All of them by hand.
macro_rules! by_hand {
    ($name:ident, $source:ty, $stores:path) => {
        crashes! { $name, $source, $stores: ;
            more after_receive half_of_the_objects all_objects facts derived_rows
            just_before_the_ack in_the_middle_of_acks during_shutdown during_recovery
        }
    };
}

everywhere! { memory_on_servers, ingest::Ingest, Stores::Servers }
by_hand! { memory_on_files, ingest::Ingest, Stores::Files }

everywhere! { kafka_on_files, broker::Broker<kafka::KafkaHarness<kafka::Cooperative>>, Stores::Files }
by_hand! { kafka_on_servers, broker::Broker<kafka::KafkaHarness<kafka::Cooperative>>, Stores::Servers }
by_hand! { kafka_brokered_on_servers, broker::Broker<kafka::KafkaHarness<kafka::Brokered>>, Stores::Servers }

here_and_there! { quorum_on_servers, broker::Broker<rabbitmq::Quorum>, Stores::Servers }
here_and_there! { classic_on_files, broker::Broker<rabbitmq::Classic>, Stores::Files }

here_and_there! { nats_on_files, broker::Broker<nats::NatsHarness<nats::Current>>, Stores::Files }
by_hand! { old_nats_on_servers, broker::Broker<nats::NatsHarness<nats::Oldest>>, Stores::Servers }

here_and_there! { sqs_on_files, broker::Broker<sqs::Standard>, Stores::Files }
by_hand! { fifo_on_servers, broker::Broker<sqs::Fifo>, Stores::Servers }

/// The stores fail instead of the worker; the rest by `tests/run --crashes`.
macro_rules! outages {
    ($($name:ident, $source:ty $(, $more:literal)?;)*) => {
        $(mod $name {
            use super::*;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            $(#[ignore = $more])?
            async fn objects_fail() {
                outages::<$source>(Store::Objects).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            $(#[ignore = $more])?
            async fn tables_fail() {
                outages::<$source>(Store::Tables).await;
            }
        })*
    };
}

outages! {
    kafka_outages, broker::Broker<kafka::KafkaHarness<kafka::Cooperative>>, "the whole matrix: tests/run --crashes";
    quorum_outages, broker::Broker<rabbitmq::Quorum>, "the whole matrix: tests/run --crashes";
    nats_outages, broker::Broker<nats::NatsHarness<nats::Current>>;
    sqs_outages, broker::Broker<sqs::Standard>;
}
