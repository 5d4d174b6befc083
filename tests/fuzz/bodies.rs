//! Bodies, as the worker and the model read them.

use std::collections::BTreeSet;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::select;
use xray_processor_worker::event::{Fact, Kind, Part, Timestamp, decode};
use xray_processor_worker::object::Record;

use crate::cases;
use crate::damage::damaged;
use crate::support::model::{Facts, Input, facts, sha256_hex};
use crate::support::pieces::body;

/// Everything that is known of each event, and which bytes are dead letters.
type Found = BTreeSet<String>;

fn by_the_worker(body: &Bytes, hint: Option<Kind>) -> Found {
    let mut found = Found::new();
    decode(body, hint, |part| {
        found.insert(match part {
            Part::Event(event) => shown(&Record::new(event)),
            Part::Rejected(rejected) => format!("dead letter {}", sha256_hex(&rejected.body)),
        });
    });
    found
}

fn shown(record: &Record) -> String {
    let (raw, sha256) = (&record.event.raw, record.event.sha256.to_string());
    let head = format!("{} {sha256} {:?}", record.key, String::from_utf8_lossy(raw));
    let millis = |at: Option<Timestamp>| at.map(Timestamp::millis);
    match &record.event.fact {
        Fact::Decision(it) => {
            let ids = [&it.event_id, &it.step_id, &it.run_id, &it.pipeline_id, &it.item_id];
            let rest = (it.outcome.as_str(), it.score, it.timestamp.millis(), it.input_count, it.output_count);
            format!("{head} {ids:?} {rest:?}")
        }
        Fact::Step(it) => {
            let ids = [&it.step_id, &it.run_id, &it.pipeline_id, &it.step_type, &it.step_name];
            let rest = (it.started_at.millis(), millis(it.completed_at), it.input_count, it.output_count);
            format!("{head} {ids:?} {rest:?}")
        }
        Fact::Run(it) => {
            let ids = [&it.run_id, &it.pipeline_id, &it.metadata];
            let rest = (it.status.as_str(), it.started_at.millis(), millis(it.completed_at), &it.error);
            format!("{head} {ids:?} {rest:?}")
        }
    }
}

fn by_the_model(body: &[u8], hint: Option<Kind>) -> Found {
    let Facts { decisions, steps, runs, dead_letters } = facts(Input { body, hint: hint.map(Kind::as_str) });
    let or_empty = |id: &Option<String>| id.clone().unwrap_or_default();
    let head = |raw: &crate::support::model::Raw| {
        format!("{} {} {:?}", raw.key, raw.sha256, String::from_utf8_lossy(&raw.bytes))
    };
    let decisions = decisions.values().map(|it| {
        let ids = [&it.event_id, &it.step_id, &it.run_id, &it.pipeline_id, &it.item_id];
        let rest = (it.outcome.as_str(), it.score, it.timestamp, it.input_count, it.output_count);
        format!("{} {ids:?} {rest:?}", head(&it.raw))
    });
    let steps = steps.values().map(|it| {
        let ids = [&it.step_id, &or_empty(&it.run_id), &or_empty(&it.pipeline_id), &it.step_type, &it.step_name];
        let rest = (it.started_at, it.completed_at, it.input_count, it.output_count);
        format!("{} {ids:?} {rest:?}", head(&it.raw))
    });
    let runs = runs.values().map(|it| {
        let ids = [&it.run_id, &it.pipeline_id, &it.metadata];
        let rest = (it.status.as_str(), it.started_at, it.completed_at, &it.error);
        format!("{} {ids:?} {rest:?}", head(&it.raw))
    });
    let letters = dead_letters.keys().map(|sha256| format!("dead letter {sha256}"));
    decisions.chain(steps).chain(runs).chain(letters).collect()
}

proptest! {
    #![proptest_config(cases(1))]

    #[test]
    fn worker_and_model_read_the_same(
        body in damaged(body()),
        hint in select(&[None, None, Some(Kind::Decision), Some(Kind::Step), Some(Kind::Run)][..]),
    ) {
        let found = by_the_worker(&Bytes::copy_from_slice(&body), hint);
        prop_assert_eq!(found, by_the_model(&body, hint), "{}", String::from_utf8_lossy(&body));
    }

    #[test]
    fn bytes_that_mean_nothing(body in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(by_the_worker(&Bytes::copy_from_slice(&body), None), by_the_model(&body, None));
    }
}
