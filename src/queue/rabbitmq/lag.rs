//! How much waits at the broker.

use super::Shared;
use super::connect::Connected;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

const EVERY: Duration = Duration::from_secs(5);
/// Until there is a connection.
const SOON: Duration = Duration::from_millis(500);

/// Asks every few seconds, on channels of its own: what goes wrong here disturbs nobody.
pub(super) async fn run(
    shared: Arc<Shared>,
    unacked: Vec<Arc<AtomicUsize>>,
    connections: watch::Receiver<Option<Arc<Connected>>>,
) {
    loop {
        let connected = connections.borrow().clone();
        // Asking for what is missing is an error in the broker's log: not more often than needed.
        let pause = if connected.is_some() { EVERY } else { SOON };
        let ready = match connected {
            Some(connected) => timeout(EVERY, ready(&connected, &shared.settings.queues)).await.ok().flatten(),
            None => None,
        };
        let held: usize = unacked.iter().map(|unacked| unacked.load(Relaxed)).sum();
        shared.inbox.set_lag(ready.map(|ready| ready + held as u64));
        sleep(pause).await;
    }
}

/// Messages that wait in these queues; those that are missing have none. `None` where all failed.
async fn ready(connected: &Connected, queues: &[String]) -> Option<u64> {
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let (mut channel, mut sum) = (None, None);
    for queue in queues {
        let open = match channel.take() {
            Some(open) => open,
            None => connected.connection.create_channel().await.ok()?,
        };
        // A refusal closes the channel.
        if let Ok(found) = open.queue_declare(queue.as_str().into(), options, FieldTable::default()).await {
            sum = Some(sum.unwrap_or(0) + u64::from(found.message_count()));
            channel = Some(open);
        }
    }
    sum
}
