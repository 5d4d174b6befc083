//! What the suite needs of a broker. A new backend brings one implementation of [`Harness`] and a line in `main.rs`.

use std::time::Duration;

use bytes::Bytes;
use xray_processor_worker::config::Limits;
use xray_processor_worker::queue::QueueBackend;

/// A broker with sources of its own that nobody has used yet.
///
/// What brokers do differently stands in the constants: parameters of the cases, which all run on every broker.
pub trait Harness: Sized + Send + Sync + 'static {
    type Queue: QueueBackend;

    /// How long the broker lets a message be held before it takes it back or throws the consumer out, as this harness
    /// has set it: short, so that a test can outlast it.
    const LEASE: Duration;
    /// How often a message may be delivered that was held for much longer than that while the stores were away.
    const DELIVERIES_PER_OUTAGE: u32;
    /// Whether a message that comes again says so.
    const TELLS_REDELIVERIES: bool;
    /// The largest body that the broker takes, in bytes.
    const LARGEST_BODY: usize;
    /// With so many consumers none need be idle.
    const MOST_CONSUMERS: usize;

    /// Whether the broker carries such a body at all, whoever sends it.
    fn carries(_: &[u8]) -> bool {
        true
    }

    /// On the server that the tests share, or on one of its own, which may be killed.
    fn start(server: Whose) -> impl Future<Output = Self> + Send;

    /// One more worker's side of it.
    fn consumer(&self, limits: &Limits) -> Self::Queue;

    /// What a worker in a process of its own has to be told to consume and publish here, `QUEUE_TYPE` included.
    fn variables(&self) -> Vec<(String, String)>;

    /// Consumers that cannot work, and what the one sentence about each must name: wrong passwords, certificates, places.
    fn refused(&self) -> Vec<Refused<Self::Queue>>;

    /// Puts bodies in, spread over all that can be consumed at the same time, and returns once the broker has them all.
    fn send(&self, bodies: Vec<Bytes>) -> impl Future<Output = ()> + Send;

    /// The same for one body with headers.
    fn send_with(&self, body: Bytes, headers: &[(&str, &str)]) -> impl Future<Output = ()> + Send;

    /// Forgets the sources of its own: from now on it is about those that SDKs send to, which do not exist yet. Told of by
    /// [`variables`](Self::variables), workers create them or wait for them.
    fn use_default_sources(&mut self);

    /// Deletes its source, with all that is in it, and makes it anew, while it is consumed.
    fn recreate(&self) -> impl Future<Output = ()> + Send;

    /// How many messages the broker would give out again if all consumers died now. It is the broker that is asked.
    fn left(&self) -> impl Future<Output = u64> + Send;

    /// Ends the server in the middle of whatever it does. Only where it is its own.
    fn kill_9(&mut self);

    /// Starts it again, with what it had on disk.
    fn restart(&mut self);
}

/// Which server a test runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// The one that all tests share.
    Shared,
    /// One of its own.
    Own,
    /// One of its own, with the times that it has where nobody changes them.
    Deployed,
}

/// A consumer that cannot work.
pub struct Refused<Q> {
    /// What is wrong, for people.
    pub what: &'static str,
    pub queue: Q,
    /// Words that must stand in the sentence, the name of the setting to look at among them.
    pub words: Vec<String>,
    /// What must not: a password.
    pub secret: &'static str,
}
