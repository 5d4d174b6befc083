//! The TOML file: which one, its text, and what in it is not known.

use super::layer::Layer;
use super::names::nearest;
use super::problems::Problems;
use super::settings;
use figment::providers::{Format, Toml};
use figment::value::{Dict, Value};
use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// Reads a file that somebody named, by the flag or variable `named_by`.
pub(super) fn named(path: &Path, named_by: &str, problems: &mut Problems) -> Option<Layer> {
    match fs::read_to_string(path) {
        Ok(text) => parse(path, &text, problems),
        Err(error) => {
            problems.add(named_by, format_args!("cannot read {}: {error}", path.display()));
            None
        }
    }
}

/// Reads the file that nobody named, if it is there.
pub(super) fn optional(path: &Path, problems: &mut Problems) -> Option<Layer> {
    match fs::read_to_string(path) {
        Ok(text) => parse(path, &text, problems),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => {
            problems.add(&path.display().to_string(), format_args!("cannot be read: {error}"));
            None
        }
    }
}

fn parse(path: &Path, text: &str, problems: &mut Problems) -> Option<Layer> {
    match Toml::from_str::<Dict>(text) {
        Ok(mut values) => {
            report_unknown(&mut values, "", path, problems);
            Some(Layer::file(path, values))
        }
        // Not the error's own `Display`: it quotes the line, and with it perhaps a password.
        Err(error) => {
            let message = error.message().replace('\n', ", ");
            let (line, column) = position(text, error.span().map_or(0, |span| span.start));
            problems.add(
                &path.display().to_string(),
                format_args!("is not valid TOML: line {line}, column {column}: {message}"),
            );
            None
        }
    }
}

fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
    (before.matches('\n').count() + 1, column)
}

/// Reports, and takes out, the keys that are neither a setting nor a table of settings, and the tables that are none.
fn report_unknown(dict: &mut Dict, table: &str, file: &Path, problems: &mut Problems) {
    dict.retain(|key, value| {
        let path = if table.is_empty() { key.clone() } else { format!("{table}.{key}") };
        // A quoted key may have a dot in it, which makes it look like a path.
        if settings::at(&path).is_some() && !key.contains('.') {
            return true;
        }
        let name = format!("{path} in {}", file.display());
        let tables = tables();
        match value {
            Value::Dict(_, dict) if tables.contains(path.as_str()) => {
                report_unknown(dict, &path, file, problems);
                return true;
            }
            _ if tables.contains(path.as_str()) => problems.add(&name, "must be a table of settings"),
            _ => {
                let known = settings::all().map(|setting| setting.path).chain(tables);
                let hint = nearest(&path, known).unwrap_or_default();
                problems.add(&name, format_args!("is no setting, the nearest is {hint}"));
            }
        }
        false
    });
}

/// The paths of all tables: `s3`, `s3.aws`, ….
fn tables() -> BTreeSet<&'static str> {
    settings::all()
        .flat_map(|setting| setting.path.match_indices('.').filter_map(|(dot, _)| setting.path.get(..dot)))
        .collect()
}
