//! Many events alike, of one size.

use bytes::Bytes;

/// Decisions of these many runs in turns, seven steps in each, each body of about so many bytes.
pub fn decisions(salt: &str, events: usize, bytes: usize, runs: usize) -> Vec<Bytes> {
    let place = |n: usize| (n % runs, n / runs % 7);
    (0..events)
        .map(|n| {
            let (run, step) = place(n);
            decision(&format!("{salt}-{n}"), &format!("{salt}-s-{run}-{step}"), &format!("{salt}-r-{run}"), bytes)
        })
        .collect()
}

/// One of a step and a run, its body of about so many bytes.
pub fn decision(id: &str, step: &str, run: &str, bytes: usize) -> Bytes {
    let event = format!(
        r#"{{"id":"{id}","stepId":"{step}","runId":"{run}","outcome":"kept","itemId":"i-{id}","timestamp":"2026-01-31T12:00:00Z","input":""}}"#
    );
    let ballast = "x".repeat(bytes.saturating_sub(event.len()));
    event.replace(r#""input":"""#, &format!(r#""input":"{ballast}""#)).into()
}
