//! The connection: made, watched, made again.

use super::Shared;
use super::connect::{Connected, connect_any};
use super::hosts::Hosts;
use super::lag;
use super::lane::Lane;
use super::trouble;
use crate::queue::pace::Pace;
use futures_util::{FutureExt, StreamExt};
use lapin::{Error, Event};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Between two looks at whether the connection stands, should no event tell.
const LOOK: Duration = Duration::from_millis(250);
const AFTER_PANIC: Duration = Duration::from_secs(5);
/// For the goodbye. A broker that hangs does not answer.
const GOODBYE: Duration = Duration::from_secs(2);

/// Runs until told to stop: then the queues are left first, and the connection is closed when all is said.
pub(super) async fn run(shared: Arc<Shared>, hosts: Hosts, stop: CancellationToken) {
    let (connections, _) = watch::channel(None);
    let mut lanes = JoinSet::new();
    let mut unacked = Vec::new();
    for queue in &shared.settings.queues {
        let count = Arc::new(AtomicUsize::new(0));
        unacked.push(count.clone());
        let (shared, queue, connections, stop) = (shared.clone(), queue.clone(), connections.subscribe(), stop.clone());
        lanes.spawn(async move {
            let lane = || Lane::new(shared.clone(), &queue, connections.clone(), count.clone(), stop.clone());
            // One queue that nobody consumes any more would look like one that is empty.
            while let Err(panic) = AssertUnwindSafe(lane().run()).catch_unwind().await {
                drop(panic);
                tracing::error!(queue, "consuming failed, which is a bug; beginning anew");
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = sleep(AFTER_PANIC) => {}
                }
            }
        });
    }
    let mut extras = JoinSet::new();
    extras.spawn(lag::run(shared.clone(), unacked, connections.subscribe()));

    let connected = tokio::select! {
        connected = keep(&shared, &hosts, &connections, &stop) => connected,
        () = all(&mut lanes, &stop) => connections.borrow().clone(),
    };
    while lanes.join_next().await.is_some() {}
    extras.shutdown().await;
    if let Some(connected) = connected.filter(|connected| connected.stands()) {
        timeout(GOODBYE, connected.connection.close(200, "OK".into())).await.ok();
    }
}

/// Ends where the lanes do, which is only when they are told to.
async fn all(lanes: &mut JoinSet<()>, stop: &CancellationToken) {
    while lanes.join_next().await.is_some() {}
    stop.cancelled().await;
}

/// Keeps a connection up, to one of the hosts. Returns the one that stands when told to stop.
async fn keep(
    shared: &Shared,
    hosts: &Hosts,
    connections: &watch::Sender<Option<Arc<Connected>>>,
    stop: &CancellationToken,
) -> Option<Arc<Connected>> {
    let mut pace = Pace::default();
    let mut first = 0;
    loop {
        let connected = tokio::select! {
            () = stop.cancelled() => return None,
            connected = connect_any(hosts, first, "consumer") => connected,
        };
        match connected {
            Ok((at, connected)) => {
                first = at;
                tracing::info!(host = %connected.host, "connected with RabbitMQ");
                let connected = Arc::new(connected);
                shared.connected(connected.host.to_string());
                connections.send_replace(Some(connected.clone()));
                let error = tokio::select! {
                    () = stop.cancelled() => return Some(connected),
                    error = lost(&connected) => error,
                };
                connections.send_replace(None);
                let lost = trouble::lost(&connected.host, error.as_ref());
                tracing::warn!(error = &lost as &dyn std::error::Error, "connecting again");
            }
            Err(error) => shared.unconnected(error),
        }
        tokio::select! {
            () = stop.cancelled() => return None,
            () = sleep(pace.next()) => {}
        }
    }
}

/// Waits until it does not stand any more, and says why if that is known.
async fn lost(connected: &Connected) -> Option<Error> {
    let events = connected.connection.events_listener();
    tokio::pin!(events);
    let mut last = None;
    while connected.stands() {
        tokio::select! {
            Some(event) = events.next() => if let Event::Error(error) = event {
                last = Some(error);
            },
            () = sleep(LOOK) => {}
        }
    }
    last
}
