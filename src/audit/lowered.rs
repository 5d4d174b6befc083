//! Rows whose version an audit may have lowered, and a second look at them.
//!
//! Versions only grow, so that of two recomputes the one that saw more wins. Who takes a fact or a wrong row away breaks
//! that: a worker's query that read what was there before may end afterwards, and what it writes would win for ever. So
//! once no query is left that may have, these rows are recomputed and compared again; what was written late is taken
//! away, and then what others may have read of it, until a look finds nothing.

use super::Audited;
use super::persist::persist;
use super::repair::recompute;
use crate::progress;
use crate::store::audit::{Derived, Keys};
use crate::store::{StoreError, Touched};
use std::sync::{Mutex, PoisonError};
use tokio::time::sleep;

/// From so many keys on they are looked at without waiting for more: memory stays bounded.
const KEYS_AT_MOST: usize = 100_000;
const KEYS_AT_ONCE: usize = 1000;

/// Takes rows away and remembers which.
#[derive(Debug)]
pub(super) struct Lowered<'a> {
    audited: &'a Audited,
    touched: Mutex<Touched>,
    written: Mutex<Touched>,
}

impl<'a> Lowered<'a> {
    pub(super) fn new(audited: &'a Audited) -> Self {
        Lowered { audited, touched: Mutex::default(), written: Mutex::default() }
    }

    /// Remembers that facts of these keys were inserted: that they are recent is no sign of a worker.
    pub(super) fn wrote(&self, inserted: Touched) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        // Of what is forgotten derived rows are left out once, as too young.
        if written.len() >= KEYS_AT_MOST {
            *written = Touched::default();
        }
        written.extend(inserted);
    }

    /// Whose facts were inserted.
    pub(super) fn written(&self) -> Touched {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Recomputes what depends on something that was taken away.
    pub(super) async fn recompute(&self, touched: Touched) -> Result<(), StoreError> {
        recompute(self.audited, touched.clone()).await?;
        self.note(touched).await
    }

    /// Takes these derived rows away, whatever their version, and recomputes them.
    pub(super) async fn forget(&self, touched: &Touched) -> Result<(), StoreError> {
        let all = self.take_away(touched).await?;
        self.note(all).await
    }

    /// Answers with all that was recomputed.
    async fn take_away(&self, touched: &Touched) -> Result<Touched, StoreError> {
        let all = persist(|| async { self.audited.tables.forget(touched).await }).await?;
        recompute(self.audited, all.clone()).await?;
        Ok(all)
    }

    async fn note(&self, touched: Touched) -> Result<(), StoreError> {
        let full = {
            let mut all = self.touched.lock().unwrap_or_else(PoisonError::into_inner);
            all.extend(touched);
            all.len() >= KEYS_AT_MOST
        };
        if full { self.settle().await } else { Ok(()) }
    }

    /// Waits for the queries of others, and looks again. Every audit that took something away ends with it.
    pub(super) async fn settle(&self) -> Result<(), StoreError> {
        let mut touched = std::mem::take(&mut *self.touched.lock().unwrap_or_else(PoisonError::into_inner));
        while !touched.is_empty() {
            let late = self.audited.tables.late();
            if !late.is_zero() {
                let seconds = late.as_secs();
                progress::warn(&format!("waiting {seconds} s for queries of others that may know what was taken away"));
                sleep(late).await;
            }
            touched = self.look(&touched).await?;
        }
        Ok(())
    }

    /// Mends what is wrong again; answers with what it was.
    async fn look(&self, touched: &Touched) -> Result<Touched, StoreError> {
        let Audited { tables, .. } = self.audited;
        let steps: Vec<String> = touched.all_steps().into_iter().map(str::to_owned).collect();
        let runs: Vec<String> = touched.runs.iter().cloned().collect();
        let mut again = Touched::default();
        for layer in tables.layers() {
            let keys = if layer.is_of_runs() { &runs } else { &steps };
            for keys in keys.chunks(KEYS_AT_ONCE) {
                let keys = Keys::These(keys.to_vec());
                let page = persist(|| async { tables.derived(*layer, &keys).await }).await?;
                let mut wrong = Touched::default();
                let differs = |row: &Derived| row.stored != row.computed;
                page.rows.into_iter().filter(differs).for_each(|row| wrong.extend(row.touched));
                if !wrong.is_empty() {
                    again.extend(self.take_away(&wrong).await?);
                }
            }
        }
        Ok(again)
    }
}
