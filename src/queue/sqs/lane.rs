//! One queue: what is polled, renewed, deleted and given back.

use super::Shared;
use super::advice::advice;
use super::appetite::Appetite;
use super::client::Connection;
use super::failed::{Failed, Verdict};
use super::health::Health;
use super::ledger::{Act, Ledger, Outcome};
use super::message::{Came, message};
use super::receipt::{Command, Epoch, Receipt, Waited};
use super::request::{self, Attributes};
use super::source::Source;
use super::trouble::{self, Doing};
use crate::budget::weight;
use crate::jitter::jitter;
use crate::pipeline::Delivery;
use crate::queue::QueueError;
use crate::queue::pace::Pace;
use crate::queue::status::Lane as State;
use aws_sdk_sqs::types;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

/// Requests about messages under way at once.
const CALLS: usize = 32;
/// So many commands are taken together.
const COMMANDS: usize = 256;
/// Between two looks at the queue itself.
const LOOK: Duration = Duration::from_secs(5);
/// Between two polls that find nothing, where SQS does not wait for it: one would ask without a pause.
const AFTER_NOTHING: Duration = Duration::from_millis(200);
/// Between two looks for one that is not there: at first, and at most.
const MISSING: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));
/// Between two looks at what is due.
const TICK: Duration = Duration::from_millis(100);
/// Where SQS does not take what we give back at the end, it gives that out again by itself.
const LAST_TRIES: u32 = 3;

/// Works on one queue until told to stop, whatever happens to it.
pub(super) struct Lane {
    shared: Arc<Shared>,
    source: Arc<Source>,
    stop: CancellationToken,
    connection: Connection,
    epoch: Arc<Epoch>,
    ledger: Ledger<Waited>,
    appetite: Appetite,
    /// How many messages the polls under way ask for.
    asked: usize,
    polls: FuturesUnordered<BoxFuture<'static, Polled>>,
    calls: FuturesUnordered<BoxFuture<'static, Told>>,
    looks: FuturesUnordered<BoxFuture<'static, Looked>>,
    next_look: Instant,
    next_poll: Instant,
    health: Health,
    /// What was last said about the queue's own configuration.
    advised: Vec<String>,
    /// We may not look at the queue itself, which is said once.
    blind: bool,
}

struct Polled {
    asked: usize,
    sent: Instant,
    came: Result<Vec<types::Message>, Failed>,
}

struct Told {
    act: Act,
    sent: Instant,
    ids: Vec<u64>,
    outcomes: Result<Vec<(u64, Outcome)>, Failed>,
}

struct Looked {
    doing: Doing,
    sent: Instant,
    /// `None`: it was created.
    attributes: Result<Option<Attributes>, Failed>,
}

impl Lane {
    /// Works on a queue until told to stop.
    pub(super) async fn run(shared: Arc<Shared>, source: Arc<Source>, stop: CancellationToken) {
        let mut pace = Pace::default();
        let connection = loop {
            let pause = match shared.clients.of(&source).await {
                Ok(connection) => break connection,
                Err(error) => {
                    shared.lane(&source, State::Failing(error));
                    pace.next()
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(pause) => {}
            }
        };
        let (sender, commands) = unbounded_channel();
        let (settings, now) = (&shared.settings, Instant::now());
        let lane = Lane {
            connection,
            epoch: Epoch::new(sender),
            ledger: Ledger::new(settings.visibility_timeout),
            appetite: Appetite::new(settings.polls, &shared.limits, shared.queues),
            asked: 0,
            polls: FuturesUnordered::new(),
            calls: FuturesUnordered::new(),
            looks: FuturesUnordered::new(),
            next_look: now,
            next_poll: now,
            health: Health::new(settings.visibility_timeout, now),
            advised: Vec::new(),
            blind: false,
            shared,
            source,
            stop,
        };
        lane.work(commands).await;
    }

    async fn work(mut self, mut commands: UnboundedReceiver<Command>) {
        let (shared, stop) = (self.shared.clone(), self.stop.clone());
        let mut asked = Vec::with_capacity(COMMANDS);
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stopping = false;
        loop {
            let relieved = shared.relieved.notified();
            self.go_on(stopping);
            tokio::select! {
                biased;
                () = stop.cancelled(), if !stopping => stopping = true,
                _ = commands.recv_many(&mut asked, COMMANDS) => self.settle(&mut asked),
                Some(told) = self.calls.next() => self.told(told),
                Some(polled) = self.polls.next() => self.polled(polled, stopping),
                Some(looked) = self.looks.next() => self.looked(looked),
                () = relieved => {}
                _ = tick.tick() => {}
            }
            if stopping {
                while let Ok(command) = commands.try_recv() {
                    asked.push(command);
                }
                self.settle(&mut asked);
                // Nobody settles what is still open now.
                self.ledger.release(&self.ledger.all_open(), None);
                let given_up = self.health.failures >= LAST_TRIES;
                if self.polls.is_empty() && (given_up || self.ledger.len() == 0) {
                    return;
                }
            }
        }
    }

    /// Asks whatever can be asked now.
    fn go_on(&mut self, stopping: bool) {
        let now = Instant::now();
        let overdue = self.ledger.overdue(now);
        if !overdue.is_empty() {
            tracing::warn!(
                queue = self.source.label,
                messages = overdue.len(),
                "messages are held for almost the 12 h that SQS allows: they are given back, to come again"
            );
            self.release(&overdue, None);
        }
        let quiet = now < self.health.quiet;
        for act in [Act::Renew, Act::Delete, Act::Return] {
            // What is not renewed in time comes again.
            let (quiet, at_once) = match act {
                Act::Renew => (now < self.health.no_renewals, CALLS),
                Act::Delete | Act::Return => (quiet, self.health.at_once(CALLS)),
            };
            while !quiet && self.calls.len() < at_once {
                let messages = self.ledger.next(act, now);
                if messages.is_empty() {
                    break;
                }
                self.calls.push(self.tell(act, messages, now));
            }
        }
        if stopping || quiet {
            return;
        }
        if self.looks.is_empty() && now >= self.next_look {
            self.looks.push(self.look(Doing::Look, now));
        }
        let listens = self.health.listens(self.ledger.len());
        if !self.shared.inbox.is_wanted() || self.health.missing.is_some() || !listens || now < self.next_poll {
            return;
        }
        while self.polls.len() < self.health.at_once(self.appetite.polls())
            && let Some(messages) = self.appetite.next(self.ledger.held(), self.asked)
        {
            self.asked += messages;
            self.polls.push(self.poll(messages, now));
        }
    }

    fn poll(&self, asked: usize, sent: Instant) -> BoxFuture<'static, Polled> {
        let (client, source) = (self.connection.polls.clone(), self.source.clone());
        let (wait, visibility) = (self.shared.settings.wait_time, self.shared.settings.visibility_timeout);
        let poll = async move {
            let came = request::poll(&client, &source, asked, wait, visibility).await;
            Polled { asked, sent, came }
        };
        poll.boxed()
    }

    fn tell(&self, act: Act, messages: Vec<(u64, Arc<str>)>, sent: Instant) -> BoxFuture<'static, Told> {
        let (client, source) = (self.connection.calls.clone(), self.source.clone());
        let visibility = self.shared.settings.visibility_timeout;
        let tell = async move {
            let outcomes = request::tell(&client, &source, act, &messages, visibility).await;
            Told { act, sent, ids: messages.into_iter().map(|(id, _)| id).collect(), outcomes }
        };
        tell.boxed()
    }

    fn look(&self, doing: Doing, sent: Instant) -> BoxFuture<'static, Looked> {
        let (client, source) = (self.connection.calls.clone(), self.source.clone());
        let look = async move {
            let attributes = match doing {
                Doing::Create => request::create(&client, &source).await.map(|()| None),
                _ => request::look(&client, &source).await.map(Some),
            };
            Looked { doing, sent, attributes }
        };
        look.boxed()
    }

    fn settle(&mut self, commands: &mut Vec<Command>) {
        // While nothing is asked nobody needs to wait for it.
        let quiet = Instant::now() < self.health.quiet;
        for command in commands.drain(..) {
            match command {
                Command::Store(ids, waited) => self.ledger.store(&ids, Some(&waited).filter(|_| !quiet)),
                Command::Release(ids, waited) => self.release(&ids, Some(&waited).filter(|_| !quiet)),
                Command::Drop(id) => self.release(&[id], None),
            }
        }
    }

    /// Gives these back. What is behind them in their groups and was not received yet is not to be any more.
    fn release(&mut self, ids: &[u64], waited: Option<&Waited>) {
        let back = self.ledger.release(ids, waited);
        if self.source.is_fifo() {
            let is_back =
                |receipt: &Receipt| receipt.id_in(&self.epoch).is_some_and(|id| back.binary_search(&id).is_ok());
            drop(self.shared.inbox.take_if(is_back));
        }
    }

    fn polled(&mut self, polled: Polled, stopping: bool) {
        self.asked -= polled.asked;
        let came = match polled.came {
            Ok(came) => came,
            Err(failed) => return self.failed(Doing::Consume, polled.sent, &failed),
        };
        self.well(polled.sent);
        self.appetite.polled(polled.asked, came.len());
        if came.is_empty() {
            self.next_poll = polled.sent + AFTER_NOTHING;
        }
        let now = Instant::now();
        let mut deliveries = Vec::with_capacity(came.len());
        for Came { handle, group, message } in came.into_iter().filter_map(|came| message(&self.source, came)) {
            let bytes = message.body.len();
            self.appetite.saw(bytes);
            let id = self.ledger.give(handle, weight(bytes), group, now);
            let receipt = Receipt::new(self.epoch.clone(), id);
            deliveries.push(Delivery { message, receipt });
        }
        if stopping {
            // Dropped, they go back.
            drop(deliveries);
        } else if !deliveries.is_empty() {
            self.shared.inbox.put(deliveries);
        }
    }

    fn told(&mut self, told: Told) {
        match told.outcomes {
            Ok(outcomes) => {
                self.health.told(told.act, true);
                if outcomes.iter().any(|(_, outcome)| *outcome == Outcome::Again) {
                    self.health.pause(told.sent);
                } else {
                    self.well(told.sent);
                }
                self.ledger.done(told.act, told.sent, outcomes);
            }
            Err(failed) => {
                let missing = failed.verdict() == Some(Verdict::NoQueue);
                self.health.told(told.act, missing);
                let outcome = if missing { Outcome::Gone } else { Outcome::Again };
                self.ledger.done(told.act, told.sent, told.ids.into_iter().map(|id| (id, outcome)));
                self.failed(Doing::Consume, told.sent, &failed);
            }
        }
    }

    fn looked(&mut self, looked: Looked) {
        let now = Instant::now();
        self.next_look = now + jitter(LOOK);
        match looked.attributes {
            Ok(Some(attributes)) => {
                self.health.missing = None;
                self.shared.count(&self.source, Some(attributes.messages));
                self.advise(&attributes);
                self.well(looked.sent);
            }
            Ok(None) => {
                tracing::info!(queue = self.source.label, "created the queue");
                self.next_look = now;
            }
            // One can do without.
            Err(failed) if failed.verdict() == Some(Verdict::Denied) && looked.doing == Doing::Look => {
                self.shared.count(&self.source, None);
                if !std::mem::replace(&mut self.blind, true) {
                    let error = &self.error(looked.doing, &failed) as &dyn std::error::Error;
                    let queue = &self.source.label;
                    tracing::warn!(queue, error, "the lag is not known, nor what the queue is like");
                }
            }
            Err(failed) if failed.verdict() == Some(Verdict::NoQueue) => {
                self.missing();
                self.make_or_wait(now);
            }
            Err(failed) => {
                self.shared.count(&self.source, None);
                self.failed(looked.doing, looked.sent, &failed);
            }
        }
    }

    fn advise(&mut self, attributes: &Attributes) {
        let advice = advice(attributes);
        if advice != self.advised {
            for sentence in &advice {
                tracing::warn!(queue = self.source.label, "the queue works against the worker: {sentence}");
            }
            self.advised = advice;
        }
    }

    fn error(&self, doing: Doing, failed: &Failed) -> QueueError {
        trouble::failed(doing, &self.source.label, &self.shared.clients.endpoint(&self.source), failed)
    }

    fn failed(&mut self, doing: Doing, sent: Instant, failed: &Failed) {
        if failed.verdict() == Some(Verdict::NoQueue) {
            return self.missing();
        }
        self.health.pause(sent);
        if self.health.failures > 1 || !failed.is_passing() {
            self.health.fine = false;
            self.shared.lane(&self.source, State::Failing(self.error(doing, failed)));
        } else {
            tracing::debug!(queue = self.source.label, error = failed.cause(), "a request failed, trying again");
        }
    }

    /// It does not exist: nothing more is asked until it is seen again.
    fn missing(&mut self) {
        if self.health.missing.is_some() {
            return;
        }
        self.health.missing = Some(MISSING.0);
        self.health.fine = false;
        self.next_look = Instant::now();
        self.shared.count(&self.source, Some(0));
        // It is no news that one is missing which we are about to create.
        let create = self.shared.settings.create_queues;
        self.shared.lane(&self.source, if create { State::Starting } else { State::Missing });
    }

    fn make_or_wait(&mut self, now: Instant) {
        if self.shared.settings.create_queues {
            self.looks.push(self.look(Doing::Create, now));
        }
        let pause = self.health.missing.unwrap_or(MISSING.0);
        self.health.missing = Some((pause * 2).min(MISSING.1));
        self.next_look = now + jitter(pause);
    }

    fn well(&mut self, sent: Instant) {
        if self.health.well(sent) && !std::mem::replace(&mut self.health.fine, true) {
            self.shared.lane(&self.source, State::Fine);
        }
    }
}
