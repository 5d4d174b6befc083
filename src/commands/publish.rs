//! `publish`: NDJSON onto the configured broker.

use crate::app;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use clap::Args;
use indicatif::HumanCount;
use std::path::PathBuf;

/// Puts NDJSON on the broker of QUEUE_TYPE: each line as one message, as it is, and no header. Where there are several
/// queues or topics, each kind goes to the one that is named after it. Ends with 0 once the broker has confirmed all.
#[derive(Args, Debug, Clone)]
#[command(after_help = "\
Examples:
  xray-processor-worker generate | QUEUE_TYPE=kafka xray-processor-worker publish
  QUEUE_TYPE=rabbitmq xray-processor-worker publish --rate 500 events.ndjson")]
pub struct PublishArgs {
    /// The file; - for standard input
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,

    /// At most so many messages a second
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
}

/// Publishes, and says on standard error what went where.
pub async fn main(args: &PublishArgs, config: &Config) -> Result<Exit, Failure> {
    let counts = app::publish(config, &args.file, args.rate).await?;
    let places: Vec<String> = counts.iter().map(|(to, count)| format!("{to} {}", HumanCount(*count))).collect();
    let total = HumanCount(counts.values().sum());
    match places.is_empty() {
        true => eprintln!("The input is empty: nothing to publish."),
        false => eprintln!("{total} messages, all confirmed: {}", places.join(", ")),
    }
    Ok(Exit::Done)
}
