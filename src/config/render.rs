//! What is in force, for people and for programs.

use super::load::{Loaded, Resolved};
use super::settings::SECTIONS;
use serde_json::json;

/// Every setting with its value and where that came from, by section, in columns.
pub fn render_text(loaded: &Loaded) -> String {
    let width = |column: fn(&Resolved) -> &str| loaded.resolved.iter().map(|it| column(it).chars().count()).max();
    let names = width(|it| it.env).unwrap_or_default();
    let values = width(|it| &it.value).unwrap_or_default().min(40);
    let mut text = String::new();
    for section in SECTIONS {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(section.title);
        text.push('\n');
        for it in loaded.resolved.iter().filter(|it| section.settings.iter().any(|setting| setting.path == it.path)) {
            text.push_str(&format!("  {:names$}  {:values$}  {}\n", it.env, it.value, it.origin));
        }
    }
    text
}

/// The same, and the warnings, as one JSON object.
pub fn render_json(loaded: &Loaded) -> String {
    format!("{:#}\n", json!({ "settings": loaded.resolved, "warnings": loaded.warnings }))
}
