//! What can be asked for on the command line: one file per command.

pub mod config;
pub mod demo;
pub mod generate;
pub mod migrate;
pub mod run;
mod summary;

use std::io::{Write, stdout};

/// Prints a result. A reader that has seen enough (`| head`) is no failure.
fn print(text: &str) {
    let mut out = stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).ok();
}
