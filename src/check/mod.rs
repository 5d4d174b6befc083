//! What `check` finds out before the first event comes: about the settings, the machine, and by way of `inspect` in the folder
//! of each store and broker about those. Nothing of it is needed for work, and nothing is left behind.

mod finding;
pub mod machine;
pub mod settings;

pub use finding::{Finding, Findings, Level};

use std::time::Duration;

/// For all that a store is asked.
pub const PATIENCE: Duration = Duration::from_secs(10);
