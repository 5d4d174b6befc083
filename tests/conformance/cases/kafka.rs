//! What only Kafka has: topics that come and go, assignments that move, records without a value, members that must poll.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use rdkafka::producer::{FutureProducer, FutureRecord};
use xray_processor_worker::budget::Budget;
use xray_processor_worker::config::{Config, Kafka, Limits};
use xray_processor_worker::event::Kind;
use xray_processor_worker::pipeline::Delivery;
use xray_processor_worker::queue::QueueBackend;
use xray_processor_worker::queue::kafka::{KafkaQueue, Receipt};

use crate::harness::{Harness, Whose};
use crate::kafka::{Cooperative, KafkaHarness, PARTITIONS, TIMEOUT};
use crate::rig::{Worker, ids, limits, run, runs, settled, until};
use crate::support::ledger::{Gate, Ledger};

type Kafkas = KafkaHarness<Cooperative>;

const WAIT: Duration = Duration::from_millis(200);
const LARGE: usize = 32 << 20;

impl Kafkas {
    fn member(&self, properties: &[(&str, &str)]) -> KafkaQueue {
        let mut settings = self.settings.clone();
        if properties.contains(&("group.protocol", "consumer")) {
            settings.properties.clear();
        }
        settings.properties.extend(properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())));
        KafkaQueue::start(&settings, &limits()).unwrap()
    }
}

async fn receive(queue: &KafkaQueue) -> Vec<Delivery<Receipt>> {
    queue.receive(Budget::new(1000, 64 << 20).room().await, WAIT).await.unwrap_or_default()
}

/// They are named, and consumed soon after they come into being.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_that_do_not_exist_yet() {
    for properties in [&[][..], &[("group.protocol", "consumer")]] {
        let mut harness = Kafkas::start(Whose::Shared).await;
        harness.settings.topics = vec![format!("{}-later", harness.topic())];
        let queue = harness.member(properties);
        let room = Budget::new(100, 1 << 20).room().await;
        let mut said = String::new();
        until(&format!("it is said that none is there: {properties:?}"), async || {
            said = queue.receive(room, WAIT).await.err().map(|error| error.to_string()).unwrap_or_default();
            said.contains(harness.topic()) && said.contains("KAFKA_TOPICS")
        })
        .await;
        harness.create(harness.topic(), LARGE).await;
        harness.send(runs(&ids("r", 10))).await;
        let began = Instant::now();
        let mut got = Vec::new();
        until("it is found", async || {
            got.extend(receive(&queue).await);
            got.len() == 10
        })
        .await;
        assert!(began.elapsed() < Duration::from_secs(15), "{properties:?}: {:?}", began.elapsed());
        until("all is well", async || queue.receive(room, WAIT).await.is_ok()).await;
        queue.close().await.unwrap();
    }
}

/// The others are consumed, and that is no trouble. A spare worker, to whom no partition falls, says the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_topic_of_several_is_missing() {
    let mut harness = Kafkas::start(Whose::Shared).await;
    harness.send(runs(&ids("r", 5))).await;
    harness.settings.topics.push(format!("{}-never", harness.topic()));
    let queue = harness.consumer(&limits());
    let mut got = Vec::new();
    until("the other is consumed", async || {
        got.extend(receive(&queue).await);
        got.len() == 5
    })
    .await;
    let room = Budget::new(100, 1 << 20).room().await;
    for _ in 0..40 {
        queue.receive(room, WAIT).await.unwrap();
    }
    queue.close().await.unwrap();
}

/// A worker that saw no topic, and then gets no partition of it because another has them all, is well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spare_worker_is_well_once_the_topic_is_there() {
    let mut harness = Kafkas::start(Whose::Shared).await;
    harness.settings.topics = vec![format!("{}-later", harness.topic())];
    let members: Vec<_> = (0..PARTITIONS + 1).map(|_| harness.member(&[])).collect();
    let room = Budget::new(100, 1 << 20).room().await;
    for queue in &members {
        until("none is there", async || queue.receive(room, WAIT).await.is_err()).await;
    }
    harness.create(harness.topic(), LARGE).await;
    for queue in &members {
        until("all is well", async || {
            let mut well = true;
            for _ in 0..5 {
                well &= queue.receive(room, WAIT).await.is_ok();
            }
            well
        })
        .await;
    }
    for queue in members {
        queue.close().await.unwrap();
    }
}

/// What was taken before a partition moved is given out from its beginning to the next owner, whatever is said later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_goes_to_the_next_owner() {
    let harness = Kafkas::start(Whose::Shared).await;
    harness.send(runs(&ids("r", 100))).await;
    let first = harness.consumer(&limits());
    let mut held = Vec::new();
    until("the first has all", async || {
        held.extend(receive(&first).await);
        held.len() == 100
    })
    .await;
    let second = harness.consumer(&limits());
    let mut moved = Vec::new();
    until("half of the partitions move", async || {
        moved.extend(receive(&second).await);
        moved.len() == 50
    })
    .await;
    drop(held);
    first.close().await.unwrap();
    until("the others move, from their beginning", async || {
        moved.extend(receive(&second).await);
        moved.len() >= 100
    })
    .await;
    let bodies: BTreeSet<_> = moved.iter().map(|delivery| delivery.message.body.clone()).collect();
    assert_eq!((bodies.len(), moved.len(), harness.left().await), (100, 100, 100));
    second.close().await.unwrap();
}

/// Others join and leave while records are fetched without pause: nothing of what stays ours is passed over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_come_and_go_while_records_are_fetched() {
    let (harness, ledger, ids) = (Kafkas::start(Whose::Shared).await, Ledger::new(), ids("r", 20_000));
    let worker = Worker::start(&harness, &ledger);
    let sending = async {
        for ids in ids.chunks(500) {
            harness.send(runs(ids)).await;
        }
    };
    let others = async {
        for _ in 0..4 {
            let other = Worker::start(&harness, &ledger);
            tokio::time::sleep(Duration::from_millis(1500)).await;
            other.stop().await;
        }
    };
    tokio::join!(sending, others);
    settled(&harness, &ledger, &ids).await;
    worker.stop().await;
}

/// Whoever is told to stop while the group comes together has left it all the same: nobody waits for the session to end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_leaves_in_the_middle_of_a_rebalance() {
    let harness = Kafkas::start(Whose::Shared).await;
    let first = harness.member(&[("heartbeat.interval.ms", "2000")]);
    harness.send(runs(&ids("r", 50))).await;
    let mut held = Vec::new();
    until("the first has all", async || {
        held.extend(receive(&first).await);
        held.len() == 50
    })
    .await;
    for millis in [400, 1500, 3000, 4000] {
        let second = harness.member(&[("heartbeat.interval.ms", "2000")]);
        receive(&second).await;
        tokio::time::sleep(Duration::from_millis(millis)).await;
        second.close().await.unwrap_or_else(|error| panic!("after {millis} ms: {error}"));
    }
    first.close().await.unwrap();
}

/// The inbox is full for three times as long as a member may go without polling, as short as people may set that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_worker_stays_a_member() {
    for interval in ["6000", "3000"] {
        let mut harness = Kafkas::start(Whose::Shared).await;
        for name in ["max.poll.interval.ms", "session.timeout.ms"] {
            harness.settings.properties.insert(name.into(), interval.into());
        }
        let (ledger, ids) = (Ledger::new(), ids("r", 3000));
        ledger.shut(Gate::Objects);
        let worker = Worker::within(&harness, &ledger, &Limits { max_in_flight_messages: 20, ..limits() });
        harness.send(runs(&ids)).await;
        ledger.reached().await;
        tokio::time::sleep(Kafkas::LEASE * 3).await;
        ledger.open();
        settled(&harness, &ledger, &ids).await;
        assert_eq!(ledger.most_deliveries(), 1, "with {interval} ms");
        worker.stop().await;
    }
}

/// Many times what is taken at once, and what may wait: between two takes no record is lost, whether there is room or not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_is_taken_at_once() {
    for limits in [
        limits(),
        Limits { max_in_flight_messages: 70, ..limits() },
        Limits { max_in_flight_bytes: 50_000, ..limits() },
    ] {
        let (harness, ledger, ids) = (Kafkas::start(Whose::Shared).await, Ledger::new(), ids("r", 7000));
        harness.send(runs(&ids)).await;
        let worker = Worker::within(&harness, &ledger, &limits);
        settled(&harness, &ledger, &ids).await;
        assert_eq!(ledger.most_deliveries(), 1);
        worker.stop().await;
    }
}

/// Far beyond what is fetched at once, and what librdkafka holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_larger_than_everything() {
    let (mut harness, ledger) = (Kafkas::start(Whose::Shared).await, Ledger::new());
    harness.settings.topics = vec![format!("{}-large", harness.topic())];
    harness.create(harness.topic(), LARGE).await;
    let ids = ids("r", 3);
    let worker = Worker::start(&harness, &ledger);
    harness.send(ids.iter().map(|id| run(id, LARGE - 1000)).collect()).await;
    harness.send(vec![run("small", 0)]).await;
    settled(&harness, &ledger, &[&ids[..], &["small".into()]].concat()).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_record_says() {
    let mut harness = Kafkas::start(Whose::Shared).await;
    let (plain, of_runs) = (harness.topic().to_owned(), format!("{}.runs", harness.topic()));
    harness.create(&of_runs, LARGE).await;
    let producer: FutureProducer = harness.client().create().unwrap();
    for (topic, body, header) in [
        (of_runs.as_str(), Some("a"), None),
        (of_runs.as_str(), Some("b"), Some("step")),
        (plain.as_str(), Some("c"), Some("decision")),
        (plain.as_str(), None, None),
    ] {
        let mut headers = rdkafka::message::OwnedHeaders::new()
            .insert(rdkafka::message::Header { key: "not text", value: Some(&b"\xFF\xFE"[..]) });
        if let Some(value) = header {
            headers = headers.insert(rdkafka::message::Header { key: "type", value: Some(value.as_bytes()) });
        }
        let mut record = FutureRecord::to(topic).key("key").partition(1).headers(headers);
        record.payload = body;
        producer.send(record, TIMEOUT).await.unwrap();
    }
    harness.settings.topics.push(of_runs.clone());
    let queue = harness.consumer(&limits());
    let mut got = Vec::new();
    until("all are there", async || {
        got.extend(receive(&queue).await);
        got.len() == 4
    })
    .await;
    let seen: BTreeSet<_> = got
        .iter()
        .map(|delivery| (delivery.message.origin.to_string(), delivery.message.hint, delivery.message.body.to_vec()))
        .collect();
    let expected = [
        (format!("{of_runs}/1:0"), Some(Kind::Run), b"a".to_vec()),
        (format!("{of_runs}/1:1"), Some(Kind::Step), b"b".to_vec()),
        (format!("{plain}/1:0"), Some(Kind::Decision), b"c".to_vec()),
        (format!("{plain}/1:1"), None, Vec::new()),
    ];
    assert_eq!(seen, expected.into_iter().collect());
    for delivery in &got {
        let age = chrono::Utc::now() - delivery.message.enqueued_at.unwrap();
        assert!(age.num_seconds().abs() < 60 && delivery.message.deliveries == 1);
    }
    queue.close().await.unwrap();
}

/// A broker that answers nothing does not hold up the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_never_hangs() {
    let harness = Kafkas::start(Whose::Own).await;
    harness.send(runs(&ids("r", 5))).await;
    let queue = harness.consumer(&limits());
    let mut held = Vec::new();
    until("it consumes", async || {
        held.extend(receive(&queue).await);
        !held.is_empty()
    })
    .await;
    harness.server.server().freeze();
    let began = Instant::now();
    let closed = queue.close().await;
    let took = began.elapsed();
    harness.server.server().go_on();
    assert!(took < Duration::from_millis(9800), "{took:?}");
    assert!(closed.err().is_none_or(|error| error.to_string().contains("did not hear")));
}

/// A worker that ends without a word has left its group as soon as its queue is dropped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_queue_leaves_nothing_behind() {
    let harness = Kafkas::start(Whose::Shared).await;
    harness.send(runs(&ids("r", 5))).await;
    let queue = harness.consumer(&limits());
    let mut held = Vec::new();
    until("it consumes", async || {
        held.extend(receive(&queue).await);
        held.len() == 5
    })
    .await;
    let threads = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        tasks
            .filter(|task| {
                let comm = task.as_ref().unwrap().path().join("comm");
                std::fs::read_to_string(comm).is_ok_and(|comm| comm.trim() == "kafka")
            })
            .count()
    };
    let before = threads();
    drop(queue);
    until("its thread ends", async || threads() < before).await;
    drop(held);
}

/// Files that can be read, and are of no use: said at the start, by the name of the setting.
#[test]
fn files_that_cannot_be_used() {
    let dir = tempfile::tempdir().unwrap();
    let openssl = |words: &str| {
        let made = Command::new("openssl").args(words.split(' ')).current_dir(dir.path()).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    };
    for name in ["a", "b"] {
        openssl(&format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key -out {name}.pem -subj /CN={name}"
        ));
    }
    openssl("pkcs8 -topk8 -in a.key -out locked.key -passout pass:geheim");
    std::fs::write(dir.path().join("nonsense"), "nonsense").unwrap();
    let file = |name: &str| -> Option<PathBuf> { Some(dir.path().join(name)) };
    let kafka = || Config::default().kafka;
    let ours = |cert, key| Kafka { ssl_cert_file: file(cert), ssl_key_file: file(key), ..kafka() };
    for (what, settings, named) in [
        ("a CA that is none", Kafka { ssl_ca_file: file("nonsense"), ..kafka() }, "KAFKA_SSL_CA_FILE"),
        ("a certificate that is none", ours("nonsense", "a.key"), "KAFKA_SSL_CERT_FILE"),
        ("a key that is none", ours("a.pem", "nonsense"), "KAFKA_SSL_KEY_FILE"),
        ("the key of another", ours("a.pem", "b.key"), "KAFKA_SSL_KEY_FILE"),
        (
            "a wrong password of the key",
            Kafka { ssl_key_password: Some("not-geheim".into()), ..ours("a.pem", "locked.key") },
            "KAFKA_SSL_KEY_PASSWORD",
        ),
    ] {
        let said = match KafkaQueue::start(&settings, &limits()) {
            Ok(_) => panic!("{what}: it starts"),
            Err(error) => {
                format!("{error}: {}", std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default())
            }
        };
        assert!(said.contains(named) && !said.contains("geheim"), "{what}: {said}");
    }
    let right = Kafka { ssl_key_password: Some("geheim".into()), ..ours("a.pem", "locked.key") };
    KafkaQueue::start(&right, &limits()).unwrap();
}
