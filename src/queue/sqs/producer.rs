//! Puts messages on queues, for `publish`.

use super::client::{Clients, Connection};
use super::failed::{Failed, Verdict};
use super::ledger::BATCH;
use super::message::refused;
use super::request;
use super::source::Source;
use super::trouble::{self, Doing};
use crate::config::Sqs;
use crate::digest::Sha256;
use crate::queue::pace::Pace;
use crate::queue::{Producer, QueueError};
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use rand::RngExt;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// What SQS takes in one request, all bodies together.
const REQUEST_BYTES: usize = 1 << 20;
/// Requests to one queue at once, where order means nothing.
const AT_ONCE: usize = 16;
/// What may work the next time is tried so often.
const TRIES: u32 = 6;

/// Sends messages to queues by name, ten to a request where there are as many, and waits until SQS has them.
pub struct SqsProducer {
    queues: BTreeMap<String, UnboundedSender<Sending>>,
    names: Vec<String>,
    _tasks: JoinSet<()>,
}

/// A message on its way, and who waits for it.
struct Sending {
    body: String,
    /// Tells SQS that a second try is one.
    id: String,
    /// In a queue that keeps an order a body is a group of its own: workers need no order, and SQS gives out a group as one.
    group: String,
    sent: oneshot::Sender<Result<(), QueueError>>,
}

impl SqsProducer {
    /// Speaks to nobody before the first message. To be called within a runtime of Tokio.
    pub fn start(settings: &Sqs) -> Result<SqsProducer, QueueError> {
        let clients = Arc::new(Clients::new(settings)?);
        let (mut queues, mut names, mut tasks) = (BTreeMap::new(), Vec::new(), JoinSet::new());
        for source in super::sources(settings)? {
            let (sender, receiver) = unbounded_channel();
            names.push(source.label.clone());
            queues.insert(source.label.clone(), sender);
            let (clients, create) = (clients.clone(), settings.create_queues);
            tasks.spawn(async move { Outlet { source, clients, create }.run(receiver).await });
        }
        Ok(SqsProducer { queues, names, _tasks: tasks })
    }

    /// What the queues are called here: by the last parts of their URLs, or by those where two are the same.
    pub fn names(&self) -> &[String] {
        &self.names
    }
}

impl Producer for SqsProducer {
    async fn send(&self, to: &str, body: Bytes) -> Result<(), QueueError> {
        if let Some(why) = refused(&body) {
            return Err(QueueError::new(format!("SQS does not take such a body: {why}")));
        }
        let queue = self.queues.get(to);
        let queue = queue.ok_or_else(|| QueueError::new(format!("SQS_QUEUE_URL names no queue {to}")))?;
        let (sent, done) = oneshot::channel();
        let sending = Sending {
            id: format!("{:032x}", rand::rng().random::<u128>()),
            group: Sha256::of(&body).to_string(),
            body: String::from_utf8_lossy(&body).into_owned(),
            sent,
        };
        let gone = || QueueError::new("sending to SQS has failed, which is a bug");
        queue.send(sending).map_err(|_| gone())?;
        done.await.map_err(|_| gone())?
    }

    fn refuses(&self, body: &[u8]) -> Option<&'static str> {
        refused(body)
    }
}

/// Sends to one queue.
struct Outlet {
    source: Source,
    clients: Arc<Clients>,
    create: bool,
}

impl Outlet {
    async fn run(self, mut waiting: UnboundedReceiver<Sending>) {
        let at_once = if self.source.is_fifo() { 1 } else { AT_ONCE };
        let (mut requests, mut next) = (FuturesUnordered::new(), Vec::new());
        loop {
            tokio::select! {
                biased;
                Some(()) = requests.next(), if !requests.is_empty() => {}
                count = waiting.recv_many(&mut next, BATCH * at_once), if requests.len() < at_once => {
                    if count == 0 {
                        return;
                    }
                }
            }
            while requests.len() < at_once && !next.is_empty() {
                let batch = batch(&mut next);
                requests.push(self.send(batch));
            }
        }
    }

    async fn send(&self, mut batch: Vec<Sending>) {
        let mut pace = Pace::default();
        for tries in 1.. {
            let failed = match self.try_to(&mut batch).await {
                Ok(()) => return,
                Err(failed) => failed,
            };
            // It is one that is too long, or all together.
            if failed.verdict() == Some(Verdict::TooLong) && batch.len() > 1 {
                for alone in batch {
                    Box::pin(self.send(vec![alone])).await;
                }
                return;
            }
            if !failed.is_passing() || tries == TRIES {
                return give_up(batch, &self.error(Doing::Publish, &failed));
            }
            sleep(pace.next()).await;
        }
    }

    fn error(&self, doing: Doing, failed: &Failed) -> QueueError {
        trouble::failed(doing, &self.source.label, &self.clients.endpoint(&self.source), failed)
    }

    /// Sends them in one request. Those that SQS has, or refuses for good, are taken out of the batch.
    async fn try_to(&self, batch: &mut Vec<Sending>) -> Result<(), Failed> {
        let connection = match self.clients.of(&self.source).await {
            Ok(connection) => connection,
            Err(error) => {
                give_up(std::mem::take(batch), &error);
                return Ok(());
            }
        };
        let entries: Result<Vec<_>, _> =
            batch.iter().enumerate().map(|(at, sending)| self.entry(at, sending)).collect();
        let entries = entries.map_err(Failed::unsendable)?;
        let request = || connection.calls.send_message_batch().queue_url(&self.source.url);
        let answer = match request().set_entries(Some(entries.clone())).send().await.map_err(Failed::of) {
            Err(failed) if self.create && failed.verdict() == Some(Verdict::NoQueue) => {
                self.create(&connection).await?;
                request().set_entries(Some(entries)).send().await.map_err(Failed::of)?
            }
            answer => answer?,
        };
        let mut again = None;
        for (at, sending) in std::mem::take(batch).into_iter().enumerate() {
            let id = at.to_string();
            match answer.failed().iter().find(|entry| entry.id() == id).map(Failed::entry) {
                // Nobody may be waiting any more.
                None if answer.successful().iter().any(|entry| entry.id() == id) => drop(sending.sent.send(Ok(()))),
                // A stranger may answer 200 to anything.
                None => drop(sending.sent.send(Err(self.error(Doing::Publish, &Failed::Strange(200))))),
                Some(failed) if failed.is_passing() => {
                    batch.push(sending);
                    again = Some(failed);
                }
                Some(failed) => drop(sending.sent.send(Err(self.error(Doing::Publish, &failed)))),
            }
        }
        again.map_or(Ok(()), Err)
    }

    async fn create(&self, connection: &Connection) -> Result<(), Failed> {
        request::create(&connection.calls, &self.source).await
    }

    fn entry(
        &self,
        at: usize,
        sending: &Sending,
    ) -> Result<SendMessageBatchRequestEntry, aws_sdk_sqs::error::BuildError> {
        let mut entry = SendMessageBatchRequestEntry::builder().id(at.to_string()).message_body(&sending.body);
        if self.source.is_fifo() {
            entry = entry.message_group_id(&sending.group).message_deduplication_id(&sending.id);
        }
        entry.build()
    }
}

/// As many as go into one request, at least one.
fn batch(waiting: &mut Vec<Sending>) -> Vec<Sending> {
    let mut bytes = 0;
    let fits = |sending: &&Sending| {
        bytes += sending.body.len();
        bytes <= REQUEST_BYTES
    };
    let count = waiting.iter().take(BATCH).take_while(fits).count().max(1);
    waiting.drain(..count.min(waiting.len())).collect()
}

fn give_up(batch: Vec<Sending>, error: &QueueError) {
    for sending in batch {
        drop(sending.sent.send(Err(error.clone())));
    }
}

impl fmt::Debug for SqsProducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqsProducer").field("queues", &self.names).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_or_a_mebibyte_to_a_request() {
        let sending = |bytes: usize| Sending {
            body: "x".repeat(bytes),
            id: String::new(),
            group: String::new(),
            sent: oneshot::channel().0,
        };
        let mut waiting: Vec<_> = (0..25).map(|_| sending(10)).collect();
        waiting.extend([sending(700_000), sending(400_000), sending(2 << 20), sending(1)]);
        let mut sizes = Vec::new();
        while !waiting.is_empty() {
            sizes.push(batch(&mut waiting).len());
        }
        assert_eq!(sizes, [10, 10, 6, 1, 1, 1]);
    }
}
