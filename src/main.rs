//! The binary: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    xray_processor_worker::cli::main().into()
}
