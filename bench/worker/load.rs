//! What is stored.

use bytes::Bytes;

/// Decisions of these many runs in turns, seven steps in each, each body of about so many bytes.
pub fn decisions(salt: &str, events: usize, bytes: usize, runs: usize) -> Vec<Bytes> {
    let decision = |n: usize| {
        let (run, step) = (n % runs, n / runs % 7);
        let event = format!(
            r#"{{"id":"{salt}-{n}","stepId":"{salt}-s-{run}-{step}","runId":"{salt}-r-{run}","outcome":"kept","itemId":"item-{n}","timestamp":"2026-01-31T12:00:00Z","input":""}}"#
        );
        let ballast = "x".repeat(bytes.saturating_sub(event.len()));
        event.replace(r#""input":"""#, &format!(r#""input":"{ballast}""#)).into()
    };
    (0..events).map(decision).collect()
}
