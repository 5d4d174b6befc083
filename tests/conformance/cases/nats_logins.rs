//! Each way to log in.

use xray_processor_worker::config::Nats;
use xray_processor_worker::queue::QueueBackend;
use xray_processor_worker::queue::nats::NatsQueue;

use super::taking::{error, receive};
use crate::nats::{ACK_WAIT, Current, NatsHarness};
use crate::rig::{limits, until};
use crate::support::servers::{Server, Which};

/// A user's NKey: not a secret of anybody's.
const SEED: &str = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
const PUBLIC: &str = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";

/// A consumer on this server, of a stream that it creates.
fn on(server: &Server, change: impl FnOnce(&mut Nats)) -> NatsQueue {
    let mut settings = xray_processor_worker::config::Config::default().nats;
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
