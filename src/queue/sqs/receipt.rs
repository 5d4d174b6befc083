//! What settles a delivery, and how that gets to the task that owns the queue's messages.

use crate::queue::epochs::by_epoch;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

/// Kept by everything that somebody waits for; they go on when the last of it is dropped.
pub(super) type Waited = Arc<oneshot::Sender<Infallible>>;

/// What the owner is asked to do.
#[derive(Debug)]
pub(super) enum Command {
    /// These are stored: delete them.
    Store(Vec<u64>, Waited),
    /// These go back at once.
    Release(Vec<u64>, Waited),
    /// Its receipt was dropped.
    Drop(u64),
}

/// One life of an owner. Numbers mean nothing outside it.
#[derive(Debug)]
pub(super) struct Epoch {
    commands: UnboundedSender<Command>,
}

impl Epoch {
    pub(super) fn new(commands: UnboundedSender<Command>) -> Arc<Epoch> {
        Arc::new(Epoch { commands })
    }

    /// Asks. Where nobody listens any more the messages come back by themselves.
    pub(super) fn ask(&self, command: Command) {
        self.commands.send(command).ok();
    }
}

/// Settles one delivery; dropped, the message is given back at once.
pub struct Receipt {
    epoch: Arc<Epoch>,
    /// `None` once it is settled.
    id: Option<u64>,
}

impl Receipt {
    pub(super) fn new(epoch: Arc<Epoch>, id: u64) -> Self {
        Receipt { epoch, id: Some(id) }
    }

    /// The number, where it is of this life.
    pub(super) fn id_in(&self, epoch: &Arc<Epoch>) -> Option<u64> {
        self.id.filter(|_| Arc::ptr_eq(&self.epoch, epoch))
    }

    /// Takes it apart; dropping it says nothing any more.
    pub(super) fn forget(mut self) -> (Arc<Epoch>, Option<u64>) {
        let id = self.id.take();
        (self.epoch.clone(), id)
    }
}

/// Asks the owners of these, and waits until each has had its try.
pub(super) async fn settle(receipts: impl IntoIterator<Item = Receipt>, command: fn(Vec<u64>, Waited) -> Command) {
    let groups = by_epoch(receipts.into_iter().map(Receipt::forget));
    let (waited, done) = oneshot::channel();
    let waited = Arc::new(waited);
    for (epoch, ids) in groups {
        epoch.ask(command(ids, waited.clone()));
    }
    drop(waited);
    let Err(_all_dropped) = done.await;
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            self.epoch.ask(Command::Drop(id));
        }
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Receipt({:?})", self.id)
    }
}
