//! The same events, the same numbers: the tables on the engine against the model and against the embedded tables,
//! versions included.

use std::sync::Arc;

use bytes::Bytes;
use rusqlite::Connection;
use xray_processor_worker::event::{Part, decode};
use xray_processor_worker::generate::{Lines, Plan};
use xray_processor_worker::object::Record;
use xray_processor_worker::store::{MetricsStore, Touched, embedded};

use crate::support::bodies::hostile;
use crate::support::clickhouse::Database;
use crate::support::model::{Input, expected};

fn records(bodies: &[Bytes]) -> Vec<Arc<Record>> {
    let mut records = Vec::new();
    for body in bodies {
        decode(body, None, |part| {
            if let Part::Event(event) = part {
                records.push(Arc::new(Record::new(event)));
            }
        });
    }
    records
}

async fn handle(store: &dyn MetricsStore, records: &[Arc<Record>]) {
    store.insert_facts(records).await.unwrap();
    store.recompute(&Touched::by(records)).await.unwrap();
}

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
    let (_, sqlite) = embedded::open(dir.path(), false).unwrap();
    for some in records.chunks(37) {
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
