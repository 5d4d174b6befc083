//! What befalls a broker and stores. Each fault ends before the next of the same side.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::block_in_place;
use tokio::time::sleep;

use crate::dice::Dice;
use crate::harness::Harness;
use crate::support::proxy::{Fault, Proxy};
use crate::support::servers::Server;

/// How often what has happened.
#[derive(Clone, Default)]
pub struct Tally(Arc<Mutex<BTreeMap<&'static str, u32>>>);

impl Tally {
    pub fn count(&self, what: &'static str) {
        *self.0.lock().unwrap().entry(what).or_default() += 1;
    }

    pub fn shown(&self) -> String {
        let all: Vec<_> = self.0.lock().unwrap().iter().map(|(what, count)| format!("{count} {what}")).collect();
        all.join(", ")
    }
}

/// Waits for a while; `false`: the day is over.
pub async fn quiet(dice: &mut Dice, (from, to): (u64, u64), end: Instant) -> bool {
    let pause = dice.time(from, to);
    let goes_on = Instant::now() + pause < end;
    if goes_on {
        sleep(pause).await;
    }
    goes_on
}

/// Of a broker, until the day is over.
pub async fn of_a_broker<H: Harness>(mut harness: H, mut dice: Dice, end: Instant, tally: Tally) -> H {
    while quiet(&mut dice, (8_000, 20_000), end).await {
        tally.count("times the broker was killed");
        let away = dice.time(0, 3_000);
        block_in_place(|| harness.kill_9());
        sleep(away).await;
        block_in_place(|| harness.restart());
    }
    harness
}

/// Of a store and of the way to it.
pub async fn of_a_store(
    (mut store, proxy): (Server, Proxy),
    mut dice: Dice,
    end: Instant,
    tally: Tally,
) -> (Server, Proxy) {
    while quiet(&mut dice, (500, 4_000), end).await {
        let time = dice.time(200, 5_000);
        match dice.below(6) {
            0 => {
                tally.count("times a store was killed");
                block_in_place(|| store.kill_9());
                sleep(time).await;
                block_in_place(|| store.restart());
            }
            1 => {
                tally.count("times a store stood still");
                block_in_place(|| store.freeze());
                sleep(time).await;
                store.go_on();
            }
            2 | 3 => {
                tally.count("times a store answered nobody");
                proxy.set(dice.pick(&faults()));
                sleep(time).await;
            }
            _ => {
                tally.count("times a store answered now and then");
                let share = 0.1 + 0.5 * f64::from(u8::try_from(dice.below(100)).unwrap()) / 100.0;
                let dice = Mutex::new(Dice::new(dice.seed(), 0));
                proxy.set_by(move |_| {
                    let mut dice = dice.lock().unwrap();
                    if dice.chance(share) { dice.pick(&faults()) } else { Fault::Pass }
                });
                sleep(time).await;
            }
        }
        proxy.set(Fault::Pass);
    }
    (store, proxy)
}

fn faults() -> Vec<Fault> {
    let answers = [503, 429, 307, 500, 403].map(Fault::status);
    let ways = [Fault::Refuse, Fault::Hang, Fault::Swallow, Fault::Reset, Fault::Half, Fault::garbage()];
    let slow = [Fault::Slow(Duration::from_millis(300)), Fault::Slow(Duration::from_millis(1_500))];
    answers.into_iter().chain(ways).chain(slow).collect()
}
