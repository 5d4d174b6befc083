//! `config`: what is in force, and where each value came from.

use crate::config::{Loaded, render_json, render_text};
use crate::exit::{Exit, Failure};
use clap::Args;

/// Arguments of `config`.
#[derive(Args, Debug, Clone)]
pub struct ConfigArgs {
    /// text or json
    #[arg(long, value_enum, default_value_t)]
    output: super::run::Output,
}

/// Prints the configuration. Secrets are never shown.
pub fn main(args: &ConfigArgs, loaded: &Loaded) -> Result<Exit, Failure> {
    let text = match args.output {
        super::run::Output::Text => render_text(loaded),
        super::run::Output::Json => render_json(loaded),
    };
    super::print(&format!("{}\n", text.trim_end()))?;
    loaded.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
    Ok(Exit::Done)
}
