//! The messages of one queue that are ours, and what SQS is to be told about them. Pure code without I/O.

use crate::budget::weight;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// SQS takes no more in one request.
pub(super) const BATCH: usize = 10;
/// SQS ends the time of a message so long after it gave it out, whatever it is told.
const HELD_AT_MOST: Duration = Duration::from_secs(12 * 3600);
/// Before that, for the last request to arrive.
const MARGIN: Duration = Duration::from_secs(60);

/// What SQS is told about a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// To hide it for longer.
    Renew,
    /// To forget it.
    Delete,
    /// To give it out again.
    Return,
}

/// What it answered about one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    /// It is not ours any more.
    Gone,
    /// It did not work, and may if it is tried again.
    Again,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// To be deleted, as soon as all before it in its group are stored.
    Stored,
    /// To be given back.
    Returned,
}

#[derive(Debug)]
struct Entry<W> {
    handle: Arc<str>,
    weight: usize,
    came: Instant,
    /// `None`: it is too late for that.
    renew: Option<Instant>,
    state: State,
    /// A request about it is under way.
    busy: bool,
    group: Option<Arc<str>>,
    /// Dropped when the first try to settle it is over.
    waited: Option<W>,
}

/// What is held of one queue, by numbers in the order it came.
///
/// In queues that keep an order, messages of a group are deleted only when all before them are stored, and what is given
/// back takes along all behind it: so the group comes again in its order, from the first that is not done.
#[derive(Debug)]
pub(super) struct Ledger<W> {
    visibility: Duration,
    next: u64,
    entries: BTreeMap<u64, Entry<W>>,
    groups: HashMap<Arc<str>, BTreeSet<u64>>,
    /// What can be asked of SQS now.
    deletes: BTreeSet<u64>,
    returns: BTreeSet<u64>,
    /// How many are open, and what they weigh.
    open: (usize, usize),
    /// A request to give back is under way, in a queue that keeps an order.
    returning: bool,
}

impl<W: Clone> Ledger<W> {
    /// For messages that are hidden for so long at a time.
    pub(super) fn new(visibility: Duration) -> Self {
        Ledger {
            visibility,
            next: 0,
            entries: BTreeMap::new(),
            groups: HashMap::new(),
            deletes: BTreeSet::new(),
            returns: BTreeSet::new(),
            open: (0, 0),
            returning: false,
        }
    }

    /// A message came. Returns its number.
    pub(super) fn give(&mut self, handle: String, weight: usize, group: Option<Arc<str>>, now: Instant) -> u64 {
        let id = self.next;
        self.next += 1;
        if let Some(group) = &group {
            self.groups.entry(group.clone()).or_default().insert(id);
        }
        let renew = Some(now + self.visibility / 2);
        let (state, busy) = (State::Open, false);
        let entry = Entry { handle: handle.into(), weight, came: now, renew, state, busy, group, waited: None };
        self.entries.insert(id, entry);
        self.open = (self.open.0 + 1, self.open.1 + weight);
        id
    }

    /// These are stored. What is not open is not ours to delete.
    pub(super) fn store(&mut self, ids: &[u64], waited: Option<&W>) {
        for id in ids {
            let Some(entry) = self.entries.get_mut(id).filter(|entry| entry.state == State::Open) else { continue };
            entry.state = State::Stored;
            self.open = (self.open.0 - 1, self.open.1 - entry.weight);
            match entry.group.clone() {
                None => {
                    entry.waited = waited.cloned();
                    if !entry.busy {
                        self.deletes.insert(*id);
                    }
                }
                // It may have to wait for others, and nobody is to wait for that.
                Some(group) => self.advance(&group),
            }
        }
    }

    /// What of a group can be deleted now.
    fn advance(&mut self, group: &Arc<str>) {
        for id in self.groups.get(group).into_iter().flatten() {
            match self.entries.get(id) {
                Some(Entry { state: State::Stored, busy, .. }) => {
                    if !busy {
                        self.deletes.insert(*id);
                    }
                }
                // It is not ours any more, and SQS may have given out what came behind it since.
                Some(Entry { state: State::Returned, .. }) => {}
                _ => break,
            }
        }
    }

    /// These go back, and with them what is behind them in their groups. Returns all that do so for the first time.
    pub(super) fn release(&mut self, ids: &[u64], waited: Option<&W>) -> Vec<u64> {
        let mut back = Vec::new();
        for id in ids {
            let Some(entry) = self.entries.get(id).filter(|entry| entry.state == State::Open) else { continue };
            let behind = match &entry.group {
                Some(group) => self.groups.get(group).into_iter().flat_map(|all| all.range(id..)).copied().collect(),
                None => vec![*id],
            };
            for id in behind {
                let Some(entry) = self.entries.get_mut(&id).filter(|entry| entry.state != State::Returned) else {
                    continue;
                };
                if entry.state == State::Open {
                    self.open = (self.open.0 - 1, self.open.1 - entry.weight);
                }
                entry.state = State::Returned;
                entry.waited = waited.cloned();
                self.deletes.remove(&id);
                if !entry.busy {
                    self.returns.insert(id);
                }
                back.push(id);
            }
        }
        back
    }

    /// Those that SQS would soon give out again, whatever it is told: to be released while that is still ours to say.
    pub(super) fn overdue(&self, now: Instant) -> Vec<u64> {
        let longest = HELD_AT_MOST - self.visibility.min(HELD_AT_MOST / 2) - MARGIN;
        let open = self.entries.iter().filter(|(_, entry)| entry.state == State::Open);
        open.take_while(|(_, entry)| now.saturating_duration_since(entry.came) >= longest).map(|(id, _)| *id).collect()
    }

    /// The next request of this kind, with at most [`BATCH`] messages, each with its handle. Empty: there is none now.
    pub(super) fn next(&mut self, act: Act, now: Instant) -> Vec<(u64, Arc<str>)> {
        let ids: Vec<u64> = match act {
            Act::Delete => self.deletes.iter().take(BATCH).copied().collect(),
            // One after the other: what goes back first is given out first.
            Act::Return if self.returning => Vec::new(),
            Act::Return => self.returns.iter().take(BATCH).copied().collect(),
            Act::Renew => {
                let due = |entry: &Entry<W>, by| {
                    entry.state != State::Returned && !entry.busy && entry.renew.is_some_and(|renew| renew <= by)
                };
                // Not for one alone what could be done for ten a moment later.
                let soon = now + self.visibility / 10;
                let any = self.entries.values().any(|entry| due(entry, now));
                let all = self.entries.iter().filter(|(_, entry)| any && due(entry, soon));
                all.take(BATCH).map(|(id, _)| *id).collect()
            }
        };
        let mut request = Vec::with_capacity(ids.len());
        for id in ids {
            self.deletes.remove(&id);
            self.returns.remove(&id);
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.busy = true;
                self.returning |= act == Act::Return && entry.group.is_some();
                request.push((id, entry.handle.clone()));
            }
        }
        request
    }

    /// What became of a request that was sent at `sent`.
    pub(super) fn done(&mut self, act: Act, sent: Instant, outcomes: impl IntoIterator<Item = (u64, Outcome)>) {
        if act == Act::Return {
            self.returning = false;
        }
        for (id, outcome) in outcomes {
            let Some(entry) = self.entries.get_mut(&id) else { continue };
            entry.busy = false;
            match (act, outcome) {
                (Act::Renew, Outcome::Done) => entry.renew = Some(sent + self.visibility / 2),
                // Too late; to delete it may still work.
                (Act::Renew, Outcome::Gone) => entry.renew = None,
                (Act::Renew, Outcome::Again) => {}
                (_, Outcome::Again) => entry.waited = None,
                (_, Outcome::Done | Outcome::Gone) => {
                    self.forget(id);
                    continue;
                }
            }
            match (entry.state, entry.group.clone()) {
                (State::Open, _) => {}
                (State::Returned, _) => {
                    self.returns.insert(id);
                }
                (State::Stored, None) => {
                    self.deletes.insert(id);
                }
                (State::Stored, Some(group)) => self.advance(&group),
            }
        }
    }

    fn forget(&mut self, id: u64) {
        let Some(entry) = self.entries.remove(&id) else { return };
        if let Some(group) = entry.group
            && let Some(ids) = self.groups.get_mut(&group)
        {
            ids.remove(&id);
            if ids.is_empty() {
                self.groups.remove(&group);
            }
        }
    }

    /// How many there are, and what they weigh together. Of those that SQS is still to be told about the bodies are gone.
    pub(super) fn held(&self) -> (usize, usize) {
        let settled = self.len() - self.open.0;
        (self.len(), self.open.1 + settled * weight(0))
    }

    /// How many there are, those that SQS is still to be told about included.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// All that are neither stored nor given back.
    pub(super) fn all_open(&self) -> Vec<u64> {
        let open = self.entries.iter().filter(|(_, entry)| entry.state == State::Open);
        open.map(|(id, _)| *id).collect()
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
