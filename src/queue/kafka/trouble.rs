//! What keeps records from coming, in one sentence for the person who reads it.

use super::settings;
use crate::config::Kafka;
use crate::hidden::without_secrets;
use crate::queue::QueueError;
use rdkafka::types::RDKafkaErrorCode as Code;
use std::collections::BTreeSet;

/// What is known of the brokers. Fed from librdkafka's callbacks.
#[derive(Debug, Default)]
pub(super) struct Condition {
    /// Whether a broker has logged us in; `None` before the first answer or failure.
    connected: Option<bool>,
    /// The newest telling failure of a connection since one worked.
    failure: Option<(Code, String)>,
    /// We are connected, and refused something without which nothing comes.
    refused: Option<(Code, String)>,
    /// The client has given up for good and is built anew.
    fatal: Option<String>,
    /// Topics that do not exist, where none of ours does.
    missing: BTreeSet<String>,
}

impl Condition {
    /// librdkafka reports an error of the client as a whole. `reason` is its own text, which names the broker.
    pub(super) fn failed(&mut self, code: Code, reason: &str) {
        // The same refusal of a certificate comes under either code.
        let code = if reason.contains("certificate verify failed") { Code::SSL } else { code };
        match code {
            Code::AllBrokersDown => self.connected = Some(false),
            Code::Authentication | Code::SSL | Code::Resolve => {
                self.failure = Some((code, reason.to_owned()));
                self.connected = Some(self.connected.unwrap_or(false));
            }
            // A broker that closes an idle connection is no failure; all of them are told apart above.
            Code::BrokerTransportFailure => {
                let telling = self.failure.as_ref().is_some_and(|(code, _)| *code != Code::BrokerTransportFailure);
                if !telling {
                    self.failure = Some((code, reason.to_owned()));
                }
            }
            Code::GroupAuthorizationFailed | Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed => {
                self.refused = Some((code, reason.to_owned()));
            }
            _ => {}
        }
    }

    /// Whether a connection to any broker is up.
    pub(super) fn connections(&mut self, up: bool) {
        if up {
            self.connected = Some(true);
            self.failure = None;
            // This is another client, which may do better.
            self.fatal = None;
        } else if self.connected == Some(true) && self.failure.is_some() {
            self.connected = Some(false);
        }
    }

    /// Partitions were assigned, or records came: nothing is refused any more.
    pub(super) fn works(&mut self) {
        self.refused = None;
        self.fatal = None;
        self.missing.clear();
    }

    /// The client cannot go on.
    pub(super) fn fatal(&mut self, reason: String) {
        self.fatal = Some(reason);
    }

    /// None of our topics exists.
    pub(super) fn missing(&mut self, topics: BTreeSet<String>) {
        self.missing = topics;
    }

    /// Whether nothing at all is known yet.
    pub(super) fn is_unknown(&self) -> bool {
        self.connected.is_none() && self.fatal.is_none()
    }

    /// The sentence, if anything is wrong.
    pub(super) fn sentence(&self, settings: &Kafka) -> Option<QueueError> {
        let at = settings.brokers.join(", ");
        if let Some(reason) = &self.fatal {
            return Some(QueueError::new(format!("the Kafka client cannot go on and starts anew: {}", plain(reason))));
        }
        if self.connected == Some(false) {
            return Some(match &self.failure {
                Some((code, reason)) => QueueError::new(unconnected(*code, &at, settings)).because(plain(reason)),
                None => QueueError::new(unconnected(Code::BrokerTransportFailure, &at, settings)),
            });
        }
        if let Some((code, reason)) = &self.refused {
            let what = match code {
                Code::GroupAuthorizationFailed => {
                    format!("the consumer group {} (grant READ on it, or set KAFKA_GROUP_ID)", settings.group_id)
                }
                _ => format!("the topics {} (grant READ on them, or set KAFKA_TOPICS)", settings.topics.join(", ")),
            };
            return Some(QueueError::new(format!("Kafka at {at} does not allow us {what}")).because(plain(reason)));
        }
        (!self.missing.is_empty()).then(|| {
            let topics: Vec<_> = self.missing.iter().map(String::as_str).collect();
            QueueError::new(format!(
                "Kafka at {at} has none of the topics {}; create them, or set KAFKA_TOPICS",
                topics.join(", ")
            ))
        })
    }
}

fn unconnected(code: Code, at: &str, settings: &Kafka) -> String {
    match code {
        Code::Authentication => match &settings.sasl_username {
            Some(user) => format!(
                "Kafka at {at} refuses the login of {user} with {}; look at KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD and \
                 KAFKA_SASL_MECHANISM",
                settings.sasl_mechanism
            ),
            None => format!("Kafka at {at} refuses our login; look at KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD"),
        },
        Code::SSL => format!(
            "TLS with Kafka at {at} fails; look at KAFKA_SSL_CA_FILE, KAFKA_SSL_CERT_FILE, and whether this port speaks TLS \
             at all (KAFKA_SECURITY_PROTOCOL)"
        ),
        Code::Resolve => format!("the name of a Kafka broker of {at} cannot be resolved; look at KAFKA_BROKERS"),
        _ if settings::protocol(settings) == "plaintext" => format!(
            "no Kafka broker at {at} can be reached; look at KAFKA_BROKERS, and whether this port wants TLS or a login \
             (KAFKA_SECURITY_PROTOCOL)"
        ),
        _ => format!("no Kafka broker at {at} can be reached; look at KAFKA_BROKERS and KAFKA_SECURITY_PROTOCOL"),
    }
}

/// librdkafka's text in one line, without its times and states.
pub(super) fn plain(reason: &str) -> String {
    let reason = without_secrets(reason);
    let reason = reason.split(" (after ").next().unwrap_or(&reason);
    reason.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::chain;
    use crate::config::Config;

    fn said(condition: &Condition) -> String {
        condition.sentence(&Config::default().kafka).map(|error| chain(&error)).unwrap_or_default()
    }

    #[test]
    fn a_connection() {
        let mut condition = Condition::default();
        assert!(condition.is_unknown());
        condition.failed(
            Code::BrokerTransportFailure,
            "localhost:9092/bootstrap: Connect failed (after 2ms in state CONNECT)",
        );
        assert_eq!(said(&condition), "", "one of several may be down");
        condition.failed(Code::AllBrokersDown, "1/1 brokers are down");
        assert_eq!(
            said(&condition),
            "no Kafka broker at localhost:9092 can be reached; look at KAFKA_BROKERS, and whether this port wants TLS or a \
             login (KAFKA_SECURITY_PROTOCOL): localhost:9092/bootstrap: Connect failed"
        );
        condition.failed(Code::Resolve, "no such host");
        condition.failed(Code::BrokerTransportFailure, "less telling");
        assert!(said(&condition).ends_with("look at KAFKA_BROKERS: no such host"));
        condition.connections(true);
        assert_eq!(said(&condition), "");
        condition.connections(false);
        assert_eq!(said(&condition), "", "nothing failed: it may be idle");
    }

    #[test]
    fn a_login() {
        let mut settings = Config::default().kafka;
        settings.sasl_username = Some("worker".into());
        let mut condition = Condition::default();
        condition.failed(
            Code::Authentication,
            "sasl_ssl://k:1/bootstrap: SASL authentication error: Authentication failed (after 3ms)",
        );
        let said = chain(&condition.sentence(&settings).unwrap());
        assert_eq!(
            said,
            "Kafka at localhost:9092 refuses the login of worker with PLAIN; look at KAFKA_SASL_USERNAME, \
             KAFKA_SASL_PASSWORD and KAFKA_SASL_MECHANISM: sasl_ssl://k:1/bootstrap: SASL authentication error: \
             Authentication failed"
        );
    }

    #[test]
    fn what_is_missing_or_not_allowed() {
        let mut condition = Condition::default();
        condition.connections(true);
        condition.missing(BTreeSet::from(["a".to_owned(), "b".to_owned()]));
        assert_eq!(
            said(&condition),
            "Kafka at localhost:9092 has none of the topics a, b; create them, or set KAFKA_TOPICS"
        );
        condition.failed(Code::GroupAuthorizationFailed, "Broker: Group authorization failed");
        assert!(said(&condition).contains("the consumer group xray-processor-worker (grant READ"));
        condition.works();
        assert_eq!(said(&condition), "");
        condition.fatal("Broker: Static consumer fenced\nby another".into());
        assert!(said(&condition).ends_with("starts anew: Broker: Static consumer fenced by another"));
        condition.connections(true);
        assert_eq!(said(&condition), "");
    }
}
