//! Which pair of stores the configuration names.

use super::store_failure;
use crate::config::Config;
use crate::exit::Failure;
use crate::pipeline::Stores;
use crate::store::embedded;
use crate::store::s3::S3Objects;
use std::path::PathBuf;
use std::sync::Arc;

/// Opens the stores in the data directory where one is set, else those on servers. Servers are not spoken to yet.
pub async fn open(config: &Config) -> Result<Stores, Failure> {
    match &config.embedded.data_dir {
        Some(dir) => in_directory(dir.clone(), config.embedded.durable).await,
        None => on_servers(config).await,
    }
}

async fn in_directory(dir: PathBuf, durable: bool) -> Result<Stores, Failure> {
    let opened = tokio::task::spawn_blocking(move || embedded::open(&dir, durable)).await;
    let (raw, metrics) = opened.map_err(|error| Failure::failed(error.to_string()))?.map_err(store_failure)?;
    Ok(Stores { raw: Arc::new(raw), metrics: Arc::new(metrics) })
}

async fn on_servers(config: &Config) -> Result<Stores, Failure> {
    let _raw = in_bucket(config)?;
    Err(Failure::usage("no --data"))
}

fn in_bucket(config: &Config) -> Result<S3Objects, Failure> {
    let opened = S3Objects::open(&config.s3, config.limits.max_event_bytes);
    opened.map_err(|error| Failure::usage(error.chain()))
}
