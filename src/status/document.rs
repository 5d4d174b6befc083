use super::verdict::Verdict;
use crate::health::Readiness;
use crate::iso;
use crate::metrics::Flushes;
use crate::store::recent::Recent;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How things stand with a worker.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    /// Of the worker.
    pub version: String,
    /// `QUEUE_TYPE`.
    pub queue: String,
    /// When the worker started.
    #[serde(with = "iso")]
    pub started: DateTime<Utc>,
    /// When this was put together, by the worker's clock.
    #[serde(with = "iso")]
    pub now: DateTime<Utc>,
    /// The first thing to know.
    pub verdict: Verdict,
    /// Loops that have work and make no progress.
    pub stuck: Vec<Stuck>,
    /// As `/readyz` has it.
    #[serde(flatten)]
    pub readiness: Readiness,
    /// What is visible in the tables.
    pub complete: Complete,
    /// What comes in and goes out.
    pub flow: Flow,
    /// What is held, and how much may be.
    pub in_flight: InFlight,
    /// The flushes of the last minute, by stage.
    pub flushes: Vec<Flush>,
    /// What the tables hold; `None` until that is known.
    pub tables: Option<Tables>,
}

/// A loop that makes no progress.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stuck {
    /// Which.
    pub name: String,
    /// For how long.
    pub seconds: u64,
}

impl Stuck {
    pub(super) fn new(name: &str, silence: Duration) -> Stuck {
        Stuck { name: name.to_owned(), seconds: silence.as_secs() }
    }
}

/// Up to when the tables are complete.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Complete {
    /// The time of the oldest event that this worker holds and that is not visible yet; `None` where it holds none.
    #[serde(with = "iso::option")]
    pub up_to: Option<DateTime<Utc>>,
    /// How many messages wait at the broker, whose times nobody knows; `None` where it does not tell.
    pub waiting: Option<u64>,
}

/// What comes in and goes out; the counts are since the start.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Flow {
    /// Events that came off the queue.
    pub received: u64,
    /// Events that are durable and acked.
    pub stored: u64,
    /// What was no event.
    pub dead_letters: u64,
    /// Messages that had been delivered before.
    pub redeliveries: u64,
    /// Messages at the broker that are not acked; `None` where it does not tell.
    pub lag: Option<u64>,
    /// Age of the oldest message that is held.
    pub oldest_unacked_seconds: f64,
    /// Lately.
    pub rates: Rates,
    /// The last minutes, the oldest first.
    pub points: Vec<Point>,
}

/// How much a second, over the last ten seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rates {
    /// Events received.
    pub received: f64,
    /// Events stored.
    pub stored: f64,
    /// Dead letters.
    pub dead_letters: f64,
    /// Calls of stores that failed and were repeated.
    pub repeated: f64,
    /// By how much the lag grows; negative where it falls.
    pub lag: Option<f64>,
}

/// A moment of the last minutes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Events received a second.
    pub received: f64,
    /// Events stored a second.
    pub stored: f64,
    /// The lag.
    pub lag: Option<u64>,
}

/// What is held, and how much may be.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InFlight {
    /// Messages.
    pub messages: u64,
    /// `MAX_IN_FLIGHT_MESSAGES`.
    pub max_messages: u64,
    /// Bytes, as they are counted.
    pub bytes: u64,
    /// `MAX_IN_FLIGHT_BYTES`.
    pub max_bytes: u64,
    /// Messages that wait for rows which take long to recompute.
    pub heavy_lane: u64,
}

impl InFlight {
    /// How much of which bound is used, of the one that is nearer.
    pub fn share(&self) -> (f64, &'static str) {
        let share = |held: u64, max: u64| held as f64 / max.max(1) as f64;
        let (messages, bytes) = (share(self.messages, self.max_messages), share(self.bytes, self.max_bytes));
        if messages > bytes { (messages, "MAX_IN_FLIGHT_MESSAGES") } else { (bytes, "MAX_IN_FLIGHT_BYTES") }
    }
}

/// The flushes of one stage in the last minute.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Flush {
    /// `objects`, `facts` or `derived`.
    pub stage: String,
    /// How many.
    pub count: u64,
    /// Events in all of them.
    pub events: u64,
    /// How long one took on the average.
    pub mean_seconds: f64,
    /// The slowest.
    pub max_seconds: f64,
}

impl From<Flushes> for Flush {
    fn from(Flushes { stage, count, events, mean_seconds, max_seconds }: Flushes) -> Flush {
        let (stage, count, events) = (stage.as_str().to_owned(), count as u64, events as u64);
        Flush { stage, count, events, mean_seconds, max_seconds }
    }
}

/// What the tables hold.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tables {
    /// When they were last read; `None` where that has not succeeded yet.
    #[serde(with = "iso::option")]
    pub read: Option<DateTime<Utc>>,
    /// Why they could not be read since then.
    pub error: Option<String>,
    /// What was found.
    #[serde(flatten)]
    pub recent: Recent,
}
