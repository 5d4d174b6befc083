//! The schema: numbered SQL files, applied in order and recorded; and the refusal of what is not ours.
//!
//! ClickHouse has no transactions of DDL. So each statement may be repeated, a file is recorded when all of its
//! statements are done, and any number of workers may do this at the same time.

use super::adopt;
use super::connection::Connection;
use super::fault::Fault;
use super::layout::{Found, Layout, layout, statements};
use clickhouse::Row;
use serde::Deserialize;
use std::collections::BTreeMap;

/// What each schema adds to the one before; their numbers count from 1.
const MIGRATIONS: &[(&str, &str)] = &[("0001_tables", include_str!("../../../schema/clickhouse/0001_tables.sql"))];

const RECORD: &str = include_str!("../../../schema/clickhouse/0000_migrations.sql");

#[derive(Row, Deserialize)]
struct Column {
    table: String,
    name: String,
    r#type: String,
}

#[derive(Row, Deserialize)]
struct Table {
    name: String,
    engine: String,
    engine_full: String,
    partition_key: String,
    sorting_key: String,
}

/// Brings database and tables up to the schema this program knows. Nothing is written where a table of one of our names
/// is not ours, or the schema is newer. Answers with the schema found, 0 for none, and the schema now.
pub(super) async fn migrate(connection: &Connection, fsync: Option<bool>) -> Result<(usize, usize), Fault> {
    create_database(connection).await?;
    let tables = tables(connection).await?;
    let from = applied(connection, &tables).await?;
    refuse_strangers(connection, &tables)?;
    for statement in statements(RECORD) {
        connection.execute("create the table schema_migrations", connection.query(&statement)).await?;
    }
    for (number, (name, sql)) in (1_u32..).zip(MIGRATIONS).skip(from) {
        for statement in statements(sql) {
            connection.execute(&format!("apply schema {name}"), connection.query(&statement)).await?;
        }
        let record =
            connection.query("INSERT INTO schema_migrations (number, name, applied_at) SELECT ?, ?, now64(3, 'UTC')");
        connection.execute("record the schema", record.bind(number).bind(name)).await?;
    }
    if let Some(fsync) = fsync {
        set_fsync(connection, fsync).await?;
    }
    connection.forget_columns().await;
    check(connection, fsync).await?;
    Ok((from, MIGRATIONS.len()))
}

/// Refuses tables that this program does not know how to work with, or that are less durable than was asked for. Changes
/// nothing.
pub(super) async fn check(connection: &Connection, fsync: Option<bool>) -> Result<(), Fault> {
    let tables = tables(connection).await?;
    let found = applied(connection, &tables).await?;
    if found < MIGRATIONS.len() {
        let database = connection.database();
        return Err(Fault::us(format!(
            "the tables in the database {database} have schema {found}, this program needs {}: run \
             `xray-processor-worker migrate`, or leave MIGRATE_ON_START on",
            MIGRATIONS.len()
        )));
    }
    refuse_strangers(connection, &tables)?;
    if fsync == Some(true)
        && let Some(layout) = layouts().find(|layout| !tables.get(&layout.name).is_some_and(waits_for_disk))
    {
        return Err(Fault::us(format!(
            "CLICKHOUSE_FSYNC is true, and inserts into the table {} do not wait for the disk: run \
             `xray-processor-worker migrate` with it, or leave MIGRATE_ON_START on",
            layout.name
        )));
    }
    let missing = layouts().find(|layout| !tables.contains_key(&layout.name));
    match missing {
        Some(Layout { name, .. }) => Err(Fault::us(format!(
            "the table {name} is gone from the database {}, although its schema was applied: restore it, or drop \
             schema_migrations there and run `xray-processor-worker migrate`",
            connection.database()
        ))),
        None => Ok(()),
    }
}

/// The tables that the migrations make.
pub(super) fn layouts() -> impl Iterator<Item = Layout> {
    MIGRATIONS.iter().flat_map(|(_, sql)| statements(sql)).filter_map(|statement| layout(&statement))
}

/// Only where it is missing, so that a user who may not create databases can do without that right.
pub(super) async fn create_database(connection: &Connection) -> Result<(), Fault> {
    let database = connection.database();
    let count = connection.query_server("SELECT count() FROM system.databases WHERE name = ?").bind(database);
    let doing = format!("look for the database {database}");
    if connection.rows::<u64>(&doing, count).await? == [0] {
        let create =
            connection.query_server("CREATE DATABASE IF NOT EXISTS ?").bind(clickhouse::sql::Identifier(database));
        connection.execute(&format!("create the database {database}"), create).await?;
    }
    Ok(())
}

/// What stands in our database, by name.
pub(super) async fn tables(connection: &Connection) -> Result<BTreeMap<String, Found>, Fault> {
    let database = connection.database();
    let doing = format!("read the tables of the database {database}");
    let sql = "SELECT name, engine, engine_full, partition_key, sorting_key FROM system.tables WHERE database = ?";
    let tables: Vec<Table> = connection.rows(&doing, connection.query_server(sql).bind(database)).await?;
    let sql = "SELECT table, name, type FROM system.columns WHERE database = ?";
    let columns: Vec<Column> = connection.rows(&doing, connection.query_server(sql).bind(database)).await?;

    let mut found: BTreeMap<String, Found> = BTreeMap::new();
    for Table { name, engine, engine_full, partition_key, sorting_key } in tables {
        let columns = BTreeMap::new();
        found.insert(name, Found { columns, engine, engine_full, partition_key, sorting_key });
    }
    for Column { table, name, r#type } in columns {
        if let Some(table) = found.get_mut(&table) {
            table.columns.insert(name, r#type);
        }
    }
    Ok(found)
}

/// The number of the schema, 0 for none.
async fn applied(connection: &Connection, tables: &BTreeMap<String, Found>) -> Result<usize, Fault> {
    let Some(record) = tables.get("schema_migrations") else { return Ok(0) };
    refuse(connection, &statements(RECORD).find_map(|statement| layout(&statement)).unwrap_or_default(), record)?;
    let sql = "SELECT toUInt64(max(number)) FROM schema_migrations";
    let found = connection.rows::<u64>("read the number of the schema", connection.query(sql)).await?;
    let found = usize::try_from(found.first().copied().unwrap_or_default()).unwrap_or(usize::MAX);
    if found > MIGRATIONS.len() {
        return Err(Fault::foreign(format!(
            "the tables in the database {} have schema {found}, and this program knows up to {}: use the newer version \
             of the program that made them",
            connection.database(),
            MIGRATIONS.len()
        )));
    }
    Ok(found)
}

/// Refuses a table that bears one of our names and is not ours.
fn refuse_strangers(connection: &Connection, tables: &BTreeMap<String, Found>) -> Result<(), Fault> {
    layouts().try_for_each(|layout| match tables.get(&layout.name) {
        Some(found) => refuse(connection, &layout, found),
        None => Ok(()),
    })
}

fn refuse(connection: &Connection, layout: &Layout, found: &Found) -> Result<(), Fault> {
    match layout.difference(found) {
        None => Ok(()),
        Some(_) => Err(foreign(connection, layout, found)),
    }
}

/// Why a table that bears one of our names is refused, and what to do about it.
pub(super) fn foreign(connection: &Connection, layout: &Layout, found: &Found) -> Fault {
    let (database, name) = (connection.database(), &layout.name);
    let difference = layout.difference(found).unwrap_or_default();
    Fault::foreign(match adopt::is_predecessor(name, found) {
        true => format!(
            "the table {database}.{name} is that of the worker of before: it {difference}. Nothing was written; \
             `xray-processor-worker migrate --adopt` renames it to {} and makes ours from the objects",
            adopt::aside(name)
        ),
        false => format!(
            "the table {database}.{name} is not this program's: it {difference}. Nothing was written; name another \
             database in CLICKHOUSE_DATABASE, or rename the table"
        ),
    })
}

/// The settings of a table that make an insert wait for the disk.
const FSYNC: [&str; 2] = ["fsync_after_insert", "fsync_part_directory"];

fn is_on(found: &Found, setting: &str) -> bool {
    found.engine_full.contains(&format!("{setting} = 1"))
}

fn waits_for_disk(found: &Found) -> bool {
    FSYNC.iter().all(|setting| is_on(found, setting))
}

/// Whether inserts wait for the disk: settings of the tables themselves, so that all who write agree.
async fn set_fsync(connection: &Connection, fsync: bool) -> Result<(), Fault> {
    let value = u8::from(fsync);
    let tables = tables(connection).await?;
    for Layout { name, .. } in layouts() {
        let on = FSYNC.iter().filter(|setting| tables.get(&name).is_some_and(|found| is_on(found, setting))).count();
        let wanted = if fsync { FSYNC.len() } else { 0 };
        if on != wanted {
            let sql = format!(
                "ALTER TABLE {name} MODIFY SETTING fsync_after_insert = {value}, fsync_part_directory = {value}"
            );
            connection.execute(&format!("set CLICKHOUSE_FSYNC on the table {name}"), connection.query(&sql)).await?;
        }
    }
    Ok(())
}
