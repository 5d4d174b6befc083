//! Four workers that come and go.

use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::task::block_in_place;
use tokio::time::sleep;

use crate::dice::Dice;
use crate::faults::{Tally, quiet};
use crate::support::worker::Running;

const WORKERS: usize = 4;

/// Resident memory of a worker, in KiB: now, and at most so far.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    pub now: u64,
    pub most: u64,
}

pub struct Fleet<F> {
    start: F,
    workers: Vec<Running>,
}

impl<F: Fn() -> std::process::Command> Fleet<F> {
    pub fn new(start: F) -> Self {
        let workers = (0..WORKERS).map(|_| started(&start)).collect();
        Fleet { start, workers }
    }

    /// Until the day is over. The first one stays, for its memory to be watched; it may be stopped and go on.
    pub async fn comes_and_goes(&mut self, mut dice: Dice, end: Instant, tally: Tally) {
        while quiet(&mut dice, (300, 2_500), end).await {
            let which = 1 + dice.below(WORKERS - 1);
            match dice.below(4) {
                0 | 1 => {
                    tally.count("workers killed");
                    block_in_place(|| self.workers[which].kill_9());
                    self.workers[which] = started(&self.start);
                }
                2 => {
                    tally.count("workers replaced");
                    self.workers[which].terminate();
                    let ended = block_in_place(|| self.workers[which].ended());
                    assert!(ended.success(), "a worker that was told to stop: {ended}");
                    self.workers[which] = started(&self.start);
                }
                _ => {
                    tally.count("workers that stood still");
                    let pid = Pid::from_raw(self.workers[dice.below(WORKERS)].0.id() as i32).unwrap();
                    kill_process(pid, Signal::STOP).unwrap();
                    // Longer than a session of Kafka, now and then.
                    sleep(dice.time(200, 8_000)).await;
                    kill_process(pid, Signal::CONT).unwrap();
                }
            }
        }
    }

    /// None has ended by itself.
    pub fn all_stop(mut self) -> Vec<Memory> {
        let memory = self.workers.iter().map(|worker| memory(worker.0.id())).collect();
        self.workers.iter().for_each(Running::terminate);
        for worker in &mut self.workers {
            let ended = worker.ended();
            assert!(ended.success(), "a worker that was told to stop: {ended}");
        }
        memory
    }

    /// The one that stays.
    pub fn first(&self) -> u32 {
        self.workers[0].0.id()
    }
}

fn started(start: impl Fn() -> std::process::Command) -> Running {
    Running(start().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

/// What the kernel has.
fn memory(pid: u32) -> Memory {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{status}"));
        line.trim().trim_end_matches(" kB").parse().unwrap()
    };
    Memory { now: field("VmRSS:"), most: field("VmHWM:") }
}

/// Looks at it twice a second until the day is over.
pub async fn watch(pid: u32, end: Instant) -> Vec<u64> {
    let mut seen = Vec::new();
    while Instant::now() < end {
        seen.push(memory(pid).now);
        sleep(Duration::from_millis(500)).await;
    }
    seen
}
