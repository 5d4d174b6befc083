//! The first minute: where to begin where nothing is set, and where to look where nothing comes.

use crate::config::{Config, Loaded, QueueType};
use crate::health::Health;
use crate::metrics::Metrics;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Ready for so long without a single message, one looks whether it should be so.
const QUIET: Duration = Duration::from_secs(30);
/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// A hint for whoever started the worker without any setting of stores or queue; it may have been given an input.
pub fn where_to_begin(loaded: &Loaded, input: bool) -> Option<String> {
    if loaded
        .resolved
        .iter()
        .any(|it| !it.is_default() && !it.path.starts_with("log.") && !it.path.starts_with("http."))
    {
        return None;
    }
    let Config { http, clickhouse, s3, .. } = &loaded.config;
    let events = if input { "the input".into() } else { format!("events at http://{}/ingest", http.addr) };
    Some(format!(
        "nothing is set: taking {events} for the S3 server at {} and ClickHouse at {}. To begin with nothing \
         else installed: `xray-processor-worker demo` shows the whole job, `xray-processor-worker run --embedded --data ./data` \
         keeps all in a directory. With servers: `xray-processor-worker check` says what is missing, `xray-processor-worker \
         config` lists what can be set",
        s3.endpoint.as_deref().unwrap_or_default(),
        clickhouse.url
    ))
}

/// Returns once the worker has been ready for long and no message ever came: how many wait at the broker, where it tells.
/// Never, where one came. Cancel safe.
pub(super) async fn nothing_comes(health: &Health, metrics: &Metrics) -> Option<u64> {
    let mut ready_since = None;
    loop {
        sleep(LOOK).await;
        if metrics.totals().received > 0 {
            return std::future::pending().await;
        }
        if !health.readiness().ready {
            ready_since = None;
        } else if ready_since.get_or_insert_with(Instant::now).elapsed() >= QUIET {
            return metrics.last_lag();
        }
    }
}

/// What to look at then.
pub(super) fn where_to_look(config: &Config, waiting: Option<u64>) -> String {
    let began = format!("no message has come within {} s", QUIET.as_secs());
    if let Some(waiting @ 1..) = waiting {
        return format!("{began}, and {waiting} wait at the broker: do other workers hold them?");
    }
    let place = match config.queue.kind {
        QueueType::Memory => {
            let http = &config.http;
            let how = match &http.ingest_token {
                Some(_) => "`curl --oauth2-bearer TOKEN --json '{...}'` posts an event, with INGEST_TOKEN",
                None if http.addr.ip().to_canonical().is_loopback() => "`curl --json '{...}'` posts an event",
                None => "but refuses it, as others can reach that address: set INGEST_TOKEN",
            };
            return format!(
                "{began}: QUEUE_TYPE is memory, which takes what is posted to http://{}/ingest; {how}. A broker is named by \
                 QUEUE_TYPE",
                http.addr
            );
        }
        QueueType::Kafka => {
            let (topics, brokers) = (config.kafka.topics.join(", "), config.kafka.brokers.join(", "));
            format!("KAFKA_TOPICS ({topics}) and KAFKA_BROKERS ({brokers})")
        }
        QueueType::Rabbitmq => {
            format!("RABBITMQ_QUEUES ({}), and the vhost in AMQP_URL", config.rabbitmq.queues.join(", "))
        }
        QueueType::Nats => format!("NATS_STREAM ({}) and NATS_SUBJECT ({})", config.nats.stream, config.nats.subject),
        QueueType::Sqs => format!("SQS_QUEUE_URL ({})", config.sqs.queue_urls.join(", ")),
    };
    format!(
        "{began}; if some should have, look whether producers send to {place}. `xray-processor-worker generate | \
         xray-processor-worker publish` with the same settings puts made-up events there"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;
    use crate::config::{Sources, load};
    use crate::event::Kind;
    use prometheus_client::registry::Registry;
    use tokio::time::timeout;

    fn parts() -> (Health, Metrics) {
        let health = Health::default();
        let metrics = Metrics::register(
            &mut Registry::default(),
            QueueType::Nats,
            &["s3", "clickhouse"],
            &Budget::new(1, 1),
            &health,
        );
        (health, metrics)
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_that_stays_empty_is_noticed() {
        let (health, metrics) = parts();
        health.dependency("nats").up();
        assert_eq!(nothing_comes(&health, &metrics).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_away_or_busy_says_nothing() {
        let (health, metrics) = parts();
        health.dependency("nats").down("away");
        assert!(timeout(QUIET * 10, nothing_comes(&health, &metrics)).await.is_err());
        health.dependency("nats").up();
        metrics.received(Some(Kind::Run), 1);
        assert!(timeout(QUIET * 10, nothing_comes(&health, &metrics)).await.is_err());
    }

    #[test]
    fn each_queue_names_its_settings() {
        for (kind, setting) in [
            (QueueType::Memory, "/ingest"),
            (QueueType::Kafka, "KAFKA_TOPICS"),
            (QueueType::Rabbitmq, "RABBITMQ_QUEUES"),
            (QueueType::Nats, "NATS_STREAM"),
            (QueueType::Sqs, "SQS_QUEUE_URL"),
        ] {
            let mut config = Config::default();
            config.queue.kind = kind;
            let text = where_to_look(&config, None);
            assert!(text.contains(setting), "{text}");
            assert!(where_to_look(&config, Some(3)).contains("3 wait"), "{kind}");
        }
    }

    /// What is said to post an event is not refused.
    #[test]
    fn an_ingest_that_asks_for_a_token_is_told_of() {
        let mut config = Config::default();
        assert!(where_to_look(&config, None).contains("; `curl --json"));
        config.http.addr = "0.0.0.0:8080".parse().unwrap();
        assert!(
            where_to_look(&config, None).contains("refuses it")
                && where_to_look(&config, None).contains("set INGEST_TOKEN")
        );
        config.http.ingest_token = Some("s3cret".to_owned().into());
        let text = where_to_look(&config, None);
        assert!(text.contains("--oauth2-bearer") && !text.contains("s3cret") && !text.contains("refuses"), "{text}");
    }

    #[test]
    fn an_input_opens_no_port() {
        let loaded = load(&Sources::default()).unwrap();
        assert!(where_to_begin(&loaded, false).unwrap().contains("events at http://127.0.0.1:8080/ingest"));
        let said = where_to_begin(&loaded, true).unwrap();
        assert!(said.contains("taking the input for the S3 server") && !said.contains("/ingest"), "{said}");
    }
}
