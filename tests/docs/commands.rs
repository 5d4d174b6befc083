//! Every block of commands in README and in the pages that take one by the hand, run on real servers.

use std::collections::BTreeSet;

use crate::markdown::{Block, parsed, read};
use crate::session::Session;
use crate::unrun;

const README: &str = "README.md";
const START: &str = "docs/getting-started.md";
const MOVING: &str = "docs/moving.md";
const OPERATIONS: &str = "docs/operations.md";

/// What the events file of README's example holds: its second line is what the answer complains about.
const EVENTS: &str = r#"{"id":"s1","runId":"r1","type":"filter","name":"in_stock","startedAt":"2026-01-31T12:00:01Z"}
{"id":"d1","runId":"r1","outcome":"kept","itemId":"i1","timestamp":"2026-01-31T12:00:02Z"}
{"id":"d2","stepId":"s1","runId":"r1","outcome":"kept","itemId":"i2","timestamp":"2026-01-31T12:00:02Z"}
"#;

fn blocks(document: &str) -> Vec<Block> {
    parsed(document, &read(document)).blocks
}

fn chapter(session: &mut Session, document: &str, chapter: &str) {
    let blocks: Vec<Block> =
        blocks(document).into_iter().filter(|block| block.chapter == chapter && block.not_run.is_none()).collect();
    assert!(!blocks.is_empty(), "{document} has nothing to run in {chapter:?}");
    blocks.iter().for_each(|block| session.run(block));
}

/// A test for each chapter, and the list of them.
macro_rules! chapters {
    ($($test:ident: $document:expr, $chapter:literal, $prepare:expr;)*) => {
        const CHAPTERS: &[(&str, &str)] = &[$(($document, $chapter)),*];
        $(
            #[test]
            fn $test() {
                let mut session = Session::new();
                let prepare: fn(&mut Session) = $prepare;
                prepare(&mut session);
                chapter(&mut session, $document, $chapter);
            }
        )*
    };
}

fn nothing(_: &mut Session) {}

/// A deployment with events in it.
fn in_use(session: &mut Session) {
    session.knows(&["minio", "clickhouse"]);
    session.run(&Block::of("xray-processor-worker generate | xray-processor-worker run --input -"));
}

chapters! {
    readme_demo: README, "", nothing;
    readme_your_own_events: README, "Your own events", |session| session.has("events.ndjson", EVENTS);
    readme_what_comes_out: README, "What comes out", |session| session.run(&Block::of(
        "xray-processor-worker generate | xray-processor-worker run --embedded --data ./data --input -",
    ));
    readme_on_s3_and_clickhouse: README, "On S3 and ClickHouse", nothing;
    readme_queues: README, "Queues", |session| {
        session.knows(&["minio", "clickhouse"]);
        session.stands_in("kafka:9092", "kafka");
    };
    start_without_a_broker: START, "Without a broker", nothing;
    start_kafka: START, "Kafka", nothing;
    start_rabbitmq: START, "RabbitMQ", nothing;
    start_nats: START, "NATS JetStream", nothing;
    start_sqs: START, "SQS", nothing;
    moving_variables: MOVING, "1. The same variables", in_use;
    moving_rehearsal: MOVING, "2. A rehearsal on the objects of today", in_use;
    moving_side_by_side: MOVING, "3. Side by side", in_use;
    moving_switch: MOVING, "4. The switch", in_use;
    operations_back: OPERATIONS, "Upgrades", in_use;
    operations_one_day_again: OPERATIONS, "Backup and restore", in_use;
}

/// Whatever is run is in a chapter above, and whatever is not says why and is checked as far as it can be.
#[test]
fn none_is_passed_over() {
    let mut run = BTreeSet::new();
    for document in [README, START, MOVING, OPERATIONS] {
        for block in blocks(document) {
            match &block.not_run {
                None => {
                    run.insert((document, block.chapter.clone()));
                }
                Some(reason) => {
                    assert!(reason.len() > 10, "{}: no reason", block.place);
                    unrun::check(&block);
                }
            }
        }
    }
    let listed: BTreeSet<_> = CHAPTERS.iter().map(|(document, chapter)| (*document, (*chapter).to_owned())).collect();
    assert_eq!(run, listed);
}
