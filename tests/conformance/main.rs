//! The contract of `QueueBackend`, once, for every backend on its real server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(unreachable_pub, missing_docs)]
// The memory queue alone leaves some of it aside.
#![cfg_attr(not(feature = "_broker"), allow(dead_code))]

#[path = "../support/mod.rs"]
mod support;

mod cases;
mod deployed;
mod harness;
#[cfg(feature = "kafka")]
mod kafka;
mod memory;
#[cfg(feature = "nats")]
mod nats;
#[cfg(feature = "rabbitmq")]
mod rabbitmq;
mod rig;
#[cfg(feature = "sqs")]
mod sqs;
mod suite;

/// Runs these cases on a harness, each as a test of its own.
macro_rules! cases {
    ($name:ident, $harness:ty: $($case:ident)*) => {
        mod $name {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    #[allow(unused_imports)] // some come from here, some from there
                    use crate::{deployed::*, suite::*};
                    $case::<$harness>().await;
                }
            )*
        }
    };
}

/// All of them.
#[allow(unused_macros)] // with the memory queue alone
macro_rules! conforms {
    ($name:ident, $harness:ty) => {
        cases! { $name, $harness:
            everything_is_delivered_once_and_acked
            what_was_there_before_is_delivered
            what_is_dropped_comes_again
            the_lag_is_what_is_not_acked
            a_crash_loses_nothing
            acks_in_any_order
            nothing_is_acked_before_it_is_durable
            what_is_held_long_does_not_come_again
            held_messages_are_bounded_by_count
            held_messages_are_bounded_by_bytes
            a_message_over_the_whole_budget_is_taken_alone
            nothing_is_taken_before_it_is_asked_for
            a_source_that_is_deleted_and_made_again
            the_broker_is_killed_and_comes_back
            a_broker_that_is_not_there_yet_is_waited_for
            shutdown_gives_back_at_once
            two_workers_share_the_work
            four_workers_share_the_work
            workers_come_and_go_in_the_middle_of_a_batch
            poison_costs_its_neighbours_nothing
            the_largest_body_the_broker_takes
            unknown_headers_change_nothing
            who_is_refused_says_why_in_one_sentence
            what_sdks_send_to_sources_that_do_not_exist_yet
            twenty_thousand_events_two_workers_and_kill_9
            dead_letters_go_to_the_broker_again
        }
    };
}

// No restart, no refusal, no second process; a worker that stops takes the queue with it.
cases! { memory_queue, crate::memory::MemoryHarness:
    everything_is_delivered_once_and_acked
    what_was_there_before_is_delivered
    acks_in_any_order
    nothing_is_acked_before_it_is_durable
    what_is_held_long_does_not_come_again
    held_messages_are_bounded_by_count
    held_messages_are_bounded_by_bytes
    a_message_over_the_whole_budget_is_taken_alone
    poison_costs_its_neighbours_nothing
    the_largest_body_the_broker_takes
    unknown_headers_change_nothing
}

#[cfg(feature = "kafka")]
conforms! { kafka_broker, crate::kafka::KafkaHarness<crate::kafka::Cooperative> }

/// Those in which members of a group come and go, or stay.
#[cfg(feature = "kafka")]
macro_rules! regroups {
    ($name:ident, $harness:ty) => {
        cases! { $name, $harness:
            a_crash_loses_nothing
            what_is_held_long_does_not_come_again
            four_workers_share_the_work
            workers_come_and_go_in_the_middle_of_a_batch
        }
    };
}

#[cfg(feature = "kafka")]
regroups! { kafka_eager, crate::kafka::KafkaHarness<crate::kafka::Eager> }
#[cfg(feature = "kafka")]
regroups! { kafka_brokered, crate::kafka::KafkaHarness<crate::kafka::Brokered> }

#[cfg(feature = "rabbitmq")]
conforms! { rabbitmq_quorum, crate::rabbitmq::Quorum }
#[cfg(feature = "rabbitmq")]
conforms! { rabbitmq_classic, crate::rabbitmq::Classic }

#[cfg(feature = "nats")]
conforms! { nats_current, crate::nats::NatsHarness<crate::nats::Current> }

// Those in which an old server might do otherwise.
#[cfg(feature = "nats")]
cases! { nats_oldest, crate::nats::NatsHarness<crate::nats::Oldest>:
    everything_is_delivered_once_and_acked
    what_is_dropped_comes_again
    the_lag_is_what_is_not_acked
    a_crash_loses_nothing
    acks_in_any_order
    what_is_held_long_does_not_come_again
    held_messages_are_bounded_by_bytes
    a_message_over_the_whole_budget_is_taken_alone
    a_source_that_is_deleted_and_made_again
    the_broker_is_killed_and_comes_back
    shutdown_gives_back_at_once
    four_workers_share_the_work
    workers_come_and_go_in_the_middle_of_a_batch
    the_largest_body_the_broker_takes
    unknown_headers_change_nothing
    who_is_refused_says_why_in_one_sentence
}
#[cfg(feature = "sqs")]
conforms! { sqs_standard, crate::sqs::Standard }

// Those in which it matters that groups keep their order. ElasticMQ looks through all groups that are out for each message
// it gives out, so that thousands of them take it minutes.
#[cfg(feature = "sqs")]
cases! { sqs_fifo, crate::sqs::Fifo:
    what_was_there_before_is_delivered
    what_is_dropped_comes_again
    the_lag_is_what_is_not_acked
    a_crash_loses_nothing
    acks_in_any_order
    nothing_is_acked_before_it_is_durable
    what_is_held_long_does_not_come_again
    held_messages_are_bounded_by_count
    held_messages_are_bounded_by_bytes
    a_message_over_the_whole_budget_is_taken_alone
    nothing_is_taken_before_it_is_asked_for
    a_broker_that_is_not_there_yet_is_waited_for
    shutdown_gives_back_at_once
    two_workers_share_the_work
    poison_costs_its_neighbours_nothing
    the_largest_body_the_broker_takes
    unknown_headers_change_nothing
    what_sdks_send_to_sources_that_do_not_exist_yet
}
