//! The connection and the consumer: found, watched, found again.

use super::Shared;
use super::api::Refusal;
use super::connect::{Link, connect_any};
use super::leases::Leases;
use super::open::{Opened, look, open};
use super::pull::{End, Pull};
use super::receipt::{Epoch, GiveBack};
use super::servers::Servers;
use super::terms::judge;
use super::trouble::{self, Place};
use super::voice::Word;
use crate::queue::QueueError;
use crate::queue::pace::Pace;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Between two looks at the consumer: how much waits, and whether it is still the same.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// So many words are said together.
const TOGETHER: usize = 1024;

/// Runs until told to stop.
pub(super) async fn run(
    shared: Arc<Shared>,
    servers: Servers,
    give_back: UnboundedSender<GiveBack>,
    stop: CancellationToken,
) {
    let mut pace = Pace::default();
    let mut first = 0;
    let mut epoch = None;
    loop {
        let connected = tokio::select! {
            () = stop.cancelled() => return,
            connected = connect_any(&servers, first, "consumer") => connected,
        };
        match connected {
            Ok((at, link)) => {
                first = at;
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = over(&shared, &link, &mut epoch, &give_back) => {}
                }
                shared.voice.shut();
                shared.inbox.set_lag(None);
                let lost = trouble::lost(&link.server);
                tracing::warn!(error = &lost as &dyn std::error::Error, "connecting again");
            }
            Err(error) => shared.tell(Some(error)),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(pace.next()) => {}
        }
    }
}

/// All that happens over one connection. Returns when it is lost.
async fn over(
    shared: &Arc<Shared>,
    link: &Link,
    epoch: &mut Option<Arc<Epoch>>,
    give_back: &UnboundedSender<GiveBack>,
) {
    let mut pace = Pace::default();
    // Whether requests were refused: then it is not well before one is answered.
    let mut refused = false;
    loop {
        let opened = tokio::select! {
            () = link.lost.cancelled() => return,
            opened = open(link, &shared.settings) => opened,
        };
        match opened {
            Ok(opened) => {
                let now = begin(shared, link, &opened, epoch, give_back);
                if !std::mem::take(&mut refused) {
                    shared.tell(None);
                }
                match consume(shared, link, &now, &opened).await {
                    End::Lost => return,
                    End::Refused(error) => {
                        shared.tell(Some(error));
                        refused = true;
                    }
                    // Once may be bad luck: it is asked again in another way.
                    End::Silence(heard) => {
                        if !heard {
                            shared.tell(Some(
                                Place { link, settings: &shared.settings }.no_messages("no answer in time"),
                            ));
                            refused = true;
                        }
                    }
                    End::Look | End::Quiet => {}
                }
                // What is asked from here on waits until it is known whom it would reach.
                shared.voice.shut();
            }
            Err(error) => {
                shared.inbox.set_lag(None);
                shared.tell(Some(error));
            }
        }
        tokio::select! {
            () = link.lost.cancelled() => return,
            () = sleep(pace.next()) => {}
        }
    }
}

/// The consumer is there. Whether it is the one of before decides whether what is held of it means anything.
fn begin(
    shared: &Shared,
    link: &Link,
    opened: &Opened,
    epoch: &mut Option<Arc<Epoch>>,
    give_back: &UnboundedSender<GiveBack>,
) -> Arc<Epoch> {
    let now = match epoch.take() {
        Some(known) if known.identity == opened.identity => known,
        old => {
            let (stream, consumer) = (&shared.settings.stream, &shared.settings.consumer);
            if let Some(old) = old {
                tracing::warn!(
                    stream,
                    consumer,
                    "the stream or its consumer was made anew: what is held of the old one is no more"
                );
                old.leases().clear();
                drop(shared.inbox.take_if(|receipt| receipt.is_of(&old)));
            }
            tracing::info!(server = %link.server, stream, consumer, "consuming from NATS");
            for remark in &opened.terms.remarks {
                tracing::warn!(stream, consumer, "{remark}");
            }
            Epoch::new(opened.identity, Leases::new(opened.terms.lease), give_back.clone())
        }
    };
    now.leases().set_wait(opened.terms.lease);
    *epoch = Some(now.clone());
    shared.voice.open(link.client.clone(), &now);
    now
}

async fn consume(shared: &Shared, link: &Link, epoch: &Arc<Epoch>, opened: &Opened) -> End {
    // What is owed goes first, and all leases: while nothing could be said, time has run on.
    let held = epoch.leases().all(Instant::now());
    if shared.voice.say(epoch, held, Word::Progress).await.is_err() {
        return End::Lost;
    }
    let mut pull = Pull::new(shared, link, epoch, &opened.terms);
    let work = async {
        match pull.run().await {
            // Acks and leases go on.
            End::Quiet => link.lost.cancelled().await,
            end => return end,
        }
        End::Lost
    };
    tokio::select! {
        end = work => end,
        () = keep(shared, epoch) => End::Lost,
        () = watch(shared, link, opened) => End::Look,
    }
}

/// Tells the server of all that is held, as often as it must hear of it.
async fn keep(shared: &Shared, epoch: &Arc<Epoch>) {
    let every = epoch.leases().look_every();
    loop {
        sleep(every).await;
        let due = epoch.leases().due(Instant::now());
        if let Err(error) = shared.voice.say(epoch, due, Word::Progress).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "leases are not kept up");
            return;
        }
    }
}

/// Looks how much waits. Returns where it is another consumer than it was, or one that somebody has changed in what matters.
async fn watch(shared: &Shared, link: &Link, opened: &Opened) {
    let Opened { identity, terms, subjects } = opened;
    loop {
        match look(link, &shared.settings).await {
            Ok(info)
                if info.created.unix_timestamp_nanos() == identity.consumer
                    && judge(&info.config, &shared.settings, subjects).as_ref() == Ok(terms) =>
            {
                shared.inbox.set_lag(Some(info.num_pending + info.num_ack_pending as u64));
            }
            Ok(_) | Err(Refusal::Missing) => return,
            Err(_) => shared.inbox.set_lag(None),
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Gives back what was dropped, together what was dropped together.
pub(super) async fn give_back(shared: Arc<Shared>, mut orders: UnboundedReceiver<GiveBack>) {
    let mut batch = Vec::new();
    while orders.recv_many(&mut batch, TOGETHER).await > 0 {
        let mut said: Vec<(Arc<Epoch>, Vec<async_nats::Subject>)> = Vec::new();
        let mut flushes = Vec::new();
        for order in batch.drain(..) {
            match order {
                GiveBack::One(epoch, to) => match said.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &epoch)) {
                    Some((_, all)) => all.push(to),
                    None => said.push((epoch, vec![to])),
                },
                GiveBack::Flush(answer) => flushes.push(answer),
            }
        }
        shared.give_back(said).await.ok();
        for answer in flushes {
            answer.send(()).ok();
        }
    }
}

impl Shared {
    /// While we leave, nothing is given back before nothing is asked for any more: it would come again, to us.
    pub(super) async fn give_back(
        &self,
        groups: Vec<(Arc<Epoch>, Vec<async_nats::Subject>)>,
    ) -> Result<(), QueueError> {
        if self.quiet.is_cancelled() {
            self.still().await;
        }
        let mut outcome = Ok(());
        for (epoch, to) in groups {
            outcome = outcome.and(self.voice.say(&epoch, to, Word::Nak).await);
        }
        outcome
    }

    /// Waits until no request is out.
    pub(super) async fn still(&self) {
        self.asking.subscribe().wait_for(|asking| !asking).await.ok();
    }
}
