//! A queue asked by hand, without a worker.

use std::time::Duration;

use xray_processor_worker::budget::Budget;
use xray_processor_worker::pipeline::{Delivery, Message};
use xray_processor_worker::queue::QueueBackend;

use crate::rig::{said, until};

const WAIT: Duration = Duration::from_millis(200);

/// What is ready now.
pub async fn receive<Q: QueueBackend>(queue: &Q) -> Vec<Delivery<Q::Receipt>> {
    let room = Budget::new(1000, 64 << 20).room().await;
    queue.receive(room, WAIT).await.unwrap_or_default()
}

/// So many, however they come.
pub async fn messages<Q: QueueBackend>(queue: &Q, count: usize) -> Vec<Delivery<Q::Receipt>> {
    let mut all = Vec::new();
    until("they are delivered", async || {
        all.extend(receive(queue).await);
        all.len() >= count
    })
    .await;
    all
}

pub async fn one<Q: QueueBackend>(queue: &Q) -> Message {
    messages(queue, 1).await.remove(0).message
}

/// Waits for an error, as people read it.
pub async fn error<Q: QueueBackend>(queue: &Q, what: &str) -> String {
    let room = Budget::new(1, 1).room().await;
    let mut found = None;
    until(what, async || {
        found = queue.receive(room, WAIT).await.err();
        found.is_some()
    })
    .await;
    said(&found.unwrap())
}
