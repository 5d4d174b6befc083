//! One queue on one channel: what comes, what is acked, what goes back.

use super::Shared;
use super::connect::Connected;
use super::lane::in_time;
use super::ledger::{Acks, Ledger};
use super::message::message;
use super::prefetch::Prefetch;
use super::receipt::{Command, Epoch, Receipt};
use super::trouble;
use crate::pipeline::Delivery;
use futures_util::future::{pending, try_join_all};
use futures_util::{FutureExt, StreamExt};
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Consumer, Error};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

/// So many are put into the inbox, or settled, in one go.
const BATCH: usize = 256;
/// Between two looks at whether the channel still stands, for where no consumer would tell.
const LOOK: Duration = Duration::from_secs(1);

/// How it ended.
pub(super) enum End {
    /// We were told to stop.
    Stopped,
    /// A message was held for so long that the broker would have closed the channel: all was given back. Tells of acks
    /// that were asked for since it was last looked for them.
    Overdue(watch::Receiver<u64>),
    /// The broker ended the consumer.
    Cancelled,
    /// The channel, or the connection.
    Failed(Error),
}

/// A channel that consumes.
pub(super) struct Channel<'a> {
    pub(super) shared: &'a Shared,
    pub(super) connected: &'a Connected,
    pub(super) queue: &'a Arc<str>,
    pub(super) prefetch: &'a mut Prefetch,
    pub(super) unacked: &'a AtomicUsize,
    pub(super) channel: lapin::Channel,
    pub(super) epoch: Arc<Epoch>,
    pub(super) ledger: Ledger,
    /// `None` while the inbox is too full.
    pub(super) consumer: Option<Consumer>,
    /// What the consumer was started with.
    pub(super) quota: u16,
    /// How many were stored since the last look.
    pub(super) done: usize,
}

impl Channel<'_> {
    /// Consumes until told to stop or something ends it.
    pub(super) async fn run(&mut self, commands: &mut UnboundedReceiver<Command>, stop: &CancellationToken) -> End {
        let end = self.consume(commands, stop).await.unwrap_or_else(End::Failed);
        if let End::Stopped | End::Overdue(_) = end
            && let Err(error) = self.give_back(commands).await
        {
            return if stop.is_cancelled() { End::Stopped } else { End::Failed(error) };
        }
        end
    }

    async fn consume(
        &mut self,
        commands: &mut UnboundedReceiver<Command>,
        stop: &CancellationToken,
    ) -> Result<End, Error> {
        self.start().await?;
        self.shared.fine(self.queue);
        let (mut asked, mut came) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looked = Instant::now();
        let mut acks = self.shared.acks.subscribe();
        loop {
            // Before the commands are looked at: an ack that is not among them then is news.
            acks.borrow_and_update();
            self.unacked.store(self.ledger.len(), Relaxed);
            let overdue = self.ledger.oldest().map(|since| since + self.shared.patience);
            let relieved = self.shared.relieved.notified();
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(End::Stopped),
                _ = commands.recv_many(&mut asked, BATCH) => self.settle(&mut asked).await?,
                () = until(overdue) => return Ok(End::Overdue(acks)),
                next = next(self.consumer.as_mut()) => match next {
                    Some(delivery) => {
                        came.push(delivery?);
                        if !self.take_in(&mut came)? {
                            return Ok(End::Cancelled);
                        }
                        self.adapt().await?;
                    }
                    None => return Ok(End::Cancelled),
                },
                () = relieved, if self.consumer.is_none() => self.adapt().await?,
                _ = look.tick() => {
                    if !self.channel.status().connected() {
                        return Ok(End::Cancelled);
                    }
                    self.look(looked.elapsed());
                    looked = Instant::now();
                    self.adapt().await?;
                }
            }
        }
    }

    async fn start(&mut self) -> Result<(), Error> {
        self.quota = self.prefetch.target();
        // It holds for consumers that start from now on, each for itself.
        in_time(self.channel.basic_qos(self.quota, BasicQosOptions { global: false })).await?;
        let (tag, options) = (self.shared.consumer_tag(), BasicConsumeOptions::default());
        let queue = self.queue.as_ref().into();
        let consuming = self.channel.basic_consume(queue, tag, options, FieldTable::default());
        self.consumer = Some(in_time(consuming).await?);
        Ok(())
    }

    /// Lets no more come; what was on its way still does. What is unacked stays ours.
    async fn pause(&mut self) -> Result<Vec<lapin::message::Delivery>, Error> {
        let mut came = Vec::new();
        if let Some(mut consumer) = self.consumer.take() {
            in_time(self.channel.basic_cancel(consumer.tag(), BasicCancelOptions::default())).await?;
            while let Some(delivery) = consumer.next().await {
                came.push(delivery?);
            }
        }
        Ok(came)
    }

    /// Takes what is there beside what was taken already. `false`: the consumer has ended.
    fn take_in(&mut self, came: &mut Vec<lapin::message::Delivery>) -> Result<bool, Error> {
        let mut goes_on = true;
        while let Some(consumer) = self.consumer.as_mut()
            && came.len() < BATCH
            && let Some(next) = consumer.next().now_or_never()
        {
            match next {
                Some(delivery) => came.push(delivery?),
                None => {
                    goes_on = false;
                    break;
                }
            }
        }
        self.put(came);
        Ok(goes_on)
    }

    fn put(&mut self, came: &mut Vec<lapin::message::Delivery>) {
        let now = Instant::now();
        let deliveries: Vec<_> = came
            .drain(..)
            .map(|delivery| {
                let tag = delivery.delivery_tag;
                self.ledger.give(tag, now);
                self.prefetch.saw(delivery.data.len());
                let receipt = Receipt::new(self.epoch.clone(), tag);
                Delivery { message: message(self.queue, delivery), receipt }
            })
            .collect();
        self.shared.inbox.put(deliveries);
    }

    /// How fast messages are done, where there is no lack of them.
    fn look(&mut self, since: Duration) {
        let done = std::mem::take(&mut self.done);
        if done + self.ledger.len() >= usize::from(self.quota) / 2 {
            self.prefetch.worked(done, since);
        }
    }

    /// Keeps what waits in the inbox within its bound, and consumes with another prefetch where that is worth it.
    async fn adapt(&mut self) -> Result<(), Error> {
        let (messages, bytes) = self.shared.inbox.held();
        let bound = self.shared.limits.max_in_flight_bytes;
        if self.consumer.is_none() {
            if bytes <= bound / 2 {
                self.start().await?;
            }
        } else if bytes > bound && messages > 1 {
            let mut came = self.pause().await?;
            self.put(&mut came);
        } else if self.prefetch.change(self.quota).is_some() {
            let mut came = self.pause().await?;
            self.put(&mut came);
            self.start().await?;
        }
        Ok(())
    }

    /// Tells the broker what was stored and what goes back, and then whoever asked. The latter goes first: a multiple ack
    /// may cover a tag only once that is no longer there.
    async fn settle(&mut self, asked: &mut Vec<Command>) -> Result<(), Error> {
        let (mut back, mut answers) = (Vec::new(), Vec::new());
        for command in asked.drain(..) {
            match command {
                Command::Store(tags, answer) => {
                    self.done += tags.len();
                    tags.into_iter().for_each(|tag| self.ledger.store(tag));
                    answers.push(answer);
                }
                Command::Release(tags, answer) => {
                    back.extend(tags);
                    answers.push(answer);
                }
                Command::Drop(tag) => back.push(tag),
            }
        }
        back.retain(|tag| self.ledger.is_open(*tag));
        let told = self.tell(&back).await;
        let answer = match &told {
            Ok(()) => Ok(()),
            Err(error) => Err(trouble::not_acked(&self.connected.host, self.queue, error)),
        };
        for waiting in answers {
            // Nobody may be waiting any more.
            waiting.send(answer.clone()).ok();
        }
        told
    }

    async fn tell(&mut self, back: &[u64]) -> Result<(), Error> {
        let requeue = BasicNackOptions { multiple: false, requeue: true };
        try_join_all(back.iter().map(|tag| self.channel.basic_nack(*tag, requeue))).await?;
        for tag in back {
            self.ledger.gone(*tag);
        }
        let Acks { up_to, single } = self.ledger.acks();
        if let Some(tag) = up_to {
            self.channel.basic_ack(tag, BasicAckOptions { multiple: true }).await?;
        }
        let acks = single.into_iter().map(|tag| self.channel.basic_ack(tag, BasicAckOptions { multiple: false }));
        try_join_all(acks).await.map(drop)
    }

    /// The end of this channel: acks what is stored, and gives all else back at once and once.
    async fn give_back(&mut self, commands: &mut UnboundedReceiver<Command>) -> Result<(), Error> {
        drop(self.pause().await?);
        drop(self.shared.inbox.take_if(|receipt| receipt.is_of(&self.epoch)));
        let mut asked = Vec::new();
        while let Ok(command) = commands.try_recv() {
            asked.push(command);
        }
        self.settle(&mut asked).await?;
        self.channel.basic_nack(0, BasicNackOptions { multiple: true, requeue: true }).await?;
        self.channel.close(200, "OK".into()).await
    }
}

async fn next(consumer: Option<&mut Consumer>) -> Option<Result<lapin::message::Delivery, Error>> {
    match consumer {
        Some(consumer) => consumer.next().await,
        None => pending().await,
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => pending().await,
    }
}
