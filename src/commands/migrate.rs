//! `migrate`: the tables brought up to date, apart from a worker; and those of the worker of before adopted.

use super::rebuild::{broken_off, rebuilt_in_words};
use crate::app::{store_failure, stores};
use crate::audit::rebuild::{Options, Outcome, Rebuilt, rebuild};
use crate::audit::scope::Scope;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::store::clickhouse::{ClickHouseTables, Rename};
use clap::Args;
use std::fmt::Write as _;
use std::time::Instant;

/// Arguments of `migrate`.
#[derive(Args, Debug, Clone)]
#[command(after_help = "\
Creates the database and the tables on the ClickHouse server that the configuration names, or brings tables of an older
version up to date. May be repeated, and run by several at once. `run` does the same unless MIGRATE_ON_START=false.")]
pub struct MigrateArgs {
    /// Rename the tables of the worker of before, and make ours from the objects, which stand under the same keys
    #[arg(long)]
    adopt: bool,
}

/// Migrates once; fails where the server cannot be reached or the tables are not ours.
pub async fn main(args: &MigrateArgs, config: &Config) -> Result<Exit, Failure> {
    if let Some(dir) = &config.embedded.data_dir {
        return Err(Failure::usage(format!(
            "the tables in {} need no migrate, a worker brings them up to date: unset XRAY_DATA_DIR to migrate ClickHouse",
            dir.display()
        )));
    }
    let settings = &config.clickhouse;
    let tables = ClickHouseTables::new(settings).map_err(|error| Failure::usage(error.chain()))?;
    let place = format!("the database {} on {}", settings.database, settings.url);
    if args.adopt {
        return adopt(&tables, &place, config).await;
    }
    let (from, to) = tables.migrate().await.map_err(store_failure)?;
    super::print(&match from {
        _ if from == to => format!("{place} is up to date: schema {to}\n"),
        0 => format!("{place} has schema {to} now\n"),
        _ => format!("{place} has schema {to} now, it had {from}\n"),
    })?;
    Ok(Exit::Done)
}

/// Renames, migrates, rebuilds. Broken off, it goes on where it was.
async fn adopt(tables: &ClickHouseTables, place: &str, config: &Config) -> Result<Exit, Failure> {
    let renames = tables.predecessors().await.map_err(store_failure)?;
    if renames.is_empty() && !tables.awaits_rebuild().await.map_err(store_failure)? {
        tables.migrate().await.map_err(store_failure)?;
        super::print(&format!("{place} has no tables of the worker of before: there is nothing to adopt\n"))?;
        return Ok(Exit::Done);
    }
    super::print(&plan(&renames, place, &config.clickhouse.database))?;
    tables.set_aside(&renames).await.map_err(store_failure)?;
    tables.migrate().await.map_err(store_failure)?;
    let (began, rebuilt) = (Instant::now(), Rebuilt::default());
    let (audited, ours) = stores::rebuildable(config).await?;
    let options = Options { scope: Scope::default(), anew: false, keep: false, force: false };
    let outcome = rebuild(&audited, &*ours, &options, &rebuilt).await;
    if let Outcome::Refused(why) = outcome.map_err(|error| broken_off(&error, "migrate --adopt"))? {
        return Err(Failure::failed(why));
    }
    super::print(&rebuilt_in_words(&rebuilt, began.elapsed()))?;
    Ok(Exit::Done)
}

fn plan(renames: &[Rename], place: &str, database: &str) -> String {
    let mut text = format!("Adopting {place}:\n");
    // Writing to a String cannot fail.
    let mut line = |args: std::fmt::Arguments<'_>| writeln!(text, "{args}").unwrap_or_default();
    for Rename { from, to } in renames {
        line(format_args!("  rename   {from} to {to}; its rows stay as they are"));
    }
    line(format_args!("  create   our tables, and fill them from the objects, which stay as they are"));
    line(format_args!("To go back: stop the workers, then for each table"));
    line(format_args!("  DROP TABLE {database}.runs; RENAME TABLE {database}.runs_before TO {database}.runs"));
    text
}
