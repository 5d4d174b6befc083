//! The memory queue: a producer remembers what `POST /ingest` has not acknowledged, and sends that again.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::iter;
use reqwest::Client;

use crate::source::Source;

/// Lines of one request.
const TOGETHER: usize = 20;
const AT_ONCE: usize = 3;

pub struct Ingest {
    /// Those of one request.
    requests: Vec<Vec<Vec<u8>>>,
    /// By their place.
    acknowledged: BTreeSet<usize>,
}

impl Source for Ingest {
    fn carries(_: &[u8]) -> bool {
        true
    }

    async fn start(bodies: Vec<Vec<u8>>) -> Self {
        let requests = bodies.chunks(TOGETHER).map(<[_]>::to_vec).collect();
        Ingest { requests, acknowledged: BTreeSet::new() }
    }

    fn variables(&self) -> Vec<(String, String)> {
        vec![("QUEUE_TYPE".into(), "memory".into())]
    }

    async fn feed(&mut self, worker: SocketAddr) {
        let client = Client::new();
        loop {
            let open: Vec<_> = (0..self.requests.len()).filter(|at| !self.acknowledged.contains(at)).collect();
            let post = async |at: usize| {
                let request =
                    client.post(format!("http://{worker}/ingest")).header("content-type", "application/x-ndjson");
                let answer = request.body(self.requests[at].join(&b'\n')).send().await;
                answer.map(|answer| (at, answer.status().as_u16()))
            };
            let answers: Vec<_> = iter(open).map(post).buffer_unordered(AT_ONCE).collect().await;
            for answer in &answers {
                match answer {
                    Ok((at, 200 | 422)) => drop(self.acknowledged.insert(*at)),
                    // Full, or stopping.
                    Ok((_, status)) => assert!([429, 503].contains(status), "{status}"),
                    // It is gone.
                    Err(_) => return,
                }
            }
            if self.acknowledged.len() == self.requests.len() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn assert_nothing_forgotten(&self, is_durable: impl Fn(&[u8]) -> bool + Send, acks: bool) {
        for body in self.acknowledged.iter().flat_map(|at| &self.requests[*at]) {
            assert!(is_durable(body), "acknowledged, and not there: {}", String::from_utf8_lossy(body));
        }
        assert!(self.acknowledged.len() < self.requests.len() && (!acks || !self.acknowledged.is_empty()));
    }

    async fn emptied(&self) {
        assert_eq!(self.acknowledged.len(), self.requests.len(), "not all is acknowledged");
    }
}
