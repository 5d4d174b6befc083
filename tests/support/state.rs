//! What a worker in embedded mode left on disk, read without its help.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use rusqlite::{Connection, OpenFlags};
use xray_processor_worker::config::S3;

use super::bucket;
use super::clickhouse::{self, Database};
use super::model::{DeadLetter, DecisionRow, Row, RunRow, State, StepRow, dead_letter_key, sha256_hex};

/// What is there, whatever a worker was in the middle of.
pub struct Left {
    state: State,
    /// Bytes by SHA-256, in the table.
    letter_rows: BTreeMap<String, i64>,
    /// And as their objects have it.
    letter_objects: BTreeMap<String, i64>,
}

impl Left {
    /// Panics on what no finished worker leaves: a dead letter that is only in the table or only an object.
    pub fn finished(self) -> State {
        assert_eq!(
            self.letter_rows, self.letter_objects,
            "bytes by SHA-256 in the table dead_letters (left) and its objects"
        );
        self.state
    }

    /// Without dead letters that have one and not the other.
    pub fn durable(mut self) -> State {
        self.state.dead_letters.retain(|sha256, _| self.letter_rows.contains_key(sha256));
        self.state
    }
}

/// Reads `dir/objects` and `dir/xray.db`. Panics on what no finished worker leaves.
pub fn read_embedded(dir: &Path) -> State {
    left_on_files(dir).finished()
}

/// The same of a bucket and a database on ClickHouse.
pub fn read_servers(settings: &S3, database: &Database) -> State {
    left_on_servers(settings, database).finished()
}

/// Panics on what no worker leaves even in the middle: a file that is no object (a temporary one), a row that is there
/// twice.
pub fn left_on_files(dir: &Path) -> Left {
    let (mut state, letter_objects) = with_objects(files(&dir.join("objects")));
    let path = dir.join("xray.db");
    let db = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)
        .unwrap_or_else(|error| panic!("opening {}: {error}", path.display()));
    db.busy_timeout(Duration::from_secs(10)).unwrap();
    state.decision_events = read_table(&db, DecisionRow::id);
    state.steps = read_table(&db, |row: &StepRow| row.step_id.clone());
    state.runs = read_table(&db, |row: &RunRow| row.run_id.clone());
    Left { state, letter_rows: read_dead_letter_sizes(&db), letter_objects }
}

/// The same of a bucket and a database on ClickHouse.
pub fn left_on_servers(settings: &S3, database: &Database) -> Left {
    let mut objects = clickhouse::block_on(bucket::all(settings));
    objects.remove(".xray-probe");
    let (mut state, letter_objects) = with_objects(objects);
    state.decision_events = database.decision_events();
    state.steps = database.steps();
    state.runs = database.runs();
    let letters = database.rows::<LetterRow>("SELECT sha256, s3_key, bytes FROM {db}.dead_letters FINAL");
    let letter_rows = letters
        .into_iter()
        .map(|LetterRow { sha256, s3_key, bytes }| {
            assert_eq!(s3_key, dead_letter_key(&sha256), "s3_key in dead_letters");
            (sha256, bytes)
        })
        .collect();
    Left { state, letter_rows, letter_objects }
}

#[derive(serde::Deserialize)]
struct LetterRow {
    sha256: String,
    s3_key: String,
    bytes: i64,
}

/// Objects and dead letters, and how long the whole body of each of these was.
fn with_objects(objects: BTreeMap<String, Vec<u8>>) -> (State, BTreeMap<String, i64>) {
    let mut state = State::default();
    let mut letter_sizes = BTreeMap::new();
    for (key, bytes) in objects {
        assert!(is_object_key(&key), "unknown file under objects/: {key}");
        if key.starts_with("dead-letters/") {
            let (sha256, letter, full_bytes) = read_dead_letter(key, &bytes);
            letter_sizes.insert(sha256.clone(), full_bytes);
            state.dead_letters.insert(sha256, letter);
        } else {
            state.objects.insert(key, bytes);
        }
    }
    (state, letter_sizes)
}

/// All files below `root`, by their path relative to it with `/` as separator.
fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = if root.exists() { vec![root.to_owned()] } else { Vec::new() };
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("reading {}: {error}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let parts: Vec<_> =
                    path.strip_prefix(root).unwrap().iter().map(|part| part.to_str().unwrap()).collect();
                found.insert(parts.join("/"), fs::read(&path).unwrap());
            }
        }
    }
    found
}

fn is_object_key(key: &str) -> bool {
    let digits = |part: &str, length| part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit());
    let encoded = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~%!".contains(&byte);
    let id = |file: &str| file.strip_suffix(".json").is_some_and(|id| !id.is_empty() && id.bytes().all(encoded));
    match key.split('/').collect::<Vec<_>>()[..] {
        ["decisions" | "steps" | "runs", year, month, day, file] => {
            digits(year, 4) && digits(month, 2) && digits(day, 2) && id(file)
        }
        ["dead-letters", _, file] => {
            file.strip_suffix(".json").is_some_and(|sha256| sha256.len() == 64 && key == dead_letter_key(sha256))
        }
        _ => false,
    }
}

/// The SHA-256 in the key, the dead letter, and how long the whole body was.
fn read_dead_letter(key: String, bytes: &[u8]) -> (String, DeadLetter, i64) {
    let json: serde_json::Value = serde_json::from_slice(bytes).unwrap_or_else(|error| panic!("{key}: {error}"));
    for field in ["code", "reason", "source", "kind", "firstSeen", "deliveries"] {
        assert!(json.get(field).is_some(), "{key} has no {field}");
    }
    let body = match (json.get("body"), json.get("bodyBase64")) {
        (Some(text), None) => text.as_str().unwrap().as_bytes().to_vec(),
        (None, Some(base64)) => BASE64.decode(base64.as_str().unwrap()).unwrap(),
        _ => panic!("{key} must have one of body and bodyBase64"),
    };
    let sha256 = Path::new(&key).file_stem().unwrap().to_str().unwrap().to_owned();
    let full_bytes = match json.get("fullBytes") {
        Some(length) => length.as_i64().unwrap(),
        None => {
            assert_eq!(sha256, sha256_hex(&body), "{key} does not name the SHA-256 of its body");
            body.len() as i64
        }
    };
    (sha256, DeadLetter { code: json["code"].as_str().unwrap().to_owned(), body, key }, full_bytes)
}

fn read_table<K: Ord, R: Row>(db: &Connection, id: impl Fn(&R) -> K) -> BTreeMap<K, R> {
    let mut found = BTreeMap::new();
    let mut query = db.prepare(&format!("SELECT {} FROM {}", R::COLUMNS.join(", "), R::TABLE)).unwrap();
    for row in query.query_map([], R::from_sqlite).unwrap() {
        let row = row.unwrap_or_else(|error| panic!("reading a row of {}: {error}", R::TABLE));
        let shown = row.shown();
        assert!(found.insert(id(&row), row).is_none(), "a second row in {}: {shown:?}", R::TABLE);
    }
    found
}

/// Checks the keys in the table on the way.
fn read_dead_letter_sizes(db: &Connection) -> BTreeMap<String, i64> {
    let mut found = BTreeMap::new();
    let columns = "sha256, s3_key, bytes, code, reason, source, kind, first_seen, redriven_at";
    let mut query = db.prepare(&format!("SELECT {columns} FROM dead_letters")).unwrap();
    let mut rows = query.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let (sha256, key): (String, String) = (row.get("sha256").unwrap(), row.get("s3_key").unwrap());
        assert_eq!(key, dead_letter_key(&sha256), "s3_key in dead_letters");
        let twice = found.insert(sha256.clone(), row.get("bytes").unwrap()).is_some();
        assert!(!twice, "a second row in dead_letters: {sha256}");
    }
    found
}
