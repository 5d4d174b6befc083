use super::{Reader, SqliteMetrics};
use crate::store::{Class, MetricsStore, Touched};
use rusqlite::Connection;
use std::path::Path;

fn refusal(dir: &Path) -> String {
    let error = SqliteMetrics::open(dir, true).unwrap_err();
    assert_eq!(error.class, Class::Us, "{}", error.chain());
    assert!(error.to_string().contains("xray.db"), "{error}");
    error.chain()
}

#[tokio::test]
async fn opens_again_and_knows_itself() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("a/b");
    for durable in [true, false, true] {
        let store = SqliteMetrics::open(&data, durable).unwrap();
        store.probe().await.unwrap();
        store.recompute(&Touched::default()).await.unwrap();
    }
    let connection = Connection::open(data.join("xray.db")).unwrap();
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0)).unwrap();
    assert_eq!((pragma("application_id"), pragma("user_version")), (0x5852_6179, 1));
    let commits: i64 = connection.query_row("SELECT commits FROM barrier", (), |row| row.get(0)).unwrap();
    assert_eq!(commits, 6, "a recompute of nothing still syncs what came before, and a probe commits like work does");
    assert_eq!(Reader::open(&data).unwrap().counts().unwrap(), crate::store::RowCounts::default());
}

#[test]
fn what_is_not_ours_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("xray.db");
    std::fs::write(&path, "a text that is longer than the header of a database, which has 100 bytes".repeat(2))
        .unwrap();
    assert!(refusal(dir.path()).contains("no SQLite database"));

    std::fs::remove_file(&path).unwrap();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();
    let before = std::fs::read(&path).unwrap();
    assert!(refusal(dir.path()).contains("belongs to another program"));
    assert_eq!(std::fs::read(&path).unwrap(), before);

    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    refusal(dir.path());
}

#[test]
fn a_newer_schema_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(SqliteMetrics::open(dir.path(), false).unwrap());
    let connection = Connection::open(dir.path().join("xray.db")).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    assert!(refusal(dir.path()).contains("schema 99"));
    let error = Reader::open(dir.path()).unwrap_err();
    assert!(error.to_string().contains("schema 99"), "{error}");
}

#[test]
fn nothing_to_read_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let error = Reader::open(dir.path()).unwrap_err();
    assert!(error.to_string().contains("nothing has been stored"), "{error}");
}

#[test]
fn many_may_open_a_new_directory_at_once() {
    for _ in 0..5 {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            let opens: Vec<_> =
                (0..8).map(|_| scope.spawn(|| super::open(dir.path(), true, 1 << 20).map(drop))).collect();
            for open in opens {
                open.join().unwrap().unwrap();
            }
        });
    }
}

#[tokio::test]
async fn a_missing_table_is_ours_to_repair() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteMetrics::open(dir.path(), false).unwrap();
    Connection::open(dir.path().join("xray.db")).unwrap().execute_batch("DROP TABLE barrier").unwrap();
    let error = store.recompute(&Touched::default()).await.unwrap_err();
    assert_eq!(error.class, Class::Us, "{}", error.chain());
    assert!(error.to_string().contains("missing"), "{error}");
}

/// What goes into a file that nobody can find any more is not stored.
#[tokio::test]
async fn a_file_that_is_removed_while_it_is_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteMetrics::open(dir.path(), false).unwrap();
    store.recompute(&Touched::default()).await.unwrap();
    let (path, away) = (dir.path().join("xray.db"), dir.path().join("away"));
    std::fs::rename(&path, &away).unwrap();
    let error = store.recompute(&Touched::default()).await.unwrap_err();
    assert!(error.class == Class::Us && error.chain().contains("removed or replaced"), "{}", error.chain());
    std::fs::rename(&away, &path).unwrap();
    store.recompute(&Touched::default()).await.unwrap();
}
