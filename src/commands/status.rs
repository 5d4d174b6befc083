//! `status`: how a running worker is doing, as its page shows it.

use super::run::Output;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::status::{self, Document};
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use clap::Args;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use secrecy::{ExposeSecret, SecretString};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::time::timeout;

/// For all of it. The worker itself answers at once.
const PATIENCE: Duration = Duration::from_secs(15);
/// More is no document of ours.
const LARGEST: usize = 16 << 20;

/// Arguments of `status`.
#[derive(Args, Debug, Clone)]
#[command(after_help = "\
Asks the worker that listens at HTTP_ADDR on this machine, or at --url, with STATUS_TOKEN where that is set. Exit code 0: it is
ready; 3: it is not; 1: nobody answers.")]
pub struct StatusArgs {
    /// Where the worker is, e.g. http://worker-1:8080 [default: this machine, at HTTP_ADDR]
    #[arg(long, value_name = "URL")]
    url: Option<String>,

    /// text or json
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Asks once.
pub async fn main(args: &StatusArgs, config: &Config) -> Result<Exit, Failure> {
    let base = args.url.clone().unwrap_or_else(|| format!("http://{}", reachable(config.http.addr)));
    let url = format!("{}/status.json", base.trim_end_matches('/'));
    let asked = timeout(PATIENCE, ask(&url, config.http.status_token.as_ref())).await;
    let body = asked.unwrap_or_else(|_| Err(format!("no answer within {} s", PATIENCE.as_secs())));
    let body = body.map_err(|why| Failure::failed(format!("cannot ask {url}: {why}")))?;
    let document: Document = serde_json::from_slice(&body)
        .map_err(|error| Failure::failed(format!("{url} does not answer like a worker of this version: {error}")))?;
    match args.output {
        Output::Text => super::print(&status::text(&document))?,
        Output::Json => super::print_bytes(&[&body[..], b"\n"].concat())?,
    }
    Ok(if document.readiness.ready { Exit::Done } else { Exit::Found })
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

/// `Err` is why there is no document.
async fn ask(url: &str, token: Option<&SecretString>) -> Result<Vec<u8>, String> {
    if !url.starts_with("http://") {
        return Err("the URL must begin with http://".into());
    }
    let mut request = Request::get(url);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {}", token.expose_secret()));
    }
    let request = request.body(Body::empty()).map_err(|error| error.to_string())?;
    let client: Client<_, Body> = Client::builder(TokioExecutor::new()).build_http();
    let answer = client.request(request).await.map_err(|error| crate::causes::chain(&error))?;
    let status = answer.status();
    let body = to_bytes(Body::new(answer.into_body()), LARGEST).await.map_err(|error| error.to_string())?;
    match status {
        StatusCode::OK => Ok(body.into()),
        _ => Err(format!("{status}: {}", String::from_utf8_lossy(&body).trim())),
    }
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
