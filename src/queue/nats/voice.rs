//! What the server is told about messages: kept until there is a connection over which to say it.

use super::receipt::Epoch;
use super::trouble;
use crate::queue::QueueError;
use async_nats::{Client, Subject};
use bytes::Bytes;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::timeout;

/// A server that hangs reads nothing, and what it does not read stays here.
const SAID_WITHIN: Duration = Duration::from_secs(10);

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// It is stored.
    Ack,
    /// Somebody else may have it.
    Nak,
    /// It is still worked on.
    Progress,
}

impl Word {
    fn payload(self) -> Bytes {
        Bytes::from_static(match self {
            Word::Ack => b"+ACK",
            Word::Nak => b"-NAK",
            Word::Progress => b"+WPI",
        })
    }
}

/// Says things in the order it was asked to, many at a time.
#[derive(Debug, Default)]
pub(super) struct Voice {
    state: Mutex<State>,
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    /// Only while it is certain that the consumer is the one of the epoch.
    client: Option<Client>,
    epoch: Option<Arc<Epoch>>,
    owed: Vec<(Subject, Word)>,
}

impl Voice {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on it is this life of the consumer, and this connection. What is owed to another one is forgotten: its
    /// messages are not there any more, or are given out again by the new one.
    pub(super) fn open(&self, client: Client, epoch: &Arc<Epoch>) {
        let mut state = self.state();
        if !state.epoch.as_ref().is_some_and(|known| Arc::ptr_eq(known, epoch)) {
            state.epoch = Some(epoch.clone());
            state.owed.clear();
        }
        state.client = Some(client);
    }

    /// Nothing is said until it is opened again.
    pub(super) fn shut(&self) {
        self.state().client = None;
    }

    /// Whether there is something that could not be said yet.
    pub(super) fn owes(&self) -> bool {
        !self.state().owed.is_empty()
    }

    /// Says this, and whatever is still owed. Returns once it has left, or at once where it has to wait for a connection: it
    /// is said over the next one.
    pub(super) async fn say(&self, epoch: &Arc<Epoch>, to: Vec<Subject>, word: Word) -> Result<(), QueueError> {
        {
            let mut state = self.state();
            if !state.epoch.as_ref().is_some_and(|known| Arc::ptr_eq(known, epoch)) {
                return Ok(());
            }
            // A lease that cannot be told of now is told of as soon as there is a connection, with all others.
            if state.client.is_some() || word != Word::Progress {
                state.owed.extend(to.into_iter().map(|to| (to, word)));
            }
        }
        self.flush().await
    }

    /// Says what is owed.
    pub(super) async fn flush(&self) -> Result<(), QueueError> {
        let _turn = self.turn.lock().await;
        let (client, owed) = {
            let mut state = self.state();
            let Some(client) = state.client.clone() else { return Ok(()) };
            (client, Owed { voice: self, epoch: state.epoch.clone(), words: std::mem::take(&mut state.owed) })
        };
        if owed.words.is_empty() {
            return Ok(());
        }
        let saying = async {
            for (to, word) in &owed.words {
                client.publish(to.clone(), word.payload()).await.map_err(trouble::not_said)?;
            }
            client.flush().await.map_err(trouble::not_said)
        };
        timeout(SAID_WITHIN, saying).await.unwrap_or_else(|_| Err(trouble::not_said("no answer in time")))?;
        owed.said();
        Ok(())
    }
}

/// Words that are being said. Dropped before they are out, they are owed again: twice does no harm.
struct Owed<'a> {
    voice: &'a Voice,
    epoch: Option<Arc<Epoch>>,
    words: Vec<(Subject, Word)>,
}

impl Owed<'_> {
    fn said(mut self) {
        self.words.clear();
    }
}

impl Drop for Owed<'_> {
    fn drop(&mut self) {
        let mut words = std::mem::take(&mut self.words);
        words.retain(|(_, word)| *word != Word::Progress);
        let mut state = self.voice.state();
        let same = match (&state.epoch, &self.epoch) {
            (Some(now), Some(then)) => Arc::ptr_eq(now, then),
            _ => false,
        };
        if same && !words.is_empty() {
            words.append(&mut state.owed);
            state.owed = words;
        }
    }
}
