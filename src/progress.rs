//! How far an input is: a bar on a terminal, a line in the log now and then elsewhere.

use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use std::convert::Infallible;
use std::io::{IsTerminal, Write, stderr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::time::sleep;

const REDRAW: Duration = Duration::from_millis(200);
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Shows how far it is until dropped: how many of `what` are done, and how much of the input was read.
pub async fn show(
    done: &(dyn Fn() -> u64 + Sync),
    what: &'static str,
    read: &AtomicU64,
    total: Option<u64>,
) -> Infallible {
    if !stderr().is_terminal() {
        loop {
            sleep(LOG_EVERY).await;
            let (done, bytes) = (done(), read.load(Relaxed));
            if tracing::enabled!(tracing::Level::INFO) {
                tracing::info!(done, what, bytes, of = total, "working");
            } else {
                say(&format!("working: {} {what}", HumanCount(done)));
            }
        }
    }
    let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    let shape = if total.is_some() { "{wide_bar} {bytes} of {total_bytes}, {msg}" } else { "{spinner} {msg}" };
    if let Ok(style) = ProgressStyle::with_template(shape) {
        bar.set_style(style);
    }
    let bar = Cleared(bar);
    loop {
        bar.0.set_position(read.load(Relaxed));
        bar.0.set_message(format!("{} {what}", HumanCount(done())));
        sleep(REDRAW).await;
    }
}

/// Says something that keeps it from going on.
pub fn warn(what: &str) {
    if tracing::enabled!(tracing::Level::WARN) {
        tracing::warn!("{what}");
    } else {
        say(what);
    }
}

/// Whoever closed standard error does not want to know.
fn say(line: &str) {
    writeln!(stderr(), "{line}").ok();
}

/// Takes the bar off the screen when dropped.
struct Cleared(ProgressBar);

impl Drop for Cleared {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
