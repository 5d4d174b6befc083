//! What only NATS does to a consumer, and what of NATS only its users expect.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::{AckPolicy, pull, push};
use async_nats::jetstream::stream::RetentionPolicy;
use xray_processor_worker::config::Limits;
use xray_processor_worker::event::Kind;
use xray_processor_worker::queue::nats::NatsProducer;
use xray_processor_worker::queue::{Producer, QueueBackend};

use super::taking::{error, messages, one, receive};
use crate::harness::{Harness, Whose};
use crate::nats::{ACK_WAIT, Current, NatsHarness, Oldest, Version};
use crate::rig::{Worker, ids, limits, run, runs, said_to_be_away, settled, until};
use crate::support::ledger::{Gate, Ledger};
use crate::support::servers::{Server, Which};

type Nats = NatsHarness<Current>;

/// The stream is made anew while messages of it are held, and is filled before their acks come: those mean nothing any more,
/// though the new messages have the very places of the old ones.
async fn old_acks_mean_nothing<V: Version>(whole_stream: bool) {
    let (harness, ledger) = (NatsHarness::<V>::start(Whose::Shared).await, Ledger::new());
    let limits = Limits { max_in_flight_messages: 50, ..limits() };
    let (old, new) = (ids("old", 50), ids("new", 120));
    ledger.shut(Gate::Objects);
    let worker = Worker::within(&harness, &ledger, &limits);
    harness.send(runs(&old)).await;
    ledger.reached().await;
    until("it is full, and asks for nothing", async || worker.budget.held().0 == 50).await;
    if whole_stream {
        harness.recreate().await;
    } else {
        harness.delete_consumer().await;
        harness.create_consumer(|_| {}).await;
    }
    harness.send(runs(&new)).await;
    until("new ones are given out, in the places of the old ones", async || {
        let info = harness.stream().await.consumer_info("workers").await;
        info.is_ok_and(|info| info.num_ack_pending >= 50)
    })
    .await;
    ledger.open();
    settled(&harness, &ledger, &new).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acks_of_a_stream_that_was_made_anew_mean_nothing() {
    old_acks_mean_nothing::<Current>(true).await;
    old_acks_mean_nothing::<Oldest>(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acks_of_a_consumer_that_was_made_anew_mean_nothing() {
    old_acks_mean_nothing::<Current>(false).await;
    old_acks_mean_nothing::<Oldest>(false).await;
}

/// What is held when the connection is lost is stored meanwhile, and acked over the next one: none of it comes again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acks_outlive_the_connection() {
    let server = Which::Own(Box::new(Server::start("nats")));
    let (mut harness, ledger) = (Nats::on(server, Duration::from_secs(60)).await, Ledger::new());
    let names = ids("r", 300);
    ledger.shut(Gate::Objects);
    let worker = Worker::start(&harness, &ledger);
    harness.send(runs(&names)).await;
    ledger.reached().await;
    // The server writes down what it has delivered a moment later.
    tokio::time::sleep(Duration::from_millis(500)).await;
    harness.kill_9();
    said_to_be_away::<Nats>(&worker).await;
    ledger.open();
    until("all of it is stored", async || ledger.stored().len() == 300).await;
    harness.restart();
    settled(&harness, &ledger, &names).await;
    assert_eq!(ledger.most_deliveries(), 1);
    worker.stop().await;
}

/// Connections stay open, and nobody answers, for longer than the server waits for a word.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_is_noticed() {
    let (harness, ledger) = (Nats::start(Whose::Own).await, Ledger::new());
    let queue = harness.consumer(&limits());
    harness.send(runs(&ids("r", 1))).await;
    drop(messages(&queue, 1).await);
    harness.server.freeze();
    let said = error(&queue, "requests are not answered, nor are new connections").await;
    assert!(said.contains("NATS at 127.0.0.1:") && said.contains("does not answer"), "{said}");
    let begin = std::time::Instant::now();
    queue.close().await.ok();
    assert!(begin.elapsed() < Duration::from_secs(9), "closing does not wait for it");
    harness.server.go_on();
    let worker = Worker::start(&harness, &ledger);
    settled(&harness, &ledger, &ids("r", 1)).await;
    worker.stop().await;
}

/// The stream is missing for a while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_deleted_and_made_again_is_consumed_again() {
    let (harness, ledger) = (Nats::start(Whose::Shared).await, Ledger::new());
    let worker = Worker::start(&harness, &ledger);
    harness.send(runs(&ids("before", 10))).await;
    settled(&harness, &ledger, &ids("before", 10)).await;
    harness.delete().await;
    until("it is said that the stream is missing", async || {
        let last = worker.health.readiness().dependencies["nats"].newest_error().map(str::to_owned);
        last.is_some_and(|error| error.contains("has no stream"))
    })
    .await;
    harness.create().await;
    harness.send(runs(&ids("after", 10))).await;
    settled(&harness, &ledger, &ids("after", 10)).await;
    worker.stop().await;
}

/// Both come into being, as they must be; and what is there is left alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_is_created_where_that_is_asked_for() {
    let mut harness = Nats::on(Which::Own(Box::new(Server::start("nats"))), ACK_WAIT).await;
    harness.use_default_sources();
    let queues: Vec<_> = (0..3).map(|_| harness.with(|it| it.create = "stream")).collect();
    let producer = NatsProducer::start(&{
        let mut settings = harness.settings();
        settings.create = "stream";
        settings
    });
    producer.unwrap().send("xray.runs", run("r", 0)).await.unwrap();
    until("one of them has it", async || {
        let mut any = 0;
        for queue in &queues {
            any += receive(queue).await.len();
        }
        any > 0
    })
    .await;
    let config = harness.stream().await.cached_info().config.clone();
    assert_eq!((config.retention, config.subjects), (RetentionPolicy::WorkQueue, vec!["xray.>".to_owned()]));
    let config = harness.info().await.config;
    assert_eq!((config.ack_policy, config.max_deliver, config.max_ack_pending), (AckPolicy::Explicit, -1, -1));
    assert_eq!((config.ack_wait, &*config.filter_subject), (ACK_WAIT, "xray.>"));
    for queue in queues {
        queue.close().await.unwrap();
    }
}

/// Consumers that somebody else made.
async fn refused<V: Version>() {
    let harness = NatsHarness::<V>::start(Whose::Shared).await;
    // A work queue takes none but such as are right, or nearly.
    harness.delete().await;
    harness.create_keeping(RetentionPolicy::Limits).await;
    harness.create_consumer(|_| {}).await;
    type Change = fn(&mut pull::Config);
    let cases: [(Change, &[&str]); 5] = [
        (|it| it.ack_policy = AckPolicy::All, &["ack policy explicit"]),
        (|it| it.max_deliver = 5, &["gives up on a message after 5 deliveries", "max_deliver"]),
        (|it| it.headers_only = true, &["headers_only"]),
        (|it| it.ack_wait = Duration::from_millis(200), &["200ms", "ack_wait"]),
        (
            |it| {
                it.max_deliver = 3;
                it.backoff = vec![Duration::from_secs(1)];
            },
            &["after 3 deliveries"],
        ),
    ];
    for (change, words) in cases {
        harness.delete_consumer().await;
        harness.create_consumer(change).await;
        let before = harness.info().await.config;
        let queue = harness.consumer(&limits());
        let said = error(&queue, "it is refused").await;
        assert!(
            words.iter().all(|word| said.contains(word)) && said.contains("the consumer workers on NATS at"),
            "{said}"
        );
        queue.close().await.ok();
        assert_eq!(harness.info().await.config, before, "and left alone");
    }
    let stream = harness.stream().await;
    harness.delete_consumer().await;
    let pushes = push::Config {
        durable_name: Some("workers".into()),
        deliver_subject: "somewhere".into(),
        ..push::Config::default()
    };
    stream.create_consumer(pushes).await.unwrap();
    let queue = harness.consumer(&limits());
    let said = error(&queue, "it is refused").await;
    assert!(said.contains("pushes its messages") && said.contains("pull consumer"), "{said}");
    // It is looked at again and again: mended, it is consumed.
    harness.delete_consumer().await;
    harness.create_consumer(|_| {}).await;
    harness.send(runs(&ids("r", 3))).await;
    messages(&queue, 3).await;
    queue.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_would_break_a_promise_is_refused() {
    refused::<Current>().await;
    refused::<Oldest>().await;
}

/// Somebody edits the consumer while messages of it are held.
async fn edited<V: Version>() {
    let server = Which::Own(Box::new(Server::start(V::SERVER)));
    let (harness, ledger) = (NatsHarness::<V>::on(server, Duration::from_secs(60)).await, Ledger::new());
    let names = ids("r", 100);
    ledger.shut(Gate::Objects);
    let worker = Worker::start(&harness, &ledger);
    harness.send(runs(&names)).await;
    ledger.reached().await;
    let delivered = async || harness.info().await.delivered.consumer_sequence;

    harness.edit_consumer(|it| it.ack_wait = ACK_WAIT).await;
    // Until it is seen they come again.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let before = delivered().await;
    tokio::time::sleep(ACK_WAIT * 4).await;
    assert_eq!(delivered().await, before, "the server is told of them as often as it must be now");

    harness.edit_consumer(|it| it.max_deliver = 7).await;
    until("it is refused", async || {
        let said = worker.health.readiness().dependencies["nats"].last_error.clone().unwrap_or_default();
        said.contains("gives up on a message after 7 deliveries") && !worker.health.is_up("nats")
    })
    .await;
    harness.edit_consumer(|it| it.max_deliver = -1).await;
    until("all is well again", async || worker.health.is_up("nats")).await;
    ledger.open();
    settled(&harness, &ledger, &names).await;
    assert_eq!(ledger.most_deliveries(), 1);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_is_edited_is_looked_at_anew() {
    edited::<Current>().await;
    edited::<Oldest>().await;
}

/// Limits of a consumer are kept to, and cost nothing but time.
async fn limited<V: Version>() {
    let (harness, ledger) = (NatsHarness::<V>::start(Whose::Shared).await, Ledger::new());
    harness.delete_consumer().await;
    harness
        .create_consumer(|it| {
            it.max_ack_pending = 7;
            it.max_batch = 5;
            it.max_bytes = 40_000;
            it.max_expires = Duration::from_millis(200);
            it.filter_subject.clear();
        })
        .await;
    let (small, large) = (ids("small", 100), ids("large", 20));
    let mut bodies = runs(&small);
    // Some are larger than any request may be.
    bodies.extend(large.iter().enumerate().map(|(n, id)| run(id, 10_000 * n)));
    harness.send(bodies).await;
    let workers = [Worker::start(&harness, &ledger), Worker::start(&harness, &ledger)];
    settled(&harness, &ledger, &[small, large].concat()).await;
    assert_eq!(ledger.most_deliveries(), 1);
    for worker in workers {
        worker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_of_a_consumer_are_kept_to() {
    limited::<Current>().await;
    limited::<Oldest>().await;
}

/// What waits in the inbox of a full worker, and what fills it, is kept for many times the server's patience.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_to_be_received_is_kept_too() {
    let (harness, ledger) = (Nats::start(Whose::Shared).await, Ledger::new());
    let names = ids("r", 400);
    let limits = Limits { max_in_flight_messages: 100, ..limits() };
    ledger.shut(Gate::Facts);
    let worker = Worker::within(&harness, &ledger, &limits);
    harness.send(runs(&names)).await;
    ledger.reached().await;
    until("it holds all it may, and more waits", async || {
        worker.budget.held().0 == 100 && harness.info().await.num_ack_pending > 100
    })
    .await;
    tokio::time::sleep(ACK_WAIT * 6).await;
    let info = harness.info().await;
    assert!(info.num_ack_pending > 100 && info.num_redelivered == 0, "{info:?}");
    ledger.open();
    settled(&harness, &ledger, &names).await;
    assert_eq!(ledger.most_deliveries(), 1);
    worker.stop().await;
}

/// Another worker asks all the time: what a stopping one gives back goes there, and not in circles.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_given_back_goes_to_another_at_once() {
    let server = Which::Own(Box::new(Server::start("nats")));
    let harness = Nats::on(server, Duration::from_secs(3600)).await;
    harness.send(runs(&ids("r", 500))).await;
    let (first, second) = (harness.consumer(&limits()), harness.consumer(&limits()));
    let held = messages(&first, 300).await;
    let leaving = async {
        first.release(held.into_iter().map(|delivery| delivery.receipt).collect()).await.unwrap();
        first.close().await.unwrap();
    };
    let (all, ()) = tokio::join!(messages(&second, 500), leaving);
    assert!(all.iter().all(|delivery| delivery.message.deliveries <= 2), "once to each");
    drop(all);
    second.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_kind_by_subject_and_header_the_time_and_the_deliveries() {
    let mut harness = Nats::on(Which::Own(Box::new(Server::start("nats"))), ACK_WAIT).await;
    harness.use_default_sources();
    let queue = harness.with(|it| it.create = "stream");
    assert_eq!(receive(&queue).await.len(), 0);
    until("the stream is there", async || queue.lag() == Some(0)).await;
    let jetstream = harness.jetstream().await;
    let before = chrono::Utc::now();
    jetstream.publish("xray.steps", run("r", 0)).await.unwrap().await.unwrap();
    let message = one(&queue).await;
    assert_eq!((message.hint, message.deliveries), (Some(Kind::Step), 1));
    assert_eq!(message.origin.to_string(), "xray.steps:1");
    let age = message.enqueued_at.unwrap() - before;
    assert!(age.num_seconds().abs() < 60, "{age}");
    let again = one(&queue).await;
    assert_eq!((again.deliveries, again.enqueued_at), (2, message.enqueued_at));
    // That one stays away while it is held.
    let held = messages(&queue, 1).await;
    let mut headers = HeaderMap::new();
    headers.insert("type", "decision");
    jetstream.publish_with_headers("xray.steps", headers, "x".into()).await.unwrap().await.unwrap();
    assert_eq!(one(&queue).await.hint, Some(Kind::Decision));
    drop(held);
    queue.close().await.unwrap();
}

/// The stores are away, and the connection is lost for longer than the server waits: what it gives out again then is what
/// the worker still holds, and is worked on once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_again_while_it_is_held_is_worked_on_once() {
    let (mut harness, ledger) = (Nats::start(Whose::Own).await, Ledger::new());
    let names = ids("r", 100);
    ledger.shut(Gate::Objects);
    let worker = Worker::start(&harness, &ledger);
    harness.send(runs(&names)).await;
    ledger.reached().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    harness.kill_9();
    said_to_be_away::<Nats>(&worker).await;
    tokio::time::sleep(ACK_WAIT * 2).await;
    harness.restart();
    until("all is well again", async || worker.health.is_up("nats")).await;
    tokio::time::sleep(ACK_WAIT * 2).await;
    assert_eq!(worker.budget.held().0, 100);
    ledger.open();
    settled(&harness, &ledger, &names).await;
    assert_eq!(ledger.most_deliveries(), 1);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishing_says_what_is_wrong() {
    let harness = Nats::start(Whose::Shared).await;
    let producer = NatsProducer::start(&harness.settings()).unwrap();
    let said = producer.send("nobody.takes.this", run("r", 0)).await.unwrap_err().to_string();
    assert!(said.contains("takes the subject nobody.takes.this") && said.contains("NATS_CREATE"), "{said}");
    producer.send(&harness.subject, run("r", 0)).await.unwrap();
    let said = producer.send(&harness.subject, vec![b'x'; (8 << 20) + 1].into()).await.unwrap_err().to_string();
    assert!(said.contains("max_payload"), "{said}");
    producer.send(&harness.subject, run("r", 0)).await.unwrap();
    assert_eq!(harness.left().await, 2);
    let mut settings = harness.settings();
    settings.url = "nats://a:s3cret@127.0.0.1:1".into();
    let producer = NatsProducer::start(&settings).unwrap();
    for _ in 0..2 {
        let said = producer.send(&harness.subject, run("r", 0)).await.unwrap_err().to_string();
        assert!(said.contains("127.0.0.1:1 cannot be reached") && !said.contains("s3cret"), "{said}");
    }
    settings.subject = "a.*.c".into();
    assert!(NatsProducer::destinations(&settings).unwrap_err().to_string().contains("NATS_SUBJECT is a.*.c"));
}

/// Dropped without a word, the connection ends all the same; the server waits, then gives its messages to others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_is_dropped_ends_its_connection() {
    let harness = Nats::start(Whose::Shared).await;
    harness.send(runs(&ids("r", 10))).await;
    let queue = harness.consumer(&limits());
    let held = messages(&queue, 10).await;
    drop(queue);
    let other = harness.consumer(&limits());
    messages(&other, 10).await;
    drop(held);
    other.close().await.unwrap();
}
