//! Bodies taken straight to a `MetricsStore`, without queue and pipeline.

use std::sync::Arc;

use bytes::Bytes;
use xray_processor_worker::event::{Part, decode};
use xray_processor_worker::object::Record;
use xray_processor_worker::pipeline::{Message, Origin};
use xray_processor_worker::store::{MetricsStore, Touched};

/// The events in these bodies.
pub fn records(bodies: &[Bytes]) -> Vec<Arc<Record>> {
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

/// A run report.
pub fn run(id: &str, status: &str) -> String {
    format!(r#"{{"id":"{id}","pipelineId":"p","status":"{status}","startedAt":1772319600000}}"#)
}

/// A message with this body, as a queue delivers it.
pub fn message(body: impl Into<Bytes>) -> Message {
    let origin = Origin { name: "test".into(), position: None };
    Message { body: body.into(), cut: None, hint: None, origin, deliveries: 1, enqueued_at: None }
}

/// Makes these events durable, as the pipeline does.
pub async fn handle(store: &dyn MetricsStore, records: &[Arc<Record>]) {
    store.insert_facts(records).await.unwrap();
    store.recompute(&Touched::by(records)).await.unwrap();
}
