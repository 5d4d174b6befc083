//! Reading the tables, for reports to people.

use super::columns::Columns;
use super::{open, sqlite_fault};
use crate::numbers::{RunRow, StepRow};
use crate::store::audit::DeadLetterRow;
use crate::store::{RowCounts, StoreError};
use rusqlite::{Connection, Params, Row};
use std::path::{Path, PathBuf};

/// Reads the tables in a data directory, also while workers write. Every call blocks, and sees what was committed
/// before it.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    connection: Connection,
}

/// What [`dead_letter`] reads.
pub(super) const DEAD_LETTER: &str =
    "SELECT sha256, code, reason, source, kind, s3_key, bytes, first_seen, redriven_at FROM dead_letters";

/// Reads a row of `dead_letters`.
pub(super) fn dead_letter(columns: &mut Columns<'_>) -> rusqlite::Result<DeadLetterRow> {
    Ok(DeadLetterRow {
        sha256: columns.plain()?,
        code: columns.plain()?,
        reason: columns.plain()?,
        source: columns.plain()?,
        kind: columns.plain()?,
        s3_key: columns.plain()?,
        bytes: columns.typed()?,
        first_seen: columns.plain()?,
        redriven_at: columns.plain()?,
    })
}

impl Reader {
    /// Opens the tables in `dir`, which a worker must have made. Changes nothing.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        Ok(Reader { path: dir.join(open::FILE), connection: open::reader(dir)? })
    }

    /// At most `limit` runs, by start.
    pub fn runs(&self, limit: usize) -> Result<Vec<RunRow>, StoreError> {
        let sql = "SELECT run_id, pipeline_id, status, started_at, completed_at, error, total_steps, total_input_count,
                          total_output_count, overall_elimination_ratio, metadata, version
                   FROM runs ORDER BY started_at, run_id LIMIT ?";
        self.rows(sql, [limit as i64], |columns| {
            Ok(RunRow {
                run_id: columns.plain()?,
                pipeline_id: columns.plain()?,
                status: columns.typed()?,
                started_at: columns.typed()?,
                completed_at: columns.nullable()?,
                error: columns.plain()?,
                total_steps: columns.plain()?,
                total_input_count: columns.typed()?,
                total_output_count: columns.typed()?,
                overall_elimination_ratio: columns.plain()?,
                metadata: columns.plain()?,
                version: columns.typed()?,
            })
        })
    }

    /// The steps of a run, by start.
    pub fn steps(&self, run_id: &str) -> Result<Vec<StepRow>, StoreError> {
        let sql = "SELECT step_id, run_id, pipeline_id, step_type, step_name, input_count, output_count,
                          elimination_ratio, kept_count, eliminated_count, scored_count, started_at, completed_at,
                          version
                   FROM steps WHERE run_id = ? ORDER BY started_at, step_id";
        self.rows(sql, [run_id], |columns| {
            Ok(StepRow {
                step_id: columns.plain()?,
                run_id: columns.plain()?,
                pipeline_id: columns.plain()?,
                step_type: columns.plain()?,
                step_name: columns.plain()?,
                input_count: columns.typed()?,
                output_count: columns.typed()?,
                elimination_ratio: columns.plain()?,
                kept_count: columns.typed()?,
                eliminated_count: columns.typed()?,
                scored_count: columns.typed()?,
                started_at: columns.typed()?,
                completed_at: columns.nullable()?,
                version: columns.typed()?,
            })
        })
    }

    /// At most `limit` dead letters, by when they were first seen.
    pub fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetterRow>, StoreError> {
        let sql = format!("{DEAD_LETTER} ORDER BY first_seen, sha256 LIMIT ?");
        self.rows(&sql, [limit as i64], dead_letter)
    }

    /// How many rows there are. Looks at all of them.
    pub fn counts(&self) -> Result<RowCounts, StoreError> {
        let sql = "SELECT (SELECT count(*) FROM decision_events), (SELECT count(*) FROM steps),
                          (SELECT count(*) FROM runs), (SELECT count(*) FROM dead_letters)";
        let counts = self.rows(sql, (), |columns| {
            Ok(RowCounts {
                decision_events: columns.typed()?,
                steps: columns.typed()?,
                runs: columns.typed()?,
                dead_letters: columns.typed()?,
            })
        })?;
        Ok(counts.into_iter().next().unwrap_or_default())
    }

    fn rows<T>(
        &self,
        sql: &str,
        parameters: impl Params,
        read: impl Fn(&mut Columns<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let query = || {
            let mut statement = self.connection.prepare_cached(sql)?;
            let rows = statement.query_map(parameters, |row: &Row<'_>| read(&mut Columns::new(row)))?;
            rows.collect::<rusqlite::Result<Vec<T>>>()
        };
        query().map_err(|error| sqlite_fault::fault("read", &self.path, &error))
    }
}
