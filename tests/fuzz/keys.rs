//! Keys: those of the model, safe, and one to one.

use bytes::Bytes;
use proptest::prelude::*;
use xray_processor_worker::event::{Kind, Part, decode};
use xray_processor_worker::key;
use xray_processor_worker::object::Record;

use crate::cases;
use crate::support::model::{Input, facts};

fn run(id: &str, millis: i64) -> Vec<u8> {
    let id = serde_json::to_string(id).unwrap();
    format!(r#"{{"id":{id},"pipelineId":"p","status":"running","startedAt":{millis}}}"#).into_bytes()
}

/// `None`: the id is none.
fn key_of(body: &[u8]) -> Option<String> {
    let mut found = None;
    decode(&Bytes::copy_from_slice(body), Some(Kind::Run), |part| {
        if let Part::Event(event) = part {
            found = Some(Record::new(event).key);
        }
    });
    found
}

fn id() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => any::<String>(),
        2 => "[a-z./\\\\%!~_ -]{1,12}",
        1 => "\\.{1,4}",
        1 => "[a-zü/]{190,210}",
        1 => "[a漢]{160,180}",
        1 => "x{505,520}",
        1 => "![0-9a-f]{64}",
    ]
}

proptest! {
    #![proptest_config(cases(1))]

    #[test]
    fn worker_and_model_agree_on_keys(id in id(), millis in 946_684_800_000_i64..9_214_646_400_000) {
        let body = run(&id, millis);
        let found = key_of(&body);
        let model = facts(Input { body: &body, hint: Some("run") });
        prop_assert_eq!(&found, &model.runs.values().next().map(|run| run.raw.key.clone()));
        if let Some(key) = found {
            let file = key.rsplit('/').next().unwrap();
            prop_assert!(key.len() <= 1024 && file.len() <= 255 && key.split('/').count() == 5, "{}", key);
            prop_assert!(key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.~%!/".contains(&b)), "{}", key);
            prop_assert!(file.trim_end_matches(".json").bytes().any(|b| b != b'.'), "{}", key);
        }
    }

    #[test]
    fn two_ids_never_share_a_key(a in id(), b in id()) {
        let keys = [&a, &b].map(|id| key_of(&run(id, 1_769_860_800_000)));
        if let [Some(one), Some(other)] = keys {
            prop_assert_eq!(one == other, a == b);
        }
    }

    #[test]
    fn a_key_is_a_dead_letters_or_not(text in prop_oneof!["dead-letters/[0-9a-f]{2}/[0-9a-fA-F]{62,66}\\.json", any::<String>()]) {
        if let Some(digest) = key::dead_letter_digest(&text) {
            prop_assert_eq!(key::dead_letter(digest), text);
        }
    }
}
