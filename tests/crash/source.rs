//! Where messages come from, as the matrix sees it.

use std::net::SocketAddr;

/// A queue with whoever produces for it.
pub trait Source: Sized + Send + Sync {
    /// Whether it takes this body as it is.
    fn carries(body: &[u8]) -> bool;

    /// Will give out these bodies, each once and more often.
    fn start(bodies: Vec<Vec<u8>>) -> impl Future<Output = Self> + Send;

    /// What a worker has to be told to consume here.
    fn variables(&self) -> Vec<(String, String)>;

    /// Puts in what is not done yet, for the worker that serves HTTP here; it may die meanwhile.
    fn feed(&mut self, worker: SocketAddr) -> impl Future<Output = ()> + Send;

    /// Asks who is to remember: whatever body is not durable comes again. `acks`: some have been forgotten by now.
    fn assert_nothing_forgotten(
        &self,
        is_durable: impl Fn(&[u8]) -> bool + Send,
        acks: bool,
    ) -> impl Future<Output = ()> + Send;

    /// Waits until everything is done.
    fn emptied(&self) -> impl Future<Output = ()> + Send;
}
