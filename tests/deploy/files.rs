//! The files, and the tools that judge them.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The version, which `Cargo.toml` alone has.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

pub fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

pub fn read(path: &str) -> String {
    std::fs::read_to_string(file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// One of those in `tests/servers/tools`, which runs where the project is.
pub fn tool(name: &str, args: &[&str]) -> Command {
    let mut command = Command::new(file("tests/servers/tools"));
    command.args(["run", name]).args(args).current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

/// What it prints; it must be content.
pub fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// The assignments of a file of variables.
pub fn variables(text: &str) -> Vec<(String, String)> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_once('=').unwrap_or_else(|| panic!("no assignment: {line}"))).map(owned).collect()
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}
