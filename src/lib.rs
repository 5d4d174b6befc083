//! The X-Ray processor worker: takes runs, steps and decisions off a broker, stores each raw payload under a
//! deterministic key, keeps the metrics of runs, steps and decisions, and acks a message only when both are durable.

pub mod app;
pub mod audit;
mod aws;
pub mod budget;
mod ca_file;
mod causes;
pub mod check;
pub mod cli;
pub mod commands;
pub mod config;
pub mod dead_letter;
pub mod digest;
pub mod event;
pub mod exit;
pub mod feed;
pub mod generate;
pub mod health;
pub mod http;
mod iso;
mod jitter;
pub mod key;
mod kill_point;
pub mod metrics;
pub mod ndjson;
pub mod numbers;
pub mod object;
pub mod pipeline;
pub mod probe;
pub mod progress;
pub mod publish;
pub mod queue;
pub mod shutdown;
pub mod status;
pub mod store;
pub mod telemetry;
pub mod worker;
