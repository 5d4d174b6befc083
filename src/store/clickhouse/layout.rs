//! What our tables look like, read from the very SQL that makes them; and whether a table found is one of them. Pure.

use std::collections::BTreeMap;

/// A table as a `CREATE TABLE` of ours makes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Layout {
    pub(super) name: String,
    /// Name and type.
    pub(super) columns: Vec<(String, String)>,
    /// Without a replicated or shared variant's prefix.
    pub(super) engine: String,
    /// The column that decides between rows of one key; empty where there is none.
    pub(super) version: String,
    pub(super) partition_key: String,
    pub(super) sorting_key: String,
}

/// A table as the server describes it.
#[derive(Debug, Clone, Default)]
pub(super) struct Found {
    pub(super) columns: BTreeMap<String, String>,
    pub(super) engine: String,
    pub(super) engine_full: String,
    pub(super) partition_key: String,
    pub(super) sorting_key: String,
}

/// The single statements of a file, without comments.
pub(super) fn statements(sql: &str) -> impl Iterator<Item = String> {
    let code: Vec<&str> = sql.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
    let code = code.join("\n");
    let statements: Vec<String> = code.split(';').map(|part| part.trim().to_owned()).collect();
    statements.into_iter().filter(|statement| !statement.is_empty())
}

/// What a statement of ours makes; `None` for one that makes no table.
pub(super) fn layout(statement: &str) -> Option<Layout> {
    let (name, rest) = statement.strip_prefix("CREATE TABLE IF NOT EXISTS ")?.split_once('\n')?;
    let (columns, rest) = rest.strip_prefix("(\n")?.split_once("\n)\n")?;
    let columns = columns.lines().map(|line| line.trim().trim_end_matches(','));
    let columns = columns.filter(|line| !line.starts_with("INDEX ")).filter_map(|line| line.split_once(' '));
    let clause = |word: &str| rest.lines().find_map(|line| line.strip_prefix(word)).unwrap_or_default().trim();
    let (engine, version) = clause("ENGINE = ").trim_end_matches(')').split_once('(').unwrap_or_default();
    Some(Layout {
        name: name.to_owned(),
        columns: columns.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect(),
        engine: engine.to_owned(),
        version: version.to_owned(),
        partition_key: clause("PARTITION BY ").to_owned(),
        sorting_key: unwrapped(clause("ORDER BY ")),
    })
}

/// `(a, b)` as `a, b`, as the server describes keys.
fn unwrapped(key: &str) -> String {
    key.strip_prefix('(').and_then(|key| key.strip_suffix(')')).unwrap_or(key).to_owned()
}

impl Layout {
    /// How a table found under this name differs, in words; `None` where it will do. Columns that somebody added are no
    /// difference.
    pub(super) fn difference(&self, found: &Found) -> Option<String> {
        for (name, kind) in &self.columns {
            match found.columns.get(name) {
                None => return Some(format!("has no column {name}")),
                Some(other) if other != kind => {
                    return Some(format!("has a column {name} of type {other} instead of {kind}"));
                }
                Some(_) => {}
            }
        }
        if !found.engine.ends_with(&self.engine) {
            return Some(format!("has the engine {} instead of {}", found.engine, self.engine));
        }
        if self.version_of(&found.engine_full) != self.version {
            return Some(format!("does not keep the row with the greatest {}", self.version));
        }
        if found.sorting_key != self.sorting_key {
            return Some(format!("is sorted by ({}) instead of ({})", found.sorting_key, self.sorting_key));
        }
        if found.partition_key != self.partition_key {
            return Some(format!("is partitioned by ({}) instead of ({})", found.partition_key, self.partition_key));
        }
        None
    }

    /// The last argument of an engine, `ReplicatedReplacingMergeTree('/path', '{replica}', version) PARTITION BY …`.
    fn version_of(&self, engine_full: &str) -> String {
        let arguments = engine_full.split_once('(').filter(|(name, _)| !name.contains(' ')).map(|(_, rest)| rest);
        let last = arguments.and_then(|rest| rest.split_once(')')).map(|(arguments, _)| arguments.rsplit(',').next());
        last.flatten().unwrap_or_default().trim().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SQL: &str = "-- a comment; with a semicolon
CREATE TABLE IF NOT EXISTS things
(
    id String,
    at DateTime64(3, 'UTC'),
    version UInt256,
    INDEX by_id id TYPE bloom_filter GRANULARITY 1
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(at)
ORDER BY (id, toDate32(at))
SETTINGS index_granularity = 1024;

INSERT INTO things VALUES (1);
";

    fn things() -> Layout {
        statements(SQL).find_map(|statement| layout(&statement)).unwrap()
    }

    fn found() -> Found {
        let columns = [("id", "String"), ("at", "DateTime64(3, 'UTC')"), ("version", "UInt256"), ("theirs", "UInt8")];
        Found {
            columns: columns.map(|(name, kind)| (name.to_owned(), kind.to_owned())).into(),
            engine: "ReplacingMergeTree".into(),
            engine_full: "ReplacingMergeTree(version) PARTITION BY toYYYYMM(at) ORDER BY (id, toDate32(at))".into(),
            partition_key: "toYYYYMM(at)".into(),
            sorting_key: "id, toDate32(at)".into(),
        }
    }

    #[test]
    fn read_from_the_sql() {
        assert_eq!(statements(SQL).count(), 2);
        let things = things();
        assert_eq!(things.columns.len(), 3);
        assert_eq!(things.columns[1], ("at".to_owned(), "DateTime64(3, 'UTC')".to_owned()));
        assert_eq!((things.name.as_str(), things.version.as_str()), ("things", "version"));
        assert_eq!(things.sorting_key, "id, toDate32(at)");
        assert_eq!(things.partition_key, "toYYYYMM(at)");
    }

    #[test]
    fn ours_also_when_replicated_or_with_more_columns() {
        assert_eq!(things().difference(&found()), None);
        let replicated = Found {
            engine: "ReplicatedReplacingMergeTree".into(),
            engine_full: "ReplicatedReplacingMergeTree('/t/{shard}', '{replica}', version) ORDER BY (id)".into(),
            ..found()
        };
        assert_eq!(things().difference(&replicated), None);
    }

    #[test]
    fn each_difference_in_words() {
        type Change = fn(&mut Found);
        let changes: [(Change, &str); 6] = [
            (|found| drop(found.columns.remove("at")), "no column at"),
            (|found| found.columns.insert("at".into(), "DateTime".into()).map_or((), drop), "type DateTime instead of"),
            (|found| found.engine = "MergeTree".into(), "engine MergeTree"),
            (|found| found.engine_full = "ReplacingMergeTree ORDER BY (id)".into(), "greatest version"),
            (|found| found.sorting_key = "at".into(), "sorted by (at) instead of (id, toDate32(at))"),
            (|found| found.partition_key = String::new(), "partitioned by () instead of (toYYYYMM(at))"),
        ];
        for (change, says) in changes {
            let mut other = found();
            change(&mut other);
            let difference = things().difference(&other).unwrap();
            assert!(difference.contains(says), "{difference}");
        }
    }
}
