//! Producers: `generate` and `publish`, again and again.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tokio::task::spawn_blocking;
use tokio::time::{sleep, sleep_until};

use crate::dice::Dice;
use crate::faults::Tally;
use crate::rig::PATIENCE;
use crate::support::worker::{output, ran, write_lines};

/// So many messages go out at a time.
const TOGETHER: usize = 100;
const EVERY: Duration = Duration::from_millis(1_000);

/// Publishes until the day is over, and returns all that was confirmed. What is not, is published again.
pub async fn feed(
    dir: &Path,
    publish: impl Fn(&str) -> Command,
    carries: fn(&[u8]) -> bool,
    mut dice: Dice,
    end: Instant,
    tally: Tally,
) -> Vec<Vec<u8>> {
    let (mut sent, mut waiting): (Vec<Vec<u8>>, Vec<Vec<u8>>) = (Vec::new(), Vec::new());
    while Instant::now() < end {
        let next = Instant::now() + EVERY;
        if waiting.is_empty() {
            waiting = generated(dir, dice.seed()).await;
            waiting.retain(|body| carries(body));
        }
        let part = waiting.split_off(waiting.len().saturating_sub(TOGETHER));
        let input = write_lines(dir.join("part"), &part);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut command = publish(&input);
            command.stdout(Stdio::null());
            let published = spawn_blocking(move || output(&mut command)).await.unwrap();
            if published.status.success() {
                break;
            }
            tally.count("times nothing could be published");
            assert!(Instant::now() < deadline, "{}", String::from_utf8_lossy(&published.stderr));
            sleep(EVERY / 4).await;
        }
        sent.extend(part);
        sleep_until(next.into()).await;
    }
    sent
}

/// Some runs with all that goes wrong; later ones come first.
async fn generated(dir: &Path, seed: u64) -> Vec<Vec<u8>> {
    let (path, seed) = (dir.to_owned(), (seed >> 1).to_string());
    let shares =
        ["--duplicates", "0.1", "--reordered", "0.3", "--late", "0.2", "--conflicting", "0.02", "--malformed", "0.02"];
    let (code, _, stderr) = spawn_blocking(move || {
        ran(&path, &[&["generate", "--runs", "20", "--seed", &seed, "--output", "generated"], &shares[..]].concat())
    })
    .await
    .unwrap();
    assert_eq!(code, 0, "{stderr}");
    let text = std::fs::read(dir.join("generated")).unwrap();
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect()
}
