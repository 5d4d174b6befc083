//! Raw objects are the truth: whether the tables say what they say, and making them do so again.
//!
//! What belongs together is found by walking objects and rows side by side in the order of keys, a month at a time, in
//! constant memory whatever is stored ([`pairs`]); what it means is decided in [`judge`], pure and without I/O. Nothing
//! here is on the way of a message.

mod derived;
mod examine;
pub mod judge;
mod letters;
pub mod lookup;
mod lowered;
mod one_run;
mod own;
pub mod pairs;
mod persist;
pub mod purge;
pub mod rebuild;
mod recent;
mod repair;
pub mod report;
pub mod scope;
pub mod selection;
pub mod tally;
mod verify;
mod walk;

pub use one_run::one_run;
pub use persist::persist;
pub use recent::{MARGIN, Recent};
pub use verify::{Options, verify};
pub use walk::{days, folder_of, objects_of_day};

use crate::pipeline::Stores;
use crate::store::audit::{ObjectAudit, TableAudit};
use std::sync::Arc;

/// The pair of stores, as an audit sees them.
#[derive(Debug, Clone)]
pub struct Audited {
    /// Raw objects and the objects of dead letters.
    pub objects: Arc<dyn ObjectAudit>,
    /// The tables.
    pub tables: Arc<dyn TableAudit>,
}

impl Audited {
    /// The same stores, as a worker sees them.
    pub fn stores(&self) -> Stores {
        Stores { raw: self.objects.clone(), metrics: self.tables.clone() }
    }
}
