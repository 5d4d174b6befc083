//! A proxy in front of the server that answers by itself what no server does on request.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;

/// What becomes of a request.
#[derive(Debug, Clone, Copy)]
pub enum Answer {
    /// What the server says.
    Pass,
    /// This status and code.
    Refuse(u16, &'static str),
    /// Of a batch, what the server says to all but the first, which fails with this code, as the sender's fault or not.
    FailFirst(&'static str, bool),
    /// Nothing, for ever.
    Hang,
    /// As a stranger does that takes everything for good.
    Nod,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    pub action: String,
    pub body: Value,
}

pub struct Proxy {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Request>>>,
    _task: AbortOnDropHandle<()>,
}

struct Inner {
    target: String,
    answer: Box<dyn Fn(&Request) -> Answer + Send + Sync>,
    seen: Arc<Mutex<Vec<Request>>>,
    http: reqwest::Client,
}

impl Proxy {
    pub async fn start(target: String, answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Proxy {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Mutex<Vec<Request>>>::default();
        let inner = Inner { target, answer: Box::new(answer), seen: seen.clone(), http: reqwest::Client::new() };
        let app = Router::new().fallback(handle).with_state(Arc::new(inner));
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Proxy { address, seen, _task: AbortOnDropHandle::new(task) }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What was asked for so far, of this kind.
    pub fn seen(&self, action: &str) -> Vec<Value> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|request| request.action == action).map(|request| request.body.clone()).collect()
    }
}

async fn handle(State(inner): State<Arc<Inner>>, headers: HeaderMap, body: Bytes) -> Response {
    let action = headers["x-amz-target"].to_str().unwrap().rsplit('.').next().unwrap().to_owned();
    let mut request = Request { action, body: serde_json::from_slice(&body).unwrap() };
    inner.seen.lock().unwrap().push(request.clone());
    match (inner.answer)(&request) {
        Answer::Pass => forward(&inner, &headers, &request.body).await.into_response(),
        Answer::Hang => std::future::pending().await,
        Answer::Nod => "{}".into_response(),
        Answer::Refuse(status, code) => {
            let body = json!({ "__type": format!("com.amazonaws.sqs#{code}"), "message": "by the proxy" });
            (StatusCode::from_u16(status).unwrap(), body.to_string()).into_response()
        }
        Answer::FailFirst(code, ours) => {
            let entries = request.body["Entries"].as_array_mut().unwrap();
            let id = entries.remove(0)["Id"].clone();
            let failed = json!({ "Id": id, "Code": code, "SenderFault": ours, "Message": "by the proxy" });
            let mut answer = json!({ "Successful": [] });
            if !entries.is_empty() {
                let (status, text) = forward(&inner, &headers, &request.body).await;
                assert_eq!(status, StatusCode::OK, "{text}");
                answer = serde_json::from_str(&text).unwrap();
            }
            match answer["Failed"].as_array_mut() {
                Some(all) => all.push(failed),
                None => answer["Failed"] = json!([failed]),
            }
            answer.to_string().into_response()
        }
    }
}

async fn forward(inner: &Inner, headers: &HeaderMap, body: &Value) -> (StatusCode, String) {
    let mut request = inner.http.post(&inner.target).body(body.to_string());
    for name in ["x-amz-target", "content-type", "authorization", "x-amz-date"] {
        request = request.header(name, &headers[name]);
    }
    match request.send().await {
        Ok(answer) => (answer.status(), answer.text().await.unwrap()),
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()),
    }
}
