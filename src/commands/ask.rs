//! Asking a running worker over HTTP.

use crate::config::Http;
use crate::exit::Failure;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use secrecy::{ExposeSecret, SecretString};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::time::timeout;

/// For all of it. The worker itself answers at once.
const PATIENCE: Duration = Duration::from_secs(15);
/// More is no answer of ours.
const LARGEST: usize = 16 << 20;

/// What was answered.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Vec<u8>,
}

/// Where the worker is: at `url`, else on this machine, at HTTP_ADDR. Without a slash at the end.
pub(super) fn base(url: Option<&str>, http: &Http) -> String {
    let base = url.map_or_else(|| format!("http://{}", reachable(http.addr)), str::to_owned);
    base.trim_end_matches('/').to_owned()
}

/// Asks once. Fails where nobody answers.
pub(super) async fn get(url: &str, token: Option<&SecretString>) -> Result<Answer, Failure> {
    if url.contains('@') {
        return Err(Failure::usage("--url must name no user and no password: what a worker asks for is STATUS_TOKEN"));
    }
    let asked = timeout(PATIENCE, ask(url, token)).await;
    let answer = asked.unwrap_or_else(|_| Err(format!("no answer within {} s", PATIENCE.as_secs())));
    answer.map_err(|why| Failure::failed(format!("cannot ask {url}: {why}")))
}

/// What listens on every address is asked at one.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    (ip, address.port()).into()
}

/// `Err` is why there is no answer.
async fn ask(url: &str, token: Option<&SecretString>) -> Result<Answer, String> {
    if !url.starts_with("http://") {
        return Err("the URL must begin with http://".into());
    }
    let mut request = Request::get(url);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {}", token.expose_secret()));
    }
    let request = request.body(Body::empty()).map_err(|error| error.to_string())?;
    let client: Client<_, Body> = Client::builder(TokioExecutor::new()).build_http();
    let answer = client.request(request).await.map_err(|error| {
        let why = crate::causes::chain(&error);
        match error.is_connect() {
            true => format!("{why}; does a worker run, and is that its address (HTTP_ADDR, --url)?"),
            false => why,
        }
    })?;
    let status = answer.status();
    let body = to_bytes(Body::new(answer.into_body()), LARGEST).await.map_err(|error| error.to_string())?;
    Ok(Answer { status, body: body.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everywhere_is_asked_here() {
        for (address, asked) in [
            ("0.0.0.0:1", "127.0.0.1:1"),
            ("[::]:1", "[::1]:1"),
            ("10.0.0.1:1", "10.0.0.1:1"),
            ("127.0.0.1:1", "127.0.0.1:1"),
        ] {
            assert_eq!(reachable(address.parse().unwrap()).to_string(), asked);
        }
    }
}
