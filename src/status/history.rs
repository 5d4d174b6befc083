use super::document::{Point, Rates};
use crate::metrics::Totals;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Five minutes.
const KEPT: usize = 151;
/// What rates are over.
const RATE_OVER: Duration = Duration::from_secs(10);

/// What was counted at some moment.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    pub(super) at: Instant,
    pub(super) totals: Totals,
    pub(super) lag: Option<u64>,
}

/// The samples of the last minutes.
#[derive(Debug, Default)]
pub(super) struct History(VecDeque<Sample>);

impl History {
    pub(super) fn push(&mut self, sample: Sample) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(sample);
    }

    /// How it goes at this moment.
    pub(super) fn rates(&self, now: &Sample) -> Rates {
        let before = self.0.iter().rev().find(|sample| now.at.duration_since(sample.at) >= RATE_OVER);
        let Some(before) = before.or(self.0.front()) else { return Rates::default() };
        let rate = Rate::between(before, now);
        Rates {
            received: rate.of(|sample| sample.totals.received),
            stored: rate.of(|sample| sample.totals.stored),
            dead_letters: rate.of(|sample| sample.totals.dead_letters),
            repeated: rate.of(|sample| sample.totals.repeated),
            lag: before.lag.zip(now.lag).map(|(before, now)| rate.per_second(now as f64 - before as f64)),
        }
    }

    /// One for each two samples that follow each other.
    pub(super) fn points(&self) -> Vec<Point> {
        let pairs = self.0.iter().zip(self.0.iter().skip(1));
        let point = |(before, after): (&Sample, &Sample)| {
            let rate = Rate::between(before, after);
            Point {
                received: rate.of(|sample| sample.totals.received),
                stored: rate.of(|sample| sample.totals.stored),
                lag: after.lag,
            }
        };
        pairs.map(point).collect()
    }
}

struct Rate<'a> {
    before: &'a Sample,
    after: &'a Sample,
}

impl<'a> Rate<'a> {
    fn between(before: &'a Sample, after: &'a Sample) -> Self {
        Rate { before, after }
    }

    fn of(&self, count: impl Fn(&Sample) -> u64) -> f64 {
        self.per_second(count(self.after).saturating_sub(count(self.before)) as f64)
    }

    /// Rounded: nobody reads more.
    fn per_second(&self, difference: f64) -> f64 {
        // Two looks at the same moment are not infinitely many a second.
        let seconds = self.after.at.duration_since(self.before.at).as_secs_f64().max(0.5);
        (difference / seconds * 10.0).round() / 10.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(began: Instant, second: u64, received: u64, lag: u64) -> Sample {
        let totals = Totals { received, stored: received / 2, ..Totals::default() };
        Sample { at: began + Duration::from_secs(second), totals, lag: Some(lag) }
    }

    #[test]
    fn rates_are_over_the_last_seconds() {
        let began = Instant::now();
        let mut history = History::default();
        assert_eq!(history.rates(&sample(began, 0, 5, 0)), Rates::default());
        for second in (0..=20).step_by(2) {
            history.push(sample(began, second, if second < 10 { 0 } else { (second - 10) * 100 }, 7 * second));
        }
        let rates = history.rates(&sample(began, 20, 1000, 140));
        assert_eq!((rates.received, rates.stored, rates.lag), (100.0, 50.0, Some(7.0)));
        let points = history.points();
        assert_eq!((points.len(), points[0].received, points[9].received, points[9].lag), (10, 0.0, 100.0, Some(140)));
        (0..1000).for_each(|second| history.push(sample(began, 20 + second, 0, 0)));
        assert_eq!(history.points().len(), KEPT - 1);
    }
}
