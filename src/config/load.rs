//! Loading: layers, then every value checked, then the whole.

use super::draft::{Draft, Given};
use super::environment::Environment;
use super::kind::{Kind, Wrong};
use super::layer::{DEFAULT, Layer, Provenance};
use super::problems::Problems;
use super::settings::{self, Setting};
use super::sources::{CONFIG_ENV, CONFIG_FLAG, Sources};
use super::{Config, file};
use figment::value::{Dict, Value};
use figment::{Figment, Metadata};
use secrecy::SecretString;
use serde::Serialize;
use std::path::Path;

/// A configuration, and how it came about.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What is in force.
    pub config: Config,
    /// Every setting, in the order of the reference.
    pub resolved: Vec<Resolved>,
    /// What the user should know but what stops nothing, a sentence each.
    pub warnings: Vec<String>,
    /// Every secret that somebody set, to be kept out of whatever is said.
    pub secrets: Vec<SecretString>,
}

/// One setting as it is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Resolved {
    /// Its name in the environment.
    pub env: &'static str,
    /// Its place in the TOML file.
    pub path: &'static str,
    /// Its value as it was written, `(not set)`, or of a secret `(hidden)` or `(empty)`.
    pub value: String,
    /// Where it came from: `default`, `file xray.toml`, `environment CLICKHOUSE_HOST`, `file named by
    /// CLICKHOUSE_PASSWORD_FILE` or `flag --http-addr`.
    pub origin: String,
}

/// Reads and checks everything. Each source wins over the one before: defaults, the TOML file, the environment, flags. Of
/// a setting only the value in force is checked.
///
/// The file is the one of `--config`, else of `XRAY_CONFIG`, else the default one if it is there; apart from it, only
/// the files are read that `…_FILE` variables name.
pub fn load(sources: &Sources) -> Result<Loaded, Problems> {
    let mut problems = Problems::default();
    let mut given = Given::new();
    let environment = Environment::new(&sources.env);

    let mut figment = Figment::from(Layer::defaults()).merge(Layer::presets(&sources.presets));
    if let Some(file) = file_layer(sources, &environment, &mut problems) {
        figment = figment.merge(file);
    }
    for layer in environment.layers(&mut given, &mut problems) {
        figment = figment.merge(layer);
    }
    figment = figment.merge(Layer::flags(&sources.flags));

    let mut draft = Draft::new();
    let (mut resolved, mut secrets) = (Vec::new(), Vec::new());
    for setting in settings::all() {
        let Ok(value) = figment.find_value(setting.path) else {
            resolved.push(setting.resolved("(not set)", DEFAULT));
            continue;
        };
        let metadata = figment.get_metadata(value.tag()).cloned().unwrap_or_else(|| Metadata::named(DEFAULT));
        let from = Provenance::new(&metadata, setting.path);
        match text(&value, setting).and_then(|text| check(&mut draft, setting, &text).map(|()| text)) {
            Ok(text) => {
                resolved.push(setting.resolved(setting.shown(&text), &from.origin));
                if setting.is_secret() && !from.is_default {
                    secrets.push(text.into());
                }
            }
            Err(problem) => problems.add(&from.name, problem),
        }
        if !from.is_default {
            given.insert(setting.path, from.name);
        }
    }
    let config = draft.finish(&given, &mut problems);
    problems.none_or(Loaded { config, resolved, warnings: environment.warnings(), secrets })
}

/// The warnings alone, for where the configuration has problems too: one may explain the other.
pub fn warnings(sources: &Sources) -> Vec<String> {
    Environment::new(&sources.env).warnings()
}

fn file_layer(sources: &Sources, environment: &Environment<'_>, problems: &mut Problems) -> Option<Layer> {
    if let Some(path) = &sources.file {
        file::named(path, CONFIG_FLAG, problems)
    } else if let Some(path) = environment.not_empty(CONFIG_ENV) {
        file::named(Path::new(path), CONFIG_ENV, problems)
    } else {
        file::optional(sources.default_file.as_deref()?, problems)
    }
}

impl Resolved {
    /// Whether nobody set it.
    pub fn is_default(&self) -> bool {
        self.origin == DEFAULT
    }
}

impl Setting {
    fn resolved(&self, value: impl Into<String>, origin: &str) -> Resolved {
        Resolved { env: self.env, path: self.path, value: value.into(), origin: origin.to_owned() }
    }

    fn shown<'a>(&self, text: &'a str) -> &'a str {
        match (self.is_private(), text) {
            (true, "") => "(empty)",
            (true, _) => "(hidden)",
            (false, text) => text,
        }
    }
}

/// The text of a value, or what is wrong with its type, which can only be in the TOML file.
fn text(value: &Value, setting: &Setting) -> Result<String, String> {
    match value {
        Value::String(_, text) => return Ok(text.clone()),
        Value::Bool(..) if setting.kind.takes_booleans() => return Ok(bare(value)),
        Value::Num(..) if setting.kind.takes_numbers() => return Ok(bare(value)),
        Value::Array(_, names) if matches!(setting.kind, Kind::List(_)) => {
            if let Some(names) = names.iter().map(Value::as_str).collect::<Option<Vec<_>>>() {
                return Ok(names.join(","));
            }
        }
        Value::Dict(_, table) if matches!(setting.kind, Kind::Properties(_)) => return properties(table, ""),
        _ => {}
    }
    let found = match value {
        Value::Num(..) | Value::Bool(..) if !setting.is_secret() => bare(value),
        Value::Num(..) => "a number".to_owned(),
        Value::Bool(..) => "true or false".to_owned(),
        Value::Array(..) => "an array".to_owned(),
        Value::Dict(_, dict) if dict.keys().any(|key| key.starts_with("$__toml_private")) => "a date".to_owned(),
        _ => "a table".to_owned(),
    };
    let quotes = match setting.kind {
        Kind::Text(_) | Kind::Secret(_) | Kind::List(_) => "; put it in quotes",
        _ => "",
    };
    Err(format!("must be {}, found {found}{quotes}", setting.kind.allowed()))
}

/// A table of properties as text. A name with dots in it that is not in quotes makes tables of its own.
fn properties(table: &Dict, under: &str) -> Result<String, String> {
    let mut text = String::new();
    for (name, value) in table {
        let name = format!("{under}{name}");
        match value {
            Value::Dict(_, table) => text.push_str(&properties(table, &format!("{name}."))?),
            Value::String(_, value) if value.contains(['\n', ';']) => {
                return Err(format!("{name} must be text without semicolons and line ends"));
            }
            Value::String(_, value) => text.push_str(&format!("{name}={value}\n")),
            Value::Num(..) | Value::Bool(..) => text.push_str(&format!("{name}={}\n", bare(value))),
            _ => return Err(format!("{name} must be text, a number, true or false")),
        }
    }
    Ok(text)
}

/// A number or boolean as text.
fn bare(value: &Value) -> String {
    match (value.to_bool(), value.to_i128(), value.to_f64()) {
        (Some(value), ..) => value.to_string(),
        (_, Some(value), _) => value.to_string(),
        (.., value) => value.unwrap_or_default().to_string(),
    }
}

/// Puts a value in its place, or says what is wrong with it.
fn check(draft: &mut Draft, setting: &Setting, text: &str) -> Result<(), String> {
    setting.store(draft, text).map_err(|wrong| match wrong {
        Wrong::Empty => "must not be empty".to_owned(),
        Wrong::Value if setting.is_private() => format!("must be {}", setting.kind.allowed()),
        Wrong::Value => format!("must be {}, found {}", setting.kind.allowed(), quoted(text)),
        Wrong::ServiceLink => format!(
            "must be {}, found {}, which Kubernetes sets in every pod next to a Service of that name: set it yourself, \
             or `enableServiceLinks: false` in the pod's spec",
            setting.kind.allowed(),
            quoted(text)
        ),
        Wrong::Private => format!(
            "must be {} and nothing more: a user and a password have settings of their own",
            setting.kind.allowed()
        ),
    })
}

/// The value in quotes, its control characters escaped, shortened where it is long.
fn quoted(text: &str) -> String {
    const MAX_CHARS: usize = 80;
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{:?}…", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}
