//! Works an input off through the memory queue: a file, standard input, generated events.

use crate::exit::Failure;
use crate::generate;
use crate::ndjson::{Line, Lines};
use crate::pipeline::{Message, Origin};
use crate::queue::memory::{MemoryQueue, Refused};
use bytes::Bytes;
use chrono::Utc;
use serde::de::IgnoredAny;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt, stdin};

const READ_BYTES: usize = 256 * 1024;

/// What is worked off.
pub enum Input {
    /// NDJSON, or one body.
    Text {
        /// For people: the file, or `stdin`.
        name: Arc<str>,
        /// Its bytes.
        reader: Box<dyn AsyncRead + Send + Unpin>,
        /// How many they are, where that is known.
        bytes: Option<u64>,
    },
    /// Generated lines.
    Generated(Box<generate::Lines>),
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Input::Text { name, bytes, .. } => {
                f.debug_struct("Text").field("name", name).field("bytes", bytes).finish()
            }
            Input::Generated(_) => f.write_str("Generated"),
        }
    }
}

impl Input {
    /// Opens a file, or standard input for `-`.
    pub async fn open(path: &Path) -> Result<Input, Failure> {
        if path == Path::new("-") {
            return Ok(Input::Text { name: "stdin".into(), reader: Box::new(stdin()), bytes: None });
        }
        let refuse = |error: io::Error| Failure::usage(format!("cannot read --input {}: {error}", path.display()));
        let file = File::open(path).await.map_err(refuse)?;
        let metadata = file.metadata().await.map_err(refuse)?;
        if metadata.is_dir() {
            return Err(Failure::usage(format!("--input {} is a directory; name a file", path.display())));
        }
        let bytes = metadata.is_file().then_some(metadata.len());
        Ok(Input::Text { name: path.display().to_string().into(), reader: Box::new(file), bytes })
    }

    /// How many bytes there are to read, where that is known.
    pub fn bytes(&self) -> Option<u64> {
        match self {
            Input::Text { bytes, .. } => *bytes,
            Input::Generated(_) => None,
        }
    }
}

/// Why an input was not fed to its end.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// Reading failed.
    #[error("reading {0} failed: {1}")]
    Read(Arc<str>, io::Error),
    /// The worker stopped.
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// Feeds a queue.
#[derive(Debug)]
pub struct Feeder<'a> {
    /// Where it goes.
    pub queue: &'a MemoryQueue,
    /// A longer line is cut.
    pub max_event_bytes: usize,
    /// Counts the bytes read so far.
    pub read: &'a AtomicU64,
}

impl Feeder<'_> {
    /// Puts all of the input in, as there is room, and returns what was generated, for generated input. What was put in
    /// need not be stored by then.
    pub async fn feed(&self, input: Input) -> Result<Option<generate::Tally>, FeedError> {
        match input {
            Input::Text { name, reader, .. } => self.text(name, reader).await.map(|()| None),
            Input::Generated(mut lines) => {
                let name: Arc<str> = "demo".into();
                for (number, body) in (1..).zip(lines.by_ref()) {
                    self.push(&name, Line { number, body, cut: None }).await?;
                }
                Ok(Some(lines.tally().clone()))
            }
        }
    }

    /// What is one JSON value as a whole is one body, however many lines it has; anything else is NDJSON.
    async fn text(&self, name: Arc<str>, mut reader: impl AsyncRead + Unpin) -> Result<(), FeedError> {
        let fail = |error| FeedError::Read(name.clone(), error);
        let mut head = Vec::new();
        let mut at_end = self.read_some(&mut reader, &mut head).await.map_err(fail)? == 0;
        while !at_end && head.len() <= self.max_event_bytes && may_be_one_body(&head) {
            at_end = self.read_some(&mut reader, &mut head).await.map_err(fail)? == 0;
        }
        if at_end && may_be_one_body(&head) && serde_json::from_slice::<IgnoredAny>(&head).is_ok() {
            let origin = Origin { name, position: None };
            return self.message(origin, Bytes::from(head), None).await;
        }
        let mut lines = Lines::new(self.max_event_bytes);
        loop {
            let mut chunk = head.as_slice();
            while let Some(line) = lines.next(&mut chunk) {
                self.push(&name, line).await?;
            }
            head.clear();
            if at_end || self.read_some(&mut reader, &mut head).await.map_err(fail)? == 0 {
                break;
            }
        }
        match lines.finish() {
            Some(line) => self.push(&name, line).await,
            None => Ok(()),
        }
    }

    async fn read_some(&self, reader: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> io::Result<usize> {
        buffer.reserve(READ_BYTES);
        let read = reader.read_buf(buffer).await?;
        self.read.fetch_add(read as u64, Relaxed);
        Ok(read)
    }

    async fn push(&self, name: &Arc<str>, line: Line) -> Result<(), FeedError> {
        let origin = Origin { name: name.clone(), position: Some(line.number) };
        self.message(origin, line.body, line.cut).await
    }

    async fn message(&self, origin: Origin, body: Bytes, cut: Option<crate::pipeline::Cut>) -> Result<(), FeedError> {
        let message = Message { body, cut, hint: None, origin, deliveries: 1, enqueued_at: Some(Utc::now()) };
        // Whoever waits for all of it waits for the queue to run empty, not for each message.
        drop(self.queue.push(message).await?);
        Ok(())
    }
}

/// Whether the first line that is not blank is the beginning of a JSON value that goes on in the next line.
fn may_be_one_body(head: &[u8]) -> bool {
    let mut lines = head.split(|&byte| byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    let Some(first) = lines.next() else { return true };
    serde_json::from_slice::<IgnoredAny>(first).is_err_and(|error| error.is_eof())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Room;
    use crate::queue::QueueBackend;
    use std::time::Duration;

    async fn bodies(text: &str) -> Vec<(String, String)> {
        let queue = MemoryQueue::new(100, 1 << 20);
        let feeder = Feeder { queue: &queue, max_event_bytes: 100, read: &AtomicU64::new(0) };
        let reader: Box<dyn AsyncRead + Send + Unpin> = Box::new(std::io::Cursor::new(text.as_bytes().to_vec()));
        feeder.feed(Input::Text { name: "in".into(), reader, bytes: None }).await.unwrap();
        let room = Room { messages: 100, bytes: 1 << 20, idle: true };
        let deliveries = queue.receive(room, Duration::ZERO).await.unwrap();
        let body = |message: &Message| String::from_utf8_lossy(&message.body).into_owned();
        deliveries.iter().map(|d| (d.message.origin.to_string(), body(&d.message))).collect()
    }

    fn owned(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(origin, body)| ((*origin).to_owned(), (*body).to_owned())).collect()
    }

    #[tokio::test]
    async fn lines_or_one_body() {
        assert_eq!(bodies("").await, owned(&[]));
        assert_eq!(bodies("\n \r\n").await, owned(&[]));
        assert_eq!(bodies("{}\n\n[1]\r\n").await, owned(&[("in:1", "{}"), ("in:3", "[1]")]));
        assert_eq!(bodies("[\n  {},\n  {}\n]\n").await, owned(&[("in", "[\n  {},\n  {}\n]\n")]));
        assert_eq!(
            bodies("{\"cut\n{}\n").await,
            owned(&[("in:1", "{\"cut"), ("in:2", "{}")]),
            "not one value as a whole"
        );
        assert_eq!(bodies("nonsense\n{}").await, owned(&[("in:1", "nonsense"), ("in:2", "{}")]));
        let long = format!("[\n{}]", " ".repeat(200));
        assert_eq!(bodies(&long).await.len(), 2, "longer than a body may be: lines");
    }
}
