//! Group commit: a stage writes together what has come together.

use super::attempt::GivenUp;
use super::batch::{Batch, Work};
use crate::health::Pulse;
use crate::kill_point;
use crate::metrics::{Metrics, Stage};
use futures_util::StreamExt;
use futures_util::stream::unfold;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// What a stage does with a group.
pub(super) trait Writer: Send + Sync + 'static {
    /// Which stage this is.
    const STAGE: Stage;
    /// What waits is joined into one group until that has at least this many deliveries.
    const JOIN: usize;
    /// At most this many groups are written at the same time.
    const OVERLAP: usize;

    /// Makes its part of the group durable. `Err` where the worker was told to stop first.
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
pub(super) async fn run<R: Send + 'static, W: Writer>(
    writer: Arc<W>,
    input: UnboundedReceiver<Batch<R>>,
    output: UnboundedSender<Batch<R>>,
    ends: Ends<R>,
) {
    // The pulse rests only while no group at all is being written.
    let writing = AtomicUsize::new(0);
    let waiting = unfold(input, async |mut input| Some((waiting(&mut input, W::JOIN).await?, input)));
    let groups = waiting.map(|group| {
        writing.fetch_add(1, Relaxed);
        write(writer.clone(), group, &ends)
    });
    let mut groups = pin!(groups.buffer_unordered(W::OVERLAP));
    while let Some((batch, written)) = groups.next().await {
        if writing.fetch_sub(1, Relaxed) == 1 {
            ends.pulse.idle();
        }
        ends.pass_on(batch, written, &output);
    }
}

/// The same for a stage that may only write for a share of the time: after each group it rests for as long as `rest` says,
/// then writes all that came meanwhile as one. It rests no more once `hurry` is cancelled.
pub(super) async fn run_paced<R: Send + 'static, W: Writer>(
    writer: Arc<W>,
    mut input: UnboundedReceiver<Batch<R>>,
    output: UnboundedSender<Batch<R>>,
    ends: Ends<R>,
    rest: impl Fn() -> Duration + Send,
    hurry: CancellationToken,
) {
    ends.pulse.idle();
    while let Some(group) = waiting(&mut input, usize::MAX).await {
        let (batch, written) = write(writer.clone(), group, &ends).await;
        ends.pulse.idle();
        ends.pass_on(batch, written, &output);
        tokio::select! {
            () = hurry.cancelled() => {}
            () = sleep(rest()) => {}
        }
    }
}

/// The next group: what waits now, until that is `join` deliveries or more. `None` once the input ends.
async fn waiting<R>(input: &mut UnboundedReceiver<Batch<R>>, join: usize) -> Option<Batch<R>> {
    let Batch(mut group) = input.recv().await?;
    while group.len() < join
        && let Ok(Batch(more)) = input.try_recv()
    {
        group.extend(more);
    }
    Some(Batch(group))
}

impl<R> Ends<R> {
    /// A closed channel means that its reader is gone with the process; the receipts drop, unacked.
    fn pass_on(&self, batch: Batch<R>, written: Result<(), GivenUp>, output: &UnboundedSender<Batch<R>>) {
        match written {
            Ok(()) => output.send(batch).ok(),
            Err(GivenUp) => self.unstored.send(batch.0.into_iter().map(|delivery| delivery.receipt).collect()).ok(),
        };
    }
}

async fn write<R: Send, W: Writer>(
    writer: Arc<W>,
    mut batch: Batch<R>,
    ends: &Ends<R>,
) -> (Batch<R>, Result<(), GivenUp>) {
    ends.pulse.beat();
    let begun = Instant::now();
    let mut group: Vec<&mut Work> = batch.0.iter_mut().map(|delivery| &mut delivery.work).collect();
    let events = group.iter().map(|work| work.records.len()).sum();
    let written = writer.write(&mut group).await;
    if written.is_ok() {
        kill_point::reached(W::STAGE.as_str());
        ends.metrics.flush(W::STAGE, begun.elapsed().as_secs_f64(), events);
    }
    (batch, written)
}
