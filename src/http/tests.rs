use super::*;
use crate::budget::Budget;
use crate::config::QueueType;
use crate::health::SILENCE_LIMIT;
use crate::metrics::Metrics;
use reqwest::{Method, Response};
use serde_json::Value;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

pub(super) fn state() -> AppState {
    let (mut registry, health) = (Registry::default(), Health::default());
    let budget = Budget::new(10, 1 << 20);
    let metrics = Metrics::register(&mut registry, QueueType::Memory, &["objects"], &budget, &health);
    let status = Status::new("memory", metrics, budget, health.clone());
    AppState { health, registry: Arc::new(registry), status, status_token: None, ingest: None }
}

pub(super) async fn started(state: &AppState) -> SocketAddr {
    let listener = bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, state.clone(), std::future::pending()));
    address
}

async fn request(method: Method, address: SocketAddr, path: &str) -> Response {
    reqwest::Client::new().request(method, format!("http://{address}{path}")).send().await.unwrap()
}

pub(super) async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let response = request(Method::GET, address, path).await;
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test]
async fn healthz_is_about_loops() {
    let state = state();
    let address = started(&state).await;
    state.health.dependency("objects").down("gone");
    let pulse = state.health.pulse("receive");
    assert_eq!(get(address, "/healthz").await, (200, "ok\n".to_owned()));

    tokio::time::pause();
    tokio::time::advance(SILENCE_LIMIT + Duration::from_secs(5)).await;
    tokio::time::resume();
    assert_eq!(get(address, "/healthz").await, (503, "stuck: receive silent for 125 s\n".to_owned()));
    pulse.beat();
    assert_eq!(get(address, "/healthz").await.0, 200);
}

#[tokio::test]
async fn readyz_is_about_dependencies() {
    let state = state();
    let address = started(&state).await;
    let objects = state.health.dependency("objects");
    let readyz = async || {
        let (status, body) = get(address, "/readyz").await;
        (status, serde_json::from_str::<Value>(&body).unwrap())
    };
    let (status, body) = readyz().await;
    assert_eq!(
        (status, &body["ready"], &body["dependencies"]["objects"]["state"]),
        (503, &false.into(), &"unknown".into())
    );
    objects.up();
    assert_eq!(readyz().await.0, 200);
    objects.down("the bucket \"xray-raw\" is not there");
    let (status, body) = readyz().await;
    let objects = &body["dependencies"]["objects"];
    assert_eq!((status, &objects["state"]), (503, &"down".into()));
    assert_eq!(objects["lastError"], "the bucket \"xray-raw\" is not there");
    assert!(objects["since"].as_str().unwrap().ends_with('Z'), "{objects}");
    state.health.dependency("objects").up();
    let (status, body) = readyz().await;
    let objects = &body["dependencies"]["objects"];
    assert_eq!((status, &objects["lastError"]), (200, &Value::Null), "it is over");
    assert_eq!(objects["lastOutage"]["error"], "the bucket \"xray-raw\" is not there");
    state.health.drain();
    let (status, body) = readyz().await;
    assert_eq!((status, &body["draining"]), (503, &true.into()));
}

#[tokio::test]
async fn strangers_are_not_told_why_it_is_unready() {
    let state = AppState { status_token: Some("s3cret".into()), ..state() };
    let address = started(&state).await;
    let objects = state.health.dependency("objects");
    objects.down("no such bucket");
    objects.up();
    objects.down("the user worker is not let in");
    let ask = async |token: &str| -> Value {
        let request = reqwest::Client::new().get(format!("http://{address}/readyz")).bearer_auth(token);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 503, "the status is for everybody");
        let mut body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        body["dependencies"]["objects"].take()
    };
    let (known, stranger) = (ask("s3cret").await, ask("guess").await);
    assert_eq!(known["lastError"], "the user worker is not let in");
    assert_eq!(known["lastOutage"]["error"], "no such bucket");
    assert_eq!((&stranger["state"], &stranger["since"]), (&"down".into(), &known["since"]));
    assert_eq!((&stranger["lastError"], &stranger["lastOutage"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn metrics_are_prometheus_text() {
    let address = started(&state()).await;
    let response = request(Method::GET, address, "/metrics").await;
    assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let text = response.text().await.unwrap();
    assert!(text.contains("\n# TYPE xray_events_stored_total counter\nxray_events_stored_total 0\n"), "{text}");
}

#[tokio::test]
async fn what_is_not_there_is_said_in_a_line() {
    let address = started(&state()).await;
    assert_eq!(get(address, "/nope").await, (404, "there is nothing at /nope\n".to_owned()));
    let response = request(Method::POST, address, "/ingest").await;
    assert_eq!(response.status(), 404, "without a memory queue there is no /ingest");
    let response = request(Method::DELETE, address, "/metrics").await;
    assert_eq!((response.status().as_u16(), &response.headers()["allow"]), (405, &"GET,HEAD".parse().unwrap()));
    assert_eq!(response.text().await.unwrap(), "/metrics does not take DELETE\n");
    assert_eq!(request(Method::HEAD, address, "/healthz").await.status(), 200);
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let taken = bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let _listener = TcpListener::bind(&taken).await.unwrap();
    let error = bind(&taken).await.unwrap_err().to_string();
    assert_eq!(
        error,
        format!("cannot listen on {taken}: the port is in use; stop what uses it, or set HTTP_ADDR to another address")
    );
    let error = bind("256.0.0.1:80").await.unwrap_err().to_string();
    assert!(error.starts_with("cannot listen on 256.0.0.1:80: ") && error.contains("HTTP_ADDR"), "{error}");
}

#[tokio::test]
async fn shutdown_lets_idle_connections_go() {
    let listener = bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(serve(listener, state(), async { drop(stopped.await) }));
    client.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = [0; 15];
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(5), server).await.unwrap().unwrap().unwrap();
}
