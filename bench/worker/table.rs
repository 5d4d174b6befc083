//! A table as people read it, from lines that are JSON.

use serde_json::Value;

/// A column: its title, the name of its number in the lines, and how many digits it has behind the point.
pub type Column = (&'static str, &'static str, usize);

pub fn head(title: &str, columns: &[Column]) {
    println!("\n{title}\n");
    println!("| {} |", columns.iter().map(|column| column.0).collect::<Vec<_>>().join(" | "));
    println!("|{}", "---|".repeat(columns.len()));
}

pub fn row(columns: &[Column], line: &Value) {
    let cell = |(_, name, digits): &Column| match &line[*name] {
        Value::String(text) => text.clone(),
        value => value.as_f64().map_or("–".to_owned(), |number| format!("{number:.digits$}")),
    };
    println!("| {} |", columns.iter().map(cell).collect::<Vec<_>>().join(" | "));
}
