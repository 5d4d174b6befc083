//! The clock of the machine jumps, as the library `faketime` makes the worker believe.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::rig::until;
use crate::support::bodies::hostile;
use crate::support::clickhouse::block_on;
use crate::support::model::{Input, diff, expected};
use crate::support::state::read_embedded;
use crate::support::worker::{Running, Server, ran, worker};

/// A worker's clock, from now on.
struct Clock {
    file: PathBuf,
}

impl Clock {
    fn of(dir: &Path, command: &mut Command) -> Clock {
        let clock = Clock { file: dir.join("clock") };
        clock.jump("+0");
        let libraries = fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path());
        let library = libraries.map(|path| path.join("faketime/libfaketime.so.1")).find(|path| path.exists());
        command.env("LD_PRELOAD", library.expect("libfaketime is not installed: tests/run --install"));
        // Of the one clock that people set; the other only counts on.
        command.envs([("DONT_FAKE_MONOTONIC", "1"), ("FAKETIME_NO_CACHE", "1")]);
        command.env("FAKETIME_TIMESTAMP_FILE", &clock.file);
        clock
    }

    /// By so much from the true time: `+10y`, `-400d`.
    fn jump(&self, by: &str) {
        let new = self.file.with_extension("new");
        fs::write(&new, by).unwrap();
        fs::rename(new, &self.file).unwrap();
    }
}

/// What is stored is what it would be without; and the worker never takes a jump for a standstill.
#[test]
fn a_clock_that_jumps_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = worker(dir.path(), &["run", "--embedded", "--data", "data"]);
    command.envs([("HTTP_ADDR", "127.0.0.1:0"), ("LOG_FORMAT", "json")]);
    let clock = Clock::of(dir.path(), &mut command);
    let mut worker = Server::spawn(command);
    let client = reqwest::Client::new();
    let bodies = hostile();
    let jumps = ["+3000d", "-9000d", "+1h", "-1h", "+40000d", "+0"];
    for (at, body) in bodies.iter().enumerate() {
        clock.jump(jumps[at % jumps.len()]);
        for (path, body) in [("/ingest", Some(body)), ("/healthz", None), ("/readyz", None)] {
            let request = match body {
                Some(body) => client.post(worker.url(path)).body(body.clone()),
                None => client.get(worker.url(path)),
            };
            let status = block_on(async { request.send().await.unwrap().status().as_u16() });
            assert!([200, 422].contains(&status), "{path}: {status}");
        }
    }
    worker.process.terminate();
    assert!(worker.process.ended().success());
    let model = expected(bodies.iter().map(|body| Input { body, hint: None }));
    let differences = diff(&model, &read_embedded(&dir.path().join("data")));
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    let (code, stdout, stderr) = ran(dir.path(), &["verify", "--deep", "--min-age", "0s", "--data", "data"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
}

/// `--give-up-after` is a time that passes, not one that a clock shows.
#[test]
fn a_jump_is_no_outage() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("input"), hostile().join(&b'\n')).unwrap();
    let args = ["run", "--embedded", "--data", "data", "--input", "input", "--give-up-after", "10m"];
    ran(dir.path(), &["run", "--embedded", "--data", "data", "--input", "/dev/null"]);
    let other = rusqlite::Connection::open(dir.path().join("data/xray.db")).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let mut command = worker(dir.path(), &args);
    let clock = Clock::of(dir.path(), &mut command);
    let log = dir.path().join("log");
    let spawned = command.stderr(fs::File::create(&log).unwrap()).stdout(std::process::Stdio::null()).spawn().unwrap();
    let mut running = Running(spawned);
    let said = || fs::read_to_string(&log).unwrap().contains("store is down");
    until(|| if said() { Ok(()) } else { Err("nothing is said".into()) });
    clock.jump("+1d");
    // It looks twice a second.
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert!(running.0.try_wait().unwrap().is_none(), "{}", fs::read_to_string(&log).unwrap());
    other.execute_batch("ROLLBACK").unwrap();
    assert!(running.ended().success());
}
