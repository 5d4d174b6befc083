//! Raw objects on S3, or on any server that speaks like it.
//!
//! Everything rests on two conditions that the server itself enforces: `If-None-Match: *` (write only where nothing is)
//! and `If-Match` (write only over what I read). Whether it does is found out when the store is made ready, with a small
//! object of our own under a key that no event has; a server that does not still works, with less to rely on
//! (`fallback`), and a warning.
//!
//! No type of the SDK leaves this folder: `request` speaks to the server, `failed` says in plain terms how a request
//! failed, `fault` alone decides what that means.

mod client;
mod conditions;
mod failed;
mod fallback;
mod fault;
mod inspect;
mod lifecycle;
mod listing;
mod metadata;
mod objects;
mod place;
mod prepare;
mod request;
mod signed;
mod verdict;
mod wire;

pub use objects::S3Objects;

/// The name of this store in metrics, logs and errors.
const NAME: &str = "s3";
