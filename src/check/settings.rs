//! The settings: which are set, which of them are not used, and which do not fit together.

use super::finding::{Finding, Findings};
use crate::config::{Config, Loaded, QueueType, Resolved, S3Flavor};
use crate::span::span;
use crate::version::COMPILED_IN;
use secrecy::ExposeSecret;
use std::time::Duration;

/// What Kubernetes and systemd leave a process to end in, unless told otherwise; of the latter it is 90 s.
const GRACE: Duration = Duration::from_secs(30);
/// What stands for secrets in `deploy/`.
const EXAMPLE: &str = "change-me";

/// What was found.
pub fn inspect(loaded: &Loaded) -> Vec<Finding> {
    let mut found = Findings::about("settings");
    let set: Vec<&Resolved> = loaded.resolved.iter().filter(|setting| !setting.is_default()).collect();
    for setting in &set {
        let used = idle(setting.path, &loaded.config).map(|why| format!("; not used: {why}")).unwrap_or_default();
        found.ok(format!("{} is {} ({}){used}", setting.env, setting.value, setting.origin));
    }
    let others = loaded.resolved.len() - set.len();
    found.ok(format!("{others} others have their defaults; `xray-processor-worker config` lists all"));
    loaded.warnings.iter().for_each(|warning| found.warn(warning.as_str(), "set the right name, or take it away"));
    fits(&mut found, &loaded.config);
    found.into_all()
}

/// Why a setting has no effect, if so.
fn idle(path: &str, config: &Config) -> Option<String> {
    let (section, _) = path.split_once('.').unwrap_or((path, ""));
    let queue = config.queue.kind;
    let of_queue = |wanted: QueueType| (queue != wanted).then(|| format!("QUEUE_TYPE is {queue}"));
    let embedded = config.embedded.data_dir.as_ref().map(|_| "XRAY_DATA_DIR takes the place of servers".to_owned());
    match section {
        "kafka" => of_queue(QueueType::Kafka),
        "rabbitmq" => of_queue(QueueType::Rabbitmq),
        "nats" => of_queue(QueueType::Nats),
        "sqs" => of_queue(QueueType::Sqs),
        "clickhouse" => embedded,
        // SQS has the same credentials.
        "s3" if path.starts_with("s3.aws.") && !path.ends_with("bucket") && queue == QueueType::Sqs => None,
        "s3" if embedded.is_some() => embedded,
        "s3" if path.starts_with("s3.aws.") && config.s3.flavor == S3Flavor::Minio => {
            Some("the MINIO_ settings are in force".into())
        }
        "embedded" if path.ends_with("durable") && embedded.is_none() => Some("XRAY_DATA_DIR is not set".into()),
        "http" if path.ends_with("ingest_token") => {
            (queue != QueueType::Memory).then(|| format!("there is no /ingest, as QUEUE_TYPE is {queue}"))
        }
        _ => None,
    }
}

/// Values that are good each by itself.
fn fits(found: &mut Findings, config: &Config) {
    let Config { queue, limits, timeouts, http, .. } = config;
    if !COMPILED_IN.contains(&queue.kind.as_str()) {
        let has = COMPILED_IN.join(", ");
        found.fail_with(
            format!("QUEUE_TYPE is {}, and this binary was built without it (it has: {has})", queue.kind),
            format!("build it with `cargo build --release --features {}`", queue.kind),
        );
    }
    if limits.max_event_bytes > limits.max_in_flight_bytes {
        found.warn(
            "MAX_EVENT_BYTES is more than MAX_IN_FLIGHT_BYTES: a message that large is worked on alone",
            "raise MAX_IN_FLIGHT_BYTES to a multiple of it",
        );
    }
    let tokens = [("INGEST_TOKEN", &http.ingest_token), ("STATUS_TOKEN", &http.status_token)];
    for (name, token) in tokens {
        if token.as_ref().is_some_and(|token| token.expose_secret() == EXAMPLE) {
            found.warn(format!("{name} is what our example says, which anybody can read"), "set one of your own");
        }
    }
    if timeouts.shutdown >= GRACE {
        found.warn(
            format!("SHUTDOWN_TIMEOUT_MS is {}", span(timeouts.shutdown.as_secs_f64())),
            "see that whatever stops the worker waits longer: Kubernetes kills after 30 s (terminationGracePeriodSeconds)",
        );
    }
    let loopback = http.addr.ip().to_canonical().is_loopback();
    if !loopback && http.status_token.is_none() {
        found.warn(
            format!("the status page does not answer: HTTP_ADDR is {}, which others can reach", http.addr),
            "set STATUS_TOKEN",
        );
    }
    if !loopback && queue.kind == QueueType::Memory && http.ingest_token.is_none() {
        found.warn(
            format!("/ingest does not answer: HTTP_ADDR is {}, which others can reach", http.addr),
            "set INGEST_TOKEN",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Level;
    use crate::config::{Sources, load};

    fn found(env: &[(&str, &str)]) -> Vec<(Level, String)> {
        let env = env.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let loaded = load(&Sources { env, ..Sources::default() }).unwrap();
        inspect(&loaded).into_iter().map(|finding| (finding.level, finding.text)).collect()
    }

    fn warned(env: &[(&str, &str)], words: &str) -> bool {
        found(env).iter().any(|(level, text)| *level == Level::Warn && text.contains(words))
    }

    #[test]
    fn by_default_nothing_is_wrong() {
        let found = found(&[]);
        assert!(
            found[0].1.ends_with("others have their defaults; `xray-processor-worker config` lists all"),
            "{found:?}"
        );
        assert!(found.iter().all(|(level, _)| *level == Level::Ok), "{found:?}");
    }

    #[test]
    fn what_is_set_is_named_and_what_is_not_used_is_told_of() {
        let set = found(&[("CLICKHOUSE_PASSWORD", "s3cret")]);
        assert_eq!(set[0], (Level::Ok, "CLICKHOUSE_PASSWORD is (hidden) (environment CLICKHOUSE_PASSWORD)".into()));
        let unused = |env: &[(&str, &str)]| {
            found(env).iter().find_map(|(_, text)| Some(text.split_once("not used: ")?.1.to_owned()))
        };
        let said = |env: &[(&str, &str)]| unused(env).unwrap_or_default();
        assert_eq!(said(&[("NATS_URL", "nats://x")]), "QUEUE_TYPE is memory");
        assert!(said(&[("XRAY_DATA_DIR", "d"), ("CLICKHOUSE_HOST", "x")]).starts_with("XRAY_DATA_DIR takes the place"));
        assert_eq!(said(&[("XRAY_DURABLE", "false")]), "XRAY_DATA_DIR is not set");
        assert!(said(&[("QUEUE_TYPE", "sqs"), ("INGEST_TOKEN", "x")]).starts_with("there is no /ingest"));
        assert_eq!(said(&[("MINIO_BUCKET", "b"), ("AWS_S3_BUCKET", "x")]), "the MINIO_ settings are in force");
        assert_eq!(said(&[("QUEUE_TYPE", "sqs"), ("AWS_REGION", "x")]), "");
        assert!(warned(&[("CLICKHOUSE_HOSTT", "x")], "CLICKHOUSE_HOSTT"));
        assert!(warned(&[("STATUS_TOKEN", "change-me")], "STATUS_TOKEN is what our example says"));
        assert!(!warned(&[("STATUS_TOKEN", "x")], "example"));
    }

    #[test]
    fn what_does_not_fit_together() {
        assert!(warned(&[("MAX_EVENT_BYTES", "100 MiB")], "MAX_EVENT_BYTES is more"));
        assert!(warned(&[("SHUTDOWN_TIMEOUT_MS", "60000")], "SHUTDOWN_TIMEOUT_MS is 60 s"));
        let open = ("HTTP_ADDR", "0.0.0.0:8080");
        assert!(warned(&[open], "the status page does not answer") && warned(&[open], "/ingest does not answer"));
        assert!(!warned(&[open, ("STATUS_TOKEN", "x"), ("INGEST_TOKEN", "y")], "does not answer"));
    }
}
