//! Pauses that differ from worker to worker.

use rand::RngExt;
use std::time::Duration;

/// From half of the pause on to all of it, so that a fleet of workers does not come back at the same moment.
pub(crate) fn jitter(pause: Duration) -> Duration {
    pause.mul_f64(rand::rng().random_range(0.5..1.0))
}
