//! `status`: how a running worker is doing, as its page shows it.

use super::ask::{self, Answer};
use super::run::Output;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::hidden::without_secrets;
use crate::printable::printable;
use crate::status::{self, Document};
use axum::http::StatusCode;
use clap::Args;

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
    let url = format!("{}/status.json", ask::base(args.url.as_deref(), &config.http));
    let Answer { status, body } = ask::get(&url, config.http.status_token.as_ref()).await?;
    if status != StatusCode::OK {
        let said = without_secrets(String::from_utf8_lossy(&body).trim());
        return Err(Failure::failed(format!("cannot ask {url}: {status}: {}", printable(&said))));
    }
    let document: Document = serde_json::from_slice(&body)
        .map_err(|error| Failure::failed(format!("{url} does not answer like a worker of this version: {error}")))?;
    match args.output {
        Output::Text => super::print(&status::text(&document))?,
        Output::Json => super::print_bytes(&[&body[..], b"\n"].concat())?,
    }
    Ok(if document.readiness.ready { Exit::Done } else { Exit::Found })
}
