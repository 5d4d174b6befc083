//! Taking messages off the queue, as there is room for them.

use super::{Context, Settings, Stop};
use crate::causes;
use crate::health::{Dependency, Pulse};
use crate::kill_point;
use crate::pipeline::{Decoded, Delivery, Intake};
use crate::queue::{QueueBackend, QueueError};
use futures_util::FutureExt;
use std::pin::pin;
use std::time::Duration;
use tokio::task::yield_now;
use tokio::time::sleep;

/// Pause after a failed receive; the backend has its own backoff for connections.
const PAUSE: Duration = Duration::from_secs(1);
/// So many decoded messages are sent on their way together, however many more could be had at once.
const TOGETHER: usize = 256;
/// However rarely one wants to poll: a loop that is silent for longer counts as stuck.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Takes messages off the queue as there is room for them, until told to stop.
pub(super) struct Receiver<'a, Q: QueueBackend> {
    queue: &'a Q,
    intake: Intake<Q::Receipt>,
    context: &'a Context,
    settings: Settings,
    stop: &'a Stop,
    pulse: Pulse,
    /// `None` for a queue inside the process, which cannot be away.
    broker: Option<Dependency>,
}

impl<'a, Q: QueueBackend> Receiver<'a, Q> {
    pub(super) fn new(
        queue: &'a Q,
        intake: Intake<Q::Receipt>,
        context: &'a Context,
        settings: Settings,
        stop: &'a Stop,
    ) -> Self {
        let pulse = context.health.pulse("receive");
        let broker = (!Q::LOCAL).then(|| context.health.dependency(Q::NAME));
        Receiver { queue, intake, context, settings, stop, pulse, broker }
    }

    pub(super) async fn run(self) {
        let mut decoded = Vec::new();
        loop {
            self.pulse.idle();
            let received = tokio::select! {
                biased;
                () = self.stop.drain.cancelled() => return self.send(&mut decoded),
                received = self.receive(&mut decoded) => received,
            };
            match received {
                Ok(deliveries) => {
                    self.up();
                    self.decode(deliveries, &mut decoded).await;
                }
                Err(error) => {
                    self.send(&mut decoded);
                    self.down(&error);
                    tokio::select! {
                        () = self.stop.drain.cancelled() => return,
                        () = sleep(PAUSE) => {}
                    }
                }
            }
        }
    }

    /// The next poll. What was decoded is sent on its way as soon as that has to wait: as long as the next is there at once
    /// they are sent together, which costs far less for each.
    async fn receive(&self, decoded: &mut Vec<Decoded<Q::Receipt>>) -> Result<Vec<Delivery<Q::Receipt>>, QueueError> {
        if decoded.len() >= TOGETHER {
            self.send(decoded);
            // Acks have their turn, however much there is to receive.
            yield_now().await;
        }
        let mut poll = pin!(self.poll());
        if let Some(ready) = (&mut poll).now_or_never() {
            return ready;
        }
        self.send(decoded);
        poll.await
    }

    async fn poll(&self) -> Result<Vec<Delivery<Q::Receipt>>, QueueError> {
        let Context { budget, .. } = self.context;
        let wait = self.settings.poll_interval.min(LONGEST_WAIT);
        loop {
            let mut room = budget.room().await;
            self.pulse.beat();
            room.messages = room.messages.min(self.settings.batch_size);
            tokio::select! {
                biased;
                received = self.queue.receive(room, wait) => return received,
                // What waits there may have been too large for the room that was left.
                () = budget.more_than(room) => {}
            }
        }
    }

    /// Decodes one after the other, as the budget allows: a message may hold far more than its bytes tell.
    async fn decode(&self, deliveries: Vec<Delivery<Q::Receipt>>, decoded: &mut Vec<Decoded<Q::Receipt>>) {
        let Context { budget, metrics, .. } = self.context;
        if !deliveries.is_empty() {
            kill_point::reached("received");
        }
        let holds = budget.hold_all(deliveries.iter().map(|delivery| delivery.message.body.len()));
        for (waiting, (delivery, hold)) in (1..=holds.len()).rev().zip(deliveries.into_iter().zip(holds)) {
            if delivery.message.deliveries > 1 {
                metrics.redelivered();
            }
            if !budget.is_relieved(waiting) {
                // Nobody else gives back what these hold.
                self.send(decoded);
                self.pulse.idle();
                // Once all is given up it only passes through, to be given back.
                tokio::select! {
                    () = budget.relieved(waiting) => {}
                    () = self.stop.give_up.cancelled() => {}
                }
                self.pulse.beat();
            }
            decoded.push(self.intake.decode(delivery, hold));
        }
    }

    fn send(&self, decoded: &mut Vec<Decoded<Q::Receipt>>) {
        if !decoded.is_empty() {
            self.intake.send(std::mem::take(decoded));
        }
    }

    fn up(&self) {
        if self.broker.as_ref().is_some_and(Dependency::up) {
            tracing::info!(queue = Q::NAME, "queue is up");
        }
    }

    fn down(&self, error: &QueueError) {
        let error = causes::chain(error);
        if self.broker.as_ref().is_some_and(|broker| broker.down(error.as_str())) {
            tracing::warn!(queue = Q::NAME, error, "queue is down");
        }
    }
}
