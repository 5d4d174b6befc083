//! Puts messages on queues, for `publish`.

use super::connect::{Connected, connect_any};
use super::hosts::Hosts;
use super::lane::open;
use super::trouble;
use crate::config::Rabbitmq;
use crate::queue::{Producer, QueueError};
use bytes::Bytes;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation};
use std::fmt;
use tokio::sync::{Mutex, OnceCell};

/// Written to disk before it is confirmed.
const PERSISTENT: u8 = 2;

/// Sends messages to queues by name, and waits until the broker has them.
pub struct RabbitmqProducer {
    settings: Rabbitmq,
    hosts: Hosts,
    link: OnceCell<Result<Link, QueueError>>,
    /// Whoever comes first sends first, the connecting included.
    turn: Mutex<()>,
}

struct Link {
    connected: Connected,
    channel: Channel,
}

impl RabbitmqProducer {
    /// Connects when the first message is sent. A connection that fails, or is lost, is not made again.
    pub fn start(settings: &Rabbitmq) -> Result<RabbitmqProducer, QueueError> {
        let hosts = Hosts::new(settings)?;
        Ok(RabbitmqProducer { settings: settings.clone(), hosts, link: OnceCell::new(), turn: Mutex::new(()) })
    }

    async fn link(&self) -> Result<Link, QueueError> {
        let (_, connected) = connect_any(&self.hosts, 0, "publish").await?;
        let declare = self.settings.declare;
        if declare != "no" {
            for queue in &self.settings.queues {
                let opened = open(&connected.connection, queue, declare).await;
                opened.map_err(|error| trouble::not_consuming(&connected.host, queue, &error))?;
            }
        }
        let channel = async {
            let channel = connected.connection.create_channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            Ok(channel)
        };
        let channel = channel.await.map_err(|error: lapin::Error| trouble::lost(&connected.host, Some(&error)))?;
        Ok(Link { connected, channel })
    }
}

impl Producer for RabbitmqProducer {
    async fn send(&self, to: &str, body: Bytes) -> Result<(), QueueError> {
        if to.len() > 255 {
            return Err(QueueError::new("RabbitMQ has no queues whose names are longer than 255 bytes"));
        }
        let turn = self.turn.lock().await;
        let link = self.link.get_or_init(|| self.link()).await.as_ref().map_err(Clone::clone)?;
        let host = &link.connected.host;
        let failed = |error| trouble::not_published(host, to, &error);
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
        let sent = link.channel.basic_publish("".into(), to.into(), options, &body, properties).await;
        drop(turn);
        match sent.map_err(failed)?.await.map_err(failed)? {
            Confirmation::Ack(None) => Ok(()),
            Confirmation::Ack(Some(_)) => Err(trouble::missing(&host.to_string(), &[to])),
            Confirmation::Nack(_) | Confirmation::NotRequested => Err(QueueError::new(format!(
                "RabbitMQ at {host} could not keep a message to the queue {to}; look at its log"
            ))),
        }
    }
}

impl fmt::Debug for RabbitmqProducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabbitmqProducer").field("queues", &self.settings.queues).finish_non_exhaustive()
    }
}
