//! The queue inside the process. It cannot be restarted, refuse anybody or outlive a crash, so it takes part in the
//! other cases only.

use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use xray_processor_worker::config::Limits;
use xray_processor_worker::event::kind_hint;
use xray_processor_worker::pipeline::Message;
use xray_processor_worker::queue::memory::{MemoryQueue, Wait};

use crate::harness::{Harness, Refused, Whose};
use crate::support::events::message;

pub struct MemoryHarness {
    queue: MemoryQueue,
    waits: Mutex<Vec<Wait>>,
}

impl MemoryHarness {
    async fn put(&self, message: Message) {
        let wait = self.queue.push(message).await.unwrap();
        self.waits.lock().unwrap().push(wait);
    }
}

impl Harness for MemoryHarness {
    type Queue = MemoryQueue;

    const LEASE: Duration = Duration::from_secs(1);
    const DELIVERIES_PER_OUTAGE: u32 = 1;
    const TELLS_REDELIVERIES: bool = true;
    const LARGEST_BODY: usize = 32 << 20;
    const MOST_CONSUMERS: usize = 1;

    async fn start(_: Whose) -> Self {
        MemoryHarness { queue: MemoryQueue::new(100_000, 1 << 30), waits: Mutex::default() }
    }

    fn consumer(&self, _: &Limits) -> MemoryQueue {
        self.queue.clone()
    }

    fn variables(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    fn use_default_sources(&mut self) {}

    async fn recreate(&self) {
        unreachable!("it is there as long as the worker is")
    }

    fn refused(&self) -> Vec<Refused<MemoryQueue>> {
        Vec::new()
    }

    async fn send(&self, bodies: Vec<Bytes>) {
        for body in bodies {
            self.put(message(body)).await;
        }
    }

    async fn send_with(&self, body: Bytes, headers: &[(&str, &str)]) {
        let header = headers.iter().find(|(name, _)| *name == "type").map(|(_, value)| *value);
        self.put(Message { hint: kind_hint(header, "test"), ..message(body) }).await;
    }

    async fn left(&self) -> u64 {
        let mut waits = std::mem::take(&mut *self.waits.lock().unwrap());
        let mut left = Vec::new();
        for mut wait in waits.drain(..) {
            match tokio::time::timeout(Duration::ZERO, wait.settled()).await {
                Ok(settled) => drop(settled),
                Err(_) => left.push(wait),
            }
        }
        let count = left.len();
        self.waits.lock().unwrap().extend(left);
        count as u64
    }

    fn kill_9(&mut self) {
        unreachable!("it ends with the process");
    }

    fn restart(&mut self) {
        unreachable!("it ends with the process");
    }
}
