//! What must hold against those who mean harm: no secret gets out, who cannot prove who he is is not spoken to, a user with
//! the rights that the documentation lists and no others is enough, and no id is ever code or a path.

#![allow(unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod front;
mod ids;
mod rights;
mod secrets;
mod trust;
