//! What can be asked for on the command line: one file per command.

pub mod config;
pub mod demo;
pub mod generate;
pub mod run;
mod summary;
