//! What in a queue's own configuration works against what the worker promises.

use super::request::Attributes;
use serde_json::Value;
use std::time::Duration;

/// Crashes, restarts of SQS's clients and long outages each cost one.
const FEW_RECEIVES: u64 = 20;
/// The shortest time that leaves one to mend the stores.
const SHORT_RETENTION: Duration = Duration::from_secs(24 * 3600);

/// Sentences for the log, each naming what to change.
pub(super) fn advice(attributes: &Attributes) -> Vec<String> {
    let mut advice = Vec::new();
    let policy: Value =
        attributes.redrive_policy.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let receives =
        policy.get("maxReceiveCount").and_then(|count| count.as_u64().or_else(|| count.as_str()?.parse().ok()));
    if let Some(receives) = receives.filter(|receives| *receives < FEW_RECEIVES) {
        let target = policy.get("deadLetterTargetArn").and_then(Value::as_str).unwrap_or_default();
        let target = target.rsplit(':').next().unwrap_or_default();
        advice.push(format!(
            "its RedrivePolicy moves a message to {target} when it was received {receives} times (maxReceiveCount), stored or \
             not: each crash of a worker and each long outage counts as one, and what is moved is not stored. Raise \
             maxReceiveCount to {FEW_RECEIVES} or more, or remove the policy: what is no event becomes a dead letter of the \
             worker's own"
        ));
    }
    if let Some(retention) = attributes.retention.filter(|retention| *retention < SHORT_RETENTION) {
        advice.push(format!(
            "its MessageRetentionPeriod is {} s: what is not stored by then is lost. Raise it; SQS keeps messages for up to 14 \
             days (1209600)",
            retention.as_secs()
        ));
    }
    advice
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(policy: Option<&str>, retention: Option<u64>) -> Vec<String> {
        let retention = retention.map(Duration::from_secs);
        advice(&Attributes { messages: 0, redrive_policy: policy.map(str::to_owned), retention })
    }

    #[test]
    fn policies_that_fight_ours() {
        let arn = r#""deadLetterTargetArn":"arn:aws:sqs:eu-west-1:1:xray-dlq""#;
        for count in ["3", "\"3\"", "19"] {
            let said = of(Some(&format!("{{{arn},\"maxReceiveCount\":{count}}}")), None);
            assert!(said[0].contains("to xray-dlq when") && said[0].contains("maxReceiveCount"), "{said:?}");
        }
        assert!(of(Some(&format!("{{{arn},\"maxReceiveCount\":20}}")), Some(345_600)).is_empty());
        assert!(of(None, None).is_empty() && of(Some("nonsense"), None).is_empty());
        assert!(of(None, Some(60))[0].contains("MessageRetentionPeriod is 60 s"));
    }
}
