//! What belongs to one run, found also where rows of it are gone.

use super::Audited;
use super::examine::{content, read};
use super::judge::Content;
use super::persist::persist;
use super::scope::{OneRun, Scope, day_of};
use super::walk::{days, folder_of, pairs, stat};
use crate::event::{Fact, Kind};
use crate::key;
use crate::object::Record;
use crate::store::StoreError;
use crate::store::audit::{Among, FactId};
use chrono::{Days, NaiveDate};
use futures_util::TryStreamExt;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Objects that are read together.
const AT_ONCE: usize = 64;

/// What is known of a run, to look at it alone: its steps, and the days on which anything of it is known, one more before and
/// after. `None` where nothing is.
///
/// Rows say most of it. Where some are gone, the run's own reports say how long it took, and on these days every decision
/// without a row is read; and every report of its steps is found by its key, whatever day it is of.
pub async fn one_run(audited: &Audited, run_id: &str) -> Result<Option<Scope>, StoreError> {
    let mut known = Known { audited, run_id, steps: BTreeSet::new(), days: BTreeSet::new() };
    known.rows().await?;
    for report in known.reports(Kind::Run, &[run_id.to_owned()]).await? {
        if let Fact::Run(report) = &report.event.fact {
            let ends = [Some(report.started_at), report.completed_at];
            known.days.extend(ends.into_iter().flatten().filter_map(|at| at.day().parse::<NaiveDate>().ok()));
        }
    }
    known.decisions_without_rows().await?;
    let steps: Vec<String> = known.steps.iter().cloned().collect();
    known.reports(Kind::Step, &steps).await?;
    let scope = known.scope();
    Ok(scope)
}

/// The keys of all objects that a run or step of this id may have: one for each day.
pub(super) async fn keys_of(audited: &Audited, kind: Kind, ids: &[String]) -> Result<Vec<String>, StoreError> {
    let days = days(&*audited.objects, kind, &Scope::default()).await?;
    let key = |(day, id): (&NaiveDate, &String)| format!("{}{}", folder_of(kind, *day), key::file_name(id));
    let each = days.values().flatten().flat_map(|day| ids.iter().map(move |id| (day, id)));
    Ok(each.map(key).collect())
}

struct Known<'a> {
    audited: &'a Audited,
    run_id: &'a str,
    steps: BTreeSet<String>,
    days: BTreeSet<NaiveDate>,
}

impl Known<'_> {
    async fn rows(&mut self) -> Result<(), StoreError> {
        for kind in Kind::ALL {
            let mut rows = self.audited.tables.facts(kind, Among::Run(self.run_id.to_owned()));
            while let Some(row) = rows.try_next().await? {
                self.days.extend(day_of(&row.key));
                match row.id {
                    FactId::Decision { step_id, .. } | FactId::Step(step_id) => drop(self.steps.insert(step_id)),
                    FactId::Run(_) => {}
                }
            }
        }
        self.steps.extend(persist(|| async { self.audited.tables.linked_steps(self.run_id).await }).await?);
        Ok(())
    }

    /// Reads every report of these entities, and notes the days they are of.
    async fn reports(&mut self, kind: Kind, ids: &[String]) -> Result<Vec<Arc<Record>>, StoreError> {
        let keys = keys_of(self.audited, kind, ids).await?;
        let found: Vec<String> =
            stat(&*self.audited.objects, &keys).await?.into_iter().map(|object| object.key).collect();
        self.days.extend(found.iter().filter_map(|key| day_of(key)));
        self.events(kind, &found).await
    }

    async fn events(&self, kind: Kind, keys: &[String]) -> Result<Vec<Arc<Record>>, StoreError> {
        let mut events = Vec::new();
        for keys in keys.chunks(AT_ONCE) {
            for (key, body) in keys.iter().zip(read(self.audited, keys).await?) {
                if let (Content::Event(record), _) = content(kind, key, body) {
                    events.push(record);
                }
            }
        }
        Ok(events)
    }

    async fn decisions_without_rows(&mut self) -> Result<(), StoreError> {
        let Some(scope) = self.scope() else { return Ok(()) };
        for (month, days) in days(&*self.audited.objects, Kind::Decision, &scope).await? {
            let mut pairs = pairs(self.audited, Kind::Decision, month, days);
            let mut bare = Vec::new();
            loop {
                let pair = pairs.next().await?;
                let at_end = pair.is_none();
                bare.extend(pair.filter(|pair| pair.rows.is_empty()).map(|pair| pair.key));
                if bare.len() >= AT_ONCE || at_end {
                    self.note_decisions(&std::mem::take(&mut bare)).await?;
                }
                if at_end {
                    break;
                }
            }
        }
        Ok(())
    }

    async fn note_decisions(&mut self, keys: &[String]) -> Result<(), StoreError> {
        for record in self.events(Kind::Decision, keys).await? {
            if let Fact::Decision(decision) = &record.event.fact
                && decision.run_id == self.run_id
            {
                self.days.extend(day_of(&record.key));
                self.steps.insert(decision.step_id.clone());
            }
        }
        Ok(())
    }

    fn scope(&self) -> Option<Scope> {
        let (first, last) = (self.days.first()?, self.days.last()?);
        Some(Scope {
            from: first.checked_sub_days(Days::new(1)).or(Some(*first)),
            to: last.checked_add_days(Days::new(1)).or(Some(*last)),
            run: Some(OneRun { run_id: self.run_id.to_owned(), steps: self.steps.clone() }),
            ..Scope::default()
        })
    }
}
