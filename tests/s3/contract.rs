//! What all stores promise, kept by each of them.

use crate::support::bucket;
use crate::support::raw_store::{Place, Store};
use crate::support::servers::Server;
use std::sync::Arc;
use xray_processor_worker::store::embedded::FileObjects;

async fn directory() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let stores: Vec<Store> =
        (0..4).map(|_| Arc::new(FileObjects::open(dir.path(), true, 1 << 20).unwrap()) as Store).collect();
    for store in &stores {
        store.prepare().await.unwrap();
    }
    Place { stores, _held: Box::new(dir) }
}

async fn bucket_on(server: &str) -> Place {
    let settings = bucket::settings(Server::shared(server));
    let mut stores = Vec::new();
    for _ in 0..4 {
        stores.push(bucket::ready(&settings).await);
    }
    Place { stores, _held: Box::new(()) }
}

async fn minio() -> Place {
    bucket_on("minio").await
}

async fn versitygw() -> Place {
    bucket_on("versitygw").await
}

macro_rules! checks {
    ($store:ident, [$($check:ident)*]) => {
        mod $store {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $check() {
                crate::support::raw_store::$check(&super::$store().await).await;
            })*
        }
    };
}

macro_rules! every_store {
    ($checks:tt) => {
        checks!(directory, $checks);
        checks!(minio, $checks);
        checks!(versitygw, $checks);
    };
}

every_store!([
    a_key_is_created_once
    only_what_was_read_is_replaced
    answers_are_in_the_order_of_the_group
    any_key_that_events_can_have
    any_body
    of_concurrent_creates_one_wins
    of_concurrent_replaces_one_wins
    of_concurrent_replaces_none_is_lost
    it_is_made_ready_any_number_of_times
]);
