//! How many rows have their object: whether these are the tables' objects at all.

use super::Audited;
use super::letters;
use super::pairs::Pairs;
use super::scope::Scope;
use super::walk::{months, pairs};
use crate::store::StoreError;
use chrono::{DateTime, Utc};
use std::fmt;

/// So many rows without objects are damage, whatever else is there. More than that, and more than a tenth of all, looks
/// like a rule of the bucket that expires objects, or like another bucket.
const DAMAGE: u64 = 100;

/// Rows, and those among them without objects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Rows of facts and of dead letters.
    pub rows: u64,
    /// Those whose object is not there.
    pub without: u64,
}

impl Tally {
    /// Whether more is missing than what damage explains.
    pub fn looks_wrong(self) -> bool {
        let Tally { rows, without } = self;
        without > 0 && (without == rows || without > DAMAGE.max(rows / 10))
    }

    fn add(&mut self, rows: u64, has_object: bool) {
        self.rows += rows;
        self.without += if has_object { 0 } else { rows };
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { rows, without } = self;
        write!(f, "{without} of {rows} rows have no object: is this their bucket, and has nothing expired there?")
    }
}

/// Counts what an audit of this scope would look at, by listings alone. Rows written after `since` are left out: whether
/// their objects had been listed by then nobody knows.
pub(super) async fn tally(audited: &Audited, scope: &Scope, since: DateTime<Utc>) -> Result<Tally, StoreError> {
    let mut tally = Tally::default();
    for kind in &scope.kinds {
        for (month, days) in months(audited, *kind, scope).await? {
            let mut pairs = pairs(audited, *kind, month, days);
            while let Some(pair) = pairs.next().await? {
                let rows = pair.rows.iter().filter(|row| scope.has_row(row) && row.updated_at <= since).count();
                tally.add(rows as u64, pair.object.is_some());
            }
        }
    }
    if scope.run.is_none() {
        let mut pairs = Pairs::new(letters::listed(audited).await?, audited.tables.letters(None));
        while let Some(pair) = pairs.next().await? {
            tally.add(pair.rows.len() as u64, pair.object.is_some());
        }
    }
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_or_another_bucket() {
        let looks_wrong = |without, rows| Tally { rows, without }.looks_wrong();
        assert!(!looks_wrong(0, 0) && !looks_wrong(0, 10));
        assert!(!looks_wrong(9, 10) && looks_wrong(10, 10) && looks_wrong(1, 1));
        assert!(!looks_wrong(100, 150) && looks_wrong(101, 150));
        assert!(!looks_wrong(100_000, 1_000_000) && looks_wrong(100_001, 1_000_000));
    }
}
