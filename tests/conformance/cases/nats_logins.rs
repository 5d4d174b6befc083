//! Each way to log in.

use xray_processor_worker::config::{Config, Nats};
use xray_processor_worker::queue::nats::{NatsProducer, NatsQueue};
use xray_processor_worker::queue::{Producer, QueueBackend};

use super::taking::{error, messages, receive};
use crate::nats::{ACK_WAIT, Current, NatsHarness};
use crate::rig::{limits, run, until};
use crate::support::servers::{Server, Which};

/// A user's NKey: not a secret of anybody's.
const SEED: &str = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
const PUBLIC: &str = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";

/// A consumer on this server, of a stream that it creates.
fn on(server: &Server, change: impl FnOnce(&mut Nats)) -> NatsQueue {
    let mut settings = Config::default().nats;
    settings.url = server.env("NATS_URL").into();
    settings.create = "stream";
    change(&mut settings);
    NatsQueue::start(&settings, &limits()).unwrap()
}

/// It is let in, and creates what it needs.
async fn gets_in(queue: NatsQueue) {
    until("it knows how much waits", async || {
        assert_eq!(receive(&queue).await.len(), 0);
        queue.lag() == Some(0)
    })
    .await;
    queue.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_user_and_password() {
    let server = Server::start_with("nats", &["--user", "worker:se/cret:@"]);
    let user = |password: &'static str| {
        move |it: &mut Nats| {
            it.user = Some("worker".into());
            it.password = Some(password.into());
        }
    };
    gets_in(on(&server, user("se/cret:@"))).await;
    let in_url = server.env("NATS_URL").replace("//", "//worker:se%2Fcret%3A%40@");
    gets_in(on(&server, |it| it.url = in_url.into())).await;
    let wrong = on(&server, user("wrong"));
    let said = error(&wrong, "it is refused").await;
    assert!(said.contains("refuses the login of worker") && said.contains("NATS_PASSWORD"), "{said}");
    wrong.close().await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_token() {
    let server = Server::start_with("nats", &["--token", "t0ken"]);
    gets_in(on(&server, |it| it.token = Some("t0ken".into()))).await;
    let in_url = server.env("NATS_URL").replace("//", "//t0ken@");
    gets_in(on(&server, |it| it.url = in_url.into())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_nkey() {
    let server = Server::start_with("nats", &["--nkey", PUBLIC]);
    gets_in(on(&server, |it| it.nkey = Some(format!("{SEED}\n").into()))).await;
    let said = error(&on(&server, |_| {}), "it is refused").await;
    assert!(said.contains("without user") && said.contains("NATS_NKEY"), "{said}");
}

/// The file is read anew for each connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_credentials_that_come_later() {
    let config = include_str!("../nats/fixtures/operator.conf");
    let server = Server::start_with("nats", &["--extra", config]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("worker.creds");
    let good = include_str!("../nats/fixtures/worker.creds");
    // Of another key, as after the account was made anew.
    std::fs::write(&file, good.replace(good_seed(good), SEED)).unwrap();
    let queue = on(&server, |it| it.creds_file = Some(file.clone()));
    let said = error(&queue, "it is refused").await;
    assert!(said.contains("refuses our credentials") && said.contains("NATS_CREDS_FILE"), "{said}");
    std::fs::write(&file, good).unwrap();
    gets_in(queue).await;
}

fn good_seed(creds: &str) -> &str {
    creds.lines().find(|line| line.starts_with("SU")).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_with_a_certificate_of_ours_and_the_first_server_dead() {
    let server = Server::start_with("nats", &["--tls", "--verify"]);
    let ca = server.running().ca.clone().unwrap();
    let tls = ca.parent().unwrap().to_owned();
    let url = server.env("NATS_URL").replace("nats://127.0.0.1", "tls://localhost");

    let none = on(&server, |it| {
        it.url = url.clone().into();
        it.ca_file = Some(ca.clone());
    });
    let said = error(&none, "it wants a certificate of ours").await;
    assert!(said.contains("NATS_CERT_FILE"), "{said}");

    let unknown = on(&server, |it| it.url = url.clone().into());
    let said = error(&unknown, "we do not trust it").await;
    assert!(said.contains("a CA that we do not trust") && said.contains("NATS_CA_FILE"), "{said}");

    let ours = |it: &mut Nats| {
        it.url = format!("tls://localhost:1, {url}").into();
        it.ca_file = Some(ca.clone());
        it.cert_file = Some(tls.join("server.pem"));
        it.key_file = Some(tls.join("server.key"));
    };
    gets_in(on(&server, ours)).await;
}

/// With a CA of one's own a server that does not speak TLS is not spoken to, whatever the URL says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ca_of_ours_means_tls() {
    let harness = NatsHarness::<Current>::on(Which::Own(Box::new(Server::start("nats"))), ACK_WAIT).await;
    let tls = Server::start_with("nats", &["--tls"]);
    let ca = tls.running().ca.clone().unwrap();
    let queue = harness.with(|it| it.ca_file = Some(ca));
    let said = error(&queue, "no TLS there").await;
    assert!(said.contains("TLS with NATS") && said.contains("NATS_URL"), "{said}");
}

/// What docs/brokers.md says that the worker must be allowed is enough, advisories included.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rights_of_the_documentation_are_enough() {
    let (publish, subscribe) = (
        [
            "$JS.API.STREAM.INFO.XRAY",
            "$JS.API.CONSUMER.INFO.XRAY.*",
            "$JS.API.CONSUMER.MSG.NEXT.XRAY.*",
            "$JS.ACK.XRAY.>",
            "$JS.API.CONSUMER.CREATE.XRAY.>",
            "$JS.API.STREAM.CREATE.XRAY",
            "xray.>",
        ],
        ["_INBOX.>", "$JS.EVENT.ADVISORY.*.DELETED.XRAY", "$JS.EVENT.ADVISORY.*.DELETED.XRAY.*"],
    );
    let documentation = include_str!("../../../docs/brokers.md");
    assert!(publish.iter().chain(&subscribe).all(|right| documentation.contains(&format!("`{right}`"))));
    let config = format!(
        r#"no_auth_user: admin
        authorization {{ users: [
            {{ user: admin, password: admin }},
            {{ user: worker, password: s3cret, permissions: {{ publish: {publish:?}, subscribe: {subscribe:?} }} }}
        ] }}"#
    );
    for name in ["nats", "nats-2.9"] {
        let server = Server::start_with(name, &["--extra", &config]);
        let change = |it: &mut Nats| {
            it.user = Some("worker".into());
            it.password = Some("s3cret".into());
        };
        let queue = on(&server, change);
        until("the stream is there", async || {
            assert_eq!(receive(&queue).await.len(), 0);
            queue.lag() == Some(0)
        })
        .await;
        let mut settings = Config::default().nats;
        settings.url = server.env("NATS_URL").into();
        change(&mut settings);
        NatsProducer::start(&settings).unwrap().send("xray.runs", run("r", 0)).await.unwrap();
        let held = messages(&queue, 1).await;
        let admin = async_nats::connect(server.env("NATS_URL")).await.unwrap();
        async_nats::jetstream::new(admin).delete_stream("XRAY").await.unwrap();
        until("it is made anew", async || {
            let came = receive(&queue).await;
            assert!(came.is_empty(), "{came:?}");
            queue.lag() == Some(0)
        })
        .await;
        drop(held);
        queue.close().await.unwrap();
        let log = std::fs::read_to_string(&server.running().log).unwrap();
        assert!(!log.contains("Violation"), "{log}");
    }
}
