//! What figment lays over each other: values, each with its place and the name its user knows it by.

use super::settings;
use super::sources::Flag;
use figment::value::{Dict, Map, Value};
use figment::{Metadata, Profile, Provider};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The name of the lowest layer.
pub(super) const DEFAULT: &str = "default";

/// One source of values. Everything but the TOML file gives text, so that a password made of digits stays text;
/// figment's own `Env` would make it a number.
pub(super) struct Layer {
    /// What kind of source it is, as `config` shows it.
    origin: &'static str,
    file: Option<PathBuf>,
    values: Dict,
    /// Path to name as typed, where that is not the path.
    names: BTreeMap<&'static str, String>,
}

impl Layer {
    /// A layer without values.
    pub(super) fn new(origin: &'static str) -> Self {
        Layer { origin, file: None, values: Dict::new(), names: BTreeMap::new() }
    }

    /// The defaults of the table.
    pub(super) fn defaults() -> Self {
        let mut layer = Layer::new(DEFAULT);
        for setting in settings::all() {
            if let Some(default) = setting.default {
                layer.add(setting.path, default, setting.env);
            }
        }
        layer
    }

    /// What a TOML file holds.
    pub(super) fn file(path: &Path, values: Dict) -> Self {
        Layer { file: Some(path.to_owned()), values, ..Layer::new("file") }
    }

    /// Defaults of a command's own.
    pub(super) fn presets(flags: &[Flag]) -> Self {
        Layer::of(DEFAULT, flags)
    }

    /// What was given on the command line.
    pub(super) fn flags(flags: &[Flag]) -> Self {
        Layer::of("flag", flags)
    }

    fn of(origin: &'static str, flags: &[Flag]) -> Self {
        let mut layer = Layer::new(origin);
        for flag in flags {
            debug_assert!(settings::at(flag.path).is_some(), "{} sets no setting: {}", flag.flag, flag.path);
            layer.add(flag.path, &flag.value, flag.flag);
        }
        layer
    }

    /// Adds the text for a path, which the user typed under a name.
    pub(super) fn add(&mut self, path: &'static str, text: &str, name: &str) {
        insert(&mut self.values, path, text.into());
        self.names.insert(path, name.to_owned());
    }
}

fn insert(dict: &mut Dict, path: &str, value: Value) {
    match path.split_once('.') {
        None => {
            dict.insert(path.to_owned(), value);
        }
        Some((section, rest)) => {
            let section = dict.entry(section.to_owned()).or_insert_with(|| Dict::new().into());
            if let Value::Dict(_, dict) = section {
                insert(dict, rest, value);
            }
        }
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        let names = self.names.clone();
        let metadata = Metadata::named(self.origin).interpolater(move |_, path| {
            let path = path.join(".");
            names.get(path.as_str()).cloned().unwrap_or(path)
        });
        match &self.file {
            Some(file) => metadata.source(file.as_path()),
            None => metadata,
        }
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

/// What is known of where a value came from.
pub(super) struct Provenance {
    /// For `config`: `environment CLICKHOUSE_HOST`, `file xray.toml`, `default`.
    pub(super) origin: String,
    /// For problems: `CLICKHOUSE_HOST`, `clickhouse.host in xray.toml`.
    pub(super) name: String,
    /// Whether nobody gave it.
    pub(super) is_default: bool,
}

impl Provenance {
    /// What a layer's metadata tell of the value at `path`.
    pub(super) fn new(metadata: &Metadata, path: &str) -> Self {
        let path: Vec<_> = path.split('.').collect();
        let name = metadata.interpolate(&Profile::Default, &path);
        let is_default = metadata.name == DEFAULT;
        match metadata.source.as_ref().and_then(|source| source.file_path()) {
            Some(file) => Provenance {
                origin: format!("{} {}", metadata.name, file.display()),
                name: format!("{name} in {}", file.display()),
                is_default,
            },
            None if is_default => Provenance { origin: DEFAULT.to_owned(), name, is_default },
            None => Provenance { origin: format!("{} {name}", metadata.name), name, is_default },
        }
    }
}
