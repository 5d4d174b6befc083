//! Where settings are read from.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

/// The variable that names the TOML file.
pub(super) const CONFIG_ENV: &str = "XRAY_CONFIG";
/// The flag that names the TOML file.
pub(super) const CONFIG_FLAG: &str = "--config";

/// All that [`load`](super::load) reads, so that it depends on nothing else of the process. The default has nothing in
/// it; [`of_process`](Self::of_process) is what the worker starts from. `Debug` shows no value.
#[derive(Clone, Default)]
pub struct Sources {
    /// What a command has for defaults of its own; everything else wins over it.
    pub presets: Vec<Flag>,
    /// The file named by `--config`. It must exist.
    pub file: Option<PathBuf>,
    /// The file that is read where neither `--config` nor `XRAY_CONFIG` names one, if it exists.
    pub default_file: Option<PathBuf>,
    /// The environment: names and values.
    pub env: Vec<(OsString, OsString)>,
    /// What flags of the command line set.
    pub flags: Vec<Flag>,
}

/// A setting given by a flag of the command line.
#[derive(Clone)]
pub struct Flag {
    /// Which setting: its place in the TOML file, e.g. `http.addr`.
    pub path: &'static str,
    /// The flag as it is typed, e.g. `--http-addr`.
    pub flag: &'static str,
    /// Its value, written as in the environment.
    pub value: String,
}

impl Sources {
    /// The environment of this process, and `xray.toml` in its working directory.
    pub fn of_process() -> Self {
        Sources { default_file: Some("xray.toml".into()), env: env::vars_os().collect(), ..Sources::default() }
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.env.iter().map(|(name, _)| name).collect();
        f.debug_struct("Sources")
            .field("file", &self.file)
            .field("default_file", &self.default_file)
            .field("env", &names)
            .field("flags", &self.flags)
            .finish()
    }
}

impl fmt::Debug for Flag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flag").field("path", &self.path).field("flag", &self.flag).finish_non_exhaustive()
    }
}
