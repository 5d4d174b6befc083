//! One connection: TCP, TLS, login, each within its time.

use super::hosts::{Host, Hosts};
use super::trouble;
use crate::queue::QueueError;
use lapin::tcp::{AsyncTcpStream, RustlsConnector};
use lapin::types::LongString;
use lapin::{Connection, ConnectionProperties};
use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::timeout;

/// For all of it. A server that hangs accepts connections and says nothing.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How far it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Stage {
    #[default]
    Name,
    Tcp,
    Tls,
    Login,
}

/// A connection that stands. Dropped, it ends at once and without a word, as in a crash.
pub(super) struct Connected {
    pub(super) connection: Connection,
    pub(super) host: Host,
    _wire: Wire,
}

/// The other end of lapin's own thread: without it, one that waits for an answer would wait until the server speaks.
#[derive(Default)]
struct Wire(Progress);

#[derive(Default, Clone)]
struct Progress(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    stage: Stage,
    socket: Option<TcpStream>,
    cut: bool,
}

impl Progress {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reach(&self, stage: Stage) -> io::Result<()> {
        let mut state = self.state();
        state.stage = stage;
        if state.cut { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }

    fn keep(&self, socket: TcpStream) {
        self.state().socket = Some(socket);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let mut progress = self.0.state();
        progress.cut = true;
        if let Some(socket) = progress.socket.take() {
            // Fails where it has ended already.
            socket.shutdown(Shutdown::Both).ok();
        }
    }
}

/// Connects with the first of the hosts that takes us, beginning with this one. The error is that of the first that was
/// tried, as the one that one would look at first. Cancel safe: a dropped call leaves nothing behind.
pub(super) async fn connect_any(hosts: &Hosts, first: usize, purpose: &str) -> Result<(usize, Connected), QueueError> {
    let mut failure = None;
    for step in 0..hosts.all.len() {
        let at = (first + step) % hosts.all.len();
        match connect(&hosts.all[at], &hosts.tls, purpose).await {
            Ok(connected) => return Ok((at, connected)),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    Err(failure.unwrap_or_else(|| QueueError::new("AMQP_URL names no host")))
}

/// Connects and logs in. The error is one sentence.
async fn connect(host: &Host, tls: &RustlsConnector, purpose: &str) -> Result<Connected, QueueError> {
    let runtime = lapin::runtime::default_runtime().map_err(|error| QueueError::new("no runtime").because(error))?;
    let wire = Wire::default();
    let (progress, tls, sockets) = (wire.0.clone(), tls.clone(), runtime.clone());
    let dial = async move |uri: lapin::uri::AMQPUri, _| {
        let dial = async {
            let (name, port) = (uri.authority.host.as_str(), uri.authority.port);
            let addresses: Vec<_> = tokio::net::lookup_host((name, port)).await?.collect();
            progress.reach(Stage::Tcp)?;
            let stream = AsyncTcpStream::connect(&sockets, addresses).await?;
            if let AsyncTcpStream::Plain(plain) = &stream {
                // Acks are small, and somebody may be waiting for each.
                plain.get_ref().set_nodelay(true)?;
                progress.keep(plain.get_ref().as_fd().try_clone_to_owned()?.into());
            }
            if uri.scheme == lapin::uri::AMQPScheme::AMQPS {
                progress.reach(Stage::Tls)?;
                let stream = stream.into_rustls(&tls, name).await?;
                progress.reach(Stage::Login)?;
                return Ok(stream);
            }
            progress.reach(Stage::Login)?;
            Ok::<_, io::Error>(stream)
        };
        let dialled = timeout(CONNECT_TIMEOUT, dial).await;
        dialled.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(lapin::Error::from)
    };
    let name = format!("xray-processor-worker {purpose}, process {}", std::process::id());
    let properties = ConnectionProperties::default().with_connection_name(LongString::from(name));
    let connecting = Connection::connector(host.0.clone(), runtime, dial, properties);
    match timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(Ok(connection)) => Ok(Connected { connection, host: host.clone(), _wire: wire }),
        Ok(Err(error)) => Err(trouble::not_connected(host, wire.0.state().stage, Some(error))),
        Err(_) => Err(trouble::not_connected(host, wire.0.state().stage, None)),
    }
}

impl Connected {
    /// Whether it still stands, as far as is known.
    pub(super) fn stands(&self) -> bool {
        self.connection.status().connected()
    }
}
