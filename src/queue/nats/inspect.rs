//! What `check` asks NATS. Creates nothing and takes no message.

use super::api::{PREFIX, Refusal, ask};
use super::connect::{Link, connect_any};
use super::open::look;
use super::servers::Servers;
use super::terms;
use super::trouble::Place;
use crate::causes;
use crate::check::Findings;
use crate::config::Nats;
use crate::span::span;
use async_nats::jetstream::stream::{DiscardPolicy, Info, StorageType};
use serde_json::json;
use std::time::Duration;

/// The shortest time that leaves one to mend the stores.
const SHORT_RETENTION: Duration = Duration::from_secs(24 * 3600);

/// All of it.
pub async fn inspect(settings: &Nats) -> Findings {
    let mut found = Findings::about("nats");
    let link = match Servers::new(settings) {
        Ok(servers) => connect_any(&servers, 0, "check").await,
        Err(error) => Err(error),
    };
    match link {
        Ok((_, link)) => {
            let version = link.client.server_info().version;
            found.ok(format!("{} is NATS {version} and lets us in", link.server));
            stream(&link, settings, &mut found).await;
        }
        Err(error) => found.fail(causes::chain(&error)),
    }
    found
}

async fn stream(link: &Link, settings: &Nats, found: &mut Findings) {
    let at = Place { link, settings };
    let name = &settings.stream;
    let info = match ask::<Info>(link, format!("STREAM.INFO.{name}"), &json!({})).await {
        Ok(info) => info,
        Err(Refusal::Missing) if settings.create == "stream" => {
            return found.ok(format!("there is no stream {name} yet; a worker creates it if it may (NATS_CREATE)"));
        }
        Err(refusal) => return found.fail(causes::chain(&at.no_stream(refusal))),
    };
    let config = &info.config;
    if let Some(why) = terms::barren(settings, &config.subjects) {
        return found.fail(format!("the stream {name} {why}"));
    }
    found.ok(format!(
        "stream {name}: {} messages of {}, {} replicas",
        info.state.messages,
        config.subjects.join(", "),
        config.num_replicas
    ));
    if config.storage == StorageType::Memory {
        found.warn(format!("the stream {name} is kept in memory"), "use file storage where losing messages matters");
    }
    let age = (!config.max_age.is_zero() && config.max_age < SHORT_RETENTION).then_some(config.max_age);
    if let Some(age) = age {
        found.warn(
            format!(
                "the stream {name} keeps messages for {} (max_age): what is not stored by then is lost",
                span(age.as_secs_f64())
            ),
            "raise it above your longest outage",
        );
    }
    let bounded = config.max_messages > 0 || config.max_bytes > 0;
    if bounded && config.discard == DiscardPolicy::Old {
        found.warn(
            format!("the stream {name} drops its oldest messages when it is full (max_msgs, max_bytes)"),
            "set discard to new, so that producers are told instead",
        );
    }
    consumer(&at, &config.subjects, found).await;
}

async fn consumer(at: &Place<'_>, subjects: &[String], found: &mut Findings) {
    let Place { link, settings } = *at;
    let name = &settings.consumer;
    let info = match look(link, settings).await {
        Ok(info) => info,
        Err(Refusal::Missing) if settings.create != "no" => {
            return found.ok(format!("there is no consumer {name} yet; a worker creates it if it may (NATS_CREATE)"));
        }
        Err(refusal) => return found.fail(causes::chain(&at.no_consumer(refusal))),
    };
    match terms::judge(&info.config, settings, subjects) {
        Err(why) => found.fail(format!("the consumer {name} {why}")),
        Ok(terms) => {
            let (lease, pending) = (span(terms.lease.as_secs_f64()), info.config.max_ack_pending);
            found.ok(format!(
                "consumer {name}: ack_wait {lease}, spoken to twice in that time; max_deliver {}, max_ack_pending {pending}; {} \
                 messages wait, {} are held",
                info.config.max_deliver, info.num_pending, info.num_ack_pending
            ));
            for remark in terms.remarks {
                found.warn(
                    format!("consumer {name}: {remark}"),
                    "set max_ack_pending to -1: each worker bounds what it holds",
                );
            }
            may_consume(at, found).await;
        }
    }
}

/// Speaks of a message that nobody holds, and asks for messages in a way that no server understands: neither does anything,
/// and for both one needs the right that a worker needs. Whoever lacks it is told so beside.
async fn may_consume(at: &Place<'_>, found: &mut Findings) {
    let Place { link, settings } = *at;
    let Nats { stream, consumer, .. } = settings;
    let client = &link.client;
    client.publish(format!("$JS.ACK.{stream}.{consumer}.1.0.0.0.0"), "+WPI".into()).await.ok();
    let asked =
        client.request(format!("{PREFIX}.CONSUMER.MSG.NEXT.{stream}.{consumer}"), "{\"batch\":\"none\"}".into());
    let answered = asked.await.is_ok_and(|answer| answer.status.is_some());
    // What the server has said of the first is heard by now.
    let refused = link.refused().unwrap_or_default();
    if !answered {
        found.fail(causes::chain(&at.no_consumer(Refusal::Silence)));
    } else if refused.contains("$JS.ACK.") {
        found.fail_with(
            format!("we may not ack messages of the consumer {consumer}: {refused}"),
            "grant publishing on $JS.ACK (docs/brokers.md says what is needed)",
        );
    } else {
        found.ok(format!("consumer {consumer}: we may ask for messages and ack them"));
    }
}
