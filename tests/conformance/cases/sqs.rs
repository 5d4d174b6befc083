//! What only SQS does to a consumer, and what of SQS only its users expect.

use std::collections::BTreeMap;
use std::fs::{File, read_to_string};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use aws_sdk_sqs::types::{QueueAttributeName, SendMessageBatchRequestEntry};
use bytes::Bytes;
use chrono::Utc;
use futures_util::future::join_all;
use serde_json::{Value, json};
use xray_processor_worker::budget::Budget;
use xray_processor_worker::config::Limits;
use xray_processor_worker::event::Kind;
use xray_processor_worker::pipeline::Delivery;
use xray_processor_worker::queue::sqs::{Receipt, SqsProducer, SqsQueue};
use xray_processor_worker::queue::{Producer, QueueBackend};

use super::sqs_proxy::{Answer, Proxy};
use crate::harness::{Harness, Whose};
use crate::rig::{self, Worker, decision, ids, limits, run, runs, said_to_be_away, settled, until};
use crate::sqs::{Fifo, SECRET, SqsHarness, Standard, VISIBILITY};
use crate::support::ledger::{Gate, Ledger, SLOW};
use crate::support::worker::{Running, worker};

async fn receive(queue: &SqsQueue, most: usize) -> Vec<Delivery<Receipt>> {
    let room = Budget::new(most, 64 << 20).room().await;
    queue.receive(room, Duration::from_millis(200)).await.unwrap_or_default()
}

/// So many, however they come.
async fn messages(queue: &SqsQueue, count: usize) -> Vec<Delivery<Receipt>> {
    let mut all = Vec::new();
    until("they are delivered", async || {
        all.extend(receive(queue, count - all.len()).await);
        all.len() == count
    })
    .await;
    all
}

async fn error(queue: &SqsQueue, words: &[&str]) -> String {
    let room = Budget::new(1, 1).room().await;
    let mut said = String::new();
    until("it is said what is wrong", async || {
        if let Err(error) = queue.receive(room, Duration::from_millis(200)).await {
            said = rig::said(&error);
        }
        words.iter().all(|word| said.contains(word))
    })
    .await;
    said
}

fn bodies(deliveries: &[Delivery<Receipt>]) -> Vec<String> {
    deliveries.iter().map(|delivery| String::from_utf8(delivery.message.body.to_vec()).unwrap()).collect()
}

impl Fifo {
    /// Sends these to a group, in this order, so that whoever receives can have them together.
    async fn send_to(&self, group: &str, bodies: &[Bytes]) {
        let entry = |(at, body): (usize, &Bytes)| {
            let entry = SendMessageBatchRequestEntry::builder().id(at.to_string()).message_group_id(group);
            let entry = entry.message_deduplication_id(Self::new_name("once"));
            entry.message_body(String::from_utf8(body.to_vec()).unwrap()).build().unwrap()
        };
        let request = self.client().send_message_batch().queue_url(self.url(&self.queue));
        let sent = request.set_entries(Some(bodies.iter().enumerate().map(entry).collect())).send().await.unwrap();
        assert!(sent.failed().is_empty(), "{sent:?}");
    }
}

/// A worker on a proxy.
fn behind<const FIFO: bool>(harness: &SqsHarness<FIFO>, proxy: &Proxy) -> SqsQueue {
    harness.with(|settings| settings.endpoint = Some(proxy.url()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_goes_back_in_its_order() {
    goes_back(true).await;
    goes_back(false).await;
}

async fn goes_back(together: bool) {
    let harness = Fifo::start(Whose::Shared).await;
    let names: Vec<String> = (0..6).map(|n| n.to_string()).collect();
    let texts: Vec<Bytes> = names.iter().cloned().map(Bytes::from).collect();
    for texts in texts.chunks(if together { 10 } else { 1 }) {
        harness.send_to("g", texts).await;
    }
    harness.send_to("other", &[Bytes::from("x")]).await;
    let queue = harness.consumer(&limits());
    let mut held: BTreeMap<String, Delivery<Receipt>> = BTreeMap::new();
    for delivery in messages(&queue, 7).await {
        held.insert(String::from_utf8(delivery.message.body.to_vec()).unwrap(), delivery);
    }
    // It takes those behind it along, though they are not dropped, and waits for those before it.
    let third = held.remove("2").unwrap();
    queue.release(vec![third.receipt]).await.unwrap();
    assert!(receive(&queue, 10).await.is_empty());
    let (first, second) = (held.remove("0"), held.remove("1"));
    drop((second, first));
    // Whoever waits for it may be given the first alone, the moment it is back; then SQS keeps the others until that is settled.
    let mut again = Vec::new();
    until("they come again", async || {
        again = receive(&queue, 10).await;
        assert_eq!(bodies(&again), names[..again.len()]);
        again.len() == 6
    })
    .await;
    assert!(again.iter().all(|delivery| delivery.message.deliveries > 1), "{again:?}");
    queue.close().await.unwrap();
    drop((again, held));
    assert_eq!(harness.left().await, 7);
}

/// One takes long: what is stored behind it stays with SQS, so that after a crash all of it comes in order again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_is_deleted_in_its_order() {
    let (harness, ledger) = (Fifo::start(Whose::Shared).await, Ledger::new());
    let worker = Worker::start(&harness, &ledger);
    harness.send_to("g", &[decision("known", SLOW)]).await;
    settled(&harness, &ledger, &["known".into()]).await;
    ledger.shut(Gate::Slow);
    harness.send_to("g", &[run("before", 0), decision("held", SLOW), run("after-0", 0), run("after-1", 0)]).await;
    harness.send_to("other", &[run("other", 0)]).await;
    ledger.reached().await;
    until("all are stored", async || ledger.stored().len() == 6 && worker.budget.held().0 == 1).await;
    until("what is before it is deleted", async || harness.left().await == 3).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(harness.left().await, 3);
    worker.crash().await;
    let queue = harness.consumer(&limits());
    let again = messages(&queue, 3).await;
    let expected = [decision("held", SLOW), run("after-0", 0), run("after-1", 0)];
    assert_eq!(again.iter().map(|delivery| delivery.message.body.clone()).collect::<Vec<_>>(), expected);
    queue.close().await.unwrap();
}

/// One is received, the others that came with it wait for as long as the stores take.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_to_be_received_stays_hidden() {
    let harness = Standard::start(Whose::Shared).await;
    harness.send(runs(&ids("r", 10))).await;
    let queue = harness.consumer(&limits());
    let first = messages(&queue, 1).await;
    tokio::time::sleep(VISIBILITY * 5 / 2).await;
    let others = messages(&queue, 9).await;
    assert!(others.iter().chain(&first).all(|delivery| delivery.message.deliveries == 1), "{others:?}");
    queue.close().await.unwrap();
}

/// A poll that is under way when a worker stops takes nothing along.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_stops_takes_nothing_along() {
    let harness = Standard::start(Whose::Shared).await;
    for _ in 0..3 {
        let queue = harness.consumer(&limits());
        assert!(receive(&queue, 10).await.is_empty());
        let sent = tokio::join!(queue.close(), harness.send(runs(&ids("during", 5)))).0;
        sent.unwrap();
        harness.send(runs(&ids("after", 5))).await;
        let next = harness.consumer(&limits());
        let came = messages(&next, 10).await;
        let after = came.iter().filter(|delivery| delivery.message.body.starts_with(br#"{"id":"after"#));
        assert!(after.into_iter().all(|delivery| delivery.message.deliveries == 1), "{came:?}");
        drop(came);
        next.close().await.unwrap();
        harness.client().purge_queue().queue_url(harness.url(&harness.queue)).send().await.unwrap();
    }
}

/// At the second time it was received a message would be moved away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redrive_policy_is_named_and_an_outage_does_not_set_it_off() {
    let (mut harness, ledger) = (Standard::start(Whose::Shared).await, Ledger::new());
    let letters = Standard::new_name("letters");
    harness.create(&letters, &[]).await;
    let arn = format!("arn:aws:sqs:us-east-1:000000000000:{letters}");
    let policy = json!({ "deadLetterTargetArn": arn, "maxReceiveCount": 1 }).to_string();
    harness.queue = Standard::new_name("redriven");
    harness.queues = vec![harness.queue.clone()];
    harness.create(&harness.queue, &[(QueueAttributeName::RedrivePolicy, &policy)]).await;

    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let mut command = worker(dir.path(), &["run", "--embedded", "--data", "d"]);
    command.env("HTTP_ADDR", "127.0.0.1:0").envs(harness.variables());
    let process = command.stdout(Stdio::null()).stderr(Stdio::from(File::create(&log).unwrap())).spawn().unwrap();
    let mut process = Running(process);
    until("it is named", async || {
        let log = read_to_string(&log).unwrap();
        log.lines().any(|line| ["maxReceiveCount", &letters, &harness.queue].iter().all(|word| line.contains(word)))
    })
    .await;
    process.terminate();
    assert!(process.ended().success());

    let names = ids("r", 20);
    ledger.shut(Gate::Facts);
    let worker = Worker::start(&harness, &ledger);
    harness.send(runs(&names)).await;
    ledger.reached().await;
    tokio::time::sleep(VISIBILITY * 2).await;
    ledger.open();
    settled(&harness, &ledger, &names).await;
    assert_eq!((ledger.most_deliveries(), harness.count(&letters).await), (1, 0));
    worker.stop().await;
}

/// Of three queues one is missing for a while, and nobody waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_queue_does_not_stop_the_others() {
    let (mut harness, ledger) = (Standard::start(Whose::Shared).await, Ledger::new());
    let later = Standard::new_name("later");
    harness.queues.extend([Standard::new_name("there"), later.clone()]);
    harness.create(&harness.queues[1], &[]).await;
    let worker = Worker::start(&harness, &ledger);
    let producer = SqsProducer::start(&harness.settings()).unwrap();
    for (n, queue) in harness.queues.iter().take(2).enumerate() {
        producer.send(queue, run(&format!("r-{n}"), 0)).await.unwrap();
    }
    settled(&harness, &ledger, &ids("r", 2)).await;
    assert!(worker.health.is_up("sqs"), "{:?}", worker.health.readiness());
    let error = producer.send(&later, run("r-2", 0)).await.unwrap_err();
    assert!(rig::said(&error).contains(&later) && rig::said(&error).contains("SQS_CREATE_QUEUES"), "{error}");
    harness.create(&later, &[]).await;
    producer.send(&later, run("r-2", 0)).await.unwrap();
    settled(&harness, &ledger, &ids("r", 3)).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notifications_are_unwrapped_and_what_sqs_tells_is_kept() {
    let mut harness = Standard::start(Whose::Shared).await;
    harness.queue = Standard::new_name("xray-steps");
    harness.queues = vec![harness.queue.clone()];
    harness.create(&harness.queue, &[]).await;
    let wrapped = json!({
        "Type": "Notification", "MessageId": "m", "TopicArn": "arn:aws:sns:us-east-1:1:t", "Message": "{\"id\":\"ü\"}",
        "MessageAttributes": { "type": { "Type": "String", "Value": "run" } },
    });
    harness.send_with(wrapped.to_string().into(), &[]).await;
    let queue = harness.consumer(&limits());
    let delivery = messages(&queue, 1).await.remove(0);
    let message = &delivery.message;
    assert_eq!((&message.body[..], message.hint), ("{\"id\":\"ü\"}".as_bytes(), Some(Kind::Run)));
    assert_eq!((&*message.origin.name, message.deliveries), (harness.queue.as_str(), 1));
    let age = Utc::now() - message.enqueued_at.unwrap();
    assert!((0..90).contains(&age.num_seconds()), "{age}");
    queue.close().await.unwrap();
}

/// Connections stay open, and nobody answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_is_noticed() {
    let (harness, ledger) = (Standard::start(Whose::Own).await, Ledger::new());
    let worker = Worker::on(harness.with(|settings| settings.timeout = Duration::from_secs(1)), &ledger, &limits());
    harness.send(runs(&ids("before", 10))).await;
    settled(&harness, &ledger, &ids("before", 10)).await;
    harness.server.freeze();
    said_to_be_away::<Standard>(&worker).await;
    harness.server.go_on();
    harness.send(runs(&ids("after", 10))).await;
    settled(&harness, &ledger, &ids("after", 10)).await;
    until("all is well again", async || worker.health.is_up("sqs")).await;
    worker.stop().await;
}

/// Of ten deletes one fails, again and again: it alone is tried again, and nothing comes twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_batch_only_what_failed_is_tried_again() {
    let (harness, ledger) = (Standard::start(Whose::Shared).await, Ledger::new());
    let names = ids("r", 40);
    harness.send(runs(&names)).await;
    let failures = AtomicUsize::new(0);
    let proxy = Proxy::start(harness.endpoint(), move |request| match request.action.as_str() {
        "DeleteMessageBatch" if failures.fetch_add(1, Relaxed) < 6 => Answer::FailFirst("InternalError", false),
        _ => Answer::Pass,
    })
    .await;
    let worker = Worker::on(behind(&harness, &proxy), &ledger, &limits());
    settled(&harness, &ledger, &names).await;
    assert_eq!(ledger.most_deliveries(), 1);
    let mut times = BTreeMap::<String, usize>::new();
    for request in proxy.seen("DeleteMessageBatch") {
        for entry in request["Entries"].as_array().unwrap() {
            *times.entry(entry["ReceiptHandle"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    assert_eq!((times.len(), times.values().sum::<usize>()), (40, 46), "{times:?}");
    worker.stop().await;
}

/// Without a long poll, or where something answers that nothing is there, one would ask thousands of times a second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_finds_nothing_at_once_does_not_ask_again_at_once() {
    let (harness, ledger) = (Standard::start(Whose::Shared).await, Ledger::new());
    let proxy = Proxy::start(harness.endpoint(), |_| Answer::Pass).await;
    let queue = harness.with(|settings| {
        settings.endpoint = Some(proxy.url());
        settings.wait_time = Duration::ZERO;
    });
    let worker = Worker::on(queue, &ledger, &limits());
    until("it polls", async || proxy.seen("ReceiveMessage").len() > 3).await;
    let before = proxy.seen("ReceiveMessage").len();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let polls = proxy.seen("ReceiveMessage").len() - before;
    assert!((1..=12).contains(&polls), "{polls} polls in two seconds");
    harness.send(runs(&ids("r", 500))).await;
    settled(&harness, &ledger, &ids("r", 500)).await;
    worker.stop().await;
}

/// What is refused for what it is: trying again would never end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delete_that_is_refused_is_not_tried_for_ever() {
    let (harness, ledger) = (Standard::start(Whose::Shared).await, Ledger::new());
    harness.send(runs(&ids("r", 1))).await;
    let refusals = AtomicUsize::new(0);
    let proxy = Proxy::start(harness.endpoint(), move |request| match request.action.as_str() {
        "DeleteMessageBatch" => match refusals.fetch_add(1, Relaxed) {
            0 => Answer::FailFirst("ReceiptHandleIsInvalid", true),
            1 | 2 => Answer::Refuse(400, "InvalidParameterValue"),
            _ => Answer::Pass,
        },
        _ => Answer::Pass,
    })
    .await;
    let worker = Worker::on(behind(&harness, &proxy), &ledger, &limits());
    // It comes again after its time, twice.
    settled(&harness, &ledger, &ids("r", 1)).await;
    assert_eq!(ledger.most_deliveries(), 3);
    assert_eq!(proxy.seen("DeleteMessageBatch").len(), 4, "a whole batch that is refused is tried one by one");
    worker.stop().await;
}

/// The right to receive without the right to delete: no more is taken than may be held, and it is said for as long as it lasts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_delete_does_not_go_on_receiving() {
    let (harness, ledger) = (Standard::start(Whose::Shared).await, Ledger::new());
    let names = ids("r", 300);
    harness.send(runs(&names)).await;
    let denied = Arc::new(AtomicBool::new(true));
    let now = denied.clone();
    let proxy = Proxy::start(harness.endpoint(), move |request| match request.action.as_str() {
        "DeleteMessageBatch" if now.load(Relaxed) => Answer::Refuse(403, "AccessDeniedException"),
        _ => Answer::Pass,
    })
    .await;
    let limits = Limits { max_in_flight_messages: 50, ..limits() };
    let mut settings = harness.settings();
    settings.endpoint = Some(proxy.url());
    let worker = Worker::on(SqsQueue::start(&settings, &limits).unwrap(), &ledger, &limits);
    said_to_be_away::<Standard>(&worker).await;
    // Longer than their time: they are kept from others, who could not delete them either.
    let end = Instant::now() + VISIBILITY * 3 / 2;
    while Instant::now() < end {
        let said = worker.health.readiness().dependencies["sqs"].last_error.clone().unwrap();
        assert!(said.contains("sqs:DeleteMessage") && !worker.health.is_up("sqs"), "{said}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(ledger.stored().len() <= 50, "{} were received", ledger.stored().len());
    denied.store(false, Relaxed);
    settled(&harness, &ledger, &names).await;
    assert_eq!(ledger.most_deliveries(), 1);
    until("all is well again", async || worker.health.is_up("sqs")).await;
    worker.stop().await;
}

/// The time of messages is renewed all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewals_that_fail_are_tried_again_in_time() {
    let (harness, ledger) = (Standard::start(Whose::Shared).await, Ledger::new());
    let names = ids("r", 25);
    harness.send(runs(&names)).await;
    let count = AtomicUsize::new(0);
    let proxy = Proxy::start(harness.endpoint(), move |request| match request.action.as_str() {
        "ChangeMessageVisibilityBatch" => match count.fetch_add(1, Relaxed) % 3 {
            0 => Answer::Refuse(403, "RequestThrottled"),
            1 => Answer::FailFirst("InternalError", false),
            _ => Answer::Pass,
        },
        _ => Answer::Pass,
    })
    .await;
    ledger.shut(Gate::Objects);
    let worker = Worker::on(behind(&harness, &proxy), &ledger, &limits());
    ledger.reached().await;
    tokio::time::sleep(VISIBILITY * 2).await;
    ledger.open();
    settled(&harness, &ledger, &names).await;
    assert_eq!(ledger.most_deliveries(), 1);
    worker.stop().await;
}

/// Answers that ElasticMQ does not give: it takes any key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_refused_by_aws_says_why() {
    let harness = Standard::start(Whose::Shared).await;
    for (status, code, words) in [
        (403, "InvalidClientTokenId", &["access key", "AWS_ACCESS_KEY_ID"][..]),
        (403, "SignatureDoesNotMatch", &["secret key", "AWS_SECRET_ACCESS_KEY"]),
        (403, "ExpiredToken", &["temporary credentials", "renew"]),
        (403, "AccessDeniedException", &["sqs:ReceiveMessage", "grant", &harness.queue]),
        (400, "QueueDoesNotExist", &[&harness.queue, "SQS_QUEUE_URL"]),
        (400, "AWS.SimpleQueueService.NonExistentQueue", &[&harness.queue, "SQS_QUEUE_URL"]),
        (400, "OverLimit", &["120,000"]),
        (400, "KmsAccessDenied", &["kms:Decrypt"]),
        (503, "ServiceUnavailable", &["in trouble"]),
        (403, "RequestThrottled", &["slows down"]),
    ] {
        let code: &'static str = code;
        let proxy = Proxy::start(harness.endpoint(), move |_| Answer::Refuse(status, code)).await;
        let queue = behind(&harness, &proxy);
        let said = error(&queue, words).await;
        assert!(!said.contains(SECRET) && !said.contains('\n'), "{said}");
        queue.close().await.ok();
    }
}

/// The rights to receive and delete are enough; then the lag is not known.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_look_at_the_queue_consumes_it_all_the_same() {
    let (harness, ledger) = (Standard::start(Whose::Shared).await, Ledger::new());
    let proxy = Proxy::start(harness.endpoint(), |request| match request.action.as_str() {
        "GetQueueAttributes" => Answer::Refuse(403, "AccessDeniedException"),
        _ => Answer::Pass,
    })
    .await;
    let worker = Worker::on(behind(&harness, &proxy), &ledger, &limits());
    harness.send(runs(&ids("r", 10))).await;
    settled(&harness, &ledger, &ids("r", 10)).await;
    until("it is well", async || worker.health.is_up("sqs")).await;
    worker.stop().await;
}

/// Throttled, then hanging, then in trouble, and each time it goes on by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_goes_on_by_itself_after_whatever_it_was() {
    let (harness, ledger) = (Standard::start(Whose::Shared).await, Ledger::new());
    let wrong = Arc::new(std::sync::Mutex::new(Answer::Pass));
    let now = wrong.clone();
    let proxy = Proxy::start(harness.endpoint(), move |_| *now.lock().unwrap()).await;
    let queue = harness.with(|settings| {
        settings.endpoint = Some(proxy.url());
        settings.timeout = Duration::from_secs(1);
    });
    let worker = Worker::on(queue, &ledger, &limits());
    for (n, answer) in [
        Answer::Refuse(400, "RequestThrottled"),
        Answer::Hang,
        Answer::Refuse(500, "InternalError"),
        Answer::Refuse(403, "SignatureDoesNotMatch"),
    ]
    .into_iter()
    .enumerate()
    {
        *wrong.lock().unwrap() = answer;
        until("it is said", async || !worker.health.is_up("sqs")).await;
        let names = ids(&format!("r-{n}"), 5);
        harness.send(runs(&names)).await;
        *wrong.lock().unwrap() = Answer::Pass;
        settled(&harness, &ledger, &names).await;
        until("all is well again", async || worker.health.is_up("sqs")).await;
    }
    worker.stop().await;
}

/// Nobody needs to have made them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_queues_are_made_where_that_is_asked_for() {
    missing::<Standard>().await;
    missing::<Fifo>().await;

    async fn missing<H: Makes>() {
        let (harness, ledger) = (H::on_a_missing_queue().await, Ledger::new());
        let worker = Worker::on(harness.creating(), &ledger, &limits());
        until("it is made", async || worker.health.is_up("sqs")).await;
        harness.send(runs(&ids("r", 30))).await;
        settled(&harness, &ledger, &ids("r", 30)).await;
        worker.stop().await;
    }
}

trait Makes: Harness<Queue = SqsQueue> {
    async fn on_a_missing_queue() -> Self;
    fn creating(&self) -> SqsQueue;
}

impl<const FIFO: bool> Makes for SqsHarness<FIFO> {
    async fn on_a_missing_queue() -> Self {
        let mut harness = Self::start(Whose::Shared).await;
        harness.queue = Self::new_name("made");
        harness.queues = vec![harness.queue.clone()];
        harness
    }

    fn creating(&self) -> SqsQueue {
        self.with(|settings| settings.create_queues = true)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishing_says_what_is_wrong_and_tries_again_what_may_work() {
    let harness = Standard::start(Whose::Shared).await;
    let count = AtomicUsize::new(0);
    let proxy = Proxy::start(harness.endpoint(), move |request| match request.action.as_str() {
        "SendMessageBatch" => match count.fetch_add(1, Relaxed) {
            0 => Answer::Refuse(503, "ServiceUnavailable"),
            1 | 2 => Answer::FailFirst("InternalError", false),
            _ => Answer::Pass,
        },
        _ => Answer::Pass,
    })
    .await;
    let mut settings = harness.settings();
    settings.endpoint = Some(proxy.url());
    let producer = SqsProducer::start(&settings).unwrap();
    let texts = runs(&ids("r", 25));
    for sent in join_all(texts.iter().map(|body| producer.send(&harness.queue, body.clone()))).await {
        sent.unwrap();
    }
    assert_eq!(harness.left().await, 25);
    for (body, word) in [
        (Bytes::from_static(b""), "empty"),
        (Bytes::from_static(b"\xff"), "UTF-8"),
        (Bytes::from_static(b"a\0"), "control characters"),
        (Bytes::from("x".repeat((1 << 20) + 1)), "not take a message that long"),
    ] {
        let (bad, good) = tokio::join!(producer.send(&harness.queue, body), producer.send(&harness.queue, run("r", 0)));
        let said = rig::said(&bad.unwrap_err());
        assert!(said.contains(word), "{said}");
        good.unwrap();
    }
    assert!(producer.send("no-such", run("r", 0)).await.unwrap_err().to_string().contains("SQS_QUEUE_URL"));
}

/// A stranger that answers 200 to anything has neither deleted nor taken a message.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_sqs_says_that_it_is_done() {
    let (harness, ledger) = (Standard::start(Whose::Shared).await, Ledger::new());
    let nods = AtomicUsize::new(0);
    let proxy = Proxy::start(harness.endpoint(), move |request| match request.action.as_str() {
        "DeleteMessageBatch" if nods.fetch_add(1, Relaxed) < 3 => Answer::Nod,
        "SendMessageBatch" => Answer::Nod,
        _ => Answer::Pass,
    })
    .await;
    let mut settings = harness.settings();
    settings.endpoint = Some(proxy.url());
    let producer = SqsProducer::start(&settings).unwrap();
    let said = rig::said(&producer.send(&harness.queue, run("r", 0)).await.unwrap_err());
    assert!(said.contains("is not SQS"), "{said}");
    let names = ids("r", 10);
    harness.send(runs(&names)).await;
    let worker = Worker::on(behind(&harness, &proxy), &ledger, &limits());
    settled(&harness, &ledger, &names).await;
    assert_eq!(ledger.most_deliveries(), 1);
    worker.stop().await;
}

/// In the order of sending, though a request is tried twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishing_to_a_queue_in_order_keeps_it_and_doubles_nothing() {
    let harness = Fifo::start(Whose::Shared).await;
    let count = AtomicUsize::new(0);
    let proxy = Proxy::start(harness.endpoint(), move |request| match request.action.as_str() {
        "SendMessageBatch" if count.fetch_add(1, Relaxed) == 1 => Answer::FailFirst("InternalError", false),
        _ => Answer::Pass,
    })
    .await;
    let mut settings = harness.settings();
    settings.endpoint = Some(proxy.url());
    let producer = SqsProducer::start(&settings).unwrap();
    // The same body is the same group.
    let texts = vec![Bytes::from("same"); 30];
    for sent in join_all(texts.iter().map(|body| producer.send(&harness.queue, body.clone()))).await {
        sent.unwrap();
    }
    assert_eq!(harness.left().await, 30, "equal bodies are messages of their own");
    let groups: Vec<Value> =
        proxy.seen("SendMessageBatch").iter().map(|body| body["Entries"][0]["MessageGroupId"].clone()).collect();
    assert!(groups.iter().all(|group| *group == groups[0]), "{groups:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_cannot_work_are_refused_at_the_start() {
    let harness = Standard::start(Whose::Shared).await;
    for (urls, word) in
        [(vec![], "SQS_QUEUE_URL is not set"), (vec!["xray-decisions".to_owned()], "is no URL of a queue")]
    {
        let mut settings = harness.settings();
        settings.queue_urls = urls;
        let said = SqsQueue::start(&settings, &limits()).unwrap_err().to_string();
        assert!(said.contains(word), "{said}");
        assert!(SqsProducer::start(&settings).is_err());
    }
    let mut settings = harness.settings();
    settings.ca_file = Some("/nowhere.pem".into());
    let said = SqsQueue::start(&settings, &limits()).unwrap_err().to_string();
    assert!(said.contains("SQS_CA_FILE names /nowhere.pem"), "{said}");
}
