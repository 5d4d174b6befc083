//! Dead letters sent again: through the same pipeline, or onto the broker.

use super::producer::AnyProducer;
use super::{Parts, feed_refused, memory_queue, on_signals, store_failure, stores};
use crate::audit::selection::{Filter, bodies, select};
use crate::audit::{Audited, persist};
use crate::config::Config;
use crate::dead_letter::DeadLetter;
use crate::digest::Sha256;
use crate::event::{Code, Kind, parse_event};
use crate::exit::Failure;
use crate::object::Record;
use crate::pipeline::{Message, Origin, Settlement};
use crate::publish::Destinations;
use crate::queue::Producer;
use crate::queue::memory::{MemoryQueue, Wait};
use crate::worker::Stop;
use chrono::Utc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// What became of dead letters that were sent again.
#[derive(Debug, Default)]
pub struct Redriven {
    /// Stored now, or confirmed by the broker.
    pub sent: AtomicU64,
    /// Still no events: they stay as they are.
    pub still: AtomicU64,
    /// Only their beginning was kept, or their object is gone: there is nothing to send.
    pub lost: AtomicU64,
}

impl Redriven {
    /// How many were looked at.
    pub fn all(&self) -> u64 {
        self.sent.load(Relaxed) + self.still.load(Relaxed) + self.lost.load(Relaxed)
    }
}

/// Sends what `filter` takes through the pipeline of this process; what is stored then is marked. May be repeated, and
/// broken off at any time.
pub async fn redrive(
    config: &Config,
    filter: &Filter,
    give_up_after: Duration,
    redriven: &Redriven,
) -> Result<(), Failure> {
    let audited = stores::audited(config, true).await?;
    let parts = Parts::build(config).await?;
    let stop = Stop::default();
    on_signals(&stop)?;
    let queue = memory_queue(config);
    let feeding = async {
        let end = tokio::select! {
            biased;
            () = stop.drain.cancelled() => Err(Failure::failed("interrupted: what is not marked can be sent again")),
            away = super::away_too_long(&parts.context.health, give_up_after) => {
                stop.give_up.cancel();
                Err(away)
            }
            fed = through(&audited, filter, &queue, redriven) => fed,
        };
        stop.drain.cancel();
        end
    };
    let (ran, fed) = tokio::join!(parts.run(&queue, None, None, &stop), feeding);
    ran.and(fed)
}

async fn through(audited: &Audited, filter: &Filter, queue: &MemoryQueue, redriven: &Redriven) -> Result<(), Failure> {
    let mut selection = select(audited, filter);
    loop {
        let rows = selection.rows().await.map_err(store_failure)?;
        if rows.is_empty() {
            return Ok(());
        }
        let mut waits = Vec::new();
        for letter in bodies(audited, &rows).await.map_err(store_failure)? {
            match letter.filter(DeadLetter::is_whole) {
                Some(letter) => {
                    let wait = queue.push(message(&letter)).await.map_err(feed_refused)?;
                    waits.push((letter, wait));
                }
                None => drop(redriven.lost.fetch_add(1, Relaxed)),
            }
        }
        let mut good = Vec::new();
        for (letter, wait) in waits {
            if stored(audited, &letter, wait).await? {
                good.push(letter.sha256.to_string());
            } else {
                redriven.still.fetch_add(1, Relaxed);
            }
        }
        mark(audited, good, redriven).await?;
    }
}

async fn mark(audited: &Audited, sha256: Vec<String>, redriven: &Redriven) -> Result<(), Failure> {
    if !sha256.is_empty() {
        let now = Utc::now();
        persist(|| async { audited.tables.mark_redriven(&sha256, now).await }).await.map_err(store_failure)?;
        redriven.sent.fetch_add(sha256.len() as u64, Relaxed);
    }
    Ok(())
}

fn message(letter: &DeadLetter) -> Message {
    Message {
        body: letter.body.clone(),
        cut: None,
        hint: letter.kind,
        origin: Origin { name: letter.source.as_str().into(), position: None },
        deliveries: letter.deliveries,
        enqueued_at: None,
    }
}

/// Whether all of it is stored. The loser of a conflict counts as stored, but loses again unless the winner is gone.
async fn stored(audited: &Audited, letter: &DeadLetter, mut wait: Wait) -> Result<bool, Failure> {
    let Settlement { rejected_total, .. } = wait.settled().await.map_err(feed_refused)?;
    if rejected_total > 0 || letter.code() != Code::Conflict {
        return Ok(rejected_total == 0);
    }
    let Some(record) = letter.kind.and_then(|kind: Kind| parse_event(kind, &letter.body).ok()).map(Record::new) else {
        return Ok(true);
    };
    let keys = [record.key];
    let read = || async { audited.objects.read(&keys).await.into_iter().next().transpose() };
    let found = persist(read).await.map_err(store_failure)?.flatten();
    Ok(found.is_some_and(|existing| Sha256::of(&existing.body) == letter.sha256))
}

/// Puts what `filter` takes on the configured broker as it is, and marks what the broker has confirmed.
pub async fn requeue(config: &Config, filter: &Filter, redriven: &Redriven) -> Result<(), Failure> {
    let audited = stores::audited(config, false).await?;
    let without = "QUEUE_TYPE is memory, which has no broker: set QUEUE_TYPE to one, or leave --to-queue out";
    let (producer, to) = AnyProducer::start(config, without)?;
    let (destinations, mut selection) = (Destinations::new(&to), select(&audited, filter));
    loop {
        let rows = selection.rows().await.map_err(store_failure)?;
        if rows.is_empty() {
            return Ok(());
        }
        let mut good = Vec::new();
        for letter in bodies(&audited, &rows).await.map_err(store_failure)? {
            let Some(letter) = letter.filter(DeadLetter::is_whole) else {
                redriven.lost.fetch_add(1, Relaxed);
                continue;
            };
            // What a body says of its kind may be what is wrong with it; the letter knows better.
            let named =
                letter.kind.and_then(|kind| to.iter().find(|name| crate::event::kind_hint(None, name) == Some(kind)));
            let name = named.map_or_else(|| destinations.of(&letter.body), String::as_str);
            let sent = producer.send(name, letter.body.clone()).await;
            sent.map_err(|error| Failure::failed(format!("{} was not confirmed: {error}", letter.sha256)))?;
            good.push(letter.sha256.to_string());
        }
        mark(&audited, good, redriven).await?;
    }
}
