//! The connections: who is slow, or holds too many, must not cost the worker its files and its memory.

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Connections at once. Further ones wait until one ends; stores and broker have files of their own to open.
const CONNECTIONS: usize = 512;
/// For the head of a request, from the end of the one before: who says nothing for so long is hung up on.
const HEAD: Duration = Duration::from_secs(15);
/// A head may have this many bytes; a longer one is answered with 431.
const LARGEST_HEAD: usize = 64 << 10;
/// For a client to take what it was sent: who does not read is hung up on.
const UNREAD: Duration = Duration::from_secs(15);
/// Either of both while more than half of the connections are taken: those who come then, probes among them, are not kept
/// waiting by who says and reads nothing.
const CROWDED: Duration = Duration::from_secs(2);
/// After an accept that failed, mostly because no more files may be open.
const PAUSE: Duration = Duration::from_millis(500);

/// Serves until `shutdown`, and then until the requests that are under way are answered.
pub(super) async fn serve(listener: TcpListener, routes: Router, shutdown: impl Future<Output = ()>) {
    let (connections, stop) = (Arc::new(Semaphore::new(CONNECTIONS)), CancellationToken::new());
    let (tasks, mut shutdown) = (TaskTracker::new(), pin!(shutdown));
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            accepted = accept(&listener, &connections) => match accepted {
                Some((stream, permit)) => drop(tasks.spawn(connection(stream, routes.clone(), stop.clone(), permit))),
                None => sleep(PAUSE).await,
            }
        }
    }
    drop(listener);
    stop.cancel();
    tasks.close();
    tasks.wait().await;
}

/// `None` where that failed, for now. Cancel safe.
async fn accept(listener: &TcpListener, connections: &Arc<Semaphore>) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let permit = connections.clone().acquire_owned().await.ok()?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return Some((stream, permit)),
            // The client has gone again.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::debug!(%error, "a connection to the http server was not accepted");
                return None;
            }
        }
    }
}

async fn connection(stream: TcpStream, routes: Router, stop: CancellationToken, permit: OwnedSemaphorePermit) {
    let crowded = permit.semaphore().available_permits() < CONNECTIONS / 2;
    let (head, unread) = if crowded { (CROWDED, CROWDED) } else { (HEAD, UNREAD) };
    // Answers are small, and somebody waits for each.
    stream.set_nodelay(true).ok();
    #[cfg(target_os = "linux")]
    rustix::net::sockopt::set_tcp_user_timeout(&stream, unread.as_millis() as u32).ok();
    let service = TowerToHyperService::new(routes);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(head).max_header_size(LARGEST_HEAD);
    let mut serving = pin!(http.serve_connection(TokioIo::new(stream), service));
    // What is wrong with a connection is the client's affair.
    tokio::select! {
        served = serving.as_mut() => return drop(served),
        () = stop.cancelled() => serving.as_mut().graceful_shutdown(),
    }
    drop(serving.await);
}
