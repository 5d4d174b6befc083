//! Kafka's ways to log in, and what is said of settings and producers that are wrong.

use bytes::Bytes;
use xray_processor_worker::budget::Budget;
use xray_processor_worker::config::{Config, Kafka};
use xray_processor_worker::queue::kafka::{KafkaProducer, KafkaQueue};
use xray_processor_worker::queue::{Producer, QueueBackend};

use crate::harness::{Harness, Whose};
use crate::kafka::{Cooperative, KafkaHarness, TIMEOUT};
use crate::rig::{limits, run, said, until};

/// Each listener with each way to log in that it knows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_way_to_log_in() {
    let harness = KafkaHarness::<Cooperative>::start(Whose::Shared).await;
    let ca = harness.server.server().running().ca.clone().unwrap();
    // The certificate of the test CA is good for clients as well.
    let [cert, key] = ["server.pem", "server.key"].map(|name| Some(ca.with_file_name(name)));
    let login = |listener, mechanism, user: &str, password: &str| Kafka {
        sasl_mechanism: mechanism,
        sasl_username: Some(user.into()),
        sasl_password: Some(password.into()),
        ..harness.on(listener)
    };
    let plaintext = |kafka| Kafka { security_protocol: Some("sasl_plaintext"), ..kafka };
    let over_tls = |kafka| Kafka { ssl_ca_file: Some(ca.clone()), ..kafka };
    for (n, settings) in [
        plaintext(login("sasl_plaintext", "PLAIN", "plain", "plain-secret")),
        plaintext(login("sasl_plaintext", "SCRAM-SHA-256", "worker", "secret")),
        plaintext(login("sasl_plaintext", "SCRAM-SHA-512", "worker", "secret")),
        over_tls(login("sasl_ssl", "SCRAM-SHA-512", "worker", "secret")),
        over_tls(login("sasl_ssl", "PLAIN", "plain", "plain-secret")),
        over_tls(Kafka { ssl_cert_file: cert, ssl_key_file: key, ..harness.on("ssl") }),
    ]
    .into_iter()
    .enumerate()
    {
        // In a group of its own each finds all that was ever sent.
        let settings = Kafka { group_id: format!("{}-{n}", settings.group_id), ..settings };
        let producer = KafkaProducer::start(&settings).unwrap();
        producer.send(&settings.topics[0], run(&format!("r-{n}"), 0)).await.unwrap();
        let queue = KafkaQueue::start(&settings, &limits()).unwrap();
        // Held: what is dropped would come again.
        let mut found = Vec::new();
        until("what was sent is received", async || {
            let received = queue.receive(Budget::new(100, 1 << 20).room().await, TIMEOUT).await;
            found.extend(received.unwrap_or_else(|error| panic!("login {n}: {error}")));
            found.len() == n + 1
        })
        .await;
        queue.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_producer_says_what_is_wrong() {
    let harness = KafkaHarness::<Cooperative>::start(Whose::Shared).await;
    let soon = [("message.timeout.ms".to_owned(), "3000".into())].into();
    let settings = Kafka { properties: soon, ..harness.settings.clone() };
    let refused = async |settings: &Kafka, to: &str, body: Bytes| {
        KafkaProducer::start(settings).unwrap().send(to, body).await.unwrap_err().to_string()
    };
    let error = refused(&harness.settings, "no-such-topic", Bytes::from("x")).await;
    assert!(error.contains("no topic no-such-topic") && error.contains("KAFKA_TOPICS"), "{error}");
    let error = refused(&settings, &settings.topics[0], Bytes::from(vec![b'x'; 2 << 20])).await;
    assert!(error.contains("does not take a message"), "{error}");
    let nowhere = Kafka { brokers: vec!["127.0.0.1:1".into()], ..settings };
    let error = refused(&nowhere, "t", Bytes::from("x")).await;
    assert!(error.contains("127.0.0.1:1") && error.contains("KAFKA_BROKERS"), "{error}");
}

#[test]
fn settings_that_librdkafka_refuses() {
    for property in ["no.such.property", "session.timeout.ms", "group.protocol"] {
        let properties = [(property.to_owned(), "geheim".into())].into();
        let settings = Kafka { properties, ..Config::default().kafka };
        let error = KafkaQueue::start(&settings, &limits()).unwrap_err();
        let said = said(&error);
        assert!(said.contains("KAFKA_PROPERTIES") && said.contains(property) && !said.contains("geheim"), "{said}");
    }
}
