//! Two lanes for what is derived: a step with a million decisions must not hold up the others, nor be recomputed for
//! each further one.

use super::batch::{Batch, Work};
use crate::event::Fact;
use crate::metrics::Metrics;
use crate::store::Heavy;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

/// The keys that were heavy when they were last recomputed, and the steps of heavy runs. What is forgotten, or not known
/// yet, costs one recompute in the wrong lane.
#[derive(Debug, Default)]
pub(super) struct Heat(Mutex<Heavy>);

/// More heavy keys than this are forgotten and learnt anew.
const REMEMBERED: usize = 10_000;

impl Heat {
    /// These were found to be heavy.
    pub(super) fn note(&self, heavy: Heavy) {
        let mut guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Heavy { steps, runs } = &mut *guard;
        remember(steps, heavy.steps);
        remember(runs, heavy.runs);
    }

    /// Whether recomputing what this work touches takes long.
    pub(super) fn is_touched_by(&self, work: &Work) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.steps.is_empty() && known.runs.is_empty() {
            return false;
        }
        let mut touched = false;
        let mut of_heavy_runs = BTreeSet::new();
        for (_, record) in &work.records {
            let (step_id, run_id) = match &record.event.fact {
                Fact::Decision(decision) => (Some(&decision.step_id), &decision.run_id),
                Fact::Step(report) => (Some(&report.step_id), &report.run_id),
                Fact::Run(report) => (None, &report.run_id),
            };
            if known.runs.contains(run_id) {
                // A later report of this step need not name the run.
                of_heavy_runs.extend(step_id.cloned());
                touched = true;
            }
            touched |= step_id.is_some_and(|step_id| known.steps.contains(step_id));
        }
        remember(&mut known.steps, of_heavy_runs);
        touched
    }
}

fn remember(known: &mut BTreeSet<String>, more: BTreeSet<String>) {
    if known.len() + more.len() > REMEMBERED {
        known.clear();
    }
    known.extend(more);
}

/// Sends each delivery on its lane until the input ends.
pub(super) async fn part<R>(
    heat: Arc<Heat>,
    metrics: Metrics,
    mut input: UnboundedReceiver<Batch<R>>,
    light: UnboundedSender<Batch<R>>,
    heavy: UnboundedSender<Batch<R>>,
) {
    while let Some(Batch(deliveries)) = input.recv().await {
        let (mut hot, cool): (Vec<_>, Vec<_>) =
            deliveries.into_iter().partition(|delivery| heat.is_touched_by(&delivery.work));
        hot.iter_mut().for_each(|delivery| delivery.heavy = Some(metrics.enter_heavy_lane()));
        for (lane, deliveries) in [(&light, cool), (&heavy, hot)] {
            if !deliveries.is_empty() {
                // A closed channel means that its reader is gone with the process; the receipts drop, unacked.
                lane.send(Batch(deliveries)).ok();
            }
        }
    }
}
