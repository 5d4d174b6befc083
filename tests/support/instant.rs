//! Stores that answer at once, over real HTTP: what is left is what the worker itself takes.
//!
//! Proxies before real servers say yes to whatever is written for each event or each group of them, and keep none of it. All
//! else, from making the tables to the questions that a recompute asks, is answered by the servers, which stay empty.

use super::bucket;
use super::clickhouse::Database;
use super::proxy::{Fault, Proxy, Request};
use super::servers::Server;
use xray_processor_worker::config;
use xray_processor_worker::store::clickhouse::ClickHouseTables;
use xray_processor_worker::store::s3::S3Objects;

/// A proxy before each server.
pub struct Instant {
    pub objects: Proxy,
    pub tables: Proxy,
    settings: (config::S3, config::ClickHouse),
}

impl Instant {
    pub fn before(objects: &Server, tables: &Server) -> Instant {
        let (mut s3, mut clickhouse) = (bucket::settings(objects), Database::on(tables).settings());
        let [objects, tables] = [objects, tables].map(|server| Proxy::start(server.running().port));
        s3.endpoint = Some(format!("http://127.0.0.1:{}", objects.port));
        clickhouse.url = format!("http://127.0.0.1:{}", tables.port);
        objects.set_by(|request| at_once(is_event(request), "ETag: \"00000000000000000000000000000000\""));
        tables.set_by(|request| at_once(is_rows(request), "X-ClickHouse-Query-Id: 1"));
        Instant { objects, tables, settings: (s3, clickhouse) }
    }

    /// A bucket that nobody has used, in this process.
    pub fn s3(&self) -> S3Objects {
        S3Objects::open(&self.settings.0, 10 << 20).unwrap()
    }

    /// A database that nobody has used, in this process.
    pub fn clickhouse(&self) -> ClickHouseTables {
        ClickHouseTables::new(&self.settings.1).unwrap()
    }
}

fn at_once(asked: bool, header: &str) -> Fault {
    let answer = || format!("HTTP/1.1 200 OK\r\n{header}\r\nContent-Length: 0\r\n\r\n").into_bytes();
    if asked { Fault::Answer(answer()) } else { Fault::Pass }
}

/// The PUT of an event.
fn is_event(request: &Request) -> bool {
    request.method == "PUT" && ["/decisions/", "/steps/", "/runs/"].iter().any(|folder| request.target.contains(folder))
}

/// Facts are named beside their rows, which are the body; what is derived is all in the body.
fn is_rows(request: &Request) -> bool {
    const FACTS: [&str; 4] = ["decision_events", "step_reports", "step_totals", "run_reports"];
    const DERIVED: [&str; 4] = ["step_totals", "run_steps", "steps", "runs"];
    let named = |table: &&str| request.target.contains(&format!("INSERT INTO {table}("));
    let derived = |table: &&str| request.body.starts_with(format!("INSERT INTO {table} (").as_bytes());
    FACTS.iter().any(named) || DERIVED.iter().any(derived)
}
