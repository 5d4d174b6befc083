//! The stream and the consumer: found or created, and looked at before anything is taken.

use super::api::{Refusal, ask};
use super::connect::Link;
use super::receipt::Identity;
use super::terms::{self, Terms};
use super::trouble::Place;
use crate::config::Nats;
use crate::queue::QueueError;
use async_nats::jetstream::consumer::{self, IntoConsumerConfig};
use async_nats::jetstream::stream::{self, RetentionPolicy, StorageType};
use serde_json::json;

/// A consumer that can be used.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) identity: Identity,
    pub(super) terms: Terms,
    /// Of the stream.
    pub(super) subjects: Vec<String>,
}

/// Looks for both, and creates what is missing where that is asked for. The error is one sentence.
pub(super) async fn open(link: &Link, settings: &Nats) -> Result<Opened, QueueError> {
    let at = Place { link, settings };
    let stream = bind(&at).await?;
    let subjects = &stream.config.subjects;
    if let Some(why) = terms::barren(settings, subjects) {
        return Err(at.unfit("stream", &settings.stream, &why));
    }
    let found = match look(link, settings).await {
        Err(Refusal::Missing) if settings.create != "no" => create(&at).await,
        other => other,
    };
    let found = found.map_err(|refusal| at.no_consumer(refusal))?;
    let terms = terms::judge(&found.config, settings, subjects);
    Ok(Opened {
        identity: identity(&stream, &found),
        terms: terms.map_err(|why| at.unfit("consumer", &settings.consumer, &why))?,
        subjects: stream.config.subjects,
    })
}

fn identity(stream: &stream::Info, consumer: &consumer::Info) -> Identity {
    Identity { stream: stream.created.unix_timestamp_nanos(), consumer: consumer.created.unix_timestamp_nanos() }
}

/// How the consumer is now.
pub(super) async fn look(link: &Link, settings: &Nats) -> Result<consumer::Info, Refusal> {
    ask(link, format!("CONSUMER.INFO.{}.{}", settings.stream, settings.consumer), &json!({})).await
}

/// The stream, which is created only where that is asked for.
pub(super) async fn bind(at: &Place<'_>) -> Result<stream::Info, QueueError> {
    let Place { link, settings } = at;
    let name = &settings.stream;
    let look = async || ask::<stream::Info>(link, format!("STREAM.INFO.{name}"), &()).await;
    let found = match look().await {
        Err(Refusal::Missing) if settings.create == "stream" => {
            let config = stream::Config {
                name: name.clone(),
                description: Some("created by xray-processor-worker".into()),
                subjects: vec![settings.subject.clone()],
                // What is stored is not needed here any more.
                retention: RetentionPolicy::WorkQueue,
                storage: StorageType::File,
                ..stream::Config::default()
            };
            match ask::<stream::Info>(link, format!("STREAM.CREATE.{name}"), &config).await {
                // Somebody else was faster, and wanted it otherwise.
                Err(Refusal::Exists) => look().await,
                created => created.inspect(|_| tracing::info!(stream = name, "created the stream")),
            }
        }
        other => other,
    };
    found.map_err(|refusal| at.no_stream(refusal))
}

async fn create(at: &Place<'_>) -> Result<consumer::Info, Refusal> {
    let Place { link, settings } = at;
    let (stream, name) = (&settings.stream, &settings.consumer);
    let config = terms::ours(settings).into_consumer_config();
    // Servers before 2.10 know no `action`, and would change one that somebody has created this very moment.
    let request = json!({"stream_name": stream, "config": config, "action": "create"});
    match ask(link, format!("CONSUMER.CREATE.{stream}.{name}.{}", settings.subject), &request).await {
        // Somebody else was faster, and wanted it otherwise.
        Err(Refusal::Exists) => look(link, settings).await,
        created => created.inspect(|_| tracing::info!(stream, consumer = name, "created the consumer")),
    }
}
