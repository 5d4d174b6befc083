//! The same events, the same numbers: the tables on the engine against the model and against the embedded tables,
//! versions included.

use bytes::Bytes;
use rusqlite::Connection;
use xray_processor_worker::generate::{Lines, Plan};
use xray_processor_worker::store::embedded;

use crate::support::bodies::hostile;
use crate::support::clickhouse::Database;
use crate::support::events::{handle, records};
use crate::support::model::{Input, expected};
use crate::support::servers::Server;

#[tokio::test]
async fn with_the_model_and_with_the_embedded_tables() {
    let plan = Plan {
        runs: 6,
        items_per_run: 2..=8,
        duplicates: 0.2,
        conflicting: 0.2,
        late: 0.3,
        reordered: 0.5,
        without_run_id: 0.5,
        days: 400,
        ..Plan::default()
    };
    let mut bodies: Vec<Bytes> = Lines::new(plan).collect();
    bodies.extend(hostile().into_iter().map(Bytes::from));
    let records = records(&bodies);
    let database = Database::fresh();
    let tables = database.tables().await;
    let dir = tempfile::tempdir().unwrap();
    let (_, sqlite) = embedded::open(dir.path(), false, 1 << 20).unwrap();
    // Small batches and larger ones: their totals are computed in different ways.
    let (first, rest) = records.split_at(records.len() / 3);
    for some in first.chunks(3).chain(rest.chunks(61)) {
        handle(&tables, some).await;
        handle(&sqlite, some).await;
    }

    let model = expected(bodies.iter().map(|body| Input { body, hint: None }));
    assert_eq!(database.decision_events(), model.decision_events);
    assert_eq!(database.steps(), model.steps);
    assert_eq!(database.runs(), model.runs);
    for (table, key) in [("steps", "step_id"), ("runs", "run_id")] {
        let sqlite = Connection::open(dir.path().join("xray.db")).unwrap();
        let mut query = sqlite.prepare(&format!("SELECT {key}, version FROM {table}")).unwrap();
        let versions = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        assert_eq!(database.versions(table, key), versions.map(Result::unwrap).collect(), "versions of {table}");
    }
}

/// Whatever the server's time zone, days and months are those of UTC.
#[tokio::test]
async fn on_a_server_in_another_time_zone() {
    let server = Server::start_with("clickhouse", &["--timezone", "America/New_York"]);
    let database = Database::on(&server);
    let tables = database.tables().await;
    let decision = |id: &str, at: &str| {
        format!(
            r#"{{"id":"{id}","stepId":"s","runId":"r","outcome":"kept","itemId":"i","timestamp":"{at}","score":{}}}"#,
            id.len()
        )
    };
    let bodies: Vec<Bytes> = [
        decision("a", "2026-01-31T23:59:59.999Z"),
        decision("a", "2026-02-01T00:30:00.000Z"),
        decision("b", "2026-01-31T19:30:00-05:00"),
        decision("c", "2026-03-08T07:30:00Z"),
        decision("c", "2026-03-08T06:30:00Z"),
        r#"{"id":"s","type":"rank","name":"n","startedAt":"2026-02-01T00:30:00Z"}"#.to_owned(),
        r#"{"id":"r","pipelineId":"p","status":"running","startedAt":"2026-02-01T00:30:00.123"}"#.to_owned(),
    ]
    .map(Bytes::from)
    .to_vec();
    for body in &bodies {
        handle(&tables, &records(std::slice::from_ref(body))).await;
    }
    let model = expected(bodies.iter().map(|body| Input { body, hint: None }));
    assert_eq!(database.decision_events(), model.decision_events);
    assert_eq!(database.steps(), model.steps);
    assert_eq!(database.runs(), model.runs);
}

/// More months than the server takes in one insert (100), of facts and of derived rows.
#[tokio::test]
async fn a_batch_over_many_months() {
    let database = Database::fresh();
    let tables = database.tables().await;
    let mut bodies = Vec::new();
    for year in 2000..2030 {
        for month in 1..=12 {
            let (at, run) = (format!("{year}-{month:02}-28T12:00:00Z"), format!("r{year}-{month}"));
            bodies.push(format!(r#"{{"id":"{run}","pipelineId":"p","status":"running","startedAt":"{at}"}}"#));
            bodies.push(format!(r#"{{"id":"s{run}","type":"t","name":"n","startedAt":"{at}"}}"#));
            bodies.push(format!(
                r#"{{"id":"d","stepId":"s{run}","runId":"{run}","outcome":"scored","itemId":"i","timestamp":"{at}"}}"#
            ));
        }
    }
    let bodies: Vec<Bytes> = bodies.into_iter().map(Bytes::from).collect();
    handle(&tables, &records(&bodies)).await;
    let model = expected(bodies.iter().map(|body| Input { body, hint: None }));
    assert_eq!(database.decision_events(), model.decision_events);
    assert_eq!(database.steps(), model.steps);
    assert_eq!(database.runs(), model.runs);
}
