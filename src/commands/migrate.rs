//! `migrate`: the tables brought up to date, apart from a worker.

use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::store::clickhouse::ClickHouseTables;
use clap::Args;

/// Arguments of `migrate`.
#[derive(Args, Debug, Clone)]
#[command(after_help = "\
Creates the database and the tables on the ClickHouse server that the configuration names, or brings tables of an older
version up to date. May be repeated, and run by several at once. `run` does the same unless MIGRATE_ON_START=false.")]
pub struct MigrateArgs {}

/// Migrates once; fails where the server cannot be reached or the tables are not ours.
pub async fn main(MigrateArgs {}: &MigrateArgs, config: &Config) -> Result<Exit, Failure> {
    if let Some(dir) = &config.embedded.data_dir {
        return Err(Failure::usage(format!(
            "the tables in {} need no migrate, a worker brings them up to date: unset XRAY_DATA_DIR to migrate ClickHouse",
            dir.display()
        )));
    }
    let settings = &config.clickhouse;
    let tables = ClickHouseTables::new(settings).map_err(|error| Failure::usage(error.chain()))?;
    let (from, to) = tables.migrate().await.map_err(|error| Failure::failed(error.chain()))?;
    let place = format!("the database {} on {}", settings.database, settings.url);
    super::print(&match from {
        _ if from == to => format!("{place} is up to date: schema {to}\n"),
        0 => format!("{place} has schema {to} now\n"),
        _ => format!("{place} has schema {to} now, it had {from}\n"),
    });
    Ok(Exit::Done)
}
