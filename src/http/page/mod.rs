//! The status page for people, and the document that it shows.
//!
//! One answer holds all of the page: nothing is fetched from elsewhere, and the browser is told to run and to style with
//! nothing but what stands in it. What others wrote is only ever set as text.

use super::access::{Access, Denied};
use super::probes::json;
use crate::status::Status;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::Digest;
use std::sync::Arc;

const HTML: &str = include_str!("page.html");
const CSS: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

struct Page {
    html: String,
    policy: HeaderValue,
}

pub(super) fn routes(status: Status, access: Arc<Access>) -> Router {
    Router::new()
        .route("/", get(page).with_state(Arc::new(Page::new())))
        .route("/status.json", get(document).with_state(status))
        .route_layer(middleware::from_fn_with_state(access, guard))
}

impl Page {
    fn new() -> Page {
        let html = HTML.replace("/* page.css */", CSS).replace("/* page.js */", SCRIPT);
        let policy = format!(
            "default-src 'none'; style-src '{}'; script-src '{}'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'",
            source(CSS),
            source(SCRIPT)
        );
        // Made of our own ASCII.
        let policy = HeaderValue::try_from(policy).unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'"));
        Page { html, policy }
    }
}

/// What names exactly this text in a policy.
fn source(text: &str) -> String {
    format!("sha256-{}", BASE64_STANDARD.encode(sha2::Sha256::digest(text)))
}

async fn page(State(page): State<Arc<Page>>) -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (CONTENT_SECURITY_POLICY, page.policy.clone()),
    ];
    (headers, page.html.clone()).into_response()
}

async fn document(State(status): State<Status>) -> Response {
    json(&status.document().await)
}

async fn guard(State(access): State<Arc<Access>>, headers: HeaderMap, request: Request, next: Next) -> Response {
    let mut response = match access.check_browser(&headers) {
        Ok(()) => next.run(request).await,
        Err(denied) => denied.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        match self {
            Denied::NoToken => {
                let ask = [(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"xray-processor-worker\""))];
                let text = "this page asks for the token that is set as STATUS_TOKEN, as the password of any user\n";
                (StatusCode::UNAUTHORIZED, ask, text).into_response()
            }
            Denied::OffLoopback(address) => {
                let text = format!(
                    "the worker listens on {address}, which others can reach, and shows its status there only with a token: \
                     set STATUS_TOKEN, or set HTTP_ADDR to a loopback address\n"
                );
                (StatusCode::FORBIDDEN, text).into_response()
            }
            Denied::OtherHost => {
                let text = "without a STATUS_TOKEN the status is shown under localhost or a loopback address only\n";
                (StatusCode::FORBIDDEN, text).into_response()
            }
        }
    }
}

#[cfg(test)]
mod tests;
