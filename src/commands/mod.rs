//! What can be asked for on the command line: one file per command.

mod ask;
pub mod check;
pub mod config;
pub mod dead_letters;
pub mod demo;
pub mod generate;
pub mod health;
pub mod lookup;
pub mod migrate;
mod place;
pub mod publish;
pub mod purge;
pub mod rebuild;
pub mod run;
pub mod status;
mod summary;
pub mod verify;

use crate::exit::Failure;
use std::io::{ErrorKind, Write, stdout};

/// Prints a result. A reader that has seen enough (`| head`) is no failure.
fn print(text: &str) -> Result<(), Failure> {
    print_bytes(text.as_bytes())
}

/// The same for what need not be text.
fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("cannot write the result to standard output: {error}")))
        }
        _ => Ok(()),
    }
}
