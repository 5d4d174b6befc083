//! `check` as whoever installs a worker runs it: right and wrong set-ups on real servers, and nothing left behind.

#![allow(unreachable_pub, missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod brokers;
mod stores;

use std::process::Command;

use serde_json::Value;
use support::worker::{output, worker};

/// What was found.
#[derive(Debug)]
pub struct Checked {
    pub code: i32,
    /// Level, subject and text with advice.
    pub found: Vec<(String, String, String)>,
}

impl Checked {
    /// Runs it as JSON.
    pub fn run(command: &mut Command) -> Checked {
        let output = output(command.args(["--output", "json"]));
        let text = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let (summary, lines) =
            lines.split_last().unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        let word = |line: &Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
        let found: Vec<_> = lines
            .iter()
            .map(|line| {
                (word(line, "level"), word(line, "subject"), format!("{} {}", word(line, "text"), word(line, "advice")))
            })
            .collect();
        for level in ["ok", "warn", "fail"] {
            let count = found.iter().filter(|(other, ..)| other == level).count();
            assert_eq!(summary["summary"][level], count, "{summary}");
        }
        Checked { code: output.status.code().unwrap_or(-1), found }
    }

    /// Whether this was said.
    pub fn has(&self, level: &str, words: &str) -> bool {
        self.found.iter().any(|(found, _, text)| found == level && text.contains(words))
    }

    /// Fails unless all of this was said.
    pub fn assert(&self, code: i32, said: &[(&str, &str)]) {
        for (level, words) in said {
            assert!(self.has(level, words), "{level}: {words} is not in {:#?}", self.found);
        }
        assert_eq!(self.code, code, "{:#?}", self.found);
    }

    /// Fails where anything was said that is not ok.
    pub fn assert_well(&self) {
        assert!(self.found.iter().all(|(level, ..)| level == "ok") && self.code == 0, "{:#?}", self.found);
    }
}

#[test]
fn in_words_with_the_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let ran = |args: &[&str]| {
        let output = output(&mut worker(dir.path(), args));
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (code, stdout, stderr) = ran(&["check", "--data", "data"]);
    assert_eq!((code, &*stderr), (0, ""));
    let lines: Vec<&str> = stdout.lines().collect();
    assert!(lines[0].starts_with("ok    settings    XRAY_DATA_DIR is data (flag --data)"), "{stdout}");
    assert!(lines.last().unwrap().starts_with("Nothing fails: ") && !stdout.contains('\u{1b}'), "{stdout}");
    assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none(), "nothing is left behind");

    std::fs::write(dir.path().join("file"), "").unwrap();
    let (code, stdout, _) = ran(&["check", "--data", "file", "--quiet"]);
    assert!(code == 3 && stdout.starts_with("fail  data        "), "{stdout}");
    let (code, stdout, stderr) = ran(&["check", "--embedded"]);
    assert_eq!((code, &*stdout), (2, ""));
    assert!(stderr.contains("--embedded needs a directory"), "{stderr}");
}

#[test]
fn settings_that_are_wrong_are_told_all_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = worker(dir.path(), &["check"]);
    let output = output(command.env("BATCH_SIZE", "0").env("CLICKHOUSE_PORT", "tcp://10.0.0.1:8123"));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr.contains("BATCH_SIZE") && stderr.contains("enableServiceLinks"), "{stderr}");
}
