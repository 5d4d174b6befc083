//! How things stand with the connection and with each queue, and what of it the worker is told.

use super::QueueError;
use super::inbox::Inbox;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

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

/// How it stands with all of them, told to the worker through its inbox, and logged once where it changes for one of several.
pub(super) struct Board(Mutex<Status>);

impl Board {
    /// For these queues. `missing` says that none of some is there, and where.
    pub(super) fn new(queues: &[String], missing: fn(&str, &[&str]) -> QueueError) -> Self {
        Board(Mutex::new(Status::new(queues, missing)))
    }

    /// Connected with this host.
    pub(super) fn connected<R>(&self, inbox: &Inbox<R>, at: String) {
        self.change(inbox, |status| status.connected(at));
    }

    /// Not connected, for this reason.
    #[cfg_attr(not(feature = "rabbitmq"), allow(dead_code))]
    pub(super) fn unconnected<R>(&self, inbox: &Inbox<R>, error: QueueError) {
        self.change(inbox, |status| status.unconnected(error));
    }

    /// News of one queue.
    pub(super) fn lane<R>(&self, inbox: &Inbox<R>, queue: &str, lane: Lane) {
        self.change(inbox, |status| status.lane(queue, lane));
    }

    fn change<R>(&self, inbox: &Inbox<R>, change: impl FnOnce(&mut Status) -> Tell) {
        let mut status = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let tell = change(&mut status);
        // Under the lock, so that the last word is the latest.
        if let Some(trouble) = tell.worker {
            inbox.trouble(trouble);
        }
        drop(status);
        for (queue, error) in tell.failing {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(queue, error, "a queue is not consumed, the others are");
        }
        for queue in tell.fine {
            tracing::info!(queue, "the queue is consumed as well now");
        }
    }
}

#[derive(Debug)]
struct Status {
    /// Where we are connected, or were last.
    at: String,
    connection: Option<QueueError>,
    lanes: BTreeMap<String, (Lane, bool)>,
    missing: fn(&str, &[&str]) -> QueueError,
}

/// What is to be passed on.
#[derive(Debug, Default)]
struct Tell {
    /// What to tell the worker; `None`: nothing is known.
    worker: Option<Option<QueueError>>,
    /// What goes wrong with single queues while others are fine: to be logged.
    failing: Vec<(String, QueueError)>,
    /// Those of which that had been said, and which are fine again.
    fine: Vec<String>,
}

impl Status {
    fn new(queues: &[String], missing: fn(&str, &[&str]) -> QueueError) -> Self {
        let lanes = queues.iter().map(|queue| (queue.clone(), Default::default())).collect();
        Status { at: String::new(), connection: None, lanes, missing }
    }

    fn connected(&mut self, at: String) -> Tell {
        self.at = at;
        self.connection = None;
        self.tell()
    }

    fn unconnected(&mut self, error: QueueError) -> Tell {
        self.connection = Some(error);
        self.tell()
    }

    fn lane(&mut self, queue: &str, lane: Lane) -> Tell {
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
                Lane::Missing => (self.missing)(&self.at, &[queue]),
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
            all_known.then(|| (self.missing)(&self.at, &queues))
        };
        failing.or_else(missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(at: &str, queues: &[&str]) -> QueueError {
        QueueError::new(format!("{at} has none of {}", queues.join(", ")))
    }

    fn worker(tell: Tell) -> Option<Option<String>> {
        tell.worker.map(|error| error.map(|error| error.to_string()))
    }

    #[test]
    fn one_of_several_queues_fails() {
        let mut status = Status::new(&["a".into(), "b".into()], missing);
        assert_eq!(worker(status.connected("r:1".into())), None, "nothing is known yet");
        assert_eq!(worker(status.lane("a", Lane::Missing)), None, "the other may be there");
        let said = worker(status.lane("b", Lane::Missing));
        assert_eq!(said, Some(Some("r:1 has none of a, b".into())));
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
        let mut status = Status::new(&["a".into()], missing);
        assert_eq!(worker(status.unconnected(QueueError::new("away"))), Some(Some("away".into())));
        assert_eq!(worker(status.lane("a", Lane::Starting)), Some(Some("away".into())));
        assert_eq!(worker(status.connected("r:1".into())), None, "to be said by what comes now");
        assert_eq!(worker(status.lane("a", Lane::Failing(QueueError::new("no")))), Some(Some("no".into())));
        assert_eq!(worker(status.lane("a", Lane::Fine)), Some(None));
    }
}
