//! Which stores a command works on, where that is said on the command line.

use crate::config::{Config, Flag};
use crate::exit::Failure;
use clap::Args;
use std::path::PathBuf;

/// Arguments of every command that opens stores.
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct PlaceArgs {
    /// Keep objects as files and tables in SQLite, in the directory named by --data or XRAY_DATA_DIR
    #[arg(long, global = true)]
    embedded: bool,

    /// The directory of the embedded mode; implies --embedded
    #[arg(long, global = true, value_name = "DIR", value_parser = utf8_path)]
    data: Option<PathBuf>,
}

impl PlaceArgs {
    /// The arguments that are settings.
    pub(crate) fn flags(&self) -> Vec<Flag> {
        self.data.iter().map(|dir| flag("embedded.data_dir", "--data", &dir.display())).collect()
    }

    /// Refuses embedded mode without a directory.
    pub(super) fn check(&self, config: &Config) -> Result<(), Failure> {
        if self.embedded && config.embedded.data_dir.is_none() {
            return Err(Failure::usage("--embedded needs a directory: add --data DIR, or set XRAY_DATA_DIR"));
        }
        Ok(())
    }
}

/// A setting that was given as a flag.
pub(super) fn flag(path: &'static str, flag: &'static str, value: &dyn std::fmt::Display) -> Flag {
    Flag { path, flag, value: value.to_string() }
}

/// A path that can stand in the configuration: one that is not UTF-8 is refused rather than respelled.
pub(super) fn utf8_path(text: &str) -> Result<PathBuf, std::convert::Infallible> {
    Ok(text.into())
}
