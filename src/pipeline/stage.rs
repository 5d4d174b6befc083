//! Group commit: a stage writes together what has come together.

use super::attempt::{Backoff, GivenUp};
use super::batch::{Batch, InFlight, Wait, Work};
use crate::health::Pulse;
use crate::kill_point;
use crate::metrics::{Metrics, Stage};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// What a stage does with a group.
pub(super) trait Writer: Send + Sync + 'static {
    /// Which stage this is.
    const STAGE: Stage;
    /// What waits is joined into one group until that has at least this many deliveries.
    const JOIN: usize;
    /// At most this many groups are written at the same time.
    const OVERLAP: usize;

    /// How long to rest after the last group, so that others have their share of the store.
    fn rest(&self) -> Duration {
        Duration::ZERO
    }

    /// Makes its part of the group durable, but for what it lets [wait](Wait). `Err` where the worker was told to stop
    /// first.
    fn write(&self, group: &mut [&mut Work]) -> impl Future<Output = Result<(), GivenUp>> + Send;
}

/// What every stage is connected to.
#[derive(Debug)]
pub(super) struct Ends<R> {
    /// Takes the receipts of what was given up.
    pub(super) unstored: UnboundedSender<Vec<R>>,
    pub(super) metrics: Metrics,
    pub(super) pulse: Pulse,
}

/// Runs a stage until its input ends and all of it went on or came back.
///
/// No timer: while a group is being written, what arrives waits, and is the next group. An idle stage writes a single
/// batch at once; under load groups grow by themselves. The channels need no bound of their own, because every delivery
/// in them holds its share of the [`Budget`](crate::budget::Budget).
///
/// What the writer lets [wait](Wait) stays behind while its neighbours go on, and is tried again apart from all others,
/// ever more rarely. Once `hurry` is cancelled there is one more try, and no rest.
pub(super) async fn run<R: Send + 'static, W: Writer>(
    writer: Arc<W>,
    mut input: UnboundedReceiver<Batch<R>>,
    output: UnboundedSender<Batch<R>>,
    ends: Ends<R>,
    hurry: CancellationToken,
) {
    let mut writing = FuturesUnordered::new();
    let (mut behind, mut rested, mut open) = (Behind::default(), Instant::now(), true);
    ends.pulse.idle();
    loop {
        let free = writing.len() < W::OVERLAP;
        tokio::select! {
            Some(Written { batch, outcome, last, again }) = writing.next() => {
                if writing.is_empty() {
                    ends.pulse.idle();
                }
                rested = Instant::now() + writer.rest();
                // Of very many only so many are tried alone each time: where some are done with, the others have their turn soon.
                if again && outcome.is_ok() && batch.0.iter().any(|delivery| delivery.work.wait.is_no()) {
                    behind.backoff = Backoff::default();
                }
                ends.pass_on(batch, outcome, &output, if last { None } else { Some(&mut behind) });
            }
            group = waiting(&mut input, W::JOIN, rested, &hurry), if open && free => match group {
                Some(group) => writing.push(write(writer.clone(), group, false, &ends, &hurry)),
                None => open = false,
            },
            () = until(behind.due, &hurry), if free && !behind.batch.is_empty() => {
                writing.push(write(writer.clone(), behind.take(), true, &ends, &hurry));
            }
            else => return,
        }
    }
}

/// What has to wait for another try.
#[derive(Debug)]
struct Behind<R> {
    batch: Vec<InFlight<R>>,
    backoff: Backoff,
    due: Instant,
}

impl<R> Default for Behind<R> {
    fn default() -> Self {
        Behind { batch: Vec::new(), backoff: Backoff::default(), due: Instant::now() }
    }
}

impl<R> Behind<R> {
    /// The next try is made for all together.
    fn put(&mut self, batch: Vec<InFlight<R>>) {
        if self.batch.is_empty() {
            self.due = Instant::now() + self.backoff.pause();
        }
        self.batch.extend(batch);
    }

    fn take(&mut self) -> Batch<R> {
        Batch(std::mem::take(&mut self.batch))
    }
}

/// The next group: what waits once the stage has rested, until that is `join` deliveries or more. `None` once the input
/// ends. Cancel safe.
async fn waiting<R>(
    input: &mut UnboundedReceiver<Batch<R>>,
    join: usize,
    rested: Instant,
    hurry: &CancellationToken,
) -> Option<Batch<R>> {
    until(rested, hurry).await;
    let Batch(mut group) = input.recv().await?;
    while group.len() < join
        && let Ok(Batch(more)) = input.try_recv()
    {
        group.extend(more);
    }
    Some(Batch(group))
}

async fn until(deadline: Instant, hurry: &CancellationToken) {
    tokio::select! {
        () = hurry.cancelled() => {}
        () = sleep_until(deadline) => {}
    }
}

impl<R> Ends<R> {
    /// A closed channel means that its reader is gone with the process; the receipts drop, unacked.
    fn pass_on(
        &self,
        Batch(batch): Batch<R>,
        outcome: Result<(), GivenUp>,
        output: &UnboundedSender<Batch<R>>,
        behind: Option<&mut Behind<R>>,
    ) {
        let done = |delivery: &InFlight<R>| outcome.is_ok() && delivery.work.wait.is_no();
        let (done, left): (Vec<_>, Vec<_>) = batch.into_iter().partition(done);
        if !done.is_empty() {
            output.send(Batch(done)).ok();
        }
        match behind {
            _ if left.is_empty() => {}
            Some(behind) if outcome.is_ok() => behind.put(left),
            _ => drop(self.unstored.send(left.into_iter().map(|delivery| delivery.receipt).collect())),
        }
    }
}

struct Written<R> {
    batch: Batch<R>,
    outcome: Result<(), GivenUp>,
    /// There is no other try.
    last: bool,
    /// It was tried before.
    again: bool,
}

async fn write<R: Send, W: Writer>(
    writer: Arc<W>,
    mut batch: Batch<R>,
    again: bool,
    ends: &Ends<R>,
    hurry: &CancellationToken,
) -> Written<R> {
    ends.pulse.beat();
    let last = hurry.is_cancelled();
    let begun = Instant::now();
    let mut group: Vec<&mut Work> = batch.0.iter_mut().map(|delivery| &mut delivery.work).collect();
    // A store that was down for one of these is so until it is known better.
    let before: Vec<Wait> = group.iter_mut().map(|work| std::mem::take(&mut work.wait)).collect();
    let events = group.iter().map(|work| work.records.len()).sum();
    let outcome = writer.write(&mut group).await;
    drop(before);
    if outcome.is_ok() {
        kill_point::reached(W::STAGE.as_str());
        ends.metrics.flush(W::STAGE, begun.elapsed().as_secs_f64(), events);
    }
    Written { batch, outcome, last, again }
}
