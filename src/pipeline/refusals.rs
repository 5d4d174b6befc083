//! When an item that a store refuses is given up: late, and only if the store takes others like it. Else it is not the item: a
//! broken view or a new constraint must not make dead letters of good events, one by one.

use super::batch::{Wait, Work};
use crate::digest::Sha256;
use crate::event::Kind;
use crate::health::{Dependency, Failing};
use crate::object::Record;
use crate::store::StoreError;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// So often an item is refused, alone, before it is given up.
const TIMES: u32 = 5;
/// So many suspects are followed at a time; others wait until some of these are given up.
const REMEMBERED: usize = 10_000;
/// Whoever did not come again for so long went elsewhere.
const GONE: Duration = Duration::from_secs(600);

/// What one kind of call of a store refuses, and how much it takes.
#[derive(Debug)]
pub(super) struct Refusals {
    /// What refuses.
    store: Dependency,
    /// So long an item is refused before it is given up.
    patience: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    taken: Taken,
    suspects: BTreeMap<Sha256, Suspect>,
    /// When room was last made for others, in vain or not.
    swept: Option<Instant>,
}

/// How many items of each kind were taken so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Taken([u64; Kind::ALL.len() + 1]);

#[derive(Debug)]
struct Suspect {
    since: Instant,
    last: Instant,
    /// How many others had been taken when it was refused for the first time.
    taken: u64,
    times: u32,
    /// It is kept only to be known if it is delivered again.
    given_up: bool,
}

/// Why an item was not taken.
#[derive(Debug)]
pub(super) struct Refusal {
    /// The store's words.
    pub(super) error: StoreError,
    /// Whether it was refused alone, and so on its own account.
    pub(super) alone: bool,
}

/// What to do about a refusal.
#[derive(Debug)]
pub(super) enum Judgement {
    /// The item is at fault.
    GiveUp,
    /// Nobody knows yet, or the store is.
    Try(Wait),
}

impl Taken {
    fn of(&self, kind: Option<Kind>) -> u64 {
        self.0[Taken::place(kind)]
    }

    fn place(kind: Option<Kind>) -> usize {
        kind.map_or(0, |kind| 1 + kind as usize)
    }
}

impl State {
    /// Forgetting all to make room would never let any of too many be given up.
    fn has_room_for(&mut self, sha256: &Sha256, now: Instant) -> bool {
        if self.suspects.len() < REMEMBERED || self.suspects.contains_key(sha256) {
            return true;
        }
        if self.swept.is_none_or(|swept| now - swept >= Duration::from_secs(1)) {
            self.swept = Some(now);
            self.suspects.retain(|_, suspect| !suspect.given_up && now - suspect.last < GONE);
        }
        self.suspects.len() < REMEMBERED
    }
}

impl Refusals {
    pub(super) fn new(store: Dependency, patience: Duration) -> Self {
        Refusals { store, patience, state: Mutex::default() }
    }

    /// What was taken before now.
    pub(super) fn taken(&self) -> Taken {
        self.lock().taken
    }

    /// The store took these. The kind is `None` where all are alike to it.
    pub(super) fn take(&self, items: impl Iterator<Item = (Option<Kind>, Sha256)>) {
        let State { taken, suspects, .. } = &mut *self.lock();
        for (kind, sha256) in items {
            taken.0[Taken::place(kind)] += 1;
            if !suspects.is_empty() {
                suspects.remove(&sha256);
            }
        }
    }

    /// The store refused this one, in a call before which it had taken so much.
    pub(super) fn judge(&self, (kind, sha256): (Option<Kind>, Sha256), refusal: &Refusal, before: Taken) -> Judgement {
        if !refusal.alone {
            return Judgement::Try(Wait::Refused);
        }
        let (mut state, now) = (self.lock(), Instant::now());
        if !state.has_room_for(&sha256, now) {
            return Judgement::Try(Wait::Refused);
        }
        let State { taken, suspects, .. } = &mut *state;
        let first = || Suspect { since: now, last: now, taken: before.of(kind), times: 0, given_up: false };
        let suspect = suspects.entry(sha256).or_insert_with(first);
        suspect.times = suspect.times.saturating_add(1);
        suspect.last = now;
        let others = taken.of(kind) > suspect.taken;
        if suspect.times == 1 {
            let error = refusal.error.chain();
            let seconds = self.patience.as_secs();
            tracing::warn!(
                store = refusal.error.store,
                error,
                "an item is refused: it is tried again, and given up after {seconds} s if others are taken meanwhile"
            );
        }
        match suspect.times >= TIMES {
            true if !others => Judgement::Try(Wait::Down(self.down(&refusal.error).into())),
            true if suspect.since.elapsed() >= self.patience => {
                suspect.given_up = true;
                Judgement::GiveUp
            }
            _ => Judgement::Try(Wait::Refused),
        }
    }

    /// Takes out of the group what has to be given up, as dead letters to be written; what else is refused waits. Of
    /// all others the store took what was offered. Events are offered with their place in the group.
    pub(super) fn settle<'r>(
        &self,
        group: &mut [&mut Work],
        before: Taken,
        refusal: impl Fn(usize, &Record) -> Option<&'r Refusal>,
    ) {
        let id = |record: &Record| (Some(record.event.kind()), record.event.sha256);
        let mut at = 0;
        for work in group.iter() {
            let places = (at..).zip(work.records.iter().map(|(_, record)| &**record));
            self.take(places.filter(|(at, record)| refusal(*at, record).is_none()).map(|(_, record)| id(record)));
            at += work.records.len();
        }
        let mut at = 0;
        for work in group {
            let mut wait = Wait::No;
            let first = at;
            at += work.records.len();
            work.refuse(|place, record| {
                let refusal = refusal(first + place, record)?;
                match self.judge(id(record), refusal, before) {
                    Judgement::GiveUp => Some(&refusal.error),
                    Judgement::Try(longer) => {
                        wait.or(longer);
                        None
                    }
                }
            });
            work.wait.or(wait);
        }
    }

    /// It takes nothing of that kind, so it is no use until someone mends it.
    fn down(&self, error: &StoreError) -> Failing {
        let failing = self.store.failing();
        let error = format!("{}; and nothing else of that kind is taken", error.chain());
        if self.store.down(error.as_str()) {
            tracing::warn!(store = self.store.name(), error, "store is down");
        }
        failing
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Health;
    use crate::store::Class;

    const MINUTE: Duration = Duration::from_secs(60);

    struct Case {
        health: Health,
        refusals: Refusals,
    }

    impl Case {
        fn new() -> Case {
            let health = Health::default();
            health.dependency("db").up();
            Case { refusals: Refusals::new(health.dependency("db"), MINUTE), health }
        }

        fn judge(&self, item: u8, alone: bool, before: Taken) -> Judgement {
            let error = StoreError::new("db", Class::Item, "no");
            self.refusals.judge((Some(Kind::Run), Sha256([item; 32])), &Refusal { error, alone }, before)
        }

        fn take(&self, kind: Kind) {
            self.refusals.take([(Some(kind), Sha256([9; 32]))].into_iter());
        }
    }

    fn gives_up(judgement: &Judgement) -> bool {
        matches!(judgement, Judgement::GiveUp)
    }

    #[tokio::test(start_paused = true)]
    async fn often_and_for_long_and_only_if_others_are_taken() {
        let case = Case::new();
        case.take(Kind::Run);
        let before = case.refusals.taken();
        case.take(Kind::Decision);
        tokio::time::advance(MINUTE).await;
        for _ in 1..TIMES {
            assert!(!gives_up(&case.judge(1, true, before)));
        }
        let down = case.judge(1, true, before);
        assert!(matches!(down, Judgement::Try(Wait::Down(_))) && !case.health.is_up("db"), "it takes no runs");
        tokio::time::advance(MINUTE).await;
        assert!(!gives_up(&case.judge(1, true, before)), "for as long as it takes none");

        case.take(Kind::Run);
        assert!(gives_up(&case.judge(1, true, before)));
        drop(down);
        assert!(case.health.dependency("db").up());
        let late = case.refusals.taken();
        assert!(gives_up(&case.judge(1, true, late)), "delivered again it is known");
        for _ in 0..2 * TIMES {
            assert!(!gives_up(&case.judge(2, true, before)), "not for long");
            assert!(!gives_up(&case.judge(3, false, before)), "not alone");
        }
        assert!(case.health.is_up("db"), "others are taken");
    }

    /// They wait together and are tried together, again and again.
    #[tokio::test(start_paused = true)]
    async fn more_than_can_be_followed_are_given_up_in_turn() {
        let case = Case::new();
        let before = case.refusals.taken();
        case.take(Kind::Run);
        let id = |n: usize| {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&n.to_be_bytes());
            (Some(Kind::Run), Sha256(id))
        };
        let refusal = Refusal { error: StoreError::new("db", Class::Item, "no"), alone: true };
        let mut waiting: Vec<usize> = (0..5 * REMEMBERED / 2).collect();
        for _ in 0..100 {
            waiting.retain(|n| !gives_up(&case.refusals.judge(id(*n), &refusal, before)));
            tokio::time::advance(MINUTE / 10).await;
        }
        assert_eq!(waiting.len(), 0);
        // Those that never come again make room as well.
        let others: Vec<usize> = (100_000..100_000 + REMEMBERED).collect();
        others.iter().for_each(|n| drop(case.refusals.judge(id(*n), &refusal, before)));
        let late = id(200_000);
        tokio::time::advance(GONE).await;
        for _ in 0..2 * TIMES {
            tokio::time::advance(MINUTE).await;
            if gives_up(&case.refusals.judge(late, &refusal, before)) {
                return;
            }
        }
        panic!("it is never given up");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_taken_is_no_suspect_any_more() {
        let case = Case::new();
        let before = case.refusals.taken();
        case.take(Kind::Run);
        for _ in 1..TIMES {
            assert!(!gives_up(&case.judge(9, true, before)));
        }
        tokio::time::advance(MINUTE).await;
        case.take(Kind::Run);
        assert!(!gives_up(&case.judge(9, true, before)), "it was taken meanwhile");
    }
}
