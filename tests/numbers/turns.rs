//! Stores whose calls take turns: each waits before it takes effect and again after, and a schedule says who is next,
//! and what goes wrong.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::oneshot;
use xray_processor_worker::dead_letter::DeadLetter;
use xray_processor_worker::object::{Object, Record};
use xray_processor_worker::store::{
    Class, Created, Existing, Heavy, MetricsStore, RawStore, Replaced, RowCounts, StoreError, Tag, Touched,
};

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Good,
    /// Fails without effect.
    Before,
    /// Takes effect, then fails.
    After,
}

impl Fate {
    /// One in four goes wrong.
    pub fn of(byte: u8) -> Fate {
        match byte & 0b111 {
            0b110 => Fate::Before,
            0b111 => Fate::After,
            _ => Fate::Good,
        }
    }
}

/// Everybody who waits, and how many are at work.
#[derive(Debug, Default)]
pub struct Turns(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    waiting: Vec<oneshot::Sender<Fate>>,
    at_work: usize,
}

/// While it lives, its owner is at work.
#[derive(Debug)]
pub struct Turn {
    turns: Arc<Turns>,
    pub fate: Fate,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.0.lock().unwrap().at_work -= 1;
    }
}

impl Turns {
    /// Waits to be next.
    pub async fn next(self: &Arc<Self>) -> Turn {
        let (grant, granted) = oneshot::channel();
        self.0.lock().unwrap().waiting.push(grant);
        // Whoever grants it counts it as at work.
        let fate = granted.await.unwrap();
        Turn { turns: self.clone(), fate }
    }

    /// Lets one of those who wait go on. Returns whether there was one.
    pub fn grant(&self, which: usize, fate: Fate) -> bool {
        let mut state = self.0.lock().unwrap();
        // Those who were dropped wait no more.
        state.waiting.retain(|grant| !grant.is_closed());
        if state.waiting.is_empty() {
            return false;
        }
        let chosen = which % state.waiting.len();
        let granted = state.waiting.remove(chosen).send(fate).is_ok();
        state.at_work += usize::from(granted);
        granted
    }

    /// Waits until nobody is at work and everybody who can wait does.
    pub async fn settle(&self) {
        let mut calm = 0;
        while calm < 30 {
            tokio::task::yield_now().await;
            if self.0.lock().unwrap().at_work == 0 {
                calm += 1;
            } else {
                calm = 0;
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
        }
    }
}

fn away(store: &'static str) -> StoreError {
    StoreError::new(store, Class::Transient, "away for a test")
}

/// A store whose calls take turns.
#[derive(Debug)]
pub struct InTurn<S>(pub S, pub Arc<Turns>);

impl<S> InTurn<S> {
    /// The call between two turns; `None` where it fails.
    async fn call<T>(&self, call: impl Future<Output = T>) -> Option<T> {
        let turn = self.1.next().await;
        let fate = turn.fate;
        let answer = if fate == Fate::Before { None } else { Some(call.await) };
        drop(turn);
        drop(self.1.next().await);
        answer.filter(|_| fate == Fate::Good)
    }

    async fn each<T>(
        &self,
        len: usize,
        call: impl Future<Output = Vec<Result<T, StoreError>>>,
    ) -> Vec<Result<T, StoreError>> {
        self.call(call).await.unwrap_or_else(|| (0..len).map(|_| Err(away("objects"))).collect())
    }

    async fn one<T>(&self, call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        self.call(call).await.unwrap_or_else(|| Err(away("tables")))
    }
}

#[async_trait]
impl RawStore for InTurn<Arc<dyn RawStore>> {
    fn name(&self) -> &'static str {
        "objects"
    }
    async fn prepare(&self) -> Result<(), StoreError> {
        self.0.prepare().await
    }
    async fn create(&self, objects: &[Arc<Object>]) -> Vec<Result<Created, StoreError>> {
        self.each(objects.len(), self.0.create(objects)).await
    }
    async fn read(&self, keys: &[String]) -> Vec<Result<Option<Existing>, StoreError>> {
        self.each(keys.len(), self.0.read(keys)).await
    }
    async fn replace(&self, objects: &[(Arc<Object>, Tag)]) -> Vec<Result<Replaced, StoreError>> {
        self.each(objects.len(), self.0.replace(objects)).await
    }
    async fn probe(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

#[async_trait]
impl MetricsStore for InTurn<Arc<dyn MetricsStore>> {
    fn name(&self) -> &'static str {
        "tables"
    }
    async fn prepare(&self) -> Result<(), StoreError> {
        self.0.prepare().await
    }
    async fn insert_facts(&self, records: &[Arc<Record>]) -> Result<(), StoreError> {
        self.one(self.0.insert_facts(records)).await
    }
    async fn recompute(&self, touched: &Touched) -> Result<Heavy, StoreError> {
        self.one(self.0.recompute(touched)).await
    }
    async fn insert_dead_letters(&self, letters: &[Arc<DeadLetter>]) -> Result<(), StoreError> {
        self.one(self.0.insert_dead_letters(letters)).await
    }
    async fn row_counts(&self) -> Result<RowCounts, StoreError> {
        self.0.row_counts().await
    }
    async fn probe(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
