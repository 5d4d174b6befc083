//! Servers that die, hang and come back between calls.

use crate::support::bucket::{SERVERS, open, ready, settings};
use crate::support::raw_store::{create, object, read, replace};
use crate::support::servers::Server;
use std::time::Duration;
use xray_processor_worker::config::S3;
use xray_processor_worker::store::{Class, Created, Replaced};

const KEY: &str = "runs/2026/01/31/r.json";

#[tokio::test]
async fn what_was_stored_survives_kill_9_and_the_store_goes_on_by_itself() {
    for name in SERVERS {
        let mut server = Server::start(name);
        let store = ready(&settings(&server)).await;
        assert_eq!(create(&store, KEY, "one").await, Created::Created);
        let tag = read(&store, KEY).await.unwrap().tag;
        assert_eq!(replace(&store, KEY, "two", &tag).await, Replaced::Replaced);
        server.kill_9();
        for failed in [
            store.create(&[object("runs/new.json", "x")]).await.remove(0).map(drop),
            store.read(&[KEY.into()]).await.remove(0).map(drop),
            store.probe().await,
            store.prepare().await,
        ] {
            let failed = failed.unwrap_err();
            assert_eq!(failed.class, Class::Transient, "{}", failed.chain());
            // A connection that was kept breaks, a new one is refused.
            let text = failed.chain();
            assert!(text.contains("nothing listens there") || text.contains("the connection broke"), "{name}: {text}");
        }
        server.restart();
        assert_eq!(create(&store, KEY, "three").await, Created::Exists);
        assert_eq!(read(&store, KEY).await.unwrap().body, "two");
        assert_eq!(create(&store, "runs/new.json", "x").await, Created::Created);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_in_the_middle_of_a_group_leaves_each_object_whole_or_absent() {
    for name in SERVERS {
        let mut server = Server::start(name);
        let store = ready(&settings(&server)).await;
        let objects: Vec<_> = (0..2000).map(|i| object(&format!("runs/{i}.json"), &"x".repeat(1000 + i))).collect();
        let group = objects.clone();
        let writing = tokio::spawn({
            let store = store.clone();
            async move { store.create(&group).await }
        });
        while read(&store, "runs/100.json").await.is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        server.kill_9();
        let answers = writing.await.unwrap();
        server.restart();
        let keys: Vec<_> = objects.iter().map(|object| object.key.clone()).collect();
        let mut stored = 0;
        for ((object, answer), found) in objects.iter().zip(answers).zip(store.read(&keys).await) {
            let found = found.unwrap_or_else(|error| panic!("{name}: {}", error.chain()));
            match answer {
                Ok(answer) => {
                    assert_eq!(answer, Created::Created);
                    assert!(found.as_ref().is_some(), "{name}: {} was acknowledged and is gone", object.key);
                    stored += 1;
                }
                Err(error) => assert_eq!(error.class, Class::Transient, "{}", error.chain()),
            }
            assert!(found.is_none_or(|found| found.body == object.body), "{name}: half of {}", object.key);
        }
        assert!(
            0 < stored && stored < objects.len(),
            "{name}: {stored} were stored, so the crash was not in the middle"
        );
        for answer in store.create(&objects).await {
            answer.unwrap();
        }
    }
}

#[tokio::test]
async fn a_server_that_hangs_is_waited_for_no_longer_than_the_timeout() {
    for name in SERVERS {
        let server = Server::start(name);
        let settings = S3 { timeout: Duration::from_secs(1), ..settings(&server) };
        let store = ready(&settings).await;
        server.freeze();
        let began = std::time::Instant::now();
        let failed = store.create(&[object(KEY, "x")]).await.remove(0).unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(10));
        assert_eq!(failed.class, Class::Transient, "{}", failed.chain());
        assert!(failed.chain().contains("no answer in time"), "{}", failed.chain());
        server.go_on();
        // What timed out may have happened.
        store.create(&[object(KEY, "x")]).await.remove(0).unwrap();
        assert_eq!(read(&open(&settings), KEY).await.unwrap().body, "x");
    }
}

#[tokio::test]
async fn a_server_with_too_much_to_do_is_tried_again() {
    let limits = ["--env", "MINIO_API_REQUESTS_MAX=1", "--env", "MINIO_API_REQUESTS_DEADLINE=1ms"];
    let server = Server::start_with("minio", &limits);
    let store = ready(&settings(&server)).await;
    let objects: Vec<_> = (0..300).map(|i| object(&format!("runs/{i}.json"), &"x".repeat(1000))).collect();
    let mut refused = 0;
    for answer in store.create(&objects).await {
        if let Err(error) = answer {
            assert_eq!(error.class, Class::Transient, "{}", error.chain());
            assert!(error.chain().contains("overloaded"), "{}", error.chain());
            refused += 1;
        }
    }
    assert!(refused > 0);
}
