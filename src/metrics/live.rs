use crate::budget::Budget;
use crate::health::Health;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// What is not counted but looked at when somebody asks.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) stores: Vec<&'static str>,
    /// `None` for a queue that cannot be away.
    pub(super) broker: Option<&'static str>,
    pub(super) budget: Budget,
    pub(super) health: Health,
    pub(super) lag: Lag,
}

/// What the broker last told; clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Lag(Arc<Mutex<Option<u64>>>);

impl Lag {
    pub(super) fn set(&self, messages: Option<u64>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = messages;
    }

    pub(super) fn get(&self) -> Option<u64> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector for Live {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let (messages, bytes) = self.budget.held();
        let oldest = self.budget.oldest().as_secs_f64();
        gauge(&mut encoder, "xray_in_flight_messages", "Messages received and not yet acked.", messages as u64)?;
        gauge(&mut encoder, "xray_in_flight_bytes", "Bytes of messages received and not yet acked.", bytes as u64)?;
        gauge(&mut encoder, "xray_oldest_unacked_seconds", "Age of the oldest message not yet acked.", oldest)?;

        if let Some(lag) = self.lag.get() {
            gauge(&mut encoder, "xray_queue_lag_messages", "Messages at the broker that are not acked.", lag)?;
        }

        let bound = self.budget.bound();
        let help = "MAX_IN_FLIGHT_MESSAGES: at so many the worker stops receiving.";
        gauge(&mut encoder, "xray_in_flight_limit_messages", help, bound.messages as u64)?;
        let help = "MAX_IN_FLIGHT_BYTES: at so many the worker stops receiving.";
        gauge(&mut encoder, "xray_in_flight_limit_bytes", help, bound.bytes as u64)?;
        let help = "Loops of the worker that have work and make no progress.";
        gauge(&mut encoder, "xray_stuck_loops", help, self.health.stuck().len() as u64)?;

        self.up(&mut encoder, ("xray_store_up", "store"), "the store", &self.stores)?;
        if let Some(broker) = self.broker {
            self.up(&mut encoder, ("xray_queue_up", "queue"), "the broker", &[broker])?;
        }
        Ok(())
    }
}

impl Live {
    fn up(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        (name, label): (&str, &str),
        what: &str,
        dependencies: &[&'static str],
    ) -> fmt::Result {
        let help = format!("Whether {what} answered when it was last asked.");
        let up = ConstGauge::new(0_u64);
        let mut family = encoder.encode_descriptor(name, &help, None, up.metric_type())?;
        for &dependency in dependencies {
            let up = ConstGauge::new(u64::from(self.health.is_up(dependency)));
            up.encode(family.encode_family(&[(label, dependency)])?)?;
        }
        Ok(())
    }
}

pub(super) fn gauge<N>(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: N) -> fmt::Result
where
    ConstGauge<N>: EncodeMetric,
{
    let gauge = ConstGauge::new(value);
    gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
}
