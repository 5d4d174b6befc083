//! Our types as SQLite's columns, and back.

use crate::digest::Sha256;
use crate::event::{Outcome, Status, Timestamp};
use crate::numbers::Version;
use chrono::{DateTime, SecondsFormat, Utc};
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Result, Row};

/// One of our types in a column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sql<T>(pub T);

/// Our types that a column holds as text.
pub(super) trait Text: Sized {
    fn write(&self) -> String;
    fn read(text: &str) -> Option<Self>;
}

impl Text for Timestamp {
    fn write(&self) -> String {
        self.to_string()
    }

    fn read(text: &str) -> Option<Self> {
        Timestamp::from_millis(DateTime::parse_from_rfc3339(text).ok()?.timestamp_millis())
    }
}

impl Text for Version {
    fn write(&self) -> String {
        self.to_string()
    }

    fn read(text: &str) -> Option<Self> {
        Version::from_hex(text)
    }
}

impl Text for Sha256 {
    fn write(&self) -> String {
        self.to_string()
    }

    fn read(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Sha256(bytes))
    }
}

impl Text for Status {
    fn write(&self) -> String {
        self.as_str().to_owned()
    }

    fn read(text: &str) -> Option<Self> {
        Status::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

impl Text for Outcome {
    fn write(&self) -> String {
        self.as_str().to_owned()
    }

    fn read(text: &str) -> Option<Self> {
        Outcome::ALL.into_iter().find(|outcome| outcome.as_str() == text)
    }
}

impl<T: Text> ToSql for Sql<T> {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(self.0.write().into())
    }
}

impl<T: Text> FromSql for Sql<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let text = value.as_str()?;
        let unknown = || FromSqlError::Other(format!("`{text}` is no {}", std::any::type_name::<T>()).into());
        T::read(text).map(Sql).ok_or_else(unknown)
    }
}

/// SQLite's integers are signed; what does not fit becomes the greatest.
impl ToSql for Sql<u64> {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(i64::try_from(self.0).unwrap_or(i64::MAX).into())
    }
}

impl FromSql for Sql<u64> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let number = value.as_i64()?;
        u64::try_from(number).map(Sql).map_err(|_| FromSqlError::OutOfRange(number))
    }
}

/// Now, as it stands in `updated_at`.
pub(super) fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Reads the columns of a row in their order.
pub(super) struct Columns<'a> {
    row: &'a Row<'a>,
    next: usize,
}

impl<'a> Columns<'a> {
    pub(super) fn new(row: &'a Row<'a>) -> Self {
        Columns { row, next: 0 }
    }

    /// The next column, as one of SQLite's own types.
    pub(super) fn plain<T: FromSql>(&mut self) -> Result<T> {
        let column = self.next;
        self.next += 1;
        self.row.get(column)
    }

    /// The next column, as one of our types.
    pub(super) fn typed<T>(&mut self) -> Result<T>
    where
        Sql<T>: FromSql,
    {
        Ok(self.plain::<Sql<T>>()?.0)
    }

    /// The next column, as one of our types or NULL.
    pub(super) fn nullable<T>(&mut self) -> Result<Option<T>>
    where
        Sql<T>: FromSql,
    {
        Ok(self.plain::<Option<Sql<T>>>()?.map(|value| value.0))
    }

    /// Whether the next column is NULL. Does not pass it.
    pub(super) fn at_null(&self) -> Result<bool> {
        Ok(matches!(self.row.get_ref(self.next)?, ValueRef::Null))
    }

    /// Passes some columns.
    pub(super) fn skip(&mut self, columns: usize) {
        self.next += columns;
    }
}
