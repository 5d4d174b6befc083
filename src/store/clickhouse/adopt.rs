//! Tables of the worker of before: told from those of strangers, and renamed aside.

use super::connection::Connection;
use super::exchange::fresh_name;
use super::fault::Fault;
use super::layout::Found;
use super::migrations;
use super::tables::ClickHouseTables;
use crate::store::StoreError;
use clickhouse::sql::Identifier;

/// What its tables have, by the names that are ours too. None of them has a version.
const TABLES: [(&str, &[&str]); 3] = [
    ("decision_events", &["run_id", "step_id", "item_id", "outcome", "timestamp"]),
    ("steps", &["step_id", "run_id", "step_type", "input_count", "output_count"]),
    ("runs", &["run_id", "pipeline_id", "status", "started_at"]),
];

/// What is added to a name.
const ASIDE: &str = "_before";

/// A table, and the name that it gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rename {
    /// Ours.
    pub from: String,
    /// Out of the way.
    pub to: String,
}

/// Whether a table that is not ours is one that the worker of before made.
pub(super) fn is_predecessor(name: &str, found: &Found) -> bool {
    let columns = TABLES.iter().find(|(table, _)| *table == name).map(|(_, columns)| *columns);
    let has = |column: &str| found.columns.contains_key(column);
    columns.is_some_and(|columns| columns.iter().all(|column| has(column)))
        && !has("version")
        && found.engine.ends_with("MergeTree")
}

/// Where a table of it goes.
pub(super) fn aside(name: &str) -> String {
    format!("{name}{ASIDE}")
}

impl ClickHouseTables {
    /// The tables of the worker of before, and how they would be renamed. Changes nothing. `Err` where a table is in the
    /// way that is neither ours nor its, or where the new name is taken.
    pub async fn predecessors(&self) -> Result<Vec<Rename>, StoreError> {
        self.connection.make_ready().await?;
        Ok(renames(&self.connection).await?)
    }

    /// Renames them, so that a migration can make ours. May be repeated after it broke off.
    pub async fn set_aside(&self, renames: &[Rename]) -> Result<(), StoreError> {
        let database = Identifier(self.connection.database());
        if !renames.is_empty() {
            // Whoever went back to the worker of before left word that ours were made, and they are to be made again.
            let query = self.connection.query_server("DROP TABLE IF EXISTS ?.schema_migrations SYNC").bind(database);
            self.connection.execute("drop the table schema_migrations", query).await?;
        }
        for Rename { from, to } in renames {
            let query = self.connection.query_server("RENAME TABLE ?.? TO ?.?");
            let query = query.bind(database).bind(Identifier(from)).bind(database).bind(Identifier(to));
            self.connection.execute(&format!("rename the table {from} to {to}"), query).await?;
        }
        self.connection.forget_columns().await;
        Ok(())
    }

    /// Whether tables of before stand aside and ours have not been made from the objects since, or not to the end.
    pub async fn awaits_rebuild(&self) -> Result<bool, StoreError> {
        let database = self.connection.database();
        let sql = "SELECT toUInt8(ifNull(countIf(name IN ?) > 0 AND (ifNull(sumIf(total_rows, name IN ?), 0) = 0 OR
                          (SELECT count() FROM system.databases WHERE name = ?) > 0), 0))
                   FROM system.tables WHERE database = ?";
        let aside: Vec<String> = TABLES.iter().map(|(name, _)| aside(name)).collect();
        let ours: Vec<&str> = TABLES.iter().map(|(name, _)| *name).collect();
        let query = self.connection.query_server(sql).bind(aside).bind(ours).bind(fresh_name(database)).bind(database);
        let awaits: Vec<u8> = self.connection.rows("look for tables of before", query).await?;
        Ok(awaits.first() == Some(&1))
    }
}

async fn renames(connection: &Connection) -> Result<Vec<Rename>, Fault> {
    let tables = migrations::tables(connection).await?;
    let mut renames = Vec::new();
    for layout in migrations::layouts() {
        let Some(found) = tables.get(&layout.name).filter(|found| layout.difference(found).is_some()) else { continue };
        let to = aside(&layout.name);
        if !is_predecessor(&layout.name, found) {
            return Err(migrations::foreign(connection, &layout, found));
        }
        if tables.contains_key(&to) {
            return Err(Fault::foreign(format!(
                "the table {} cannot be renamed, because there is a table {to} in the database {} already: rename or drop \
                 that one",
                layout.name,
                connection.database()
            )));
        }
        renames.push(Rename { from: layout.name, to });
    }
    Ok(renames)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn told_by_its_columns() {
        let found = |columns: &[&str]| Found {
            columns: columns.iter().map(|name| ((*name).to_owned(), "String".to_owned())).collect(),
            engine: "ReplacingMergeTree".into(),
            ..Found::default()
        };
        let runs = ["run_id", "pipeline_id", "status", "started_at", "metadata"];
        assert!(is_predecessor("runs", &found(&runs)));
        assert!(!is_predecessor("runs", &found(&runs[1..])), "a column is missing");
        assert!(!is_predecessor("run_reports", &found(&runs)), "it had no such table");
        assert!(!is_predecessor("runs", &found(&[&runs[..], &["version"]].concat())), "ours of another version");
        assert!(!is_predecessor("runs", &Found { engine: "View".into(), ..found(&runs) }));
    }
}
