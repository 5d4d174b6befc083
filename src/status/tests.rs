use super::*;
use crate::config::QueueType;
use crate::store::recent::{Recent, RecentLetter, RecentRun, RecentStep};
use crate::store::{Heavy, RowCounts, StoreError, Touched};
use async_trait::async_trait;
use prometheus_client::registry::Registry;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

struct Worker {
    metrics: Metrics,
    budget: Budget,
    health: Health,
    status: Status,
}

fn worker() -> Worker {
    let (budget, health) = (Budget::new(10, 1 << 20), Health::default());
    let stores = ["objects", "database"];
    let metrics = Metrics::register(&mut Registry::default(), QueueType::Nats, &stores, &budget, &health);
    for name in ["objects", "database", "nats"] {
        health.dependency(name).up();
    }
    let status = Status::new("nats", metrics.clone(), budget.clone(), health.clone());
    status.shared.tables.know(Recent::default());
    Worker { metrics, budget, health, status }
}

async fn verdict(worker: &Worker) -> (Level, String) {
    let Verdict { level, sentences } = worker.status.document().await.verdict;
    (level, sentences.join(" "))
}

#[tokio::test]
async fn what_is_the_matter_comes_first() {
    let worker = worker();
    let Worker { metrics, budget, health, .. } = &worker;
    assert_eq!(verdict(&worker).await, (Level::Good, "All is well; nothing comes in at the moment.".into()));

    health.dependency("database").down("the user worker lacks the right INSERT");
    let (level, said) = verdict(&worker).await;
    assert_eq!(level, Level::Bad);
    assert!(said.starts_with("database has been down for "), "{said}");
    assert!(said.ends_with(": the user worker lacks the right INSERT"), "{said}");
    health.dependency("database").up();

    let holds: Vec<_> = (0..10).map(|_| budget.hold(10)).collect();
    metrics.flush(crate::metrics::Stage::Facts, 2.0, 10);
    let (level, said) = verdict(&worker).await;
    assert!(level == Level::Warn && said.contains("100 %") && said.contains("facts (2 s each time)"), "{said}");
    drop(holds);

    worker.status.sample();
    metrics.stored(50);
    (0..50).for_each(|_| metrics.dead_letter(crate::event::Code::NotJson));
    assert!(verdict(&worker).await.1.contains("50 % of what comes in becomes dead letters"));
    health.drain();
    assert!(verdict(&worker).await.1.starts_with("The worker is stopping"));
}

#[tokio::test]
async fn a_lag_that_grows_is_told_of() {
    let worker = worker();
    worker.metrics.lag(Some(500));
    worker.status.sample();
    worker.metrics.lag(Some(5000));
    let document = worker.status.document().await;
    assert!(document.verdict.sentences[0].starts_with("5000 messages wait and more come in"), "{document:?}");
    assert_eq!((document.flow.lag, document.complete.waiting), (Some(5000), Some(5000)));
}

#[tokio::test]
async fn a_store_that_fails_now_and_then_is_told_of() {
    let worker = worker();
    worker.status.sample();
    worker.metrics.store_failed("objects", false);
    assert_eq!(verdict(&worker).await.0, Level::Good, "one event that is refused is no matter of the store");
    (0..100).for_each(|_| worker.metrics.store_failed("objects", true));
    let (level, said) = verdict(&worker).await;
    assert!(level == Level::Warn && said.starts_with("Stores fail ") && said.contains("they are repeated"), "{said}");
    worker.health.dependency("objects").down("gone");
    assert!(!verdict(&worker).await.1.contains("Stores fail"), "the outage says it all");
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_is_stuck_is_worst() {
    let worker = worker();
    let _pulse = worker.health.pulse("receive");
    tokio::time::advance(crate::health::SILENCE_LIMIT + Duration::from_secs(5)).await;
    worker.health.dependency("objects").down("gone");
    let (level, said) = verdict(&worker).await;
    assert!(level == Level::Bad && said.starts_with("The loop receive has made no progress for 2 min"), "{said}");
}

#[tokio::test]
async fn complete_up_to_the_oldest_event_that_is_held() {
    let worker = worker();
    assert!(worker.status.document().await.complete.up_to.is_none());
    let mut hold = worker.budget.hold(10);
    hold.grow(1, Some(1_769_904_000_123));
    let complete = worker.status.document().await.complete;
    assert_eq!(complete.up_to.map(|time| crate::iso::text(&time)).as_deref(), Some("2026-02-01T00:00:00.123Z"));
}

#[tokio::test]
async fn the_document_is_what_it_was_when_it_is_read_again() {
    let worker = worker();
    worker.health.dependency("objects").down("gone");
    worker.health.dependency("objects").up();
    worker.status.shared.tables.know(hostile());
    let document = worker.status.document().await;
    let json = serde_json::to_string(&document).unwrap();
    let again: Document = serde_json::from_str(&json).unwrap();
    assert_eq!(serde_json::to_string(&again).unwrap(), json);
    let text = text(&again);
    assert!(text.contains(", after ") && text.contains("dead-letters show 0123456789ab\n"), "{text}");
    assert!(!text.contains(['\u{1b}', '\u{202e}', '\r']), "{text:?}");
}

fn hostile() -> Recent {
    let evil = "\u{1b}[2J\u{202e}<script>\r\n".to_owned();
    let step = RecentStep { step_name: evil.clone(), ..RecentStep::default() };
    let run = RecentRun { run_id: evil.clone(), steps: vec![step], ..RecentRun::default() };
    let letter = RecentLetter { sha256: "0123456789abcdef".into(), reason: evil, ..RecentLetter::default() };
    Recent { runs: vec![run], dead_letters: vec![letter], ..Recent::default() }
}

/// One part that cannot be read takes nothing away.
#[tokio::test]
async fn what_cannot_be_read_is_told_of_and_is_what_it_was() {
    let worker = worker();
    worker.status.shared.tables.know(hostile());
    let error = Some("\u{1b}too much".to_owned());
    worker.status.shared.tables.know(Recent { dead_letters_error: error.clone(), ..Recent::default() });
    let document = worker.status.document().await;
    let recent = &document.tables.as_ref().unwrap().recent;
    assert_eq!((recent.runs.len(), recent.dead_letters.len()), (0, 1));
    let said = text(&document);
    assert!(said.contains("They cannot be read now: \u{fffd}too much\n"), "{said}");
    worker.status.shared.tables.know(hostile());
    worker.status.shared.tables.know(Recent { runs_error: error, ..Recent::default() });
    let document = worker.status.document().await;
    let recent = &document.tables.as_ref().unwrap().recent;
    assert_eq!((recent.runs.len(), recent.dead_letters.len(), recent.runs_error.is_some()), (1, 0, true));
    assert!(serde_json::to_string(&document).unwrap().contains("\"runsError\":\""));
}

#[derive(Debug, Default)]
struct Tables {
    reads: AtomicU32,
}

#[async_trait]
impl MetricsStore for Tables {
    fn name(&self) -> &'static str {
        "tables"
    }
    async fn prepare(&self) -> Result<(), StoreError> {
        Ok(())
    }
    async fn insert_facts(&self, _: &[Arc<crate::object::Record>]) -> Result<(), StoreError> {
        Ok(())
    }
    async fn recompute(&self, _: &Touched) -> Result<Heavy, StoreError> {
        Ok(Heavy::default())
    }
    async fn insert_dead_letters(&self, _: &[Arc<crate::dead_letter::DeadLetter>]) -> Result<(), StoreError> {
        Ok(())
    }
    async fn row_counts(&self) -> Result<RowCounts, StoreError> {
        Ok(RowCounts::default())
    }
    async fn recent(&self) -> Result<Recent, StoreError> {
        sleep(Duration::from_secs(1)).await;
        match self.reads.fetch_add(1, Relaxed) {
            2 => Err(StoreError::new("tables", crate::store::Class::Transient, "away")),
            _ => Ok(hostile()),
        }
    }
    async fn probe(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Twenty people who leave the page open for an hour cost as much as one.
#[tokio::test(start_paused = true)]
async fn however_many_look_the_tables_are_read_seldom() {
    let (cache, tables) = (Cache::default(), Tables::default());
    let looking = async {
        let first = cache.ask().await.unwrap();
        assert_eq!((first.recent.runs.len(), first.error), (1, None), "the first waits");
        for _ in 0..1800 {
            let asked = (0..20).map(|_| cache.ask());
            assert!(futures_util::future::join_all(asked).await.iter().all(Option::is_some));
            sleep(Duration::from_secs(2)).await;
            let error = cache.ask().await.unwrap().error;
            let expected = (tables.reads.load(Relaxed) == 3).then_some("away");
            assert_eq!(error.as_deref(), expected, "what was known is kept, with what is wrong since");
        }
    };
    tokio::select! {
        biased;
        never = cache.refresh(&tables) => match never {},
        () = looking => {}
    }
    assert!(tables.reads.load(Relaxed) <= 3600 / 20, "{}", tables.reads.load(Relaxed));
    let reads = tables.reads.load(Relaxed);
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(tables.reads.load(Relaxed), reads, "nobody looks");
}
