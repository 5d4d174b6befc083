//! The X-Ray processor worker: takes runs, steps and decisions off a broker, stores each raw payload under a
//! deterministic key, keeps the metrics of runs, steps and decisions, and acks a message only when both are durable.

pub mod config;
pub mod dead_letter;
pub mod digest;
pub mod event;
pub mod generate;
pub mod http;
pub mod key;
pub mod metrics;
pub mod numbers;
pub mod pipeline;
pub mod queue;
pub mod store;
