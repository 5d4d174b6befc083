//! A broker, which is asked what it remembers.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::sleep;

use crate::harness::{Harness, Whose};
use crate::rig::PATIENCE;
use crate::source::Source;

pub struct Broker<H> {
    harness: H,
    bodies: Vec<Vec<u8>>,
    sent: bool,
}

impl<H: Harness> Source for Broker<H> {
    fn carries(body: &[u8]) -> bool {
        H::carries(body)
    }

    async fn start(bodies: Vec<Vec<u8>>) -> Self {
        Broker { harness: H::start(Whose::Shared).await, bodies, sent: false }
    }

    fn variables(&self) -> Vec<(String, String)> {
        self.harness.variables()
    }

    async fn feed(&mut self, _: SocketAddr) {
        if !std::mem::replace(&mut self.sent, true) {
            self.harness.send(self.bodies.iter().cloned().map(Bytes::from).collect()).await;
        }
    }

    async fn assert_nothing_forgotten(&self, is_durable: impl Fn(&[u8]) -> bool + Send, acks: bool) {
        let needed = self.bodies.iter().filter(|body| !is_durable(body)).count() as u64;
        let left = self.harness.left().await;
        assert!(left >= needed, "{needed} messages are not durable, and the broker has {left}");
        assert!(!acks || left < self.bodies.len() as u64, "no ack had got there");
    }

    async fn emptied(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = self.harness.left().await;
            if left == 0 {
                return;
            }
            assert!(Instant::now() < deadline, "the broker still has {left}");
            sleep(Duration::from_millis(50)).await;
        }
    }
}
