//! The composition root: which stores, which queue, what runs beside the worker. It alone knows all parts.

mod first;
mod inspect;
mod producer;
mod publish;
mod redrive;
pub mod stores;

pub use first::where_to_begin;
pub use inspect::inspect;
pub use publish::publish;
pub use redrive::{Redriven, redrive, requeue};

use crate::budget::Budget;
use crate::causes;
use crate::config::{Config, QueueType};
use crate::exit::Failure;
use crate::feed::{FeedError, Feeder, Input};
use crate::generate;
use crate::health::Health;
use crate::http::{self, AppState, ingest};
use crate::metrics::Metrics;
use crate::pipeline::{self, Limits, Prepared, Tally};
use crate::probe;
use crate::progress;
#[cfg(feature = "kafka")]
use crate::queue::kafka::KafkaQueue;
use crate::queue::memory::{MemoryQueue, Refused};
#[cfg(feature = "nats")]
use crate::queue::nats::NatsQueue;
#[cfg(feature = "rabbitmq")]
use crate::queue::rabbitmq::RabbitmqQueue;
#[cfg(feature = "sqs")]
use crate::queue::sqs::SqsQueue;
use crate::queue::{QueueBackend, QueueError};
use crate::shutdown;
use crate::status::Status;
use crate::store::{MetricsStore, RowCounts, StoreError};
use crate::version;
use crate::worker::{self, Context, Settings, Stop};
use prometheus_client::registry::Registry;
use secrecy::SecretString;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

/// What an input came to.
#[derive(Debug)]
pub struct Report {
    /// What was done.
    pub tally: Arc<Tally>,
    /// What is in the tables now, where that could be counted.
    pub rows: Option<RowCounts>,
    /// What was generated, for generated input.
    pub generated: Option<generate::Tally>,
    /// How long it took.
    pub took: Duration,
}

/// After the worker is done, how long clients may take to read their answers.
const HTTP_LINGER: Duration = Duration::from_secs(2);

/// Works on the configured queue until a signal.
pub async fn serve(config: &Config) -> Result<(), Failure> {
    if !version::COMPILED_IN.contains(&config.queue.kind.as_str()) {
        return Err(not_compiled_in(config.queue.kind));
    }
    let listener = listen(config).await?;
    let parts = Parts::build(config).await?;
    let stop = Stop::default();
    on_signals(&stop)?;
    match config.queue.kind {
        QueueType::Memory => {
            let queue = memory_queue(config);
            parts.serve(config, &queue, listener, Some(ingest(config, &queue)), &stop).await
        }
        #[cfg(feature = "kafka")]
        QueueType::Kafka => {
            let queue = KafkaQueue::start(&config.kafka, &config.limits).map_err(queue_failure)?;
            parts.serve(config, &queue, listener, None, &stop).await
        }
        #[cfg(feature = "rabbitmq")]
        QueueType::Rabbitmq => {
            let queue = RabbitmqQueue::start(&config.rabbitmq, &config.limits).map_err(queue_failure)?;
            parts.serve(config, &queue, listener, None, &stop).await
        }
        #[cfg(feature = "nats")]
        QueueType::Nats => {
            let queue = NatsQueue::start(&config.nats, &config.limits).map_err(queue_failure)?;
            parts.serve(config, &queue, listener, None, &stop).await
        }
        #[cfg(feature = "sqs")]
        QueueType::Sqs => {
            let queue = SqsQueue::start(&config.sqs, &config.limits).map_err(queue_failure)?;
            parts.serve(config, &queue, listener, None, &stop).await
        }
        #[allow(unreachable_patterns)] // where all are
        other => Err(not_compiled_in(other)),
    }
}

/// Works an input off through the memory queue and returns once all of it is durable. Fails where a store stays away
/// for `give_up_after`, where a signal comes, or where the input cannot be read; what was stored by then is right, and
/// the same input may be worked off again. Opens a port only where `http` is set.
pub async fn work_off(config: &Config, input: Input, give_up_after: Duration, http: bool) -> Result<Report, Failure> {
    let began = Instant::now();
    let listener = if http { Some(listen(config).await?) } else { None };
    let parts = Parts::build(config).await?;
    let stop = Stop::default();
    on_signals(&stop)?;
    let queue = memory_queue(config);
    let ingest = listener.is_some().then(|| ingest(config, &queue));

    let read = AtomicU64::new(0);
    let total = input.bytes();
    let feeder = Feeder { queue: &queue, max_event_bytes: config.limits.max_event_bytes, read: &read };
    let feeding = async {
        let fed = feeder.feed(input).await;
        if fed.is_ok() {
            queue.drained().await;
        }
        fed
    };
    let tally = parts.context.tally.clone();
    let stored = || tally.all_events();
    let finished = async {
        let end = tokio::select! {
            biased;
            () = stop.drain.cancelled() => Err(Failure::failed("interrupted: not all of the input is stored")),
            fed = feeding => fed.map_err(|error| feed_failure(&error)),
            away = away_too_long(&parts.context.health, give_up_after) => {
                stop.give_up.cancel();
                Err(away)
            }
            never = progress::show(&stored, "events stored", &read, total) => match never {},
        };
        stop.drain.cancel();
        end
    };
    let (ran, generated) = tokio::join!(parts.run(&queue, listener, ingest, &stop), finished);
    ran?;
    let generated = generated?;
    let rows = count_rows(&*parts.context.stores.metrics).await;
    Ok(Report { tally, rows, generated, took: began.elapsed() })
}

/// What every way to run has.
struct Parts {
    context: Context,
    settings: Settings,
    registry: Arc<Registry>,
    status: Status,
    status_token: Option<SecretString>,
}

impl Parts {
    async fn build(config: &Config) -> Result<Parts, Failure> {
        let stores = stores::open(config).await?;
        let limits = &config.limits;
        let budget = Budget::new(limits.max_in_flight_messages, limits.max_in_flight_bytes);
        let health = Health::default();
        let mut registry = Registry::default();
        let names = [stores.raw.name(), stores.metrics.name()];
        let metrics = Metrics::register(&mut registry, config.queue.kind, &names, &budget, &health);
        let status = Status::new(config.queue.kind.as_str(), metrics.clone(), budget.clone(), health.clone());
        Ok(Parts {
            status,
            status_token: config.http.status_token.clone(),
            context: Context { stores, budget, metrics, health, tally: Arc::default() },
            settings: Settings {
                batch_size: config.queue.batch_size,
                poll_interval: config.queue.poll_interval,
                shutdown_timeout: config.timeouts.shutdown,
                limits: Limits {
                    max_event_bytes: limits.max_event_bytes,
                    refused_for: config.timeouts.store_refused_after,
                },
            },
            registry: Arc::new(registry),
        })
    }

    /// The same as [`run`](Self::run) for whoever waits for messages, and wonders if none come.
    async fn serve<Q: QueueBackend>(
        &self,
        config: &Config,
        queue: &Q,
        listener: TcpListener,
        ingest: Option<ingest::Ingest>,
        stop: &Stop,
    ) -> Result<(), Failure> {
        let wonder = async {
            let waiting = first::nothing_comes(&self.context.health, &self.context.metrics).await;
            tracing::info!("{}", first::where_to_look(config, waiting));
            std::future::pending::<Infallible>().await
        };
        tokio::select! {
            ran = self.run(queue, Some(listener), ingest, stop) => ran,
            never = wonder => match never {},
        }
    }

    /// Runs the worker, and beside it what answers to people and probes.
    async fn run<Q: QueueBackend>(
        &self,
        queue: &Q,
        listener: Option<TcpListener>,
        ingest: Option<ingest::Ingest>,
        stop: &Stop,
    ) -> Result<(), Failure> {
        let Context { stores, health, .. } = &self.context;
        // Before anybody can ask: what is not known to be up is not ready.
        let dependencies = [stores.raw.name(), stores.metrics.name()].into_iter().chain((!Q::LOCAL).then_some(Q::NAME));
        dependencies.for_each(|name| drop(health.dependency(name)));
        let state = AppState {
            health: health.clone(),
            registry: self.registry.clone(),
            status: self.status.clone(),
            status_token: self.status_token.clone(),
            ingest,
        };
        let worker_done = tokio_util::sync::CancellationToken::new();
        let server = listener.map(|listener| {
            tracing::info!(
                address = listener.local_addr().map(|a| a.to_string()).unwrap_or_default(),
                "http server is up"
            );
            tokio::spawn(http::serve(listener, state, worker_done.clone().cancelled_owned()))
        });
        let worked = tokio::select! {
            worked = self.work(queue, stop) => worked,
            never = self.status.watch() => match never {},
        };
        worker_done.cancel();
        if let Some(server) = server {
            // Clients that do not read their answers must not hold up the exit.
            if let Ok(Ok(Err(error))) = timeout(HTTP_LINGER, server).await {
                return Err(Failure::failed(format!("the HTTP server failed: {error}")));
            }
        }
        worked
    }

    /// Makes the stores ready, then works until told to stop.
    async fn work<Q: QueueBackend>(&self, queue: &Q, stop: &Stop) -> Result<(), Failure> {
        let Context { stores, metrics, health, .. } = &self.context;
        let prepared = pipeline::prepare(stores, metrics, health, &stop.drain).await;
        if let Ok(Prepared::Ready) = prepared {
            return tokio::select! {
                worked = worker::run(queue, &self.context, self.settings, stop) => {
                    worked.map_err(|broken| Failure::failed(broken.to_string()))
                }
                () = probe::run(stores, health) => Ok(()),
                never = self.status.read(&*stores.metrics) => match never {},
            };
        }
        health.drain();
        queue.close().await.map_err(|error| Failure::failed(error.to_string()))?;
        prepared.map(|_| ()).map_err(store_failure)
    }
}

fn memory_queue(config: &Config) -> MemoryQueue {
    MemoryQueue::new(config.limits.max_in_flight_messages, config.limits.max_in_flight_bytes)
}

fn ingest(config: &Config, queue: &MemoryQueue) -> ingest::Ingest {
    let settings = ingest::Settings {
        token: config.http.ingest_token.clone(),
        max_event_bytes: config.limits.max_event_bytes,
        max_in_flight_bytes: config.limits.max_in_flight_bytes,
        timeout: config.timeouts.ingest,
    };
    ingest::Ingest::new(queue.clone(), settings)
}

async fn listen(config: &Config) -> Result<TcpListener, Failure> {
    http::bind(&config.http.addr.to_string()).await.map_err(|error| Failure::failed(error.to_string()))
}

fn on_signals(stop: &Stop) -> Result<(), Failure> {
    shutdown::on_signals(stop.drain.clone())
        .map_err(|error| Failure::failed(format!("cannot listen for signals: {error}")))
}

/// What is wrong with a queue that has not been spoken to yet is wrong with its configuration.
#[cfg_attr(not(feature = "_broker"), allow(dead_code))]
fn queue_failure(error: QueueError) -> Failure {
    Failure::usage(causes::chain(&error))
}

fn not_compiled_in(kind: QueueType) -> Failure {
    let has = version::COMPILED_IN.join(", ");
    Failure::usage(format!(
        "QUEUE_TYPE is {kind}, and this binary was built without it (it has: {has}); build it with `cargo build --release \
         --features {kind}`"
    ))
}

/// Ends once a store has been down for `limit` without a break.
async fn away_too_long(health: &Health, limit: Duration) -> Failure {
    loop {
        sleep(Duration::from_millis(500)).await;
        if let Some((name, away, error)) = health.outages().into_iter().find(|(_, away, _)| *away >= limit) {
            return Failure::failed(format!("{name} has been away for {} s: {error}", away.as_secs()));
        }
    }
}

/// For people only: where counting fails, or takes too long over very large tables, what was stored is stored all the
/// same.
async fn count_rows(tables: &dyn MetricsStore) -> Option<RowCounts> {
    let counted = tables.row_counts().await;
    counted.inspect_err(|error| tracing::warn!(error = error.chain(), "rows not counted")).ok()
}

fn feed_refused(refused: Refused) -> Failure {
    Failure::failed(refused.to_string())
}

fn feed_failure(error: &FeedError) -> Failure {
    Failure::failed(error.to_string())
}

/// A store said no.
pub(crate) fn store_failure(error: StoreError) -> Failure {
    Failure::failed(error.chain())
}
