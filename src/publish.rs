//! Puts NDJSON on a broker: each line as a message, as it is.

use crate::budget::{Budget, Hold};
use crate::causes;
use crate::event::{Kind, Part, decode, kind_hint};
use crate::ndjson::{Line, Lines};
use crate::queue::{Producer, QueueError};
use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, sleep, sleep_until};

const READ_BYTES: usize = 256 * 1024;
/// A longer line can be no message of any broker.
const LONGEST_LINE: usize = 256 << 20;
/// What may be on its way to the broker, not yet confirmed.
const IN_FLIGHT: (usize, usize) = (1000, 64 << 20);

/// The queues or topics of a broker, and which of them a body belongs on.
#[derive(Debug)]
pub struct Destinations(Vec<String>);

impl Destinations {
    /// Of these names, at least one.
    pub fn new(names: &[String]) -> Self {
        Destinations(names.to_vec())
    }

    /// The first whose last word names the kind of the body's first event, as workers read it off the name; the first
    /// of all where none does, or where the body is no event.
    pub fn of(&self, body: &Bytes) -> &str {
        let first = self.0.first().map_or("", String::as_str);
        if self.0.len() < 2 {
            return first;
        }
        let kind = first_kind(body);
        let named = self.0.iter().find(|name| kind.is_some() && kind_hint(None, name) == kind);
        named.map_or(first, String::as_str)
    }
}

fn first_kind(body: &Bytes) -> Option<Kind> {
    let mut kind = None;
    decode(body, None, |part| {
        kind = kind.or(match part {
            Part::Event(event) => Some(event.kind()),
            Part::Rejected(rejected) => rejected.kind,
        });
    });
    kind
}

/// How far it is, for whoever watches.
#[derive(Debug, Default)]
pub struct Published {
    /// Bytes of the input that were read.
    pub read: AtomicU64,
    /// Messages that were handed to the driver.
    pub sent: AtomicU64,
    /// Messages that the broker has confirmed.
    pub confirmed: AtomicU64,
    /// Lines that no message of this broker could carry, and why not the first of them.
    pub left_out: Mutex<(u64, &'static str)>,
}

impl Published {
    /// Runs until the broker has confirmed nothing for `silence`, though something was sent to it.
    pub async fn stalled(&self, silence: Duration) {
        loop {
            let before = self.confirmed.load(Relaxed);
            let waits = self.sent.load(Relaxed) > before;
            sleep(silence).await;
            if waits && self.confirmed.load(Relaxed) == before {
                return;
            }
        }
    }
}

/// Why not all of an input was published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Reading failed.
    #[error("reading failed after line {0}: {1}")]
    Read(u64, io::Error),
    /// No broker takes such a line.
    #[error("line {0} is longer than {LONGEST_LINE} bytes, which no broker takes as a message")]
    TooLong(u64),
    /// The broker did not confirm it.
    #[error("line {line} was not confirmed: {}", causes::chain(.error))]
    Broker {
        /// Which one.
        line: u64,
        /// Why.
        error: QueueError,
    },
}

/// Publishes all of `input`, at most `rate` messages a second where one is given, and returns how many went to each
/// destination, all of them confirmed. Lines that the broker cannot carry are left out. At the first failure it reads no further, and waits for what is on its way.
pub async fn publish<P: Producer>(
    producer: &P,
    destinations: &Destinations,
    mut input: impl AsyncRead + Unpin,
    rate: Option<u32>,
    published: &Published,
) -> Result<BTreeMap<String, u64>, PublishError> {
    let budget = Budget::new(IN_FLIGHT.0, IN_FLIGHT.1);
    let mut pace = Pace::new(rate);
    let (mut lines, mut chunk) = (Lines::new(LONGEST_LINE), Vec::new());
    let (mut sending, mut counts) = (FuturesUnordered::new(), BTreeMap::new());
    let mut last = 0;

    // One line to its destination; resolves when the broker has it.
    let send = |line: Line, hold: Hold| {
        let to = destinations.of(&line.body).to_owned();
        async move {
            let sent = producer.send(&to, line.body).await;
            drop(hold);
            sent.map(|()| to).map_err(|error| PublishError::Broker { line: line.number, error })
        }
    };
    let mut done = |sent: Result<String, PublishError>| {
        published.confirmed.fetch_add(u64::from(sent.is_ok()), Relaxed);
        sent.map(|to| *counts.entry(to).or_insert(0) += 1)
    };

    let mut outcome = Ok(());
    let mut at_end = false;
    'reading: while !at_end {
        chunk.clear();
        chunk.reserve(READ_BYTES);
        let read = loop {
            tokio::select! {
                read = input.read_buf(&mut chunk) => break read,
                Some(sent) = sending.next() => if let Err(error) = done(sent) {
                    outcome = Err(error);
                    break 'reading;
                },
            }
        };
        match read {
            Ok(read) => {
                at_end = read == 0;
                published.read.fetch_add(read as u64, Relaxed);
            }
            Err(error) => {
                outcome = Err(PublishError::Read(last, error));
                break;
            }
        }
        let mut rest = chunk.as_slice();
        loop {
            let line = match lines.next(&mut rest) {
                Some(line) => line,
                None if at_end => match std::mem::replace(&mut lines, Lines::new(0)).finish() {
                    Some(line) => line,
                    None => break,
                },
                None => break,
            };
            last = line.number;
            if line.cut.is_some() {
                outcome = Err(PublishError::TooLong(line.number));
                break 'reading;
            }
            if let Some(why) = producer.refuses(&line.body) {
                let mut left_out = published.left_out.lock().unwrap_or_else(PoisonError::into_inner);
                *left_out = (left_out.0 + 1, if left_out.0 == 0 { why } else { left_out.1 });
                continue;
            }
            let bytes = line.body.len();
            let ready = async {
                pace.next().await;
                budget.acquire(bytes).await
            };
            tokio::pin!(ready);
            let hold = loop {
                tokio::select! {
                    hold = &mut ready => break hold,
                    Some(sent) = sending.next() => if let Err(error) = done(sent) {
                        outcome = Err(error);
                        break 'reading;
                    },
                }
            };
            published.sent.fetch_add(1, Relaxed);
            sending.push(send(line, hold));
        }
    }
    while let Some(sent) = sending.next().await {
        outcome = outcome.and(done(sent));
    }
    outcome.map(|()| counts)
}

/// So many a second, evenly.
struct Pace {
    every: Option<Duration>,
    next: Instant,
}

impl Pace {
    fn new(rate: Option<u32>) -> Self {
        Pace { every: rate.map(|rate| Duration::from_secs(1) / rate.max(1)), next: Instant::now() }
    }

    async fn next(&mut self) {
        let Some(every) = self.every else { return };
        sleep_until(self.next).await;
        // What was late is not made up for by a burst.
        self.next = self.next.max(Instant::now() - every) + every;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default)]
    struct Fake {
        sent: Mutex<Vec<(String, Bytes)>>,
        refuses: Option<&'static str>,
    }

    impl Producer for Fake {
        async fn send(&self, to: &str, body: Bytes) -> Result<(), QueueError> {
            if self.refuses.is_some_and(|refused| body.as_ref() == refused.as_bytes()) {
                return Err(QueueError::new("full"));
            }
            self.sent.lock().unwrap().push((to.to_owned(), body));
            tokio::time::sleep(Duration::from_millis(10)).await;
            Ok(())
        }

        fn refuses(&self, body: &[u8]) -> Option<&'static str> {
            body.contains(&0).then_some("it holds zeros")
        }
    }

    fn three() -> Destinations {
        Destinations::new(&["xray.decisions", "xray-steps", "runs"].map(str::to_owned))
    }

    async fn run(fake: &Fake, text: &str, rate: Option<u32>) -> (Result<BTreeMap<String, u64>, PublishError>, u64) {
        let published = Published::default();
        let result = publish(fake, &three(), text.as_bytes(), rate, &published).await;
        (result, published.confirmed.load(Relaxed))
    }

    #[test]
    fn each_kind_has_its_destination() {
        let destinations = three();
        for (body, to) in [
            (r#"{"id":"r","pipelineId":"p","status":"running","startedAt":1772319600000}"#, "runs"),
            (r#"[{"type":"step","data":{}}]"#, "xray-steps"),
            (r#"{"type":"runs","data":[]}"#, "xray.decisions"),
            ("not json", "xray.decisions"),
        ] {
            assert_eq!(destinations.of(&Bytes::from(body)), to, "{body}");
        }
        assert_eq!(Destinations::new(&["all".to_owned()]).of(&Bytes::from("{}")), "all");
    }

    #[tokio::test(start_paused = true)]
    async fn every_line_as_it_is_in_order() {
        let fake = Fake::default();
        let text: String = (0..5000).map(|n| format!("line {n}\r\n\n")).collect::<String>() + "last";
        let (counts, confirmed) = run(&fake, &text, None).await;
        assert_eq!(counts.unwrap(), BTreeMap::from([("xray.decisions".to_owned(), 5001)]));
        let sent: Vec<_> = fake.sent.into_inner().unwrap().into_iter().map(|(_, body)| body).collect();
        let lines: Vec<_> = (0..5000).map(|n| format!("line {n}")).chain(["last".to_owned()]).collect();
        assert_eq!((sent, confirmed), (lines.into_iter().map(Bytes::from).collect(), 5001));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_names_its_line_and_the_rest_is_counted() {
        let fake = Fake { refuses: Some("b"), ..Fake::default() };
        let (result, confirmed) = run(&fake, "a\nb\nc\n", None).await;
        assert_eq!(result.unwrap_err().to_string(), "line 2 was not confirmed: full");
        assert!((1..=2).contains(&confirmed), "{confirmed}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_broker_cannot_carry_is_left_out_and_counted() {
        let (fake, published) = (Fake::default(), Published::default());
        let text = "a\n\0\nb\n\0\0\n";
        let counts = publish(&fake, &three(), text.as_bytes(), None, &published).await.unwrap();
        assert_eq!(counts.values().sum::<u64>(), 2);
        assert_eq!(*published.left_out.lock().unwrap(), (2, "it holds zeros"));
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_noticed_that_nothing_is_confirmed() {
        let (published, minute) = (Published::default(), Duration::from_secs(60));
        let stalled = async || tokio::time::timeout(minute * 3, published.stalled(minute)).await.is_ok();
        assert!(!stalled().await, "nothing was sent");
        published.sent.store(2, Relaxed);
        assert!(stalled().await);
        published.confirmed.store(2, Relaxed);
        assert!(!stalled().await, "all is confirmed, and more is waited for");
    }

    #[tokio::test(start_paused = true)]
    async fn no_faster_than_asked() {
        let (fake, began) = (Fake::default(), Instant::now());
        run(&fake, &"x\n".repeat(101), Some(50)).await.0.unwrap();
        let took = began.elapsed();
        assert!((Duration::from_secs(2)..Duration::from_millis(2100)).contains(&took), "{took:?}");
    }
}
