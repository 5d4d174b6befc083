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

    fn get(&self) -> Option<u64> {
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

        let help = "Whether the store answered when it was last asked.";
        let up = ConstGauge::new(0_u64);
        let mut family = encoder.encode_descriptor("xray_store_up", help, None, up.metric_type())?;
        for &store in &self.stores {
            let up = ConstGauge::new(u64::from(self.health.is_up(store)));
            up.encode(family.encode_family(&[("store", store)])?)?;
        }
        Ok(())
    }
}

fn gauge<N>(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: N) -> fmt::Result
where
    ConstGauge<N>: EncodeMetric,
{
    let gauge = ConstGauge::new(value);
    gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
}
