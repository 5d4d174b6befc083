//! What of all that is stored an audit is about. Pure.

use crate::event::{Fact, Kind};
use crate::object::Record;
use crate::store::audit::{FactId, FactRow};
use chrono::{Datelike, NaiveDate};
use std::collections::BTreeSet;

/// Kinds, days and perhaps one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// Of these kinds, in the order they are looked at.
    pub kinds: Vec<Kind>,
    /// Not before this day.
    pub from: Option<NaiveDate>,
    /// Not after this day.
    pub to: Option<NaiveDate>,
    /// Only what belongs to this run.
    pub run: Option<OneRun>,
}

/// A run and the steps that are known to belong to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneRun {
    /// The run.
    pub run_id: String,
    /// Its steps.
    pub steps: BTreeSet<String>,
}

impl Default for Scope {
    /// Everything.
    fn default() -> Self {
        Scope { kinds: Kind::ALL.to_vec(), from: None, to: None, run: None }
    }
}

impl Scope {
    /// Whether it leaves nothing out.
    pub fn is_everything(&self) -> bool {
        *self == Scope::default()
    }

    /// Whether it has this day.
    pub fn has_day(&self, day: NaiveDate) -> bool {
        self.from.is_none_or(|from| from <= day) && self.to.is_none_or(|to| day <= to)
    }

    /// Whether it has a day of this month, `202601`.
    pub fn has_month(&self, month: u32) -> bool {
        let number = |day: NaiveDate| day.year().unsigned_abs() * 100 + day.month();
        self.from.is_none_or(|from| number(from) <= month) && self.to.is_none_or(|to| month <= number(to))
    }

    /// Whether it has an object or row with this key.
    pub fn has_key(&self, key: &str) -> bool {
        day_of(key).is_none_or(|day| self.has_day(day))
    }

    /// Whether it has a row. Its month is known to be in it.
    pub fn has_row(&self, row: &FactRow) -> bool {
        let of_run = match (&self.run, &row.id) {
            (None, _) => true,
            (Some(run), FactId::Decision { run_id, .. } | FactId::Run(run_id)) => *run_id == run.run_id,
            (Some(run), FactId::Step(step_id)) => {
                let named = matches!(&row.fact, Some(Fact::Step(report)) if report.run_id == run.run_id);
                named || run.steps.contains(step_id)
            }
        };
        of_run && self.has_key(&row.key)
    }

    /// Whether it has an event.
    pub fn has_record(&self, record: &Record) -> bool {
        self.has_row(&FactRow::of(record))
    }
}

/// The day in a key, `decisions/2026/01/31/…`.
pub fn day_of(key: &str) -> Option<NaiveDate> {
    let mut parts = key.split('/').skip(1);
    let mut number = || parts.next()?.parse().ok();
    let (year, month, day): (u32, u32, u32) = (number()?, number()?, number()?);
    NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_months() {
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        assert_eq!(day_of("decisions/2026/01/31/a%2Fb.json"), Some(day("2026-01-31")));
        assert_eq!(day_of("decisions/2026/02/30/a.json"), None);
        let scope = Scope { from: Some(day("2026-01-31")), to: Some(day("2026-03-01")), ..Scope::default() };
        let has = ["2026-01-30", "2026-01-31", "2026-03-01", "2026-03-02"].map(|text| scope.has_day(day(text)));
        assert_eq!(has, [false, true, true, false]);
        assert_eq!(
            [202_512, 202_601, 202_603, 202_604].map(|month| scope.has_month(month)),
            [false, true, true, false]
        );
        assert!(!scope.is_everything() && Scope::default().is_everything());
    }
}
