//! A recompute is several requests to ClickHouse, and another worker's may come between any two.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use xray_processor_worker::config::ClickHouse;
use xray_processor_worker::store::MetricsStore;
use xray_processor_worker::store::clickhouse::ClickHouseTables;

use crate::support::clickhouse::Database;
use crate::support::events::{handle, records};
use crate::support::model::{Input, expected};

/// Stands before a server: may hold back what links a step to a run, and says when the row of the step was written.
#[derive(Debug)]
struct Hold {
    server: String,
    /// Settings that stand before those of the request, as a user's profile does.
    profile: &'static str,
    links: Semaphore,
    step_written: Semaphore,
}

/// Passes a request on to the server.
async fn pass(State(hold): State<Arc<Hold>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let is = |sql: &[u8]| body.starts_with(sql);
    let (links, step) = (is(b"INSERT INTO run_steps"), is(b"INSERT INTO steps "));
    if links {
        hold.links.acquire().await.unwrap().forget();
    }
    let url = format!("{}/?{}{}", hold.server, hold.profile, parts.uri.query().unwrap_or_default());
    let request = reqwest::Client::new().request(parts.method, url).headers(parts.headers).body(body);
    let answer = request.send().await.unwrap();
    let mut response = Response::builder().status(answer.status());
    for (name, value) in answer.headers().iter().filter(|(name, _)| *name != "transfer-encoding") {
        response = response.header(name, value);
    }
    let response = response.body(Body::from(answer.bytes().await.unwrap())).unwrap();
    if step {
        hold.step_written.add_permits(1);
    }
    response
}

/// Tables behind a proxy, made ready.
async fn behind_proxy(database: &Database, profile: &'static str, links: usize) -> (Arc<Hold>, ClickHouseTables) {
    let hold = Arc::new(Hold {
        server: database.url.trim_end_matches('/').to_owned(),
        profile,
        links: Semaphore::new(links),
        step_written: Semaphore::new(0),
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let proxy = Router::new().fallback(pass).with_state(hold.clone());
    tokio::spawn(async move { axum::serve(listener, proxy).await });
    let tables = ClickHouseTables::new(&ClickHouse { url, ..database.settings() }).unwrap();
    tables.prepare().await.unwrap();
    (hold, tables)
}

/// A decision links a step to a run while the run's report comes, which has the step's pipeline. Either the one finds the
/// report or the other finds the link.
#[tokio::test]
async fn a_run_is_reported_while_a_step_is_linked_to_it() {
    let step = r#"{"id":"s","type":"rank","name":"n","startedAt":"2026-01-31T12:00:00Z"}"#;
    let run = r#"{"id":"r","pipelineId":"p","status":"running","startedAt":"2026-01-31T12:00:00Z"}"#;
    let decision =
        r#"{"id":"d","stepId":"s","runId":"r","outcome":"kept","itemId":"i","timestamp":"2026-01-31T12:00:00Z"}"#;
    let of = |body: &str| records(&[Bytes::from(body.to_owned())]);
    let database = Database::fresh();
    let tables = database.tables().await;
    handle(&tables, &of(step)).await;

    let (hold, slow) = behind_proxy(&database, "", 0).await;

    let linking = tokio::spawn({
        let decision = of(decision);
        async move { handle(&slow, &decision).await }
    });
    // It must not be; if it is, then before this.
    timeout(Duration::from_secs(2), hold.step_written.acquire()).await.ok();
    handle(&tables, &of(run)).await;
    hold.links.add_permits(10);
    linking.await.unwrap();

    let model = expected([step, run, decision].map(|body| Input { body: body.as_bytes(), hint: None }));
    assert_eq!(database.steps(), model.steps);
    assert_eq!(database.runs(), model.runs);
}

/// A profile that cuts answers off at a limit must lead to an error, never to a part of a sum.
#[tokio::test]
async fn a_profile_that_cuts_answers_off() {
    let database = Database::fresh();
    let decisions: Vec<Bytes> = (0..3000)
        .map(|n| {
            format!(
                r#"{{"id":"d{n}","stepId":"s","runId":"r","outcome":"kept","itemId":"i","timestamp":"2026-01-31T12:00:00Z"}}"#
            )
            .into()
        })
        .collect();
    let profile = "max_rows_to_read=1500&read_overflow_mode=break&max_block_size=500&";
    let (_, tables) = behind_proxy(&database, profile, 1000).await;
    let records = records(&decisions);
    tables.insert_facts(&records).await.unwrap();
    let outcome = tables.recompute(&xray_processor_worker::store::Touched::by(&records)).await;
    let total = database.query("SELECT ifNull(sum(kept), 0) FROM {db}.step_totals FINAL FORMAT TSV");
    assert!(outcome.is_err() && total == "0\n", "{outcome:?}, {total}");
}
