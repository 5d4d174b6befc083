//! What a consumer must be like for our promises to hold, and what it lets us do.

use super::subject::{covers, overlap};
use crate::config::Nats;
use async_nats::jetstream::consumer::{AckPolicy, Config, pull};
use std::time::Duration;

/// Shorter leases cannot be kept up over a network that has a bad moment.
const SHORTEST_LEASE: Duration = Duration::from_secs(1);
/// What the server sets where nobody says otherwise. Less is felt.
const FEW_PENDING: i64 = 1000;

/// What a consumer lets us do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Terms {
    /// How long the server waits for a word about a message.
    pub(super) lease: Duration,
    /// Messages per request, at most.
    pub(super) batch: usize,
    /// Bytes per request, at most.
    pub(super) bytes: usize,
    /// How long a request may wait, at most.
    pub(super) expires: Duration,
    /// What works, but not as well as it could.
    pub(super) remarks: Vec<String>,
}

/// The consumer that we create.
pub(super) fn ours(settings: &Nats) -> pull::Config {
    pull::Config {
        durable_name: Some(settings.consumer.clone()),
        description: Some("created by xray-processor-worker".into()),
        ack_policy: AckPolicy::Explicit,
        ack_wait: settings.ack_wait,
        max_deliver: -1,
        // Each worker bounds what it holds itself.
        max_ack_pending: -1,
        filter_subject: settings.subject.clone(),
        ..pull::Config::default()
    }
}

/// Holds a consumer that is there against what we promise. `Err`: why it cannot be used, and what to do, in words that follow
/// its name. `subjects` are those of its stream.
pub(super) fn judge(config: &Config, settings: &Nats, subjects: &[String]) -> Result<Terms, String> {
    if config.deliver_subject.is_some() {
        return Err("pushes its messages, so that nothing bounds them; name a pull consumer in NATS_CONSUMER".into());
    }
    if config.ack_policy != AckPolicy::Explicit {
        return Err("does not want an ack for each message (ack policy explicit), so that some would be lost; make it anew, or \
                    name another in NATS_CONSUMER"
            .into());
    }
    if config.max_deliver > 0 {
        return Err(format!(
            "gives up on a message after {} deliveries (max_deliver), which crashes alone can use up; set that to -1",
            config.max_deliver
        ));
    }
    if config.headers_only {
        return Err("leaves out the bodies (headers_only); name another in NATS_CONSUMER".into());
    }
    filter(config, settings, subjects)?;
    let lease = config.backoff.iter().copied().chain([config.ack_wait]).min().unwrap_or(config.ack_wait);
    if lease < SHORTEST_LEASE {
        return Err(format!(
            "takes a message back after {lease:?} (ack_wait, backoff), too soon to be told in time that it is worked on; set at \
             least {SHORTEST_LEASE:?}"
        ));
    }
    let or = |limit: i64, otherwise: usize| usize::try_from(limit).ok().filter(|limit| *limit > 0).unwrap_or(otherwise);
    let mut remarks = Vec::new();
    if (1..FEW_PENDING).contains(&config.max_ack_pending) {
        remarks.push(format!(
            "all workers together are given no more than {} messages at a time (max_ack_pending), which slows them down",
            config.max_ack_pending
        ));
    }
    Ok(Terms {
        lease,
        batch: or(config.max_batch, usize::MAX),
        bytes: or(config.max_bytes, usize::MAX),
        expires: if config.max_expires.is_zero() { Duration::MAX } else { config.max_expires },
        remarks,
    })
}

fn filter(config: &Config, settings: &Nats, subjects: &[String]) -> Result<(), String> {
    let wanted = &settings.subject;
    let mut filters = config.filter_subjects.clone();
    filters.extend(Some(config.filter_subject.clone()).filter(|filter| !filter.is_empty()));
    let same = match &*filters {
        // Without one all of the stream comes, which may be what is asked for.
        [] => subjects.iter().all(|subject| covers(wanted, subject)),
        all => all.iter().all(|filter| covers(wanted, filter)) && all.iter().any(|filter| covers(filter, wanted)),
    };
    if same {
        return Ok(());
    }
    let has = if filters.is_empty() { "no filter".to_owned() } else { format!("the filter {}", filters.join(", ")) };
    Err(format!("has {has}, and NATS_SUBJECT is {wanted}; set one to the other, or name another in NATS_CONSUMER"))
}

/// Why nothing of this stream can ever come, if so. One without subjects of its own is a copy of others.
pub(super) fn barren(settings: &Nats, subjects: &[String]) -> Option<String> {
    let wanted = &settings.subject;
    let any = subjects.is_empty() || subjects.iter().any(|subject| overlap(subject, wanted));
    (!any).then(|| {
        format!(
            "has the subjects {}, none of which NATS_SUBJECT matches: {wanted}; set one to the other",
            subjects.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_nats::jetstream::consumer::IntoConsumerConfig;

    fn settings() -> Nats {
        crate::config::Config::default().nats
    }

    fn judged(change: impl FnOnce(&mut Config)) -> Result<Terms, String> {
        let mut config = ours(&settings()).into_consumer_config();
        change(&mut config);
        judge(&config, &settings(), &["xray.>".into()])
    }

    #[test]
    fn ours_is_as_it_must_be() {
        let terms = judged(|_| {}).unwrap();
        assert_eq!((terms.lease, &*terms.remarks), (Duration::from_secs(30), &[] as &[String]));
        assert!(
            barren(&settings(), &["xray.runs".into(), "other".into()]).is_none() && barren(&settings(), &[]).is_none()
        );
    }

    #[test]
    fn what_breaks_a_promise_is_refused() {
        let said = |change: fn(&mut Config)| judged(change).unwrap_err();
        assert!(said(|it| it.deliver_subject = Some("x".into())).contains("pull consumer"));
        assert!(said(|it| it.ack_policy = AckPolicy::None).contains("ack policy explicit"));
        assert!(said(|it| it.ack_policy = AckPolicy::All).contains("ack policy explicit"));
        assert!(said(|it| it.max_deliver = 5).contains("after 5 deliveries"));
        assert!(said(|it| it.headers_only = true).contains("headers_only"));
        assert!(
            said(|it| it.filter_subject = "xray.runs".into()).contains("has the filter xray.runs, and NATS_SUBJECT is")
        );
        assert!(said(|it| it.filter_subject = ">".into()).contains("has the filter >"));
        assert!(said(|it| it.ack_wait = Duration::from_millis(500)).contains("500ms"));
        assert!(said(|it| it.backoff = vec![Duration::from_millis(10)]).contains("10ms"));
        let said = barren(&settings(), &["orders.>".into(), "a".into()]).unwrap();
        assert_eq!(
            said,
            "has the subjects orders.>, a, none of which NATS_SUBJECT matches: xray.>; set one to the other"
        );
    }

    #[test]
    fn what_is_only_different_is_followed() {
        let terms = judged(|it| {
            it.filter_subject.clear();
            it.backoff = vec![Duration::from_secs(2), Duration::from_secs(60)];
            it.max_batch = 50;
            it.max_bytes = 1000;
            it.max_expires = Duration::from_millis(300);
            it.max_ack_pending = 20;
        });
        let terms = terms.unwrap();
        assert_eq!((terms.lease, terms.batch, terms.bytes), (Duration::from_secs(2), 50, 1000));
        assert_eq!(terms.expires, Duration::from_millis(300));
        assert!(terms.remarks[0].contains("no more than 20 messages"), "{:?}", terms.remarks);
        let both = |it: &mut Config| {
            it.filter_subject.clear();
            it.filter_subjects = vec!["xray.>".into(), "xray.runs".into()];
        };
        assert!(judged(both).is_ok());
    }
}
