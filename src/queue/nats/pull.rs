//! Asks for messages as there is room for them, one request at a time.

use super::Shared;
use super::api::PREFIX;
use super::connect::Link;
use super::message::{Names, message};
use super::receipt::{Epoch, Receipt};
use super::request::{self, Ending, Space};
use super::terms::Terms;
use super::trouble::Place;
use crate::pipeline::Delivery;
use crate::queue::QueueError;
use async_nats::jetstream::consumer::pull::BatchConfig;
use async_nats::{Subject, Subscriber};
use futures_util::{FutureExt, StreamExt};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::{sleep_until, timeout};

/// An answer that is late by so much does not come any more.
const LATE: Duration = Duration::from_secs(5);
/// So many messages go to the inbox together, however many more could be had at once.
const TOGETHER: usize = 256;

/// Why no more is asked for.
#[derive(Debug)]
pub(super) enum End {
    /// We are leaving.
    Quiet,
    /// The connection is lost.
    Lost,
    /// It must be looked at what became of the consumer.
    Look,
    /// A request was not answered; whether one before it was.
    Silence(bool),
    /// The server refuses.
    Refused(QueueError),
}

/// One subscription, and the request that is out.
pub(super) struct Pull<'a> {
    shared: &'a Shared,
    link: &'a Link,
    epoch: &'a Arc<Epoch>,
    terms: &'a Terms,
    /// Answers go to `inbox.N`, where N counts requests: so a late word about an earlier one is known.
    inbox: String,
    count: u64,
    out: Option<Out>,
    alone: bool,
    /// Whether any request was answered.
    heard: bool,
    names: Names,
}

/// Something could not be sent, so nothing can.
type Unsaid = Box<dyn std::error::Error + Send + Sync>;

/// A request that is out.
struct Out {
    answers: Subject,
    asked: usize,
    left: usize,
    deadline: Instant,
}

impl<'a> Pull<'a> {
    pub(super) fn new(shared: &'a Shared, link: &'a Link, epoch: &'a Arc<Epoch>, terms: &'a Terms) -> Self {
        let inbox = link.client.new_inbox();
        Pull {
            shared,
            link,
            epoch,
            terms,
            inbox,
            count: 0,
            out: None,
            alone: false,
            heard: false,
            names: Names::default(),
        }
    }

    pub(super) async fn run(&mut self) -> End {
        let end = self.ask_and_take().await;
        self.shared.asking.send_replace(false);
        end.unwrap_or_else(|error| {
            tracing::debug!(error = &*error, "the connection takes nothing any more");
            End::Lost
        })
    }

    async fn ask_and_take(&mut self) -> Result<End, Unsaid> {
        let (stream, consumer) = (&self.shared.settings.stream, &self.shared.settings.consumer);
        let subscribe = async |to: String| self.link.client.subscribe(to).await.map_err(Unsaid::from);
        // Nothing may be acked of a stream that was made anew, so the server tells at once that the old one goes.
        let mut gone = subscribe(format!("$JS.EVENT.ADVISORY.STREAM.DELETED.{stream}")).await?;
        let mut left = subscribe(format!("$JS.EVENT.ADVISORY.CONSUMER.DELETED.{stream}.{consumer}")).await?;
        let mut answers = subscribe(format!("{}.*", self.inbox)).await?;
        loop {
            let relieved = self.shared.relieved.notified();
            if self.out.is_none() {
                if self.shared.quiet.is_cancelled() {
                    return Ok(End::Quiet);
                }
                self.ask().await?;
            }
            let deadline = self.out.as_ref().map(|out| out.deadline);
            tokio::select! {
                biased;
                () = self.link.lost.cancelled() => {
                    // What has come is ours all the same.
                    while let Some(answer) = answers.next().now_or_never().flatten() {
                        self.take(answer, &mut answers);
                    }
                    return Ok(End::Lost);
                }
                _ = gone.next() => return Ok(End::Look),
                _ = left.next() => return Ok(End::Look),
                answer = answers.next() => {
                    let Some(answer) = answer else { return Ok(End::Lost) };
                    if let Some(end) = self.take(answer, &mut answers) {
                        return Ok(end);
                    }
                }
                () = wait_until(deadline), if deadline.is_some() => {
                    return Ok(End::Silence(self.heard));
                }
                () = relieved, if deadline.is_none() => {}
                () = self.shared.quiet.cancelled(), if deadline.is_none() => {}
            }
        }
    }

    async fn ask(&mut self) -> Result<(), Unsaid> {
        let space = Space { bound: self.shared.bound, held: self.shared.inbox.held() };
        if !self.shared.inbox.is_wanted() {
            return Ok(());
        }
        let Some(next) = request::next(space, self.terms, self.alone) else { return Ok(()) };
        // First this, then the look: whoever wants quiet does it the other way round.
        self.shared.asking.send_replace(true);
        if self.shared.quiet.is_cancelled() {
            self.shared.asking.send_replace(false);
            return Ok(());
        }
        self.count += 1;
        let answers = Subject::from(format!("{}.{}", self.inbox, self.count));
        let (asked, wait) = (next.batch, next.expires.unwrap_or_default() + LATE);
        timeout(LATE, self.send(next, answers.clone())).await??;
        self.out = Some(Out { answers, asked, left: asked, deadline: Instant::now() + wait });
        self.alone = false;
        Ok(())
    }

    async fn send(&self, request: BatchConfig, answers: Subject) -> Result<(), Unsaid> {
        let settings = &self.shared.settings;
        let to = format!("{PREFIX}.CONSUMER.MSG.NEXT.{}.{}", settings.stream, settings.consumer);
        let body = serde_json::to_vec(&request)?;
        Ok(self.link.client.publish_with_reply(to, answers, body.into()).await?)
    }

    /// Takes this, and what else is there at once.
    fn take(&mut self, first: async_nats::Message, answers: &mut Subscriber) -> Option<End> {
        let (mut deliveries, mut end) = (Vec::new(), None);
        let mut next = Some(first);
        while let Some(answer) = next {
            match answer.status {
                None => deliveries.extend(self.delivery(answer)),
                Some(_) => end = self.status(&answer),
            }
            if end.is_some() || deliveries.len() >= TOGETHER {
                break;
            }
            next = answers.next().now_or_never().flatten();
        }
        if !deliveries.is_empty() {
            self.shared.inbox.put(deliveries);
        }
        end
    }

    fn delivery(&mut self, delivery: async_nats::Message) -> Option<Delivery<Receipt>> {
        self.heard = true;
        if let Some(out) = &mut self.out {
            out.left = out.left.saturating_sub(1);
            if out.left == 0 {
                self.answered();
            }
        }
        let (message, reply, delivered) = message(delivery, &mut self.names)?;
        // One that is held already comes again only where the server could not be told in time. Its next words go to
        // the new place; to work on it twice would gain nothing.
        let news = self.epoch.leases().hold(delivered.place, reply, Instant::now());
        news.then(|| Delivery { message, receipt: Receipt::new(self.epoch.clone(), delivered.place) })
    }

    fn status(&mut self, answer: &async_nats::Message) -> Option<End> {
        // A word about an earlier request, which is over in any case.
        if self.out.as_ref().is_none_or(|out| out.answers != answer.subject) {
            return None;
        }
        let status = answer.status.map_or(0, |status| status.as_u16());
        let words = answer.description.as_deref().unwrap_or_default();
        match Ending::of(status, words) {
            Ending::Goes => return None,
            Ending::Done => {}
            // Where any came, there was only no room for one more.
            Ending::TooLarge => self.alone = self.out.as_ref().is_some_and(|out| out.left == out.asked),
            Ending::Changed => return Some(End::Look),
            Ending::Refused(words) => {
                let at = Place { link: self.link, settings: &self.shared.settings };
                return Some(End::Refused(at.no_messages(&words)));
            }
        }
        self.answered();
        None
    }

    fn answered(&mut self) {
        self.out = None;
        self.heard = true;
        self.shared.asking.send_replace(false);
        self.shared.tell(None);
    }
}

async fn wait_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
