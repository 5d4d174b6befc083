//! Brokers to measure: what fills them, their driver in a bare loop, the worker's own loop on them.

mod kafka;
mod nats;
mod rabbitmq;
mod sqs;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use xray_processor_worker::budget::{Budget, Room};
use xray_processor_worker::config;
use xray_processor_worker::pipeline::{Delivery, Limits, Stored, Stores};
use xray_processor_worker::queue::{Producer, QueueBackend, QueueError};
use xray_processor_worker::worker::{self, Settings, Stop};

use crate::support::context::context;

/// A broker.
pub trait Bench {
    const NAME: &'static str;
    type Queue: QueueBackend;
    type Producer: Producer;
    /// What sends to where the next measurement finds it, and the name of that place.
    fn producer(&mut self) -> (Self::Producer, String);
    /// The driver alone: from the first message to the last ack.
    fn bare(&mut self, messages: usize) -> impl Future<Output = Duration>;
    fn queue(&mut self, limits: &config::Limits) -> Self::Queue;

    async fn fill(&mut self, bodies: &[Bytes]) {
        send(self.producer(), bodies).await;
    }
}

/// Sends all of them, some thousands at a time.
async fn send((producer, to): (impl Producer, String), bodies: &[Bytes]) {
    let sending = bodies.iter().map(|body| producer.send(&to, body.clone()));
    let sent = stream::iter(sending).buffered(5000);
    sent.for_each(async |sent| sent.unwrap()).await;
}

/// What is done with a broker.
pub trait Measure {
    fn measure<B: Bench>(&mut self, bench: B) -> impl Future<Output = ()>;
}

/// Those that the command line names, or all.
pub async fn each(measure: &mut impl Measure) {
    let named = |name: &str| std::env::args().any(|argument| argument == name);
    let names = [kafka::KafkaBench::NAME, rabbitmq::RabbitmqBench::NAME, nats::NatsBench::NAME, sqs::SqsBench::NAME];
    let all = !names.into_iter().any(named);
    if all || named(kafka::KafkaBench::NAME) {
        measure.measure(kafka::KafkaBench::start()).await;
    }
    if all || named(rabbitmq::RabbitmqBench::NAME) {
        measure.measure(rabbitmq::RabbitmqBench::start()).await;
    }
    if all || named(nats::NatsBench::NAME) {
        measure.measure(nats::NatsBench::start()).await;
    }
    if all || named(sqs::SqsBench::NAME) {
        measure.measure(sqs::SqsBench::start()).await;
    }
}

/// The one to measure what hardly depends on the broker.
pub fn any() -> impl Bench {
    nats::NatsBench::start()
}

/// The worker's loop on what the broker was filled with: from the first message to the last ack.
pub async fn through_the_worker<B: Bench>(bench: &mut B, messages: usize, stores: Stores) -> Duration {
    let queue = Timed::new(bench, messages);
    work(&queue, stores).await;
    let (began, ended) = *queue.began.lock().unwrap();
    ended.unwrap() - began.unwrap()
}

const LIMITS: config::Limits =
    config::Limits { max_event_bytes: 10 << 20, max_in_flight_messages: 10_000, max_in_flight_bytes: 64 << 20 };

/// The worker's loop, with its default settings, until so many messages are acked.
pub async fn work<Q: QueueBackend>(queue: &Timed<Q>, stores: Stores) {
    let budget = Budget::new(LIMITS.max_in_flight_messages, LIMITS.max_in_flight_bytes);
    let context = context(stores, budget);
    let settings = Settings {
        batch_size: 10,
        poll_interval: Duration::from_secs(1),
        shutdown_timeout: Duration::from_secs(10),
        limits: Limits { max_event_bytes: LIMITS.max_event_bytes, refused_for: Duration::ZERO },
    };
    worker::run(queue, &context, settings, &queue.stop).await.unwrap();
}

/// Looks at the clock when the first message comes and when the last ack is out.
#[derive(Debug)]
pub struct Timed<Q> {
    queue: Q,
    began: Mutex<(Option<Instant>, Option<Instant>)>,
    acked: AtomicUsize,
    messages: usize,
    stop: Stop,
}

impl<Q: QueueBackend> Timed<Q> {
    pub fn new<B: Bench<Queue = Q>>(bench: &mut B, messages: usize) -> Self {
        let (began, acked, stop) = (Mutex::default(), AtomicUsize::new(0), Stop::default());
        Timed { queue: bench.queue(&LIMITS), began, acked, messages, stop }
    }
}

impl<Q: QueueBackend> QueueBackend for Timed<Q> {
    const NAME: &'static str = Q::NAME;
    type Receipt = Q::Receipt;

    async fn receive(&self, room: Room, wait: Duration) -> Result<Vec<Delivery<Q::Receipt>>, QueueError> {
        let received = self.queue.receive(room, wait).await;
        if received.as_ref().is_ok_and(|received| !received.is_empty()) {
            self.began.lock().unwrap().0.get_or_insert_with(Instant::now);
        }
        received
    }

    async fn ack(&self, stored: Vec<Stored<Q::Receipt>>) -> Result<(), QueueError> {
        let count = stored.len();
        self.queue.ack(stored).await?;
        if self.acked.fetch_add(count, Relaxed) + count >= self.messages {
            self.began.lock().unwrap().1 = Some(Instant::now());
            self.stop.drain.cancel();
        }
        Ok(())
    }

    async fn release(&self, receipts: Vec<Q::Receipt>) -> Result<(), QueueError> {
        self.queue.release(receipts).await
    }

    async fn close(&self) -> Result<(), QueueError> {
        self.queue.close().await
    }
}
