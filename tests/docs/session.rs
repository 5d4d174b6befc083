//! A shell in which the commands of a chapter are run one block after the other, in a directory of its own.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;

use crate::markdown::{Block, root};
use crate::support::servers::Server;

/// Long enough for any block on a loaded machine; only a hang takes longer.
const PATIENCE: Duration = Duration::from_secs(120);

/// In place of the script that starts servers by hand: at ports that others do not have, and gone with the test. What the script
/// itself does `tests/servers/selftest` proves.
const SERVERS: &str = r#"#!/usr/bin/env bash
set -euo pipefail
case "$1" in
  install) exec "$PROJECT/tests/servers/servers" "$@" ;;
  start) shift; for name; do cat "$STATE/$name.env"; done ;;
  stop) ;;
  *) echo "nobody knows of servers $1 here" >&2; exit 2 ;;
esac
"#;

pub struct Session {
    dir: TempDir,
    state: TempDir,
    servers: BTreeMap<String, Server>,
    /// Addresses of examples, and what stands in for them.
    addresses: BTreeMap<&'static str, String>,
    env: BTreeMap<String, String>,
}

impl Session {
    pub fn new() -> Session {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("tests/servers/servers");
        fs::create_dir_all(script.parent().unwrap()).unwrap();
        fs::write(&script, SERVERS).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        let state = tempfile::tempdir().unwrap();
        fs::write(state.path().join("prelude.sh"), include_str!("prelude.sh")).unwrap();
        fs::write(state.path().join("env.sh"), "").unwrap();
        Session { dir, state, servers: BTreeMap::new(), addresses: BTreeMap::new(), env: BTreeMap::new() }
    }

    /// A file that the commands read.
    pub fn has(&self, name: &str, content: &str) {
        fs::write(self.dir.path().join(name), content).unwrap();
    }

    /// Servers that the commands find as settings of a chapter before would name them.
    pub fn knows(&mut self, names: &[&str]) {
        for name in names {
            self.start(name);
            self.env.extend(self.servers[*name].running().env.clone());
        }
    }

    /// A server that stands in for the address of an example.
    pub fn stands_in(&mut self, address: &'static str, name: &str) {
        self.start(name);
        self.addresses.insert(address, format!("127.0.0.1:{}", self.servers[name].running().port));
    }

    fn start(&mut self, name: &str) {
        if self.servers.contains_key(name) {
            return;
        }
        let args: &[&str] = if name == "kafka" { &["--auto-create"] } else { &[] };
        let server = Server::start_with(name, args);
        let exports: String =
            server.running().env.iter().map(|(name, value)| format!("export {name}='{value}'\n")).collect();
        fs::write(self.state.path().join(format!("{name}.env")), exports).unwrap();
        self.servers.insert(name.to_owned(), server);
    }

    /// Runs a block. It must do what is shown after it.
    pub fn run(&mut self, block: &Block) {
        for started in block.commands.split("servers start ").skip(1) {
            let names = started.split([')', '\n']).next().unwrap();
            names.split_whitespace().for_each(|name| self.start(name));
        }
        let began = Instant::now();
        loop {
            let (succeeded, printed) = self.attempt(&block.commands);
            let missing = missing(&block.shown, &printed);
            if succeeded && missing.is_none() {
                return;
            }
            // What is on its way comes.
            let waits = only_looks(&block.commands) && began.elapsed() < PATIENCE;
            assert!(waits, "{}: {}\n{printed}\nmissing: {missing:?}{}", block.place, block.commands, self.logs());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Whether it ended well, and all that it printed.
    fn attempt(&self, commands: &str) -> (bool, String) {
        let commands = self.addresses.iter().fold(commands.to_owned(), |text, (from, to)| text.replace(from, to));
        let script = format!(
            "source \"$STATE/prelude.sh\"; source \"$STATE/env.sh\"\n{commands}\nwait_for_jobs\nexport -p >\"$STATE/env.sh\"\n"
        );
        let printed = self.state.path().join("printed");
        let file = fs::File::create(&printed).unwrap();
        let mut child = Command::new("bash")
            .args(["-c", &script])
            .current_dir(self.dir.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("WORKER", env!("CARGO_BIN_EXE_xray-processor-worker"))
            .env("PROJECT", root())
            .env("STATE", self.state.path())
            .envs(std::env::var_os("XRAY_SERVERS_DIR").map(|dir| ("XRAY_SERVERS_DIR", dir)))
            .envs(&self.env)
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .process_group(0)
            .spawn()
            .unwrap();
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            if Instant::now() > deadline {
                kill_process_group(Pid::from_child(&child), Signal::KILL).ok();
                child.wait().unwrap();
                break None;
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        (status.is_some_and(|status| status.success()), fs::read_to_string(printed).unwrap())
    }

    /// What the workers said.
    fn logs(&self) -> String {
        let mut text = String::new();
        for entry in fs::read_dir(self.state.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap().to_str().unwrap().starts_with("worker.") {
                text.push_str("\na worker's log:\n");
                text.push_str(&fs::read_to_string(path).unwrap());
            }
        }
        text
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let pids = fs::read_to_string(self.state.path().join("pids")).unwrap_or_default();
        for pid in pids.lines().filter_map(|pid| pid.parse().ok()).filter_map(Pid::from_raw) {
            kill_process(pid, Signal::KILL).ok();
        }
    }
}

/// The first line of what is shown that was not printed. An ellipsis stands for anything, and what is shown alone as `...` for
/// any lines.
fn missing<'a>(shown: &'a str, printed: &str) -> Option<&'a str> {
    let there = |line: &str| {
        printed.lines().any(|printed| {
            let mut rest = printed;
            line.split('…').all(|part| match rest.find(part.trim()) {
                Some(at) => {
                    rest = &rest[at + part.trim().len()..];
                    true
                }
                None => false,
            })
        })
    };
    shown.lines().filter(|line| !matches!(line.trim(), "..." | "")).find(|line| !there(line.trim()))
}

/// Whether commands ask and change nothing, so that they may be repeated until what is on its way has come.
fn only_looks(commands: &str) -> bool {
    let looks =
        ["sqlite3 ", "xray-processor-worker verify", "xray-processor-worker lookup", "xray-processor-worker status"];
    let mut lines = commands.lines().filter(|line| !line.is_empty()).peekable();
    lines.peek().is_some()
        && lines.all(|line| {
            looks.iter().any(|look| line.starts_with(look)) || line.starts_with("curl ") && line.contains("-d 'SELECT ")
        })
}

#[test]
fn what_is_not_printed_is_missed() {
    assert_eq!(missing("a 1\n...\nb … c", "x\na 1\nb 2 c\n"), None);
    assert_eq!(missing("a 1\nb … c", "a 1\nc b\n"), Some("b … c"));
    assert!(only_looks("sqlite3 a b") && !only_looks("sqlite3 a b\ncargo run") && !only_looks("curl -d 'x' y"));
}
