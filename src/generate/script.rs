//! What happens in a run, from its first report to its last.

use super::dice::{Dice, Purpose};
use super::events::{Event, Item, Run, Step, Verdict};
use super::members::Members;
use super::padding::Padding;
use super::pipelines::{Action, ItemKind, PIPELINES, Pipeline, Stage};
use super::plan::Plan;
use super::sdk::SDKS;
use crate::event::{Kind, Outcome, Status};

const DAY_MILLIS: u128 = 24 * 60 * 60 * 1000;

/// Writes the runs of a plan, one after the other.
#[derive(Debug)]
pub(super) struct Script {
    dice: Dice,
    padding: Padding,
}

/// What a run sends, in the order in which it happens.
#[derive(Debug, Default)]
pub(super) struct Scene {
    pub(super) events: Vec<Event>,
    /// How many steps it has.
    pub(super) steps: u64,
}

impl Scene {
    pub(super) fn decisions(&self) -> u64 {
        self.events.iter().filter(|event| event.kind == Kind::Decision).count() as u64
    }
}

/// How a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Completed,
    /// In the middle of this step, which never reports its end.
    FailedIn(u64),
    /// After this step.
    CancelledAfter(u64),
}

impl Script {
    pub(super) fn new(plan: &Plan) -> Self {
        Script { dice: Dice::new(plan.seed, Purpose::Script), padding: Padding::new(plan.seed, plan.payload_bytes) }
    }

    /// The run of this number, from 0. Runs are to be asked for in order.
    pub(super) fn run(&mut self, plan: &Plan, number: u64) -> Scene {
        let dice = &mut self.dice;
        let pipeline = dice.pick(&PIPELINES);
        let run = Run {
            id: dice.uuid(),
            started: start_of(plan, number, dice),
            request: dice.pick(pipeline.requests),
            pipeline,
            sdk: dice.pick(&SDKS),
            named_by_steps: !dice.chance(plan.without_run_id),
        };
        let count = dice.between(plan.items_per_run.clone());
        let items = (0..count).map(|at| item(pipeline, at, dice)).collect();
        let steps = dice.between(plan.steps_per_run.clone());
        let ending = ending(steps, dice);
        let mut scene = Scene::default();
        play(&run, items, steps, ending, dice, &mut scene);
        for event in &mut scene.events {
            self.padding.fill(event);
        }
        scene
    }
}

/// Spread evenly, and a little by chance.
fn start_of(plan: &Plan, number: u64, dice: &mut Dice) -> i64 {
    let span = u128::from(plan.days) * DAY_MILLIS;
    let offset = |number: u64| (span * u128::from(number) / u128::from(plan.runs.max(1))) as u64;
    plan.start.millis() + dice.between(offset(number)..=offset(number + 1)) as i64
}

fn ending(steps: u64, dice: &mut Dice) -> Ending {
    let (roll, step) = (dice.between(0..=99), dice.between(1..=steps));
    match roll {
        0..8 => Ending::FailedIn(step),
        8..12 => Ending::CancelledAfter(step),
        _ => Ending::Completed,
    }
}

fn item(pipeline: &Pipeline, number: u64, dice: &mut Dice) -> Item {
    let code = dice.between(0..=0xff_ffff);
    let title = Members::new().text("title", dice.pick(pipeline.titles));
    let (id, input) = match pipeline.items {
        ItemKind::Product => {
            let price = format!("{}.{:02}", code % 300 + 5, code % 100);
            (format!("B0{code:06X}{number:02X}"), title.json("price", price).json("inStock", !code.is_multiple_of(7)))
        }
        ItemKind::Candidate => {
            (format!("cand_{code:08}{number}"), title.json("yearsOfExperience", code % 20).text("location", "DE"))
        }
        ItemKind::Chunk => {
            let similarity = format!("0.{}", 7000 + code % 3000);
            (format!("kb/article-{}#chunk-{number}", code % 5000), title.json("similarity", similarity))
        }
    };
    Item { id, input }
}

fn play(run: &Run, mut items: Vec<Item>, steps: u64, ending: Ending, dice: &mut Dice, scene: &mut Scene) {
    let mut now = run.started;
    if dice.chance(0.1) {
        scene.events.push(run.report(Status::Pending, None, None, None));
    }
    scene.events.push(run.report(Status::Running, None, None, None));
    for number in 1..=steps {
        now += dice.between(1..=40) as i64;
        items = play_step(run, items, number, ending, &mut now, dice, scene);
        match ending {
            Ending::FailedIn(step) if step == number => {
                let error = format!("step {number} failed: upstream answered 503 Service Unavailable");
                return scene.events.push(run.report(Status::Failed, Some(now), Some(&error), None));
            }
            Ending::CancelledAfter(step) if step == number => {
                return scene.events.push(run.report(Status::Cancelled, Some(now), None, None));
            }
            _ => {}
        }
    }
    let best = items.first().map(|item| item.id.as_str());
    let output = Members::new().json("selected", items.len()).maybe_text("bestItemId", best);
    scene.events.push(run.report(Status::Completed, Some(now), None, Some(output)));
}

/// Adds what a step sends and returns the items that it passes on.
fn play_step(
    run: &Run,
    items: Vec<Item>,
    number: u64,
    ending: Ending,
    now: &mut i64,
    dice: &mut Dice,
    scene: &mut Scene,
) -> Vec<Item> {
    let (stage, round) = stage(run.pipeline, number);
    let verdicts = decide(stage, items.len(), dice);
    let passed = verdicts.iter().filter(|verdict| verdict.outcome != Outcome::Eliminated).count();
    let step = Step {
        run,
        id: dice.uuid(),
        name: if round == 0 { stage.name.to_owned() } else { format!("{}_{}", stage.name, round + 1) },
        stage,
        started: *now,
        input_count: items.len(),
        output_count: passed,
    };
    scene.steps += 1;
    scene.events.push(step.report(None));
    let fails = ending == Ending::FailedIn(number);
    let decided = if fails { items.len() / 2 } else { items.len() };
    // A model answers for all items at once, after a while; other steps decide several in the same millisecond too.
    let (pause, pace) = if stage.kind == "llm" { (300..=2500, 0..=0) } else { (1..=20, 0..=2) };
    *now += dice.between(pause) as i64;
    for (item, verdict) in items.iter().zip(&verdicts).take(decided) {
        *now += dice.between(pace.clone()) as i64;
        scene.events.push(step.decision(&dice.uuid(), item, *verdict, *now));
    }
    *now += dice.between(1..=5) as i64;
    if !fails {
        scene.events.push(step.report(Some(*now)));
    }
    let kept = items.into_iter().zip(verdicts).filter(|(_, verdict)| verdict.outcome != Outcome::Eliminated);
    kept.map(|(item, _)| item).collect()
}

/// The stage of a run's nth step, from 1, and how often it has been through all of them.
fn stage(pipeline: &'static Pipeline, number: u64) -> (&'static Stage, u64) {
    // Only the first step retrieves: what comes round again are the later stages.
    let later = pipeline.stages.len() as u64 - 1;
    match number.checked_sub(2) {
        None => (&pipeline.stages[0], 0),
        Some(at) => (&pipeline.stages[1 + (at % later) as usize], at / later),
    }
}

fn decide(stage: &'static Stage, items: usize, dice: &mut Dice) -> Vec<Verdict> {
    let score = |dice: &mut Dice| dice.between(500..=9999);
    match stage.action {
        Action::Pass => (0..items).map(|_| verdict(stage, Outcome::Kept, None, dice)).collect(),
        Action::Score => {
            let scores: Vec<u64> = (0..items).map(|_| score(dice)).collect();
            scores.into_iter().map(|score| verdict(stage, Outcome::Scored, Some(score), dice)).collect()
        }
        Action::Sift(share) => {
            let mut kept: Vec<bool> = (0..items).map(|_| dice.chance(share)).collect();
            if !kept.contains(&true)
                && let Some(first) = kept.first_mut()
            {
                *first = true;
            }
            kept.into_iter().map(|kept| verdict(stage, kept_if(kept), None, dice)).collect()
        }
        Action::Best(percent) => {
            let scores: Vec<u64> = (0..items).map(|_| score(dice)).collect();
            let mut order: Vec<usize> = (0..items).collect();
            order.sort_by_key(|&at| (std::cmp::Reverse(scores[at]), at));
            let mut kept = vec![false; items];
            for &at in order.iter().take((items * percent / 100).max(1)) {
                kept[at] = true;
            }
            let decided = kept.into_iter().zip(scores);
            decided.map(|(kept, score)| verdict(stage, kept_if(kept), Some(score), dice)).collect()
        }
    }
}

fn kept_if(kept: bool) -> Outcome {
    if kept { Outcome::Kept } else { Outcome::Eliminated }
}

fn verdict(stage: &'static Stage, outcome: Outcome, score: Option<u64>, dice: &mut Dice) -> Verdict {
    let reasons = if outcome == Outcome::Eliminated { stage.eliminated } else { stage.passed };
    Verdict { outcome, score, reason: dice.pick(reasons) }
}
