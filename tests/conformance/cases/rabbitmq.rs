//! What only RabbitMQ does to a consumer, and what of RabbitMQ only its users expect.

use std::time::Duration;

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use xray_processor_worker::budget::Budget;
use xray_processor_worker::config::Limits;
use xray_processor_worker::event::Kind;
use xray_processor_worker::queue::Producer;
use xray_processor_worker::queue::QueueBackend;
use xray_processor_worker::queue::rabbitmq::RabbitmqProducer;

use super::taking::{error, messages, one, receive};
use crate::harness::{Harness, Whose};
use crate::rabbitmq::{CONSUMER_TIMEOUT, Classic, Quorum, RabbitmqHarness};
use crate::rig::{self, Worker, ids, limits, run, runs, settled, until};
use crate::support::ledger::{Gate, Ledger};

/// The consumer is cancelled by the broker, and the queue is missing for a while.
async fn deleted_and_made_again<const QUORUM: bool>() {
    let (harness, ledger) = (RabbitmqHarness::<QUORUM>::start(Whose::Shared).await, Ledger::new());
    let worker = Worker::start(&harness, &ledger);
    harness.send(runs(&ids("before", 10))).await;
    settled(&harness, &ledger, &ids("before", 10)).await;
    harness.delete().await;
    until("it is said that the queue is missing", async || {
        let readiness = worker.health.readiness();
        let last = readiness.dependencies["rabbitmq"].newest_error().map(str::to_owned);
        last.is_some_and(|error| error.contains(&harness.queue))
    })
    .await;
    harness.create(FieldTable::default()).await;
    harness.send(runs(&ids("after", 10))).await;
    settled(&harness, &ledger, &ids("after", 10)).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_is_deleted_and_made_again_is_consumed_again() {
    deleted_and_made_again::<true>().await;
    deleted_and_made_again::<false>().await;
}

/// Another queue of ours is missing all the time: that is no reason to stop, nor to be unready.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_queue_does_not_stop_the_others() {
    let harness = Classic::start(Whose::Shared).await;
    let queue = harness.with(|settings| settings.queues.push("never-there".into()));
    harness.send(runs(&ids("r", 20))).await;
    messages(&queue, 20).await;
    let room = Budget::new(1, 1).room().await;
    assert!(queue.receive(room, Duration::from_millis(300)).await.is_ok());
    queue.close().await.unwrap();
}

/// We believe that we may hold messages for an hour; the broker closes the channel after ten seconds, as often as it can.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_timeout_we_did_not_know_of() {
    let (harness, ledger) = (Quorum::start(Whose::Shared).await, Ledger::new());
    let queue = harness.with(|settings| settings.consumer_timeout = Duration::from_secs(3600));
    let names = ids("r", 50);
    harness.send(runs(&names)).await;
    let held = messages(&queue, 50).await;
    // The channel is closed, and nothing is fetched anew as long as the pipeline holds what it has.
    tokio::time::sleep(CONSUMER_TIMEOUT + Duration::from_secs(5)).await;
    assert_eq!(receive(&queue).await.len(), 0);
    assert_eq!(harness.left().await, 50);
    drop(held);
    let again = messages(&queue, 50).await;
    assert!(again.iter().all(|delivery| delivery.message.deliveries == 2), "{again:?}");
    drop(again);
    queue.close().await.unwrap();
    let worker = Worker::start(&harness, &ledger);
    settled(&harness, &ledger, &names).await;
    worker.stop().await;
}

/// The stores are away for more than two timeouts, and the connection is lost again and again meanwhile.
async fn blips<const QUORUM: bool>() {
    let (harness, ledger) = (RabbitmqHarness::<QUORUM>::own(&[]).await, Ledger::new());
    let names = ids("r", 100);
    ledger.shut(Gate::Objects);
    let worker = Worker::start(&harness, &ledger);
    harness.send(runs(&names)).await;
    ledger.reached().await;
    for _ in 0..4 {
        tokio::time::sleep(CONSUMER_TIMEOUT / 2).await;
        harness.ctl(&["close_all_connections", "test"]).await;
    }
    assert_eq!(harness.left().await, 100);
    ledger.open();
    settled(&harness, &ledger, &names).await;
    assert!(ledger.most_deliveries() <= 2, "{}", ledger.most_deliveries());
    assert_eq!(ledger.dead_letters(), 0);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_costs_one_attempt_however_often_the_connection_is_lost() {
    tokio::join!(blips::<true>(), blips::<false>());
}

/// One queue has filled the worker; what came from the other waits, and none of it is held by the pipeline.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_costs_one_attempt_behind_another_queue() {
    let (first, second, ledger) =
        (Quorum::start(Whose::Shared).await, Quorum::start(Whose::Shared).await, Ledger::new());
    let (names, behind) = (ids("r", 10), ids("behind", 20));
    let limits = Limits { max_in_flight_messages: 10, ..limits() };
    ledger.shut(Gate::Objects);
    let queue = first.with(|settings| {
        settings.queues.push(second.queue.clone());
        settings.prefetch = Some(100);
    });
    let worker = Worker::on(queue, &ledger, &limits);
    first.send(runs(&names)).await;
    until("it is full", async || worker.budget.held().0 == 10).await;
    second.send(runs(&behind)).await;
    tokio::time::sleep(CONSUMER_TIMEOUT * 3).await;
    ledger.open();
    settled(&first, &ledger, &names).await;
    settled(&second, &ledger, &behind).await;
    assert!(ledger.most_deliveries() <= 2, "{}", ledger.most_deliveries());
    let again = ids("again", 5);
    second.send(runs(&again)).await;
    settled(&second, &ledger, &again).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_connections_are_closed_and_the_application_stops_and_starts() {
    let (harness, ledger) = (Quorum::own(&[]).await, Ledger::new());
    let names = ids("r", 2000);
    let worker = Worker::start(&harness, &ledger);
    let (first, second) = names.split_at(1000);
    harness.send(runs(first)).await;
    harness.ctl(&["close_all_connections", "test"]).await;
    harness.send(runs(second)).await;
    harness.ctl(&["stop_app"]).await;
    until("it is said that the broker is away", async || !worker.health.is_up("rabbitmq")).await;
    harness.ctl(&["start_app"]).await;
    settled(&harness, &ledger, &names).await;
    worker.stop().await;
}

/// Connections stay open, and nobody answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_is_noticed() {
    let (harness, ledger) = (Quorum::own(&[]).await, Ledger::new());
    let url = format!("{}?heartbeat=1", harness.url());
    let queue = harness.with(|settings| settings.url = url.clone().into());
    harness.send(runs(&ids("r", 1))).await;
    drop(messages(&queue, 1).await);
    harness.server.freeze();
    let said = error(&queue, "its heartbeats are missed, and new connections get no answer").await;
    assert!(said.contains("does not answer; look at AMQP_URL") && said.contains("no answer in time"), "{said}");
    let begin = std::time::Instant::now();
    assert!(queue.close().await.is_ok() && begin.elapsed() < Duration::from_secs(5));
    harness.server.go_on();
    let worker = Worker::start(&harness, &ledger);
    settled(&harness, &ledger, &ids("r", 1)).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_with_a_certificate_of_ours_and_the_first_host_dead() {
    let harness = Classic::own(&["--verify-peer"]).await;
    let ca = harness.server.running().ca.clone().unwrap();
    let tls = ca.parent().unwrap().to_owned();
    let url = harness.url_at("amqps", "amqps").replace("127.0.0.1", "localhost");
    harness.send(runs(&ids("r", 5))).await;

    let none = harness.with(|settings| {
        settings.url = url.clone().into();
        settings.ca_file = Some(ca.clone());
    });
    let said = error(&none, "it wants a certificate of ours").await;
    assert!(said.contains("RABBITMQ_CERT_FILE"), "{said}");
    none.close().await.unwrap();

    let queue = harness.with(|settings| {
        settings.url = format!("amqps://guest:guest@localhost:1, {url}").into();
        settings.ca_file = Some(ca.clone());
        settings.cert_file = Some(tls.join("server.pem"));
        settings.key_file = Some(tls.join("server.key"));
    });
    assert_eq!(messages(&queue, 5).await.len(), 5);
    queue.close().await.unwrap();
    assert_eq!(harness.left().await, 5);
}

/// The server may have no mechanism EXTERNAL: then the sentence must say so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_by_certificate_that_is_not_taken() {
    let harness = Classic::start(Whose::Shared).await;
    let url = format!("{}?auth_mechanism=external", harness.url());
    let queue = harness.with(|settings| settings.url = url.into());
    let said = error(&queue, "it is refused").await;
    assert!(
        said.contains("by certificate") && said.contains("EXTERNAL") && said.contains("RABBITMQ_CERT_FILE"),
        "{said}"
    );
    queue.close().await.unwrap();
}

/// A user who may log in, but not read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_without_permission() {
    let harness = Classic::own(&[]).await;
    harness.ctl(&["add_user", "poor", "s3cret"]).await;
    harness.ctl(&["set_permissions", "poor", "^$", "^$", "^$"]).await;
    let url = harness.url().replace("guest:guest", "poor:s3cret");
    let queue = harness.with(|settings| settings.url = url.into());
    let said = error(&queue, "it is refused").await;
    assert!(said.contains(&harness.queue) && said.contains("poor") && said.contains("grant read"), "{said}");
    assert!(!said.contains("s3cret"), "{said}");
    queue.close().await.unwrap();
}

async fn declared(kind: &'static str) {
    let harness = Classic::start(Whose::Shared).await;
    let name = format!("{}-{kind}", harness.queue);
    let queue = harness.with(|settings| {
        settings.queues = vec![name.clone()];
        settings.declare = kind;
    });
    let mut settings = harness.settings();
    settings.queues = vec![name.clone()];
    let producer = RabbitmqProducer::start(&settings).unwrap();
    until("it is there", async || producer.send(&name, run("r", 0)).await.is_ok()).await;
    let delivery = messages(&queue, 1).await.remove(0);
    assert_eq!(delivery.message.deliveries, 1);
    drop(delivery);
    assert_eq!(one(&queue).await.deliveries, 2);
    let thrice = one(&queue).await.deliveries;
    assert_eq!(thrice, if kind == "quorum" { 3 } else { 2 }, "only quorum queues count");
    queue.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_queues_are_made_where_that_is_asked_for() {
    declared("quorum").await;
    declared("classic").await;
}

/// A queue that others made, in their way, is taken as it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_with_other_arguments() {
    let harness = Classic::start(Whose::Shared).await;
    harness.delete().await;
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(1000));
    harness.create(arguments).await;
    let queue = harness.with(|settings| settings.declare = "quorum");
    harness.send(runs(&ids("r", 3))).await;
    messages(&queue, 3).await;
    queue.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_kind_in_the_property_and_the_time() {
    let harness = Quorum::start(Whose::Shared).await;
    let queue = harness.consumer(&limits());
    let properties = BasicProperties::default().with_type("step".into()).with_timestamp(1_772_319_600);
    harness.publish(run("r", 0), properties).await;
    let message = one(&queue).await;
    assert_eq!(message.hint, Some(Kind::Step));
    assert_eq!(message.enqueued_at.unwrap().timestamp(), 1_772_319_600);
    assert_eq!(*message.origin.name, *harness.queue);
    queue.close().await.unwrap();
}

/// The prefetch follows the sizes: from small ones to large ones, and what waits stays bounded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_messages_after_many_small_ones() {
    let (harness, ledger) = (Quorum::start(Whose::Shared).await, Ledger::new());
    let bound = Limits { max_in_flight_bytes: 8 << 20, ..limits() };
    let worker = Worker::within(&harness, &ledger, &bound);
    let (small, large) = (ids("small", 3000), ids("large", 60));
    harness.send(runs(&small)).await;
    settled(&harness, &ledger, &small).await;
    harness.send(large.iter().map(|id| run(id, 1 << 20)).collect()).await;
    harness.send(runs(&ids("more", 1000))).await;
    let all = [small, large, ids("more", 1000)].concat();
    settled(&harness, &ledger, &all).await;
    assert_eq!(ledger.most_deliveries(), 1, "consuming anew costs no attempt");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_much_waits() {
    let harness = Quorum::start(Whose::Shared).await;
    let queue = harness.with(|settings| settings.prefetch = Some(10));
    harness.send(runs(&ids("r", 100))).await;
    let held = messages(&queue, 10).await;
    until("ready and held are counted", async || queue.lag() == Some(100)).await;
    drop(held);
    queue.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishing_says_what_is_wrong() {
    let harness = Classic::start(Whose::Shared).await;
    let producer = RabbitmqProducer::start(&harness.settings()).unwrap();
    let said = producer.send("not-there", run("r", 0)).await.unwrap_err().to_string();
    assert!(said.contains("has no queue not-there; create it") && said.contains("RABBITMQ_DECLARE"), "{said}");
    producer.send(&harness.queue, run("r", 0)).await.unwrap();
    let too_large = producer.send(&harness.queue, vec![b'x'; (16 << 20) + 1].into()).await.unwrap_err();
    let said = rig::said(&too_large);
    assert!(said.contains(&harness.queue) && said.contains("16777216"), "{said}");

    let mut settings = harness.settings();
    settings.url = "amqp://guest:s3cret@127.0.0.1:1".into();
    let producer = RabbitmqProducer::start(&settings).unwrap();
    for _ in 0..2 {
        let said = producer.send(&harness.queue, run("r", 0)).await.unwrap_err().to_string();
        assert!(said.contains("127.0.0.1:1 cannot be reached") && !said.contains("s3cret"), "{said}");
    }
}

/// While the broker has no memory left, publishing waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishing_waits_where_the_broker_has_no_memory() {
    let harness = Quorum::own(&[]).await;
    let producer = RabbitmqProducer::start(&harness.settings()).unwrap();
    producer.send(&harness.queue, run("first", 0)).await.unwrap();
    harness.ctl(&["set_vm_memory_high_watermark", "0.0001"]).await;
    // One gets in, as the broker only then looks.
    let sending = async {
        for id in ids("r", 10) {
            producer.send(&harness.queue, run(&id, 0)).await.unwrap();
        }
    };
    tokio::pin!(sending);
    assert!(tokio::time::timeout(Duration::from_secs(5), &mut sending).await.is_err(), "it is blocked");
    harness.ctl(&["set_vm_memory_high_watermark", "0.6"]).await;
    tokio::time::timeout(Duration::from_secs(30), sending).await.unwrap();
    assert_eq!(harness.left().await, 11);
}

/// Dropped without a word, the connection ends all the same, and others have the messages at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_is_dropped_ends_its_connection() {
    let harness = Quorum::start(Whose::Shared).await;
    harness.send(runs(&ids("r", 10))).await;
    let queue = harness.consumer(&limits());
    let held = messages(&queue, 10).await;
    drop(queue);
    let other = harness.consumer(&limits());
    messages(&other, 10).await;
    drop(held);
    other.close().await.unwrap();
}
