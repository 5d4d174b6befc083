use super::*;
use crate::budget::Budget;
use crate::config::QueueType;
use crate::health::Health;
use crate::metrics::Metrics;
use prometheus_client::registry::Registry;
use reqwest::Client;
use secrecy::SecretString;
use std::net::SocketAddr;
use tokio::net::TcpListener;

async fn served(token: Option<&str>, claimed: Option<&str>) -> SocketAddr {
    let (budget, health) = (Budget::new(1, 1), Health::default());
    let metrics = Metrics::register(&mut Registry::default(), QueueType::Memory, &[], &budget, &health);
    let status = Status::new("memory", metrics, budget, health);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let token = token.map(SecretString::from);
    let access = Access::new(token.as_ref(), claimed.map_or(address, |claimed| claimed.parse().unwrap()));
    let routes = routes(status, Arc::new(access));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    address
}

#[tokio::test]
async fn the_page_is_whole_and_runs_nothing_but_its_own() {
    let address = served(None, None).await;
    let answer = reqwest::get(format!("http://{address}/")).await.unwrap();
    let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let html = answer.text().await.unwrap();
    for (tag, text) in [("style", CSS), ("script", SCRIPT)] {
        assert!(html.contains(&format!("<{tag}>{text}</{tag}>")) && policy.contains(&source(text)), "{tag}");
    }
    let html = html.replace("http://www.w3.org/2000/svg", "");
    for outside in ["src=", "http:", "https:", "@import", "url(", "innerHTML", "insertAdjacent", "style=\"", "onclick"]
    {
        assert!(!html.contains(outside), "{outside}");
    }
}

#[tokio::test]
async fn the_document_is_json() {
    let address = served(None, None).await;
    let answer = reqwest::get(format!("http://{address}/status.json")).await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/json");
    let document: crate::status::Document = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!((document.queue.as_str(), document.tables.is_none()), ("memory", true));
}

#[tokio::test]
async fn off_loopback_only_with_the_token() {
    let address = served(None, Some("10.0.0.1:8080")).await;
    for path in ["/", "/status.json"] {
        let answer = reqwest::get(format!("http://{address}{path}")).await.unwrap();
        assert_eq!(answer.status(), 403);
        let text = answer.text().await.unwrap();
        assert!(text.contains("10.0.0.1:8080") && text.contains("set STATUS_TOKEN"), "{text}");
    }
    let address = served(Some("s3cret"), Some("10.0.0.1:8080")).await;
    let url = format!("http://{address}/status.json");
    let answer = reqwest::get(&url).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers().contains_key("www-authenticate")), (401, true));
    for good in
        [Client::new().get(&url).bearer_auth("s3cret"), Client::new().get(&url).basic_auth("me", Some("s3cret"))]
    {
        assert_eq!(good.send().await.unwrap().status(), 200);
    }
    assert_eq!(Client::new().get(&url).bearer_auth("other").send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn a_page_of_somebody_elses_is_told_nothing() {
    let url = format!("http://{}/status.json", served(None, None).await);
    let answer = Client::new().get(&url).header("host", "evil.example").send().await.unwrap();
    assert_eq!(answer.status(), 403);
}
