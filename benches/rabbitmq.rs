//! Messages per second from RabbitMQ, receive to ack, with stores that cost nothing, beside a bare loop of the same
//! driver: `cargo bench --features rabbitmq --bench rabbitmq [-- MESSAGES]`.

#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use prometheus_client::registry::Registry;
use support::ledger::Ledger;
use support::servers::Server;
use xray_processor_worker::budget::Budget;
use xray_processor_worker::config::{Config, QueueType, Rabbitmq};
use xray_processor_worker::health::Health;
use xray_processor_worker::metrics::Metrics;
use xray_processor_worker::pipeline::{Limits, Tally};
use xray_processor_worker::queue::Producer;
use xray_processor_worker::queue::rabbitmq::{RabbitmqProducer, RabbitmqQueue};
use xray_processor_worker::worker::{self, Context, Settings, Stop};

const BODY: usize = 1024;
/// What the backend comes to with bodies of this size.
const PREFETCH: u16 = 2000;
const ROUNDS: usize = 3;

fn main() {
    // `cargo bench` adds an argument of its own.
    let messages = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(50_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let server = Server::shared("rabbitmq");
        println!("| queue | published, confirmed | bare loop, ack each 1 | each 10 | each 100 | worker | share of the bare loop, each 10 |");
        println!("|---|---|---|---|---|---|---|");
        for kind in ["classic", "quorum"] {
            let mut settings = Config::default().rabbitmq;
            settings.url = server.env("AMQP_URL").into();
            settings.queues = vec![format!("bench-{kind}")];
            settings.declare = kind;
            let mut published = Vec::new();
            let mut columns = vec![Vec::new(); 4];
            for _ in 0..ROUNDS {
                for (column, rates) in columns.iter_mut().enumerate() {
                    published.push(publish(&settings, messages).await);
                    rates.push(match column {
                        0 => bare_loop(&settings, messages, PREFETCH, 1).await,
                        1 => bare_loop(&settings, messages, PREFETCH, 10).await,
                        2 => bare_loop(&settings, messages, PREFETCH, 100).await,
                        _ => work(&settings, messages).await,
                    });
                }
            }
            let rates: Vec<f64> = columns.into_iter().map(median).collect();
            let cells: Vec<_> = rates.iter().map(|rate| format!("{rate:.0}/s")).collect();
            println!("| {kind} | {:.0}/s | {} | {:.2} |", median(published), cells.join(" | "), rates[3] / rates[1]);
        }
    });
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

fn rate(messages: usize, begin: Instant) -> f64 {
    messages as f64 / begin.elapsed().as_secs_f64()
}

/// Puts so many runs of about 1 KB in.
async fn publish(settings: &Rabbitmq, messages: usize) -> f64 {
    let producer = RabbitmqProducer::start(settings).unwrap();
    let begin = Instant::now();
    let mut sending = FuturesUnordered::new();
    for n in 0..messages {
        let head = format!(r#"{{"id":"r-{n}","pipelineId":"p","status":"running","startedAt":1772319600000,"input":""#);
        let body = format!("{head}{}\"}}", "x".repeat(BODY - head.len() - 2));
        sending.push(producer.send(&settings.queues[0], Bytes::from(body)));
        if sending.len() >= 1000 {
            sending.next().await.unwrap().unwrap();
        }
    }
    while let Some(sent) = sending.next().await {
        sent.unwrap();
    }
    rate(messages, begin)
}

/// lapin alone: takes each message, and acks all of them each so many.
pub async fn bare_loop(settings: &Rabbitmq, messages: usize, prefetch: u16, ack_each: usize) -> f64 {
    use secrecy::ExposeSecret;
    let connection = Connection::connect(settings.url.expose_secret(), ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel.basic_qos(prefetch, BasicQosOptions { global: false }).await.unwrap();
    let (queue, options) = (settings.queues[0].as_str().into(), BasicConsumeOptions::default());
    let begin = Instant::now();
    let mut consumer = channel.basic_consume(queue, "bare".into(), options, FieldTable::default()).await.unwrap();
    for n in 1..=messages {
        let delivery = consumer.next().await.unwrap().unwrap();
        std::hint::black_box(&delivery.data);
        if n % ack_each == 0 || n == messages {
            channel.basic_ack(delivery.delivery_tag, BasicAckOptions { multiple: true }).await.unwrap();
        }
    }
    let rate = rate(messages, begin);
    connection.close(200, "OK".into()).await.unwrap();
    rate
}

/// A worker as deployed, but for its stores.
async fn work(settings: &Rabbitmq, messages: usize) -> f64 {
    let limits = Config::default().limits;
    let ledger = Ledger::new();
    let budget = Budget::new(limits.max_in_flight_messages, limits.max_in_flight_bytes);
    let (health, tally, stop) = (Health::default(), Arc::new(Tally::default()), Stop::default());
    let metrics =
        Metrics::register(&mut Registry::default(), QueueType::Rabbitmq, &["objects", "database"], &budget, &health);
    let context = Context { stores: ledger.stores(), budget: budget.clone(), metrics, health, tally: tally.clone() };
    let settings_of_worker = Settings {
        batch_size: 10,
        poll_interval: Duration::from_secs(1),
        shutdown_timeout: Duration::from_secs(25),
        limits: Limits { max_event_bytes: limits.max_event_bytes },
    };
    let begin = Instant::now();
    let queue = RabbitmqQueue::start(settings, &limits).unwrap();
    let running = {
        let stop = stop.clone();
        tokio::spawn(async move { worker::run(&queue, &context, settings_of_worker, &stop).await })
    };
    while tally.all_events() < messages as u64 || budget.held().0 > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let rate = rate(messages, begin);
    stop.drain.cancel();
    running.await.unwrap().unwrap();
    rate
}
