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

/// Everything that can be found out before the first event.
pub async fn inspect(loaded: &Loaded) -> Vec<Finding> {
    let config = &loaded.config;
    let mut all = settings::inspect(loaded);
    all.extend(machine::inspect(config));
    let (stores, queue) = tokio::join!(stores(config), queue(config));
    all.extend(stores);
    all.extend(queue.into_iter().flat_map(Findings::into_all));
    all
}

async fn stores(config: &Config) -> Vec<Finding> {
    if let Some(dir) = config.embedded.data_dir.clone() {
        let durable = config.embedded.durable;
        let looked = tokio::task::spawn_blocking(move || embedded::inspect(&dir, durable)).await;
        return looked.map(Findings::into_all).unwrap_or_default();
    }
    let (objects, tables) = tokio::join!(objects(config), tables(config));
    [objects, tables].into_iter().flat_map(Findings::into_all).collect()
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

/// `None` where there is nothing to be asked; that it is not compiled in is found with the settings.
async fn queue(config: &Config) -> Option<Findings> {
    match config.queue.kind {
        QueueType::Memory => None,
        #[cfg(feature = "kafka")]
        QueueType::Kafka => Some(kafka::inspect(&config.kafka).await),
        #[cfg(feature = "rabbitmq")]
        QueueType::Rabbitmq => Some(rabbitmq::inspect(&config.rabbitmq).await),
        #[cfg(feature = "nats")]
        QueueType::Nats => Some(nats::inspect(&config.nats).await),
        #[cfg(feature = "sqs")]
        QueueType::Sqs => Some(sqs::inspect(&config.sqs).await),
        #[allow(unreachable_patterns)] // where all are
        _ => None,
    }
}

fn unusable(subject: &'static str, error: &StoreError) -> Findings {
    let mut found = Findings::about(subject);
    found.fail(error.chain());
    found
}
