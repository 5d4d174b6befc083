//! What `check` looks at: the settings, the machine, and whatever the settings name.

use crate::check::{Finding, Findings, machine, settings};
use crate::config::{Config, Loaded, QueueType};
#[cfg(feature = "kafka")]
use crate::queue::kafka;
#[cfg(feature = "nats")]
use crate::queue::nats;
#[cfg(feature = "rabbitmq")]
use crate::queue::rabbitmq;
#[cfg(feature = "sqs")]
use crate::queue::sqs;
use crate::store::clickhouse::ClickHouseTables;
use crate::store::s3::S3Objects;
use crate::store::{StoreError, embedded};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::path::PathBuf;

/// Everything that can be found out before the first event, shown as it comes.
pub async fn inspect(loaded: &Loaded, mut show: impl FnMut(Vec<Finding>)) {
    let config = &loaded.config;
    show(settings::inspect(loaded));
    show(machine::inspect(config));
    let mut asked: FuturesUnordered<BoxFuture<'_, Findings>> = FuturesUnordered::new();
    match &config.embedded.data_dir {
        Some(dir) => asked.push(directory(dir.clone(), config.embedded.durable).boxed()),
        None => asked.extend([objects(config).boxed(), tables(config).boxed()]),
    }
    asked.push(queue(config).boxed());
    while let Some(found) = asked.next().await {
        show(found.into_all());
    }
}

async fn directory(dir: PathBuf, durable: bool) -> Findings {
    let looked = tokio::task::spawn_blocking(move || embedded::inspect(&dir, durable)).await;
    looked.unwrap_or_else(|_| Findings::about("data"))
}

async fn objects(config: &Config) -> Findings {
    match S3Objects::open(&config.s3, config.limits.max_event_bytes) {
        Ok(objects) => objects.inspect().await,
        Err(error) => unusable("s3", &error),
    }
}

async fn tables(config: &Config) -> Findings {
    match ClickHouseTables::new(&config.clickhouse) {
        Ok(tables) => tables.inspect().await,
        Err(error) => unusable("clickhouse", &error),
    }
}

/// Nothing where there is nothing to be asked; that it is not compiled in is found with the settings.
async fn queue(config: &Config) -> Findings {
    let nothing = Findings::about("queue");
    match config.queue.kind {
        QueueType::Memory => nothing,
        #[cfg(feature = "kafka")]
        QueueType::Kafka => kafka::inspect(&config.kafka).await,
        #[cfg(feature = "rabbitmq")]
        QueueType::Rabbitmq => rabbitmq::inspect(&config.rabbitmq).await,
        #[cfg(feature = "nats")]
        QueueType::Nats => nats::inspect(&config.nats).await,
        #[cfg(feature = "sqs")]
        QueueType::Sqs => sqs::inspect(&config.sqs).await,
        #[allow(unreachable_patterns)] // where all are
        _ => nothing,
    }
}

fn unusable(subject: &'static str, error: &StoreError) -> Findings {
    let mut found = Findings::about(subject);
    found.fail(error.chain());
    found
}
