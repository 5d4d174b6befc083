//! A server that ignores conditions: one worker alone is right even there, and it is said once what is lost.

use std::io::Write;
use std::sync::{Arc, Mutex};

use crate::fake::{Answer, Fake, ancient, error};
use crate::support::bucket::{at, open, ready};
use crate::support::raw_store::{self, Place};

/// What was logged as a warning while this value lives, by this thread.
struct Warnings(Arc<Mutex<Vec<u8>>>, #[allow(dead_code)] tracing::subscriber::DefaultGuard);

impl Warnings {
    fn listen() -> Warnings {
        struct Sink(Arc<Mutex<Vec<u8>>>);
        impl Write for Sink {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.lock().unwrap().write(bytes)
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let log = Arc::<Mutex<Vec<u8>>>::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::WARN)
            .with_writer(move || Sink(writer.clone()))
            .with_ansi(false)
            .finish();
        Warnings(log, tracing::subscriber::set_default(subscriber))
    }

    fn lines(&self) -> Vec<String> {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap().lines().map(str::to_owned).collect()
    }
}

async fn place(fake: &Fake) -> (Place, Vec<String>) {
    let warnings = Warnings::listen();
    let store = ready(&at(&fake.url())).await;
    (Place { stores: vec![store], _held: Box::new(()) }, warnings.lines())
}

#[tokio::test]
async fn without_any_conditions_one_worker_is_right_and_says_what_is_lost() {
    for check in 0..5 {
        let fake = Fake::start(ancient(|_| false)).await;
        let (place, warnings) = place(&fake).await;
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains("ignores conditions on writes (If-None-Match and If-Match)"), "{warnings:?}");
        assert!(warnings[0].contains("an older report may replace a newer one"), "{warnings:?}");
        match check {
            0 => raw_store::a_key_is_created_once(&place).await,
            1 => raw_store::only_what_was_read_is_replaced(&place).await,
            2 => raw_store::of_concurrent_creates_one_wins(&place).await,
            3 => raw_store::of_concurrent_replaces_one_wins(&place).await,
            _ => raw_store::of_concurrent_replaces_none_is_lost(&place).await,
        }
        place.stores[0].probe().await.unwrap();
    }
}

#[tokio::test]
async fn of_two_conditions_the_one_that_is_enforced_is_used() {
    let fake = Fake::start(ancient(|name| name == "if-none-match")).await;
    let (place, warnings) = place(&fake).await;
    assert!(warnings.len() == 1 && warnings[0].contains("on writes (If-Match)"), "{warnings:?}");
    raw_store::only_what_was_read_is_replaced(&place).await;
    raw_store::of_concurrent_creates_one_wins(&place).await;
    let creates = fake.requests().into_iter().filter(|request| request.headers.contains_key("if-none-match"));
    assert!(creates.count() > 300, "nobody looks before a create");
}

#[tokio::test]
async fn conditions_that_are_refused_are_not_sent_again() {
    let ancient = ancient(|_| false);
    let fake = Fake::start(move |request| {
        if request.headers.keys().any(|name| name.starts_with("if-")) {
            return Answer::Bytes(error("501 Not Implemented", "NotImplemented", ""));
        }
        ancient(request)
    })
    .await;
    let (place, warnings) = place(&fake).await;
    assert!(warnings.len() == 1 && warnings[0].contains("ignores conditions"), "{warnings:?}");
    let asked = fake.requests().len();
    raw_store::only_what_was_read_is_replaced(&place).await;
    place.stores[0].probe().await.unwrap();
    assert!(fake.requests()[asked..].iter().all(|request| !request.headers.keys().any(|name| name.starts_with("if-"))));
}

#[tokio::test]
async fn where_both_are_enforced_nothing_is_said_and_nobody_looks_first() {
    let fake = Fake::start(ancient(|_| true)).await;
    let (place, warnings) = place(&fake).await;
    assert!(warnings.is_empty(), "{warnings:?}");
    raw_store::a_key_is_created_once(&place).await;
    raw_store::only_what_was_read_is_replaced(&place).await;
    assert!(fake.requests().iter().all(|request| request.method != "HEAD"));
}

#[tokio::test]
async fn what_is_written_to_find_out_stays_the_same() {
    let fake = Fake::start(ancient(|_| true)).await;
    let settings = at(&fake.url());
    for _ in 0..3 {
        let store = ready(&settings).await;
        store.probe().await.unwrap();
        open(&settings).prepare().await.unwrap();
    }
    let writes = fake.requests().into_iter().filter(|request| request.method == "PUT").collect::<Vec<_>>();
    assert!(writes.iter().all(|request| request.path == "/xray-raw/.xray-probe"), "{writes:?}");
    assert!(writes.iter().all(|request| request.body == writes[0].body));
}
