//! What `check` asks a ClickHouse server. Writes no row.

use super::NAME;
use super::connection::Connection;
use super::fault::Fault;
use super::migrations::{self, layouts};
use crate::check::{Findings, PATIENCE};
use crate::config;
use crate::span::span;
use crate::store::StoreError;
use chrono::{DateTime, Utc};
use clickhouse::Row;
use serde::Deserialize;
use std::time::{Duration, Instant};

/// The oldest server that this is written for.
const OLDEST: (u32, u32) = (23, 8);
const CLOCK: Duration = Duration::from_secs(3);
/// Parts of one table. Servers slow inserts down at a thousand in a partition.
const MANY_PARTS: u64 = 2000;

#[derive(Row, Deserialize)]
struct Server {
    version: String,
    now: i64,
    found: u64,
}

#[derive(Row, Deserialize)]
struct Size {
    table: String,
    parts: u64,
    rows: u64,
}

/// All of it.
pub(super) async fn inspect(connection: &Connection, settings: &config::ClickHouse) -> Findings {
    let mut found = Findings::about(NAME);
    let questions = async |found: &mut Findings| {
        if let Err(fault) = server(connection, settings, found).await {
            found.fail(StoreError::from(fault).chain());
        }
    };
    found.within(PATIENCE, questions).await;
    found
}

async fn server(connection: &Connection, settings: &config::ClickHouse, found: &mut Findings) -> Result<(), Fault> {
    let database = connection.database();
    let sql = "SELECT version() AS version, toUnixTimestamp64Milli(now64(3)) AS now,
                      ifNull((SELECT count() FROM system.databases WHERE name = ?), 0) AS found";
    found.ask(format!("which version of ClickHouse {} is", settings.url));
    let began = Instant::now();
    let servers: Vec<Server> =
        connection.rows("ask the server who it is", connection.query_server(sql).bind(database)).await?;
    let Some(Server { version, now, found: databases }) = servers.into_iter().next() else { return Ok(()) };
    let took = span(began.elapsed().as_secs_f64());
    match is_old(&version) {
        true => found
            .warn(format!("{} is ClickHouse {version}", settings.url), "use 23.8 or newer: nobody has tried others"),
        false => {
            found.ok(format!("{} is ClickHouse {version} and answers in {took} as {}", settings.url, settings.user))
        }
    }
    if let Some(theirs) = DateTime::from_timestamp_millis(now) {
        found.clock(theirs, Utc::now(), CLOCK);
    }
    if databases == 0 {
        match settings.migrate_on_start {
            true if !granted(connection, "CREATE DATABASE, CREATE TABLE, INSERT, SELECT").await => found.fail_with(
                format!("the database {database} is not there yet, and we may not create it and its tables"),
                "create it and grant CREATE TABLE, INSERT and SELECT on it, or run `xray-processor-worker migrate` as another user",
            ),
            true => found.ok(format!("the database {database} is not there yet; a worker creates it, and its tables")),
            false => found.fail_with(format!("there is no database {database}"), "run `xray-processor-worker migrate`"),
        }
        return Ok(());
    }
    found.ask("which settings it knows, and which tables there are");
    connection.make_ready().await?;
    if tables(connection, settings, found).await? {
        rights(connection, found).await;
        sizes(connection, found).await;
    }
    Ok(())
}

/// `23.8.2.7`.
fn is_old(version: &str) -> bool {
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or_default());
    (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default()) < OLDEST
}

/// Each table against what it has to be. Whether all are there.
async fn tables(connection: &Connection, settings: &config::ClickHouse, found: &mut Findings) -> Result<bool, Fault> {
    let database = connection.database();
    let (tables, mut all) = (migrations::tables(connection).await?, true);
    // What was made once and is gone is not made again by itself: it held something.
    let made = tables.contains_key("schema_migrations");
    for layout in layouts() {
        let name = &layout.name;
        let Some(table) = tables.get(name) else {
            all = false;
            match settings.migrate_on_start {
                _ if made => {}
                true => found.ok(format!("the table {database}.{name} is not there yet; a worker creates it")),
                false => found
                    .fail_with(format!("there is no table {database}.{name}"), "run `xray-processor-worker migrate`"),
            }
            continue;
        };
        if layout.difference(table).is_some() {
            all = false;
            found.fail(StoreError::from(migrations::foreign(connection, &layout, table)).chain());
            continue;
        }
        let columns = layout.columns.len();
        let text =
            format!("{database}.{name} is {} by ({}), with our {columns} columns", table.engine, table.sorting_key);
        match table.engine_full.contains(" TTL ") {
            true => found.warn(
                format!("{text}, and its rows expire (TTL)"),
                "see docs/retention.md: rows of runs have to go before those of steps, those before decisions, and all of them \
                 before the objects",
            ),
            false => found.ok(text),
        }
    }
    if all || made {
        match migrations::check(connection, settings.fsync).await {
            Ok(()) => found.ok("the schema is the one that this program needs"),
            // A worker does so by itself.
            Err(_) if settings.migrate_on_start && settings.fsync == Some(true) => {
                found.ok("inserts do not wait for the disk yet; a worker sees to it, as CLICKHOUSE_FSYNC is true");
            }
            Err(fault) => found.fail(StoreError::from(fault).chain()),
        }
    }
    Ok(all)
}

/// Reads and inserts nothing, which asks for all that reading and inserting something does.
async fn rights(connection: &Connection, found: &mut Findings) {
    let began = Instant::now();
    let mut refused = false;
    for layout in layouts() {
        let name = &layout.name;
        let read = format!("INSERT INTO {name} SELECT * FROM {name} WHERE 0");
        let doing = format!("read and insert into {name}");
        found.ask(format!("whether we may {doing}"));
        if let Err(fault) = connection.execute(&doing, connection.query(&read)).await {
            refused = true;
            found.fail(StoreError::from(fault).chain());
        }
    }
    if !refused {
        let each = began.elapsed().as_secs_f64() / layouts().count().max(1) as f64;
        found.ok(format!("we may read and insert into all of them (an empty insert takes {})", span(each)));
    }
    found.ask("whether we may delete rows");
    if !granted(connection, "ALTER DELETE").await {
        found.warn(
            "we may not delete rows",
            "a worker needs no such right, but `verify --repair` and `purge` do: GRANT ALTER DELETE",
        );
    }
}

/// Whether we have these rights on our database. Servers before 24.9 do not know the question: then we may.
async fn granted(connection: &Connection, rights: &str) -> bool {
    let database = clickhouse::sql::Identifier(connection.database());
    let query = connection.query_server(&format!("CHECK GRANT {rights} ON ?.*")).bind(database);
    connection.rows::<u8>("ask for rights", query).await.ok().is_none_or(|granted| granted != [0])
}

/// How much there is, as far as that is told.
async fn sizes(connection: &Connection, found: &mut Findings) {
    found.ask("how large the tables are");
    let sql = "SELECT table, count() AS parts, sum(rows) AS rows FROM system.parts WHERE active AND database = ?
               GROUP BY table ORDER BY table";
    let query = connection.query_server(sql).bind(connection.database());
    let Ok(sizes) = connection.rows::<Size>("look at the sizes of tables", query).await else { return };
    for Size { table, parts, .. } in sizes.iter().filter(|size| size.parts > MANY_PARTS) {
        found.warn(
            format!("{table} has {parts} parts, which makes it slow"),
            "look at whether merges keep up (system.merges), and at who else inserts into it",
        );
    }
    let rows: u64 = sizes.iter().map(|size| size.rows).sum();
    found.ok(format!("they hold {rows} rows in {} parts", sizes.iter().map(|size| size.parts).sum::<u64>()));
}

#[cfg(test)]
mod tests {
    use super::is_old;

    #[test]
    fn versions() {
        let old = ["18.16.1", "23.7.9.1", "nonsense", ""];
        let new = ["23.8.2.7", "24.1.1.1", "26.9.2.1"];
        assert!(old.into_iter().all(is_old) && !new.into_iter().any(is_old));
    }
}
