//! Which pair of stores the configuration names.

use super::store_failure;
use crate::config::Config;
use crate::exit::Failure;
use crate::pipeline::Stores;
use crate::store::clickhouse::ClickHouseTables;
use crate::store::s3::S3Objects;
use crate::store::{StoreError, embedded};
use std::path::PathBuf;
use std::sync::Arc;

/// Opens the stores in the data directory where one is set, else those on servers. Servers are not spoken to yet.
pub async fn open(config: &Config) -> Result<Stores, Failure> {
    match &config.embedded.data_dir {
        Some(dir) => in_directory(dir.clone(), config.embedded.durable).await,
        None => on_servers(config),
    }
}

async fn in_directory(dir: PathBuf, durable: bool) -> Result<Stores, Failure> {
    let opened = tokio::task::spawn_blocking(move || embedded::open(&dir, durable)).await;
    let (raw, metrics) = opened.map_err(|error| Failure::failed(error.to_string()))?.map_err(store_failure)?;
    Ok(Stores { raw: Arc::new(raw), metrics: Arc::new(metrics) })
}

/// What is wrong with them is wrong with the configuration: nobody has been spoken to.
fn on_servers(config: &Config) -> Result<Stores, Failure> {
    let usage = |error: StoreError| Failure::usage(error.chain());
    let raw = S3Objects::open(&config.s3, config.limits.max_event_bytes).map_err(usage)?;
    let metrics = ClickHouseTables::new(&config.clickhouse).map_err(usage)?;
    Ok(Stores { raw: Arc::new(raw), metrics: Arc::new(metrics) })
}
