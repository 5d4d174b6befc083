//! What a worker in this process works with.

use std::sync::Arc;

use prometheus_client::registry::Registry;
use xray_processor_worker::budget::Budget;
use xray_processor_worker::config::QueueType;
use xray_processor_worker::health::Health;
use xray_processor_worker::metrics::Metrics;
use xray_processor_worker::pipeline::{Stores, Tally};
use xray_processor_worker::worker::Context;

/// On these stores, within this budget, with health, metrics and tally of its own.
pub fn context(stores: Stores, budget: Budget) -> Context {
    let health = Health::default();
    let names = [stores.raw.name(), stores.metrics.name()];
    let metrics = Metrics::register(&mut Registry::default(), QueueType::Memory, &names, &budget, &health);
    Context { stores, budget, metrics, health, tally: Arc::new(Tally::default()) }
}
