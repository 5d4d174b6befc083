//! Stores that answer at once, over real HTTP: what is left is what the worker itself takes.
//!
//! Proxies before real servers say yes to whatever is written for each event or each group of them, and keep none of it. All
//! else, from making the tables to the questions that a recompute asks, is answered by the servers, which stay empty.

use super::proxy::{Fault, Proxy, Request};
use super::servers::Server;

/// A proxy before each server.
pub struct Instant {
    pub objects: Proxy,
    pub tables: Proxy,
}

impl Instant {
    pub fn before(objects: &Server, tables: &Server) -> Instant {
        let [objects, tables] = [objects, tables].map(|server| Proxy::start(server.running().port));
        objects.set_by(|request| at_once(is_event(request), "ETag: \"00000000000000000000000000000000\""));
        tables.set_by(|request| at_once(is_rows(request), "X-ClickHouse-Query-Id: 1"));
        Instant { objects, tables }
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
