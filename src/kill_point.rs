//! Points at which tests have the process die as kill -9 would have it. Nothing of it is in a build without the feature
//! `kill-points`, which is for tests alone: `tests/features` looks.
//!
//! The variable names the point and the how-many-th time it is reached: `XRAY_KILL_AT=facts:3`.

#[cfg(feature = "kill-points")]
pub(crate) use armed::{die, is_due, reached};
#[cfg(not(feature = "kill-points"))]
pub(crate) use harmless::{die, is_due, reached};

#[cfg(feature = "kill-points")]
mod armed {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    /// The point, and how often it is still to be reached.
    static NAMED: LazyLock<Option<(String, AtomicU64)>> = LazyLock::new(|| {
        let named = std::env::var("XRAY_KILL_AT").ok()?;
        let (point, time) = named.split_once(':')?;
        Some((point.to_owned(), AtomicU64::new(time.parse().ok()?)))
    });

    /// Ends the process if this is the point and the time.
    pub(crate) fn reached(point: &str) {
        if is_due(point) {
            die();
        }
    }

    /// Whether it is: for a caller that has half of something to do before it [dies](die).
    pub(crate) fn is_due(point: &str) -> bool {
        NAMED.as_ref().is_some_and(|(name, left)| name == point && left.fetch_sub(1, Relaxed) == 1)
    }

    /// Ends the process.
    pub(crate) fn die() {
        use rustix::process::{Signal, getpid, kill_process};
        // It is over before this returns.
        kill_process(getpid(), Signal::KILL).ok();
    }
}

#[cfg(not(feature = "kill-points"))]
mod harmless {
    pub(crate) const fn reached(_: &str) {}

    pub(crate) const fn is_due(_: &str) -> bool {
        false
    }

    pub(crate) const fn die() {}
}
