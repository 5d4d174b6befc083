//! Which pair of stores the configuration names.

use super::store_failure;
use crate::audit::{self, Audited};
use crate::config::{self, Config};
use crate::exit::Failure;
use crate::pipeline::Stores;
use crate::store::StoreError;
use crate::store::audit::ObjectAudit;
use crate::store::clickhouse::ClickHouseTables;
use crate::store::embedded::{self, FileObjects, SqliteMetrics};
use crate::store::rebuild::Rebuild;
use crate::store::s3::S3Objects;
use std::path::PathBuf;
use std::sync::Arc;

/// Opens the stores in the data directory where one is set, else those on servers. Servers are not spoken to yet.
pub async fn open(config: &Config) -> Result<Stores, Failure> {
    match &config.embedded.data_dir {
        Some(dir) => in_directory(dir.clone(), config).await,
        None => on_servers(config),
    }
}

/// The stores as an audit sees them; nothing is created. For one that changes something they are made ready for that.
pub async fn audited(config: &Config, changes: bool) -> Result<Audited, Failure> {
    let audited = match &config.embedded.data_dir {
        Some(dir) => {
            let dir = dir.clone();
            let there = tokio::task::spawn_blocking({
                let dir = dir.clone();
                move || embedded::Reader::open(&dir).map(drop)
            });
            there.await.map_err(|error| Failure::failed(error.to_string()))?.map_err(store_failure)?;
            let (raw, metrics) = embedded_pair(dir, config).await?;
            Audited { objects: Arc::new(raw), tables: Arc::new(metrics) }
        }
        None => {
            let tables = config::ClickHouse { migrate_on_start: false, ..config.clickhouse.clone() };
            let (raw, metrics) = pair_on_servers(config, &tables)?;
            Audited { objects: Arc::new(raw), tables: Arc::new(metrics) }
        }
    };
    audit::persist(|| audited.tables.prepare()).await.map_err(store_failure)?;
    if changes {
        audit::persist(|| audited.objects.prepare()).await.map_err(store_failure)?;
    }
    Ok(audited)
}

/// The stores of which the tables are to be made anew: they are created where they are gone.
pub async fn rebuildable(config: &Config) -> Result<(Audited, Arc<dyn Rebuild>), Failure> {
    let (objects, tables): (Arc<dyn ObjectAudit>, Arc<dyn Rebuild>) = match &config.embedded.data_dir {
        Some(dir) => {
            let (raw, metrics) = embedded_pair(dir.clone(), config).await?;
            (Arc::new(raw), Arc::new(metrics))
        }
        None => {
            let tables = config::ClickHouse { migrate_on_start: true, ..config.clickhouse.clone() };
            let (raw, metrics) = pair_on_servers(config, &tables)?;
            (Arc::new(raw), Arc::new(metrics))
        }
    };
    audit::persist(|| tables.prepare()).await.map_err(store_failure)?;
    Ok((Audited { objects, tables: tables.clone() }, tables))
}

async fn in_directory(dir: PathBuf, config: &Config) -> Result<Stores, Failure> {
    let (raw, metrics) = embedded_pair(dir, config).await?;
    Ok(Stores { raw: Arc::new(raw), metrics: Arc::new(metrics) })
}

fn on_servers(config: &Config) -> Result<Stores, Failure> {
    let (raw, metrics) = pair_on_servers(config, &config.clickhouse)?;
    Ok(Stores { raw: Arc::new(raw), metrics: Arc::new(metrics) })
}

async fn embedded_pair(dir: PathBuf, config: &Config) -> Result<(FileObjects, SqliteMetrics), Failure> {
    let (durable, max_event_bytes) = (config.embedded.durable, config.limits.max_event_bytes);
    let opened = tokio::task::spawn_blocking(move || embedded::open(&dir, durable, max_event_bytes)).await;
    opened.map_err(|error| Failure::failed(error.to_string()))?.map_err(store_failure)
}

/// What is wrong with them is wrong with the configuration: nobody has been spoken to.
fn pair_on_servers(config: &Config, tables: &config::ClickHouse) -> Result<(S3Objects, ClickHouseTables), Failure> {
    let usage = |error: StoreError| Failure::usage(error.chain());
    let raw = S3Objects::open(&config.s3, config.limits.max_event_bytes).map_err(usage)?;
    let metrics = ClickHouseTables::new(tables).map_err(usage)?;
    Ok((raw, metrics))
}
