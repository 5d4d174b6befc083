//! Migrations: idempotent, recorded, safe at the same time; and the refusal of what is not ours.

use xray_processor_worker::config;
use xray_processor_worker::store::clickhouse::ClickHouseTables;
use xray_processor_worker::store::{Class, MetricsStore, StoreError};

use crate::support::clickhouse::Database;

fn open(database: &Database, change: impl FnOnce(&mut config::ClickHouse)) -> ClickHouseTables {
    let mut settings = database.settings();
    change(&mut settings);
    ClickHouseTables::new(&settings).unwrap()
}

async fn refused(tables: ClickHouseTables) -> StoreError {
    tables.prepare().await.unwrap_err()
}

#[tokio::test]
async fn once_again_and_by_many_at_once() {
    let database = Database::fresh();
    let many = (0..8).map(|_| {
        let tables = open(&database, |_| {});
        async move { tables.prepare().await }
    });
    futures_util::future::try_join_all(many).await.unwrap();
    assert_eq!(open(&database, |_| {}).migrate().await.unwrap(), (1, 1));
    assert_eq!(database.query("SELECT number, name FROM {db}.schema_migrations FINAL FORMAT TSV"), "1\t0001_tables\n");
    let tables = "SELECT count() FROM system.tables WHERE database = '{db}' FORMAT TSV";
    assert_eq!(database.query(tables), "9\n");
}

/// As after a crash between two statements: what is there already is no obstacle.
#[tokio::test]
async fn a_migration_that_broke_off_goes_on() {
    let database = Database::fresh();
    database.tables().await;
    database.query("DROP TABLE {db}.schema_migrations");
    database.query("DROP TABLE {db}.runs");
    assert_eq!(open(&database, |_| {}).migrate().await.unwrap(), (0, 1));
    assert_eq!(database.runs().len(), 0);
}

#[tokio::test]
async fn left_to_somebody_else() {
    let database = Database::fresh();
    let wait = || open(&database, |settings| settings.migrate_on_start = false);
    let error = refused(wait()).await;
    assert_eq!(error.class, Class::Us, "somebody will migrate");
    assert!(error.chain().contains("migrate"), "{}", error.chain());
    assert_eq!(database.query("SELECT count() FROM system.tables WHERE database = '{db}' FORMAT TSV"), "0\n");
    open(&database, |_| {}).migrate().await.unwrap();
    wait().prepare().await.unwrap();
}

#[tokio::test]
async fn a_newer_schema() {
    let database = Database::fresh();
    database.tables().await;
    database.query("INSERT INTO {db}.schema_migrations VALUES (4711, 'later', now64(3))");
    for migrate_on_start in [true, false] {
        let error = refused(open(&database, |settings| settings.migrate_on_start = migrate_on_start)).await;
        assert_eq!(error.class, Class::Foreign);
        assert!(error.chain().contains("4711") && error.chain().contains("newer version"), "{}", error.chain());
    }
}

#[tokio::test]
async fn a_table_of_ours_is_gone() {
    let database = Database::fresh();
    database.tables().await;
    database.query("DROP TABLE {db}.run_steps");
    let error = refused(open(&database, |_| {})).await;
    assert_eq!(error.class, Class::Us);
    assert!(error.chain().contains("run_steps is gone"), "{}", error.chain());
}

/// Nothing is ever written into a table that is not ours.
#[tokio::test]
async fn tables_of_others_under_our_names() {
    const OF_BEFORE: &str = "CREATE TABLE {db}.decision_events (event_id String, step_id String, run_id String, pipeline_id String,
        outcome String, item_id String, score Nullable(Float64), timestamp DateTime64(3), s3_key String, updated_at DateTime)
        ENGINE = ReplacingMergeTree(updated_at) ORDER BY (run_id, step_id, timestamp)";
    for (sql, says) in [
        (OF_BEFORE, "decision_events is that of the worker of before: it has a column outcome of type String"),
        (
            "CREATE TABLE {db}.runs (x UInt8) ENGINE = MergeTree ORDER BY x",
            "runs is not this program's: it has no column run_id",
        ),
        (
            "CREATE TABLE {db}.schema_migrations (version UInt32) ENGINE = MergeTree ORDER BY version",
            "schema_migrations is not",
        ),
        ("CREATE VIEW {db}.dead_letters AS SELECT 1", "dead_letters is not"),
    ] {
        let database = Database::fresh();
        database.query("CREATE DATABASE {db}");
        database.query(sql);
        let error = refused(open(&database, |_| {})).await;
        assert_eq!(error.class, Class::Foreign, "{}", error.chain());
        assert!(error.chain().contains(says), "{}", error.chain());
        assert_eq!(database.query("SELECT count() FROM system.tables WHERE database = '{db}' FORMAT TSV"), "1\n");
    }
    let database = Database::fresh();
    database.tables().await;
    let ddl = database.query(
        "SELECT replaceAll(create_table_query, '.steps', '.steps_two') FROM system.tables
        WHERE database = '{db}' AND name = 'steps' FORMAT TSVRaw",
    );
    for (change, says) in [
        (
            ddl.replace("ORDER BY step_id", "ORDER BY (run_id, step_id)"),
            "sorted by (run_id, step_id) instead of (step_id)",
        ),
        (ddl.replace("toYYYYMM(started_at)", "toYYYYMM(updated_at)"), "partitioned by (toYYYYMM(updated_at))"),
        (ddl.replace("ReplacingMergeTree(version)", "ReplacingMergeTree(updated_at)"), "greatest version"),
    ] {
        database.query(&change);
        database.query("EXCHANGE TABLES {db}.steps AND {db}.steps_two");
        database.query("DROP TABLE {db}.steps_two");
        let error = refused(open(&database, |_| {})).await;
        assert!(error.class == Class::Foreign && error.chain().contains(says), "{}", error.chain());
    }
}

#[tokio::test]
async fn columns_that_somebody_added_are_welcome() {
    let database = Database::fresh();
    database.tables().await;
    database.query("ALTER TABLE {db}.runs ADD COLUMN team String DEFAULT 'search'");
    database.tables().await;
}

#[tokio::test]
async fn waiting_for_the_disk_is_a_property_of_the_tables() {
    let database = Database::fresh();
    let durable = || {
        let sql =
            "SELECT countIf(engine_full LIKE '%fsync_after_insert = 1%fsync_part_directory = 1%') FROM system.tables
            WHERE database = '{db}' FORMAT TSV";
        database.query(sql)
    };
    for (fsync, tables) in
        [(None, "0\n"), (Some(true), "8\n"), (None, "8\n"), (Some(true), "8\n"), (Some(false), "0\n")]
    {
        open(&database, |settings| settings.fsync = fsync).prepare().await.unwrap();
        assert_eq!(durable(), tables, "{fsync:?}");
    }
}
