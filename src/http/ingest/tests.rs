//! What needs no worker. That what is answered with 200 is durable is tested end to end.

use super::*;
use crate::budget::{Budget, Room};
use crate::config::QueueType;
use crate::event::Kind;
use crate::http::{AppState, bind, serve};
use crate::metrics::Metrics;
use crate::pipeline::{Delivery, Message};
use crate::queue::QueueBackend;
use crate::status::Status;
use futures_util::stream;
use prometheus_client::registry::Registry;
use reqwest::{RequestBuilder, Response};
use serde_json::Value;
use std::convert::Infallible;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const NDJSON: &str = "application/x-ndjson";
const ROOM: Room = Room { messages: 100, bytes: 1 << 20, idle: true };
/// Long enough for a request to arrive, short enough to wait for.
const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(30);

struct Server {
    queue: MemoryQueue,
    health: Health,
    address: SocketAddr,
}

impl Server {
    async fn on(host: &str, queue: MemoryQueue, settings: Settings) -> Self {
        let listener = bind(&format!("{host}:0")).await.unwrap();
        let address = listener.local_addr().unwrap();
        let health = Health::default();
        let ingest = Some(Ingest::new(queue.clone(), settings));
        let (budget, mut registry) = (Budget::new(1, 1), Registry::default());
        let metrics = Metrics::register(&mut registry, QueueType::Memory, &[], &budget, &health);
        let status = Status::new("memory", metrics, budget, health.clone());
        let state =
            AppState { health: health.clone(), registry: Arc::new(registry), status, status_token: None, ingest };
        tokio::spawn(serve(listener, state, std::future::pending()));
        Server { queue, health, address: SocketAddr::from(([127, 0, 0, 1], address.port())) }
    }

    async fn with(messages: usize, timeout: Duration) -> Self {
        Server::on("127.0.0.1", MemoryQueue::new(messages, 1 << 20), settings(timeout)).await
    }

    fn post(&self, query: &str) -> RequestBuilder {
        reqwest::Client::new().post(format!("http://{}/ingest{query}", self.address))
    }

    /// The next messages in the queue, as a worker gets them; nobody acks them.
    async fn received(&self) -> Vec<Message> {
        let mut messages = Vec::new();
        while messages.is_empty() {
            for Delivery { message, receipt } in self.queue.receive(ROOM, LONG).await.unwrap() {
                messages.push(message);
                std::mem::forget(receipt); // dropped, it would be received again
            }
        }
        messages
    }
}

fn settings(timeout: Duration) -> Settings {
    Settings { token: None, max_event_bytes: 100, max_in_flight_bytes: 1 << 20, timeout }
}

async fn refused(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.headers().contains_key("retry-after"), [429, 503].contains(&status));
    let body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    (status, body["error"].as_str().unwrap().to_owned())
}

fn endless(first: String) -> reqwest::Body {
    let first = stream::once(async move { Ok::<_, Infallible>(first) });
    reqwest::Body::wrap_stream(first.chain(stream::pending()))
}

#[tokio::test]
async fn a_token_is_asked_for() {
    let settings = Settings { token: Some("s3cret".into()), ..settings(LONG) };
    let server = Server::on("0.0.0.0", MemoryQueue::new(10, 1 << 20), settings).await;
    let response = server.post("").body("{}").send().await.unwrap();
    assert_eq!(response.headers()["www-authenticate"], "Bearer");
    let (status, error) = refused(response).await;
    assert_eq!(status, 401);
    assert!(error.contains("INGEST_TOKEN") && !error.contains("s3cret"), "{error}");

    let none = server.post("").header("content-type", NDJSON).bearer_auth("s3cret").send().await.unwrap();
    assert_eq!((none.status().as_u16(), none.text().await.unwrap().as_str()), (200, r#"{"stored":0}"#));
}

#[tokio::test]
async fn off_loopback_it_is_closed_without_a_token() {
    let server = Server::on("0.0.0.0", MemoryQueue::new(10, 1 << 20), settings(LONG)).await;
    let (status, error) = refused(server.post("").body("{}").send().await.unwrap()).await;
    assert_eq!(status, 403);
    assert!(error.contains("INGEST_TOKEN"), "{error}");
    assert_eq!(reqwest::get(format!("http://{}/healthz", server.address)).await.unwrap().status(), 200);
}

#[tokio::test]
async fn other_methods_are_not_taken() {
    let server = Server::with(10, LONG).await;
    let response = reqwest::get(format!("http://{}/ingest", server.address)).await.unwrap();
    assert_eq!((response.status().as_u16(), &response.headers()["allow"]), (405, &"POST".parse().unwrap()));
}

#[tokio::test]
async fn a_body_is_a_message() {
    let server = Server::with(10, SHORT).await;
    let body = "{\n}\n".repeat(25);
    let (response, received) = tokio::join!(server.post("?a=b&type=runs").body(body.clone()).send(), server.received());
    assert_eq!(refused(response.unwrap()).await.0, 503, "nobody acks it");
    assert_eq!(received.len(), 1);
    let Message { body: stored, cut, hint, origin, deliveries, enqueued_at } = &received[0];
    assert_eq!((stored, cut, *hint, *deliveries), (&Bytes::from(body), &None, Some(Kind::Run), 1));
    assert_eq!(origin.to_string(), "ingest");
    assert!(enqueued_at.is_some());
}

#[tokio::test]
async fn an_empty_body_is_one_too_and_an_unknown_type_is_ignored() {
    let server = Server::with(10, SHORT).await;
    let (_, received) = tokio::join!(server.post("?type=CloudEvent").send(), server.received());
    assert_eq!((received[0].body.len(), received[0].hint), (0, None));
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_before_it_is_read() {
    let server = Server::with(10, LONG).await;
    let mut client = TcpStream::connect(server.address).await.unwrap();
    client.write_all(b"POST /ingest HTTP/1.1\r\nHost: x\r\nContent-Length: 101\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
}

#[tokio::test]
async fn a_body_without_a_length_is_refused_where_it_passes_the_limit() {
    let server = Server::with(10, LONG).await;
    let (status, error) = refused(server.post("").body(endless("x".repeat(101))).send().await.unwrap()).await;
    assert_eq!(status, 413);
    assert!(error.contains("MAX_EVENT_BYTES, 100 bytes"), "{error}");
}

#[tokio::test]
async fn each_line_is_a_message_as_soon_as_it_is_there() {
    let server = Server::with(10, SHORT).await;
    let lines = ["{\"a\":1}\r\n\n", &"x".repeat(101), "\n[2]\n{\"unfin"].concat();
    let post = server.post("").header("content-type", "Application/X-NDJSON; charset=utf-8");
    let post = post.body(endless(lines)).send();
    let received = async {
        let mut received = Vec::new();
        while received.len() < 3 {
            received.extend(server.received().await);
        }
        received
    };
    let (response, received) = tokio::join!(post, received);
    let (status, error) = refused(response.unwrap()).await;
    assert_eq!(status, 503, "the rest of the last line does not come");
    assert!(error.contains("INGEST_TIMEOUT_MS, 300 ms"), "{error}");
    let told: Vec<_> = received.iter().map(|message| (message.origin.to_string(), &message.body[..])).collect();
    let long = [b'x'; 100];
    assert_eq!(
        told,
        [("ingest:1".to_owned(), &b"{\"a\":1}"[..]), ("ingest:3".to_owned(), &long), ("ingest:4".to_owned(), b"[2]")]
    );
    let cuts: Vec<Option<u64>> = received.iter().map(|message| message.cut.map(|cut| cut.full_bytes)).collect();
    assert_eq!(cuts, [None, Some(101), None]);
}

#[tokio::test]
async fn a_full_queue_sends_away_but_lets_later_lines_wait() {
    let server = Server::with(1, SHORT).await;
    let waiting = server.post("").header("content-type", NDJSON).body("1\n2\n").send();
    let full = async {
        server.received().await;
        refused(server.post("").header("content-type", NDJSON).body("3\n").send().await.unwrap()).await
    };
    let (waiting, (status, error)) = tokio::join!(waiting, full);
    assert_eq!(status, 429);
    assert!(error.contains("MAX_IN_FLIGHT_MESSAGES"), "{error}");
    assert_eq!(refused(waiting.unwrap()).await.0, 503);
}

#[tokio::test]
async fn what_all_requests_have_read_is_bounded() {
    let settings = Settings { max_event_bytes: 1 << 20, ..settings(LONG) };
    let server = Server::on("127.0.0.1", MemoryQueue::new(1000, 1 << 30), settings).await;
    let mut slow = TcpStream::connect(server.address).await.unwrap();
    slow.write_all(b"POST /ingest HTTP/1.1\r\nHost: x\r\nContent-Length: 1048576\r\n\r\n{").await.unwrap();
    // The slow one has the share of its whole body from its head on, whenever that is read.
    let half = "x".repeat(1 << 19);
    let status = loop {
        let post = server.post("").timeout(SHORT).body(half.clone()).send();
        match post.await {
            Ok(response) => break refused(response).await.0,
            Err(error) => assert!(error.is_timeout(), "{error}"), // it was first: it is in the queue
        }
    };
    assert_eq!(status, 429);
}

#[tokio::test]
async fn a_stopping_worker_takes_nothing() {
    let server = Server::with(10, LONG).await;
    let (waiting, _) = tokio::join!(server.post("").body("{}").send(), async {
        server.received().await;
        server.queue.close().await.unwrap();
    });
    assert_eq!(refused(waiting.unwrap()).await.0, 503, "it was in the queue and may not be stored");
    assert_eq!(refused(server.post("").body("{}").send().await.unwrap()).await.0, 503, "the queue is closed");

    let server = Server::with(10, LONG).await;
    server.health.drain();
    let (status, error) = refused(server.post("").body("{}").send().await.unwrap()).await;
    assert_eq!(status, 503);
    assert!(error.contains("stopping"), "{error}");
}
