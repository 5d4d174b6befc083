//! Receipts by the life of what they belong to: a channel, a consumer, a queue.

use std::sync::Arc;

/// What was taken out of receipts, for each life once, in the order it came.
pub(super) fn by_epoch<E>(settled: impl IntoIterator<Item = (Arc<E>, Option<u64>)>) -> Vec<(Arc<E>, Vec<u64>)> {
    let mut groups: Vec<(Arc<E>, Vec<u64>)> = Vec::new();
    for (epoch, id) in settled {
        // There are as many as queues, and seldom more.
        match groups.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &epoch)) {
            Some((_, ids)) => ids.extend(id),
            None => groups.push((epoch, id.into_iter().collect())),
        }
    }
    groups
}
