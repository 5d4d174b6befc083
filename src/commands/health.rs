//! `health`: for those who restart what hangs, where nothing else can ask over HTTP.

use super::ask::{self, Answer};
use crate::config::Config;
use crate::exit::{Exit, Failure};
use axum::http::StatusCode;
use clap::Args;

/// Arguments of `health`.
#[derive(Args, Debug, Clone)]
#[command(after_help = "\
Asks /healthz of the worker that listens at HTTP_ADDR on this machine, or at --url: whether its own loops make progress, whatever
the state of stores and broker. Exit code 0: it is well; 3: it is not; 1: nobody answers.")]
pub struct HealthArgs {
    /// Where the worker is, e.g. http://worker-1:8080 [default: this machine, at HTTP_ADDR]
    #[arg(long, value_name = "URL")]
    url: Option<String>,

    /// Ask /readyz: whether it can work, which it cannot while a store or the broker is away
    #[arg(long)]
    ready: bool,
}

/// Asks once.
pub async fn main(args: &HealthArgs, config: &Config) -> Result<Exit, Failure> {
    let path = if args.ready { "readyz" } else { "healthz" };
    let url = format!("{}/{path}", ask::base(args.url.as_deref(), &config.http));
    let Answer { status, body } = ask::get(&url, None).await?;
    super::print(&format!("{}\n", String::from_utf8_lossy(&body).trim_end()))?;
    match status {
        StatusCode::OK => Ok(Exit::Done),
        StatusCode::SERVICE_UNAVAILABLE => Ok(Exit::Found),
        other => Err(Failure::failed(format!("{url} does not answer like a worker: {other}"))),
    }
}
