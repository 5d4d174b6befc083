use super::refusal::Refusal;
use super::report::Report;
use crate::event::Kind;
use crate::ndjson::Line;
use crate::pipeline::{Cut, Message, Origin};
use crate::queue::memory::{MemoryQueue, Wait};
use bytes::Bytes;
use chrono::Utc;
use futures_util::FutureExt;
use std::collections::VecDeque;
use std::sync::Arc;

/// How many messages of one request may be on their way. What bounds those in the queue is its own bound; this is for
/// those that are settled already, behind one that is not.
const MAX_WAITS: usize = 10_000;

/// The messages of one request: into the queue, and what becomes of them.
#[derive(Debug)]
pub(super) struct Intake {
    queue: MemoryQueue,
    origin: Arc<str>,
    hint: Option<Kind>,
    /// Some message is in: the client is past the point where it could just be sent away.
    begun: bool,
    /// In the order of the request, with the line.
    waits: VecDeque<(Option<u64>, Wait)>,
    report: Report,
}

impl Intake {
    pub(super) fn new(queue: MemoryQueue, origin: Arc<str>, hint: Option<Kind>) -> Self {
        Intake { queue, origin, hint, begun: false, waits: VecDeque::new(), report: Report::default() }
    }

    pub(super) async fn put_body(&mut self, body: Bytes) -> Result<(), Refusal> {
        self.put(body, None, None).await
    }

    pub(super) async fn put_line(&mut self, line: Line) -> Result<(), Refusal> {
        self.put(line.body, line.cut, Some(line.number)).await
    }

    async fn put(&mut self, body: Bytes, cut: Option<Cut>, line: Option<u64>) -> Result<(), Refusal> {
        let message = Message {
            body,
            cut,
            hint: self.hint,
            origin: Origin { name: self.origin.clone(), position: line },
            deliveries: 1,
            enqueued_at: Some(Utc::now()),
        };
        let wait = if self.begun { self.queue.push(message).await? } else { self.queue.offer(message)? };
        self.begun = true;
        if self.waits.len() == MAX_WAITS
            && let Some((line, mut wait)) = self.waits.pop_front()
        {
            self.report.add(line, wait.settled().await?);
        }
        self.waits.push_back((line, wait));
        while let Some((line, wait)) = self.waits.front_mut()
            && let Some(settlement) = wait.settled().now_or_never()
        {
            self.report.add(*line, settlement?);
            self.waits.pop_front();
        }
        Ok(())
    }

    /// What became of all of it, once all of it is durable.
    pub(super) async fn settled(mut self) -> Result<Report, Refusal> {
        for (line, mut wait) in self.waits {
            self.report.add(line, wait.settled().await?);
        }
        Ok(self.report)
    }
}
