//! One day: a broker, a pair of stores, four workers, and whatever befalls them.

use std::process::Command;
use std::time::{Duration, Instant};

use tokio::task::block_in_place;
use tokio::time::sleep;
use xray_processor_worker::queue::QueueBackend;

use crate::dice::Dice;
use crate::faults::{self, Tally};
use crate::feed::feed;
use crate::fleet::{Fleet, watch};
use crate::harness::{Harness, Whose};
use crate::rig::PATIENCE;
use crate::support::deployment::Deployment;
use crate::support::model::{Input, expected};
use crate::support::proxy::{Proxy, tell};
use crate::support::servers::Server;
use crate::support::worker::output;

/// What a worker may hold, and what it may take in all: a debug build, its drivers, what they fetch ahead.
const HELD: (&str, u64) = ("8388608", 160 << 10);

pub struct Day {
    pub seed: u64,
    pub length: Duration,
}

impl Day {
    pub async fn on<H: Harness>(self) {
        let (dir, tally) = (tempfile::tempdir().unwrap(), Tally::default());
        let [objects, tables] = ["minio", "clickhouse"].map(|name| block_in_place(|| Server::start(name)));
        let stores = block_in_place(|| Deployment::new(&objects, &tables));
        let proxies = [&objects, &tables].map(|store| Proxy::start(store.running().port));
        let harness = H::start(Whose::Deployed).await;

        let queue = harness.variables();
        let ways = tell(&proxies[0], &proxies[1]);
        let command = |args: &[&str]| -> Command {
            let mut command = stores.worker(dir.path(), args);
            command.envs(queue.iter().cloned()).envs(ways.iter().cloned()).env("HTTP_ADDR", "127.0.0.1:0");
            command
                .env("MAX_IN_FLIGHT_BYTES", HELD.0)
                .env("S3_TIMEOUT_MS", "3000")
                .env("CLICKHOUSE_TIMEOUT_MS", "5000");
            command
        };
        let mut fleet = Fleet::new(|| command(&["run"]));
        let (end, first) = (Instant::now() + self.length, fleet.first());
        let dice = |stream| Dice::new(self.seed, stream);
        let [objects_proxy, tables_proxy] = proxies;
        let (sent, (), harness, objects, tables, memory) = tokio::join!(
            feed(dir.path(), |input| command(&["publish", input]), H::carries, dice(1), end, tally.clone()),
            fleet.comes_and_goes(dice(2), end, tally.clone()),
            faults::of_a_broker(harness, dice(3), end, tally.clone()),
            faults::of_a_store((objects, objects_proxy), dice(4), end, tally.clone()),
            faults::of_a_store((tables, tables_proxy), dice(5), end, tally.clone()),
            watch(first, end),
        );

        let healed = Instant::now();
        emptied(&harness).await;
        let recovered = healed.elapsed();
        let most = block_in_place(|| fleet.all_stop()).iter().map(|memory| memory.most).max().unwrap();
        assert_eq!(harness.left().await, 0);
        block_in_place(|| {
            stores.assert_state(&expected(sent.iter().map(|body| Input { body, hint: None })));
            let verified = output(&mut stores.worker(dir.path(), &["verify", "--deep", "--min-age", "0s"]));
            assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
        });
        let faults = objects.1.faults() + tables.1.faults();
        println!(
            "{}: {} messages; {}; {faults} requests that failed; all done {:.1} s after the last fault; {} MiB at most",
            H::Queue::NAME,
            sent.len(),
            tally.shown(),
            recovered.as_secs_f32(),
            most >> 10,
        );
        assert!(most < HELD.1, "a worker took {most} KiB, {} are allowed", HELD.1);
        flat(&memory);
    }
}

/// As long as it becomes less.
async fn emptied<H: Harness>(harness: &H) {
    let (mut least, mut deadline) = (u64::MAX, Instant::now() + PATIENCE);
    loop {
        let left = harness.left().await;
        if left < least {
            (least, deadline) = (left, Instant::now() + PATIENCE);
        }
        if left == 0 {
            return;
        }
        assert!(Instant::now() < deadline, "the broker still has {left}");
        sleep(Duration::from_millis(100)).await;
    }
}

/// The last quarter of the day takes no more than the time before, give or take what fits into the bound of what is held.
fn flat(memory: &[u64]) {
    let (before, last) = memory.split_at(memory.len() / 4 * 3);
    let [before, last] = [before, last].map(|part| part.iter().max().copied().unwrap_or_default());
    let held = HELD.0.parse::<u64>().unwrap() >> 10;
    assert!(last <= before + 2 * held, "memory grows: {before} KiB at most, then {last}: {memory:?}");
}
