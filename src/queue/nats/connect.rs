//! One connection: made, logged in, and watched.

use super::servers::{Server, Servers};
use super::trouble;
use crate::queue::QueueError;
use async_nats::{Client, ConnectOptions, Event, ServerError, jetstream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// For TCP, TLS and the login. A server that hangs accepts connections and says nothing.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// For one question.
const ANSWER: Duration = Duration::from_secs(5);
/// A connection over which three of these in turn are not answered is given up.
const PING: Duration = Duration::from_secs(5);
/// The oldest server that has what we ask of it.
const OLDEST: (i64, i64, i64) = (2, 9, 0);

/// A connection that stands. The driver's own recovery is off but for one attempt, which cannot be: it knows nothing of
/// what was made anew meanwhile.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) client: Client,
    pub(super) jetstream: jetstream::Context,
    pub(super) server: Server,
    /// It stands no more.
    pub(super) lost: CancellationToken,
    notes: Notes,
}

/// What the server said by itself.
#[derive(Debug, Clone, Default)]
struct Notes(Arc<Mutex<Option<String>>>);

impl Notes {
    fn last(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, text: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
    }
}

impl Link {
    /// What the server last refused, in its own words.
    pub(super) fn refused(&self) -> Option<String> {
        self.notes.last()
    }
}

/// Connects with the first of the servers that takes us, beginning with this one. The error is that of the first that was
/// tried, as the one that one would look at first.
pub(super) async fn connect_any(servers: &Servers, first: usize, purpose: &str) -> Result<(usize, Link), QueueError> {
    let mut failure = None;
    for step in 0..servers.all.len() {
        let at = (first + step) % servers.all.len();
        match connect(&servers.all[at], servers, purpose).await {
            Ok(link) => return Ok((at, link)),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    Err(failure.unwrap_or_else(|| QueueError::new("NATS_URL names no server")))
}

/// Connects and logs in. The error is one sentence.
async fn connect(server: &Server, servers: &Servers, purpose: &str) -> Result<Link, QueueError> {
    let (lost, notes) = (CancellationToken::new(), Notes::default());
    let hear = {
        let (lost, notes) = (lost.clone(), notes.clone());
        move |event| {
            match event {
                // A server in lame duck mode is about to go.
                Event::Disconnected | Event::Closed | Event::LameDuckMode => lost.cancel(),
                Event::ServerError(ServerError::Other(text)) => notes.keep(text),
                _ => {}
            }
            std::future::ready(())
        }
    };
    let options = ConnectOptions::new()
        .name(format!("xray-processor-worker {purpose}, process {}", std::process::id()))
        .tls_client_config(servers.tls.clone())
        .require_tls(servers.tls_only)
        .connection_timeout(CONNECT_TIMEOUT)
        .request_timeout(Some(ANSWER))
        .ping_interval(PING)
        .ignore_discovered_servers()
        .skip_subject_validation(true)
        .max_reconnects(1)
        .event_callback(hear);
    let options = server.login.apply(options)?;
    let client = options.connect(server.address.clone()).await;
    let client = client.map_err(|error| trouble::not_connected(server, &error))?;
    if !client.is_server_compatible(OLDEST.0, OLDEST.1, OLDEST.2) {
        return Err(trouble::too_old(server, &client.server_info().version));
    }
    let mut jetstream = jetstream::new(client.clone());
    jetstream.set_timeout(ANSWER);
    Ok(Link { client, jetstream, server: server.clone(), lost, notes })
}
