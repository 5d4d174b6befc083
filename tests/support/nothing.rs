//! Stores that cost nothing: they say that all is durable, and keep none of it.

use std::sync::Arc;

use async_trait::async_trait;
use xray_processor_worker::dead_letter::DeadLetter;
use xray_processor_worker::object::{Object, Record};
use xray_processor_worker::pipeline::Stores;
use xray_processor_worker::store::{
    Created, Existing, Heavy, MetricsStore, RawStore, Replaced, RowCounts, StoreError, Tag, Touched,
};

/// Both stores.
#[derive(Debug)]
pub struct Nothing;

/// The pair of them.
pub fn stores() -> Stores {
    Stores { raw: Arc::new(Nothing), metrics: Arc::new(Nothing) }
}

#[async_trait]
impl RawStore for Nothing {
    fn name(&self) -> &'static str {
        "no objects"
    }

    async fn prepare(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn create(&self, objects: &[Arc<Object>]) -> Vec<Result<Created, StoreError>> {
        objects.iter().map(|_| Ok(Created::Created)).collect()
    }

    async fn read(&self, keys: &[String]) -> Vec<Result<Option<Existing>, StoreError>> {
        keys.iter().map(|_| Ok(None)).collect()
    }

    async fn replace(&self, objects: &[(Arc<Object>, Tag)]) -> Vec<Result<Replaced, StoreError>> {
        objects.iter().map(|_| Ok(Replaced::Replaced)).collect()
    }

    async fn probe(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

#[async_trait]
impl MetricsStore for Nothing {
    fn name(&self) -> &'static str {
        "no tables"
    }

    async fn prepare(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn insert_facts(&self, _: &[Arc<Record>]) -> Result<(), StoreError> {
        Ok(())
    }

    async fn recompute(&self, _: &Touched) -> Result<Heavy, StoreError> {
        Ok(Heavy::default())
    }

    async fn insert_dead_letters(&self, _: &[Arc<DeadLetter>]) -> Result<(), StoreError> {
        Ok(())
    }

    async fn row_counts(&self) -> Result<RowCounts, StoreError> {
        Ok(RowCounts::default())
    }

    async fn probe(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
