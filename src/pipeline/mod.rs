//! The one shared, idempotent processor: from deliveries to proof that they are stored.
pub mod budget;
mod delivery;

pub use budget::{Budget, Hold, Room};
pub use delivery::{Cut, Delivery, Message, Origin, RejectedPart, Settlement, Stored};
