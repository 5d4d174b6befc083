//! What settles a delivery.

use super::leases::Leases;
use crate::queue::epochs::by_epoch;
use async_nats::Subject;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

/// Something for the task that gives messages back.
#[derive(Debug)]
pub(super) enum GiveBack {
    /// Its receipt was dropped.
    One(Arc<Epoch>, Subject),
    /// Answered once all before it is said.
    Flush(oneshot::Sender<()>),
}

/// One life of a consumer. The place of a message means nothing outside it: the stream may have been made anew, and then an
/// ack of an old message would be one of a new message that nobody has stored.
#[derive(Debug)]
pub(super) struct Epoch {
    pub(super) identity: Identity,
    leases: Mutex<Leases>,
    give_back: UnboundedSender<GiveBack>,
}

/// When a stream and its consumer were created, by the server's clock. No two of the same name share both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) stream: i128,
    pub(super) consumer: i128,
}

impl Epoch {
    pub(super) fn new(identity: Identity, leases: Leases, give_back: UnboundedSender<GiveBack>) -> Arc<Epoch> {
        Arc::new(Epoch { identity, leases: Mutex::new(leases), give_back })
    }

    pub(super) fn leases(&self) -> MutexGuard<'_, Leases> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Settles one delivery; dropped, the server is told at once to give it out again.
pub struct Receipt {
    epoch: Arc<Epoch>,
    /// `None` once it is settled.
    place: Option<u64>,
}

impl Receipt {
    pub(super) fn new(epoch: Arc<Epoch>, place: u64) -> Self {
        Receipt { epoch, place: Some(place) }
    }

    /// Whether it is of this life of the consumer.
    pub(super) fn is_of(&self, epoch: &Arc<Epoch>) -> bool {
        Arc::ptr_eq(&self.epoch, epoch)
    }

    /// Where to say what became of these, by the life of the consumer they belong to. Nothing of them is held from here on.
    pub(super) fn settle(receipts: impl IntoIterator<Item = Receipt>) -> Vec<(Arc<Epoch>, Vec<Subject>)> {
        let taken = receipts.into_iter().map(|mut receipt| (receipt.epoch.clone(), receipt.place.take()));
        let groups = by_epoch(taken);
        let settle = |(epoch, places): (Arc<Epoch>, Vec<u64>)| {
            let mut leases = epoch.leases();
            let replies = places.into_iter().filter_map(|place| leases.settle(place)).collect();
            drop(leases);
            (epoch, replies)
        };
        groups.into_iter().map(settle).collect()
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        let Some(place) = self.place.take() else { return };
        let reply = self.epoch.leases().settle(place);
        if let Some(reply) = reply {
            // Where nobody listens any more, the server finds out by itself.
            self.epoch.give_back.send(GiveBack::One(self.epoch.clone(), reply)).ok();
        }
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Receipt({:?})", self.place)
    }
}
