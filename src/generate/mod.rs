//! Realistic X-Ray traffic as NDJSON: what SDKs would send for runs of a few pipelines, and what goes wrong on the way.
//!
//! A [`Plan`] says how much of what, [`Lines`] yields the lines one by one, and its [`Tally`] counts what they hold while
//! they are made, so that whoever feeds them to a worker can say that nothing is missing. The same plan gives the same
//! bytes on every machine: nothing here asks a clock, and all chance comes from the seed.
//!
//! What happens, event by event, is `script`; what it looks like as JSON, `events`, `sdk` and `members`; `faults` adds
//! what is wrong, `framing` packs events into lines, and `lines` puts these in an order.

mod dice;
mod events;
mod faults;
mod framing;
mod lines;
mod malformed;
mod members;
mod padding;
mod pipelines;
mod plan;
mod script;
mod sdk;
mod tally;
#[cfg(test)]
mod tests;

pub use lines::Lines;
pub use malformed::Malformation;
pub use plan::Plan;
pub use tally::Tally;
