use super::Stage;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What counts as lately.
const SPAN: Duration = Duration::from_secs(60);
/// No more of each stage is remembered.
const REMEMBERED: usize = 500;

/// The flushes of the last minute, for people: a histogram of all there ever were does not show that it has become slow.
#[derive(Debug, Clone, Default)]
pub(super) struct Lately(Arc<Mutex<[VecDeque<Flush>; 3]>>);

#[derive(Debug)]
struct Flush {
    at: Instant,
    seconds: f64,
    events: usize,
}

/// The flushes of one stage in the last minute.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Flushes {
    /// Which stage.
    pub stage: Stage,
    /// How many there were; the latest five hundred at most.
    pub count: usize,
    /// Events in them.
    pub events: usize,
    /// How long one took on the average.
    pub mean_seconds: f64,
    /// The slowest.
    pub max_seconds: f64,
}

impl Lately {
    pub(super) fn flush(&self, stage: Stage, seconds: f64, events: usize) {
        let mut stages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let flushes = &mut stages[stage as usize];
        if flushes.len() == REMEMBERED {
            flushes.pop_front();
        }
        flushes.push_back(Flush { at: Instant::now(), seconds, events });
    }

    pub(super) fn flushes(&self) -> [Flushes; 3] {
        let mut stages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Stage::ALL.map(|stage| {
            let flushes = &mut stages[stage as usize];
            while flushes.front().is_some_and(|flush| flush.at.elapsed() > SPAN) {
                flushes.pop_front();
            }
            let sum: f64 = flushes.iter().map(|flush| flush.seconds).sum();
            Flushes {
                stage,
                count: flushes.len(),
                events: flushes.iter().map(|flush| flush.events).sum(),
                mean_seconds: if flushes.is_empty() { 0.0 } else { sum / flushes.len() as f64 },
                max_seconds: flushes.iter().map(|flush| flush.seconds).fold(0.0, f64::max),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stage_by_itself_and_bounded() {
        let lately = Lately::default();
        lately.flush(Stage::Facts, 0.5, 10);
        lately.flush(Stage::Facts, 1.5, 30);
        (0..2 * REMEMBERED).for_each(|_| lately.flush(Stage::Derived, 1.0, 1));
        let [objects, facts, derived] = lately.flushes();
        assert_eq!((objects.count, objects.mean_seconds), (0, 0.0));
        assert_eq!((facts.count, facts.events, facts.mean_seconds, facts.max_seconds), (2, 40, 1.0, 1.5));
        assert_eq!(derived.count, REMEMBERED);
    }
}
