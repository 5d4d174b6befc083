//! `/healthz` is about the worker's own loops: a loop that stops is found, and stores or a broker that are away for hours
//! are none of its business.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::cell::RefCell;
use std::future::pending;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use support::context::context;
use support::nothing;
use tokio::time::sleep;
use xray_processor_worker::budget::{Budget, Room};
use xray_processor_worker::dead_letter::DeadLetter;
use xray_processor_worker::health::{Health, SILENCE_LIMIT};
use xray_processor_worker::object::{Object, Record};
use xray_processor_worker::pipeline::{Delivery, Limits, Message, Origin, Stored, Stores};
use xray_processor_worker::queue::{QueueBackend, QueueError};
use xray_processor_worker::store::{
    Class, Created, Existing, Heavy, MetricsStore, RawStore, Replaced, RowCounts, StoreError, Tag, Touched,
};
use xray_processor_worker::worker::{self, Settings, Stop};

const HOUR: Duration = Duration::from_secs(3600);

/// What a broker does wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Wrong {
    Nothing,
    /// It is away.
    Away,
    /// `receive` never comes back.
    Receive,
    /// Nor does `ack`.
    Ack,
}

/// Hands out a run a second.
#[derive(Debug)]
struct Runs {
    wrong: Wrong,
    given: AtomicU32,
}

impl QueueBackend for Runs {
    const NAME: &'static str = "runs";
    type Receipt = ();

    async fn receive(&self, _: Room, wait: Duration) -> Result<Vec<Delivery<()>>, QueueError> {
        match self.wrong {
            Wrong::Away => return Err(QueueError::new("away")),
            Wrong::Receive => pending().await,
            _ => sleep(wait).await,
        }
        let run = support::events::run(&format!("r{}", self.given.fetch_add(1, Relaxed)), "running");
        let message = Message {
            body: Bytes::from(run),
            cut: None,
            hint: None,
            origin: Origin { name: "q".into(), position: None },
            deliveries: 1,
            enqueued_at: None,
        };
        Ok(vec![Delivery { message, receipt: () }])
    }

    async fn ack(&self, stored: Vec<Stored<()>>) -> Result<(), QueueError> {
        if self.wrong == Wrong::Ack {
            pending::<()>().await;
        }
        drop(stored);
        Ok(())
    }

    async fn release(&self, _: Vec<()>) -> Result<(), QueueError> {
        Ok(())
    }

    async fn close(&self) -> Result<(), QueueError> {
        Ok(())
    }
}

/// Runs a worker for so long, by a clock of its own, and returns what of it was stuck at any minute.
async fn stuck(wrong: Wrong, stores: Stores, time: Duration) -> Vec<&'static str> {
    let context = context(stores, Budget::new(100, 1 << 20));
    let health: Health = context.health.clone();
    let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
    let limits = Limits { max_event_bytes: 1 << 20, refused_for: Duration::ZERO };
    let settings = Settings { batch_size: 10, poll_interval: second, shutdown_timeout: second, limits };
    let (queue, stop) = (Runs { wrong, given: AtomicU32::new(0) }, Stop::default());
    let mut found: Vec<&'static str> = Vec::new();
    let watch = async {
        for _ in 0..time.as_secs() / 60 {
            sleep(minute).await;
            found.extend(health.stuck().into_iter().map(|(name, _)| name));
        }
    };
    tokio::select! {
        ended = worker::run(&queue, &context, settings, &stop) => panic!("{ended:?}"),
        () = watch => {}
    }
    found.sort_unstable();
    found.dedup();
    found
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_stops_is_found() {
    let time = SILENCE_LIMIT + Duration::from_secs(120);
    assert_eq!(stuck(Wrong::Nothing, nothing::stores(), time).await, [] as [&str; 0]);
    assert_eq!(stuck(Wrong::Receive, nothing::stores(), time).await, ["receive"]);
    assert_eq!(stuck(Wrong::Ack, nothing::stores(), time).await, ["ack"]);
}

#[tokio::test(start_paused = true)]
async fn stores_that_are_away_for_a_day_are_not_the_workers_fault() {
    for silent in [false, true] {
        let away = Arc::new(Away { silent });
        let stores = Stores { raw: away.clone(), metrics: away };
        assert_eq!(stuck(Wrong::Nothing, stores, 24 * HOUR).await, [] as [&str; 0], "silent: {silent}");
    }
}

#[tokio::test(start_paused = true)]
async fn nor_is_a_broker() {
    assert_eq!(stuck(Wrong::Away, nothing::stores(), 24 * HOUR).await, [] as [&str; 0]);
}

/// However much comes in meanwhile, an outage is said once, with its cause.
#[tokio::test(start_paused = true)]
async fn an_outage_of_a_day_is_a_few_lines() {
    // For all threads, or what a test without one logs first would be left out here; each has a log of its own.
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_max_level(tracing::Level::INFO);
    tracing::subscriber::set_global_default(subscriber.with_writer(|| Log).finish()).unwrap();
    LOG.take();
    let away = Arc::new(Away { silent: false });
    stuck(Wrong::Nothing, Stores { raw: away.clone(), metrics: away }, 24 * HOUR).await;
    stuck(Wrong::Away, nothing::stores(), 24 * HOUR).await;
    let text = String::from_utf8(LOG.take()).unwrap();
    for line in ["store is down", "nobody listens there", "queue is down"] {
        assert_eq!(text.matches(line).count(), 1, "{line} in {text}");
    }
    assert!(text.lines().count() <= 5 && !text.contains("startedAt"), "{text}");
}

thread_local! {
    static LOG: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.with_borrow_mut(|log| log.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Stores that refuse connections, or take them and never say a word.
#[derive(Debug)]
struct Away {
    silent: bool,
}

impl Away {
    async fn error(&self) -> StoreError {
        if self.silent {
            pending::<()>().await;
        }
        StoreError::new("away", Class::Transient, "nobody listens there")
    }

    async fn errors<T>(&self, len: usize) -> Vec<Result<T, StoreError>> {
        let error = self.error().await;
        (0..len).map(|_| Err(error.again())).collect()
    }
}

#[async_trait]
impl RawStore for Away {
    fn name(&self) -> &'static str {
        "objects"
    }
    async fn prepare(&self) -> Result<(), StoreError> {
        Err(self.error().await)
    }
    async fn create(&self, objects: &[Arc<Object>]) -> Vec<Result<Created, StoreError>> {
        self.errors(objects.len()).await
    }
    async fn read(&self, keys: &[String]) -> Vec<Result<Option<Existing>, StoreError>> {
        self.errors(keys.len()).await
    }
    async fn replace(&self, objects: &[(Arc<Object>, Tag)]) -> Vec<Result<Replaced, StoreError>> {
        self.errors(objects.len()).await
    }
    async fn probe(&self) -> Result<(), StoreError> {
        Err(self.error().await)
    }
}

#[async_trait]
impl MetricsStore for Away {
    fn name(&self) -> &'static str {
        "database"
    }
    async fn prepare(&self) -> Result<(), StoreError> {
        Err(self.error().await)
    }
    async fn insert_facts(&self, _: &[Arc<Record>]) -> Result<(), StoreError> {
        Err(self.error().await)
    }
    async fn recompute(&self, _: &Touched) -> Result<Heavy, StoreError> {
        Err(self.error().await)
    }
    async fn insert_dead_letters(&self, _: &[Arc<DeadLetter>]) -> Result<(), StoreError> {
        Err(self.error().await)
    }
    async fn row_counts(&self) -> Result<RowCounts, StoreError> {
        Err(self.error().await)
    }
    async fn probe(&self) -> Result<(), StoreError> {
        Err(self.error().await)
    }
}
