//! Works an input off through the memory queue: a file, standard input, generated events.

use crate::exit::Failure;
use crate::generate;
use crate::ndjson::{Excess, Line, Lines};
use crate::pipeline::{Cut, Message, Origin};
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
        let refuse = |error: io::Error| Failure::usage(format!("cannot read {}: {error}", path.display()));
        let file = File::open(path).await.map_err(refuse)?;
        let metadata = file.metadata().await.map_err(refuse)?;
        if metadata.is_dir() {
            return Err(Failure::usage(format!("{} is a directory; name a file", path.display())));
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
    ///
    /// Only a first line that begins a value and does not end it can be the beginning of such a body. Then all of the
    /// input is held, as far as a body may go, and judged at its end: a broken first line of NDJSON takes no neighbour
    /// with it. Where the input goes on beyond that, its beginning is judged: a value still unfinished (what follows
    /// a broken line hardly ever continues it) is the beginning of one body that is too large.
    async fn text(&self, name: Arc<str>, mut reader: impl AsyncRead + Unpin) -> Result<(), FeedError> {
        let fail = |error| FeedError::Read(name.clone(), error);
        let (mut head, mut first) = (Vec::new(), FirstLine::default());
        let mut at_end = false;
        while !at_end && first.end.is_none() && head.len() <= self.max_event_bytes {
            at_end = self.read_some(&mut reader, &mut head).await.map_err(fail)? == 0;
            first.look(&head);
        }
        if first.end.is_some_and(|end| json(&head[..end]) == Json::Unfinished) {
            while !at_end && head.len() <= self.max_event_bytes {
                at_end = self.read_some(&mut reader, &mut head).await.map_err(fail)? == 0;
            }
            match json(&head) {
                Json::Whole if at_end => {
                    return self.message(Origin { name, position: None }, Bytes::from(head), None).await;
                }
                Json::Whole | Json::Unfinished if !at_end => return self.too_large(name, head, reader).await,
                _ => {}
            }
        }
        self.lines(name, head, at_end, reader).await
    }

    async fn lines(
        &self,
        name: Arc<str>,
        mut head: Vec<u8>,
        at_end: bool,
        mut reader: impl AsyncRead + Unpin,
    ) -> Result<(), FeedError> {
        let mut lines = Lines::new(self.max_event_bytes);
        loop {
            let mut chunk = head.as_slice();
            while let Some(line) = lines.next(&mut chunk) {
                self.push(&name, line).await?;
            }
            head.clear();
            let read = if at_end { Ok(0) } else { self.read_some(&mut reader, &mut head).await };
            if read.map_err(|error| FeedError::Read(name.clone(), error))? == 0 {
                break;
            }
        }
        match lines.finish() {
            Some(line) => self.push(&name, line).await,
            None => Ok(()),
        }
    }

    /// One body of which only the beginning is kept.
    async fn too_large(
        &self,
        name: Arc<str>,
        mut head: Vec<u8>,
        mut reader: impl AsyncRead + Unpin,
    ) -> Result<(), FeedError> {
        let mut excess = Excess::after(&head);
        head.truncate(self.max_event_bytes);
        let mut chunk = Vec::new();
        while self.read_some(&mut reader, &mut chunk).await.map_err(|error| FeedError::Read(name.clone(), error))? > 0 {
            excess.add(&chunk);
            chunk.clear();
        }
        self.message(Origin { name, position: None }, Bytes::from(head), Some(excess.cut())).await
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

    async fn message(&self, origin: Origin, body: Bytes, cut: Option<Cut>) -> Result<(), FeedError> {
        let message = Message { body, cut, hint: None, origin, deliveries: 1, enqueued_at: Some(Utc::now()) };
        // Whoever waits for all of it waits for the queue to run empty, not for each message.
        drop(self.queue.push(message).await?);
        Ok(())
    }
}

/// Looks for the end of the first line that is not blank, at each byte once.
#[derive(Debug, Default)]
struct FirstLine {
    searched: usize,
    begun: bool,
    end: Option<usize>,
}

impl FirstLine {
    fn look(&mut self, head: &[u8]) {
        for (at, byte) in head.iter().enumerate().skip(self.searched) {
            if *byte == b'\n' && self.begun {
                self.end = Some(at);
                return;
            }
            self.begun |= !byte.is_ascii_whitespace();
        }
        self.searched = head.len();
    }
}

/// What a text is as one JSON value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Json {
    Whole,
    Unfinished,
    None,
}

fn json(text: &[u8]) -> Json {
    match serde_json::from_slice::<IgnoredAny>(text) {
        Ok(_) => Json::Whole,
        Err(error) if error.is_eof() => Json::Unfinished,
        Err(_) => Json::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Room;
    use crate::digest::Sha256;
    use crate::queue::QueueBackend;
    use std::time::Duration;

    async fn messages(text: &str, chunk: usize) -> Vec<Message> {
        let queue = MemoryQueue::new(100, 1 << 20);
        let feeder = Feeder { queue: &queue, max_event_bytes: 100, read: &AtomicU64::new(0) };
        let chunks: Vec<_> = text.as_bytes().chunks(chunk).map(|c| io::Result::Ok(Bytes::copy_from_slice(c))).collect();
        let reader = tokio_util::io::StreamReader::new(futures_util::stream::iter(chunks));
        let reader: Box<dyn AsyncRead + Send + Unpin> = Box::new(reader);
        feeder.feed(Input::Text { name: "in".into(), reader, bytes: None }).await.unwrap();
        let room = Room { messages: 100, bytes: 1 << 20, idle: true };
        let deliveries = queue.receive(room, Duration::ZERO).await.unwrap();
        deliveries.iter().map(|delivery| delivery.message.clone()).collect()
    }

    async fn bodies(text: &str) -> Vec<(String, String)> {
        let body = |message: &Message| String::from_utf8_lossy(&message.body).into_owned();
        let all = messages(text, 1 << 20).await;
        let in_chunks = messages(text, 7).await;
        let seen = |all: &[Message]| all.iter().map(|m| (m.origin.to_string(), body(m))).collect::<Vec<_>>();
        assert_eq!(seen(&all), seen(&in_chunks), "how it is read makes no difference");
        seen(&all)
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
    }

    #[tokio::test]
    async fn one_body_over_the_limit_is_one_body() {
        let pretty = format!("[\n{}  {{}}\n]\n", "  {\"a\": 1},\n".repeat(30));
        for chunk in [1, 7, 99, 100, 101, 1 << 20] {
            let messages = messages(&pretty, chunk).await;
            assert_eq!(messages.len(), 1, "chunks of {chunk}");
            let Message { body, cut, .. } = &messages[0];
            if let Some(cut) = cut {
                assert_eq!(body, &pretty.as_bytes()[..100]);
                assert_eq!((cut.full_bytes, cut.sha256), (pretty.len() as u64, Sha256::of(pretty.as_bytes())));
            } else {
                assert_eq!(body, pretty.as_bytes(), "the pipeline cuts it");
            }
        }
    }

    #[tokio::test]
    async fn a_broken_first_line_takes_no_neighbour_with_it() {
        for first in ["[", "{\"a\":", "{\"cut", "[{\"a\": 1},"] {
            for count in [1, 50] {
                let text = format!("{first}\n{}", "{\"b\":2}\n".repeat(count));
                assert_eq!(messages(&text, 10).await.len(), 1 + count, "{first}");
            }
        }
        let long_line = format!("[{}]\n{{}}\n", " ".repeat(300));
        assert_eq!(messages(&long_line, 10).await.len(), 2, "one line over the limit is cut by itself");
    }
}
