//! Where is my event: everything that has an id, and whether it agrees.

use super::examine::read;
use super::judge::{Case, Content, Mend, Seen, judge};
use super::letters;
use super::pairs::Pair;
use super::persist::persist;
use super::recent::Recent;
use super::report::{Counts, Problem};
use super::scope::Scope;
use super::walk::{days, folder_of, stat};
use super::{Audited, examine};
use crate::dead_letter::{self, DeadLetter};
use crate::event::Kind;
use crate::key;
use crate::store::StoreError;
use crate::store::audit::{Among, Derived, FactId, FactRow, Keys, Listed, NAMED};
use futures_util::stream::{StreamExt, TryStreamExt};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Dead letters whose bytes are searched for the id.
pub const LETTERS_SEARCHED: usize = 10_000;
const LETTERS_AT_ONCE: usize = 64;
/// Decisions whose steps are looked at as well.
const STEPS_SHOWN: usize = 10;

/// Everything that has an id.
#[derive(Debug, Default)]
pub struct Found {
    /// Objects under a key of this id, or of an event about it.
    pub objects: Vec<FoundObject>,
    /// Rows of facts.
    pub rows: Vec<FactRow>,
    /// Derived rows of steps and runs, beside a recompute.
    pub derived: Vec<Derived>,
    /// Dead letters that hold the id or tell of one of these objects.
    pub letters: Vec<DeadLetter>,
    /// Not all dead letters were searched.
    pub letters_left: bool,
    /// Not all rows are here: only the first [`NAMED`] of a kind, and their objects.
    pub rows_left: bool,
    /// What is wrong.
    pub wrong: Vec<Off>,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Off {
    /// What.
    pub problem: Problem,
    /// The same as a sentence.
    pub detail: String,
    /// Whether a worker that has not got further than the object leaves it like this.
    pub behind: bool,
}

/// An object.
#[derive(Debug)]
pub struct FoundObject {
    /// As it is listed.
    pub listed: Listed,
    /// What kind of event its key says.
    pub kind: Kind,
    /// Whether it is the newest report, or the decision that counts; `None` where it is no event.
    pub newest: Option<bool>,
}

/// What it all comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Objects and rows agree.
    AllWell,
    /// Nothing has this id.
    NotSeen,
    /// There is an object and not its row, and that for too long.
    RowMissing,
    /// The same, but the object is young.
    Waiting,
    /// It is only known as a dead letter.
    DeadLetter,
    /// Something else is wrong.
    Differs,
}

impl Verdict {
    /// For programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::AllWell => "all_well",
            Verdict::NotSeen => "not_seen",
            Verdict::RowMissing => "row_missing",
            Verdict::Waiting => "waiting",
            Verdict::DeadLetter => "dead_letter",
            Verdict::Differs => "differs",
        }
    }
}

impl Found {
    /// What it all comes to; an object younger than `min_age` may be on its way.
    pub fn verdict(&self, min_age: Duration) -> Verdict {
        let recent = Recent::of(min_age);
        let is_missing = |off: &Off| matches!(off.problem, Problem::MissingRow | Problem::MissingDerived);
        if self.wrong.is_empty() {
            return match (self.objects.is_empty() && self.rows.is_empty(), self.letters.is_empty()) {
                (true, true) => Verdict::NotSeen,
                (true, false) => Verdict::DeadLetter,
                (false, _) => Verdict::AllWell,
            };
        }
        let is_young = self.objects.iter().any(|object| recent.has(object.listed.modified))
            || self.rows.iter().any(|row| recent.has(row.updated_at));
        if is_young && self.wrong.iter().all(|off| off.behind) {
            return Verdict::Waiting;
        }
        match self.wrong.iter().all(is_missing) {
            true => Verdict::RowMissing,
            false => Verdict::Differs,
        }
    }
}

/// Looks for everything that has this id, on the days in scope.
pub async fn lookup(audited: &Audited, id: &str, scope: &Scope) -> Result<Found, StoreError> {
    let mut found = Found::default();
    let mut keys: BTreeMap<Kind, BTreeSet<String>> = BTreeMap::new();
    for kind in Kind::ALL {
        let rows: Vec<FactRow> =
            persist(|| async { audited.tables.facts(kind, Among::Named(id.to_owned())).try_collect().await }).await?;
        found.rows_left |= rows.len() >= NAMED;
        let of_kind = keys.entry(kind).or_default();
        of_kind.extend(rows.iter().map(|row| row.key.clone()));
        for day in days(&*audited.objects, kind, scope).await?.into_values().flatten() {
            of_kind.insert(format!("{}{}", folder_of(kind, day), key::file_name(id)));
        }
        found.rows.extend(rows);
    }
    for (kind, keys) in keys {
        let keys: Vec<String> = keys.into_iter().collect();
        for listed in stat(&*audited.objects, &keys).await? {
            found.objects.push(FoundObject { listed, kind, newest: None });
        }
    }
    letters(audited, id, &mut found).await?;
    judged(audited, &mut found).await?;
    derived(audited, &mut found).await?;
    Ok(found)
}

/// Judges every key that was found, as an audit does.
async fn judged(audited: &Audited, found: &mut Found) -> Result<(), StoreError> {
    for kind in Kind::ALL {
        let mut pairs: BTreeMap<String, Pair<FactRow>> = BTreeMap::new();
        let empty = |key: &str| Pair { key: key.to_owned(), object: None, rows: Vec::new() };
        for object in found.objects.iter().filter(|object| object.kind == kind) {
            pairs.entry(object.listed.key.clone()).or_insert_with(|| empty(&object.listed.key)).object =
                Some(object.listed.clone());
        }
        for row in found.rows.iter().filter(|row| row.id.kind() == kind) {
            pairs.entry(row.key.clone()).or_insert_with(|| empty(&row.key)).rows.push(row.clone());
        }
        let counts = Counts::default();
        let examined = examine::examine(audited, kind, pairs.into_values().collect(), true, &counts).await?;
        for examine::Examined { key, case, .. } in examined {
            let newest = newest(&case);
            for object in found.objects.iter_mut().filter(|object| object.listed.key == key) {
                object.newest = newest;
            }
            // The row of what is under the key was not known by the id: it is one of an item's or of a moved report.
            if let Some(row) = &case.elsewhere
                && !found.rows.iter().any(|known| known.id == row.id)
            {
                found.rows.push(row.clone());
            }
            for wrong in judge(&case).wrong {
                let about = wrong.row.map_or_else(|| key.clone(), |row| format!("{} in {}", row, row.table()));
                let behind = match &wrong.mend {
                    Mend::Insert(_) => true,
                    Mend::Replace(row, record) => row.version < FactRow::of(record).version,
                    Mend::Remove(_) | Mend::SetAside(_) | Mend::Nothing => false,
                };
                let detail = format!("{about}: {}", wrong.detail);
                found.wrong.push(Off { problem: wrong.problem, detail, behind });
            }
        }
    }
    Ok(())
}

fn newest(case: &Case) -> Option<bool> {
    let Content::Event(record) = &case.object else { return None };
    let expected = FactRow::of(record);
    let rows = case.rows.iter().map(|Seen { row, .. }| row).chain(&case.elsewhere);
    Some(!rows.filter(|row| row.id == expected.id).any(|row| row.version > expected.version))
}

/// Rows of steps and runs that the rows found are about.
async fn derived(audited: &Audited, found: &mut Found) -> Result<(), StoreError> {
    let (mut steps, mut runs) = (BTreeSet::new(), BTreeSet::new());
    for row in &found.rows {
        match &row.id {
            FactId::Decision { step_id, .. } if steps.len() < STEPS_SHOWN => drop(steps.insert(step_id.clone())),
            FactId::Decision { .. } => {}
            FactId::Step(id) => drop(steps.insert(id.clone())),
            FactId::Run(id) => drop(runs.insert(id.clone())),
        }
    }
    let (steps, runs) = (Vec::from_iter(steps), Vec::from_iter(runs));
    for layer in audited.tables.layers() {
        let ids = if layer.is_of_runs() { &runs } else { &steps };
        if ids.is_empty() {
            continue;
        }
        let keys = Keys::These(ids.clone());
        for row in persist(|| async { audited.tables.derived(*layer, &keys).await }).await?.rows {
            if let Some((problem, detail)) = super::derived::wrong(&row) {
                found.wrong.push(Off { problem, detail, behind: super::derived::is_behind(&row) });
            }
            // What is between is only shown where it is wrong.
            if matches!(row.table, "steps" | "runs") {
                found.derived.push(row);
            }
        }
    }
    Ok(())
}

/// Dead letters that hold the id, or that tell of an object that was found.
async fn letters(audited: &Audited, id: &str, found: &mut Found) -> Result<(), StoreError> {
    let mut listing = letters::listed(audited).await?;
    let mut searched = 0;
    loop {
        let keys: Vec<String> =
            listing.by_ref().take(LETTERS_AT_ONCE).map_ok(|listed| listed.key).try_collect().await?;
        if keys.is_empty() {
            return Ok(());
        }
        for (key, body) in keys.iter().zip(read(audited, &keys).await?) {
            let Some(letter) = body.ok().flatten().and_then(|body| dead_letter::parse(key, &body)) else { continue };
            let holds = contains(&letter.body, id.as_bytes())
                || letter.sha256.to_string() == id
                || found.objects.iter().any(|object| letter.rejection.reason.contains(&object.listed.key));
            if holds {
                found.letters.push(letter);
            }
        }
        searched += keys.len();
        if searched >= LETTERS_SEARCHED {
            found.letters_left = true;
            return Ok(());
        }
    }
}

pub(super) fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len().max(1)).any(|window| window == needle)
}
