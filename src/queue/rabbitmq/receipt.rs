//! What settles a delivery, and how that gets to the task that owns the channel.

use crate::queue::QueueError;
use crate::queue::epochs::by_epoch;
use std::fmt;
use std::sync::Arc;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

/// What the owner of a channel is asked to do. It does so in the order of asking: only then is it known what a multiple
/// ack may cover.
#[derive(Debug)]
pub(super) enum Command {
    /// These are stored. Answered once the acks have left.
    Store(Vec<u64>, oneshot::Sender<Result<(), QueueError>>),
    /// These go back. Answered once that has been said.
    Release(Vec<u64>, oneshot::Sender<Result<(), QueueError>>),
    /// Its receipt was dropped.
    Drop(u64),
}

/// One life of a channel. Tags mean nothing outside it.
#[derive(Debug)]
pub(super) struct Epoch {
    commands: UnboundedSender<Command>,
}

impl Epoch {
    pub(super) fn new(commands: UnboundedSender<Command>) -> Arc<Epoch> {
        Arc::new(Epoch { commands })
    }

    /// Asks. Where nobody listens any more the channel is long gone, and its messages with it.
    pub(super) fn ask(&self, command: Command) {
        self.commands.send(command).ok();
    }
}

/// Settles one delivery; dropped, the broker is told at once to give it out again.
pub struct Receipt {
    epoch: Arc<Epoch>,
    /// `None` once it is settled.
    tag: Option<u64>,
}

impl Receipt {
    pub(super) fn new(epoch: Arc<Epoch>, tag: u64) -> Self {
        Receipt { epoch, tag: Some(tag) }
    }

    /// Whether it is of this life of a channel.
    pub(super) fn is_of(&self, epoch: &Arc<Epoch>) -> bool {
        Arc::ptr_eq(&self.epoch, epoch)
    }

    /// Takes it apart; dropping it says nothing any more.
    pub(super) fn forget(mut self) -> (Arc<Epoch>, Option<u64>) {
        let tag = self.tag.take();
        (self.epoch.clone(), tag)
    }

    /// The tags by the life of the channel they belong to.
    pub(super) fn group(receipts: impl IntoIterator<Item = Receipt>) -> Vec<(Arc<Epoch>, Vec<u64>)> {
        by_epoch(receipts.into_iter().map(Receipt::forget))
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if let Some(tag) = self.tag.take() {
            self.epoch.ask(Command::Drop(tag));
        }
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Receipt({:?})", self.tag)
    }
}
