//! A store fails while messages of a broker are held, or before any came: nothing is forgotten, and once it is back all is
//! done and right.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::task::block_in_place;

use crate::matrix::{Site, Stores, bodies, get, is_durable};
use crate::rig::until;
use crate::source::Source;
use crate::support::proxy::{self, Fault, Proxy};
use crate::support::servers::Server;

/// What breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    Objects,
    Tables,
}

const FAULTS: &[fn() -> Fault] =
    &[|| Fault::Refuse, || Fault::Hang, || Fault::Swallow, || Fault::Reset, || Fault::status(503)];

/// Requests that change something and are let through before it breaks in the middle of a batch.
const THROUGH: usize = 5;

/// Each way to fail, while nothing is to be done and in the middle of a batch.
pub async fn outages<S: Source>(store: Store) {
    for fault in FAULTS {
        for through in [0, THROUGH] {
            outage::<S>(store, *fault, through).await;
        }
    }
}

async fn outage<S: Source>(store: Store, fault: fn() -> Fault, through: usize) {
    let site = block_in_place(|| Site::new(Stores::Servers, false));
    let mut bodies = bodies(&site);
    bodies.retain(|body| S::carries(body));
    let mut source = S::start(bodies.clone()).await;
    let [objects, tables] =
        block_in_place(|| ["minio", "clickhouse"].map(|name| Proxy::start(Server::shared(name).running().port)));
    let broken = if store == Store::Objects { &objects } else { &tables };
    let timeouts = ["S3_TIMEOUT_MS", "CLICKHOUSE_TIMEOUT_MS"].map(|name| (name, "1000".to_owned()));
    let told = proxy::tell(&objects, &tables).into_iter().chain(timeouts);
    let mut worker = site.worker_with(&source, told.map(|(name, value)| (name.to_owned(), value)));
    let address = worker.address;
    until("it is ready", async || get(address, "/readyz").await.0 == 200).await;
    if through == 0 {
        block_in_place(|| broken.set(fault()));
    } else {
        let writes = AtomicUsize::new(0);
        broken.set_by(move |request| {
            let before = if request.writes() { writes.fetch_add(1, Relaxed) } else { writes.load(Relaxed) };
            if before < through { Fault::Pass } else { fault() }
        });
    }
    source.feed(address).await;
    block_in_place(|| broken.wait_for_faults(1));
    // Now also to those that come anew.
    block_in_place(|| broken.set(fault()));
    until("it is unready", async || get(address, "/readyz").await.0 == 503).await;
    let found = block_in_place(|| site.durable());
    source.assert_nothing_forgotten(|body| is_durable(body, &found), false).await;
    block_in_place(|| broken.set(Fault::Pass));
    source.emptied().await;
    worker.process.terminate();
    assert!(block_in_place(|| worker.process.ended()).success(), "{store:?} {:?} after {through}", fault());
    block_in_place(|| site.assert_right(&bodies));
}
