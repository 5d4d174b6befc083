//! Puts messages on subjects, for `publish`.

use super::connect::{Link, connect_any};
use super::open::bind;
use super::servers::Servers;
use super::subject;
use super::trouble::Place;
use crate::config::Nats;
use crate::queue::{Producer, QueueError};
use async_nats::jetstream::context::PublishErrorKind;
use bytes::Bytes;
use std::fmt;
use tokio::sync::{Mutex, OnceCell};

/// Sends messages to subjects, and waits until a stream has them.
pub struct NatsProducer {
    settings: Nats,
    servers: Servers,
    link: OnceCell<Result<Link, QueueError>>,
    /// Whoever comes first sends first, the connecting included.
    turn: Mutex<()>,
}

impl NatsProducer {
    /// Connects when the first message is sent. A connection that fails, or is lost, is not made again.
    pub fn start(settings: &Nats) -> Result<NatsProducer, QueueError> {
        let servers = Servers::new(settings)?;
        Ok(NatsProducer { settings: settings.clone(), servers, link: OnceCell::new(), turn: Mutex::new(()) })
    }

    /// Where messages go that the configured consumer receives.
    pub fn destinations(settings: &Nats) -> Result<Vec<String>, QueueError> {
        subject::destinations(&settings.subject).ok_or_else(|| {
            QueueError::new(format!(
                "NATS_SUBJECT is {}, which does not tell where to publish: set it to one without * but at its end",
                settings.subject
            ))
        })
    }

    async fn link(&self) -> Result<Link, QueueError> {
        let (_, link) = connect_any(&self.servers, 0, "publish").await?;
        if self.settings.create == "stream" {
            bind(&Place { link: &link, settings: &self.settings }).await?;
        }
        Ok(link)
    }
}

impl Producer for NatsProducer {
    async fn send(&self, to: &str, body: Bytes) -> Result<(), QueueError> {
        let turn = self.turn.lock().await;
        let link = self.link.get_or_init(|| self.link()).await.as_ref().map_err(Clone::clone)?;
        let server = &link.server;
        let failed = |error: async_nats::jetstream::context::PublishError| match error.kind() {
            PublishErrorKind::StreamNotFound => QueueError::new(format!(
                "no stream of NATS at {server} takes the subject {to}; create one, or set NATS_SUBJECT or NATS_CREATE"
            )),
            PublishErrorKind::MaxPayloadExceeded => {
                QueueError::new(format!("NATS at {server} takes no messages that large; look at its max_payload"))
                    .because(error)
            }
            _ => QueueError::new(format!("NATS at {server} did not confirm a message to {to}")).because(
                link.refused()
                    .map_or_else(|| error.to_string(), |words| words.split_whitespace().collect::<Vec<_>>().join(" ")),
            ),
        };
        let sent = link.jetstream.publish(to.to_owned(), body).await;
        drop(turn);
        sent.map_err(failed)?.await.map_err(failed)?;
        Ok(())
    }
}

impl fmt::Debug for NatsProducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsProducer").field("stream", &self.settings.stream).finish_non_exhaustive()
    }
}
