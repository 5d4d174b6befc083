//! How things stand with the connection and with each queue, and what of it the worker is told.

use super::trouble;
use crate::queue::QueueError;
use std::collections::BTreeMap;

/// One queue.
#[derive(Debug, Clone, Default)]
pub(super) enum Lane {
    /// On its way, or waiting for the connection.
    #[default]
    Starting,
    /// Consumed, or given a rest by ourselves.
    Fine,
    /// It does not exist.
    Missing,
    /// It cannot be consumed.
    Failing(QueueError),
}

impl Lane {
    fn is_failing(&self) -> bool {
        matches!(self, Lane::Missing | Lane::Failing(_))
    }
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Status {
    /// Where we are connected, or were last.
    at: String,
    connection: Option<QueueError>,
    lanes: BTreeMap<String, (Lane, bool)>,
}

/// What is to be passed on.
#[derive(Debug, Default)]
pub(super) struct Tell {
    /// What to tell the worker; `None`: nothing is known.
    pub(super) worker: Option<Option<QueueError>>,
    /// What goes wrong with single queues while others are fine: to be logged.
    pub(super) failing: Vec<(String, QueueError)>,
    /// Those of which that had been said, and which are fine again.
    pub(super) fine: Vec<String>,
}

impl Status {
    pub(super) fn new(queues: &[String]) -> Self {
        Status { lanes: queues.iter().map(|queue| (queue.clone(), Default::default())).collect(), ..Status::default() }
    }

    /// Connected with this host.
    pub(super) fn connected(&mut self, at: String) -> Tell {
        self.at = at;
        self.connection = None;
        self.tell()
    }

    /// Not connected, for this reason.
    pub(super) fn unconnected(&mut self, error: QueueError) -> Tell {
        self.connection = Some(error);
        self.tell()
    }

    /// News of one queue.
    pub(super) fn lane(&mut self, queue: &str, lane: Lane) -> Tell {
        if let Some((known, _)) = self.lanes.get_mut(queue) {
            *known = lane;
        }
        self.tell()
    }

    /// Single queues that fail are no trouble of the worker's as long as it has others: it would stop and go.
    fn tell(&mut self) -> Tell {
        if let Some(error) = &self.connection {
            return Tell { worker: Some(Some(error.clone())), ..Tell::default() };
        }
        let mut tell = Tell::default();
        let any_fine = self.lanes.values().any(|(lane, _)| matches!(lane, Lane::Fine));
        for (queue, (lane, told)) in &mut self.lanes {
            let error = match lane {
                Lane::Fine if *told => {
                    *told = false;
                    tell.fine.push(queue.clone());
                    continue;
                }
                Lane::Failing(error) => error.clone(),
                Lane::Missing => trouble::missing(&self.at, &[queue]),
                Lane::Fine | Lane::Starting => continue,
            };
            if any_fine && !*told {
                *told = true;
                tell.failing.push((queue.clone(), error));
            }
        }
        tell.worker = if any_fine { Some(None) } else { self.failure().map(Some) };
        tell
    }

    fn failure(&self) -> Option<QueueError> {
        let failing = self.lanes.iter().find_map(|(_, (lane, _))| match lane {
            Lane::Failing(error) => Some(error.clone()),
            _ => None,
        });
        let missing = || {
            let all_known = self.lanes.values().all(|(lane, _)| lane.is_failing());
            let queues: Vec<_> = self.lanes.iter().filter(|(_, (lane, _))| lane.is_failing()).collect();
            let queues: Vec<_> = queues.into_iter().map(|(queue, _)| queue.as_str()).collect();
            all_known.then(|| trouble::missing(&self.at, &queues))
        };
        failing.or_else(missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(tell: Tell) -> Option<Option<String>> {
        tell.worker.map(|error| error.map(|error| error.to_string()))
    }

    #[test]
    fn one_of_several_queues_fails() {
        let mut status = Status::new(&["a".into(), "b".into()]);
        assert_eq!(worker(status.connected("r:1".into())), None, "nothing is known yet");
        assert_eq!(worker(status.lane("a", Lane::Missing)), None, "the other may be there");
        let said = worker(status.lane("b", Lane::Missing));
        let none =
            "RabbitMQ at r:1 has none of the queues a, b; create them, or set RABBITMQ_QUEUES or RABBITMQ_DECLARE";
        assert_eq!(said, Some(Some(none.into())));
        let tell = status.lane("b", Lane::Fine);
        assert_eq!((tell.failing.len(), tell.failing[0].0.as_str()), (1, "a"));
        assert_eq!(worker(tell), Some(None));
        assert!(status.lane("a", Lane::Missing).failing.is_empty(), "said once");
        let tell = status.lane("a", Lane::Fine);
        assert_eq!(tell.fine, ["a"]);
        assert!(status.lane("a", Lane::Fine).fine.is_empty());
    }

    #[test]
    fn the_connection_comes_first() {
        let mut status = Status::new(&["a".into()]);
        assert_eq!(worker(status.unconnected(QueueError::new("away"))), Some(Some("away".into())));
        assert_eq!(worker(status.lane("a", Lane::Starting)), Some(Some("away".into())));
        assert_eq!(worker(status.connected("r:1".into())), None, "to be said by what comes now");
        assert_eq!(worker(status.lane("a", Lane::Failing(QueueError::new("no")))), Some(Some("no".into())));
        assert_eq!(worker(status.lane("a", Lane::Fine)), Some(None));
    }
}
