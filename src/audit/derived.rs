//! Derived rows against a recompute, page by page.

use super::judge::shortened;
use super::persist::persist;
use super::report::{Finding, Problem};
use super::scope::Scope;
use super::verify::Check;
use crate::event::Kind;
use crate::store::audit::{Among, Derived, FactId, Keys, Layer, Values};
use crate::store::{StoreError, Touched};
use chrono::NaiveDate;
use std::sync::atomic::Ordering::Relaxed;

/// Checks every layer, the lower ones first: what is mended there is right for the next.
pub(super) async fn check(check: &Check<'_>) -> Result<(), StoreError> {
    let Check { audited, options, counts, .. } = check;
    for layer in audited.tables.layers() {
        let mut keys = first(*layer, &options.scope);
        loop {
            let page = persist(|| async { audited.tables.derived(*layer, &keys).await }).await?;
            counts.derived.fetch_add(page.rows.len() as u64, Relaxed);
            report(check, *layer, wrong_of(page.rows, &options.scope)).await?;
            match page.next {
                Some(next) => keys = Keys::After(next),
                None => break,
            }
        }
    }
    Ok(())
}

/// Where to begin; for one run, all there is to look at.
fn first(layer: Layer, scope: &Scope) -> Keys {
    match (&scope.run, layer) {
        (None, _) => Keys::After(String::new()),
        (Some(run), Layer::Runs) => Keys::These(vec![run.run_id.clone()]),
        (Some(run), _) => Keys::These(run.steps.iter().cloned().collect()),
    }
}

/// Rows that carry the start of what they are about are in scope by its day. The tables between have no day, and are
/// looked at where no days are asked for.
fn in_scope(row: &Derived, scope: &Scope) -> bool {
    // Of one run only its own are asked for, whatever day they say.
    if scope.run.is_some() {
        return true;
    }
    let Some(at) = row.columns.iter().position(|column| *column == "started_at") else {
        return scope.from.is_none() && scope.to.is_none();
    };
    let day = |values: &Option<Vec<Option<String>>>| -> Option<NaiveDate> {
        values.as_ref()?.get(at)?.as_ref()?.get(..10)?.parse().ok()
    };
    let days: Vec<NaiveDate> = [day(&row.stored), day(&row.computed)].into_iter().flatten().collect();
    days.is_empty() || days.into_iter().any(|day| scope.has_day(day))
}

fn wrong_of(rows: Vec<Derived>, scope: &Scope) -> Vec<Derived> {
    rows.into_iter().filter(|row| row.stored != row.computed && in_scope(row, scope)).collect()
}

async fn report(check: &Check<'_>, layer: Layer, wrong: Vec<Derived>) -> Result<(), StoreError> {
    let Check { audited, options, recent, counts, lowered, .. } = check;
    let repair = check.mends_rows();
    if wrong.is_empty() {
        return Ok(());
    }
    let touched = union(&wrong);
    let (times, own) = ((recent.since, recent.until), lowered.written());
    let young = persist(|| async { audited.tables.changed_within(&touched, times, &own).await }).await?;
    let is_young = |row: &Derived| {
        row.touched.all_steps().into_iter().any(|step| young.steps.contains(step))
            || row.touched.runs.iter().any(|run| young.runs.contains(run))
    };
    let (young, mut wrong): (Vec<_>, Vec<_>) = wrong.into_iter().partition(is_young);
    counts.young.fetch_add(young.len() as u64, Relaxed);
    if options.facts_first && facts(check, &wrong).await? {
        let ids = |row: &Derived| if layer.is_of_runs() { row.touched.runs.clone() } else { row.touched.steps.clone() };
        let keys = Keys::These(wrong.iter().flat_map(ids).collect());
        let again = persist(|| async { audited.tables.derived(layer, &keys).await }).await?;
        wrong = wrong_of(again.rows, &options.scope);
    }
    if repair && !wrong.is_empty() {
        let touched = union(&wrong);
        lowered.forget(&touched).await?;
    }
    wrong.iter().filter_map(|row| finding(row, repair)).for_each(|finding| check.found(&finding));
    Ok(())
}

/// Whether a row that differs or what it comes from is wrong, its facts tell: they are held against their objects.
/// Answers whether that changed any.
async fn facts(check: &Check<'_>, wrong: &[Derived]) -> Result<bool, StoreError> {
    let is_doubtful = |row: &&Derived| row.stored.is_some() && row.computed.is_some();
    let mut touched = Touched::default();
    for row in wrong.iter().filter(is_doubtful) {
        touched.extend(row.touched.clone());
        // A step has its pipeline from its run.
        let at = row.columns.iter().position(|column| *column == "run_id");
        let run = |values: &Option<Values>| values.as_ref()?.get(at?)?.clone().filter(|run| !run.is_empty());
        touched.runs.extend([run(&row.stored), run(&row.computed)].into_iter().flatten());
    }
    let steps: Vec<String> = touched.all_steps().into_iter().map(str::to_owned).collect();
    let runs: Vec<FactId> = touched.runs.iter().cloned().map(FactId::Run).collect();
    let mut changed = false;
    for (kind, among) in [
        (Kind::Decision, Among::Steps(steps.clone())),
        (Kind::Step, Among::Steps(steps)),
        (Kind::Run, Among::Ids(runs)),
    ] {
        changed |= check.rows(kind, among).await?;
    }
    Ok(changed)
}

fn union(rows: &[Derived]) -> Touched {
    let mut all = Touched::default();
    rows.iter().for_each(|row| all.extend(row.touched.clone()));
    all
}

fn finding(row: &Derived, repaired: bool) -> Option<Finding> {
    let (problem, detail) = differs(row)?;
    Some(Finding { problem, table: Some(row.table), id: row.key.join(" / "), detail, repaired })
}

/// What is wrong with a row, in a sentence.
pub(super) fn wrong(row: &Derived) -> Option<(Problem, String)> {
    let (problem, detail) = differs(row)?;
    Some((problem, format!("{} in {}: {detail}", row.key.join(" / "), row.table)))
}

/// Whether a recompute gives a row where none stands, or another version: then it may be on its way.
pub(super) fn is_behind(row: &Derived) -> bool {
    let at = row.columns.iter().position(|column| *column == "version");
    let version = |values: &Option<Values>| at.and_then(|at| values.as_ref()?.get(at).cloned());
    row.computed.is_some() && (row.stored.is_none() || version(&row.stored) != version(&row.computed))
}

fn differs(row: &Derived) -> Option<(Problem, String)> {
    match (&row.stored, &row.computed) {
        (stored, computed) if stored == computed => None,
        (Some(stored), Some(computed)) => {
            let both = row.columns.iter().zip(stored.iter().zip(computed));
            let words: Vec<String> = both
                .filter(|(_, (stored, computed))| stored != computed)
                .map(|(column, (stored, computed))| format!("{column} is {}, not {}", shown(stored), shown(computed)))
                .collect();
            Some((Problem::DifferentDerived, words.join("; ")))
        }
        (None, _) => Some((Problem::MissingDerived, "it is not there, and a recompute gives it".to_owned())),
        (_, None) => Some((Problem::OrphanDerived, "there are no facts that it could come from".to_owned())),
    }
}

fn shown(value: &Option<String>) -> String {
    value.as_deref().map_or_else(|| "NULL".to_owned(), shortened)
}
