//! Embedded stores on bad days: a full disk, a read-only one, a lock that somebody holds, a directory that is gone.
//!
//! A small file system of its own is mounted in a namespace of the test's own, which needs no rights but that to make one.

use std::path::Path;
use std::process::{Command, Stdio};

use rusqlite::Connection;
use serde_json::Value;
use tempfile::TempDir;
use xray_processor_worker::generate::{Lines, Plan};

use crate::rig::until;
use crate::support::clickhouse::block_on;
use crate::support::events::run;
use crate::support::model::{Input, diff, expected};
use crate::support::state::read_embedded;
use crate::support::worker::{Running, Server, ran};

struct Place {
    /// It has the data in `data`.
    dir: TempDir,
    /// Where the worker has it in a file system of its own.
    disk: Option<SmallDisk>,
    worker: Server,
    sent: Vec<String>,
}

impl Place {
    fn start() -> Place {
        let dir = tempfile::tempdir().unwrap();
        let worker = Server::start(dir.path(), "data", &[]);
        Place { dir, disk: None, worker, sent: Vec::new() }
    }

    fn data(&self) -> std::path::PathBuf {
        self.dir.path().join("data")
    }

    fn get(&self, path: &str) -> (u16, String) {
        let url = self.worker.url(path);
        block_on(async {
            let answer = reqwest::get(url).await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        })
    }

    fn wait_until_unready(&self, store: &str, words: &str) {
        until(|| {
            let (status, body) = self.get("/readyz");
            let body: Value = serde_json::from_str(&body).unwrap();
            let error = body["dependencies"][store]["lastError"].as_str().unwrap_or_default();
            let said = status == 503 && error.contains(words) && error.lines().count() == 1;
            said.then_some(()).ok_or_else(|| format!("{store} is not said to be down with {words:?}: {body}"))
        });
        assert_eq!(self.get("/healthz").0, 200);
    }

    /// Sends it and does not wait; the answer comes on the thread, 0 where the worker is gone.
    fn post(&mut self, body: String) -> std::thread::JoinHandle<u16> {
        let url = self.worker.url("/ingest");
        self.sent.push(body.clone());
        std::thread::spawn(move || {
            let post = reqwest::Client::new().post(url).body(body);
            block_on(async { post.send().await.map_or(0, |answer| answer.status().as_u16()) })
        })
    }

    /// All that was sent is there, and nothing else; `verify` finds nothing.
    fn assert_right(mut self) {
        until(|| match self.get("/readyz") {
            (200, _) => Ok(()),
            (_, body) => Err(format!("not ready: {body}")),
        });
        self.worker.process.terminate();
        assert!(self.worker.process.ended().success());
        if let Some(disk) = &self.disk {
            // SQLite follows links by name, which does not lead into a namespace.
            let copied = Command::new("cp").arg("-r").arg(disk.path()).arg(self.data()).status().unwrap();
            assert!(copied.success());
        }
        let model = expected(self.sent.iter().map(|body| Input { body: body.as_bytes(), hint: None }));
        let differences = diff(&model, &read_embedded(&self.data()));
        assert!(differences.is_empty(), "{}", differences.join("\n"));
        let verify = ["verify", "--deep", "--min-age", "0s", "--embedded", "--data", "data"];
        let (code, stdout, stderr) = ran(self.dir.path(), &verify);
        assert_eq!(code, 0, "{stdout}{stderr}");
    }
}

/// Another process reads, or writes and does not come to an end.
#[test]
fn a_database_that_somebody_else_locks() {
    let mut place = Place::start();
    assert_eq!(place.post(run("before", "running")).join().unwrap(), 200);
    let other = Connection::open(place.data().join("xray.db")).unwrap();
    other.execute_batch("BEGIN; SELECT count(*) FROM runs").unwrap();
    assert_eq!(place.post(run("read", "running")).join().unwrap(), 200, "who only reads is in nobody's way");
    other.execute_batch("COMMIT; BEGIN EXCLUSIVE").unwrap();
    let waiting = place.post(run("locked", "running"));
    place.wait_until_unready("database", "another process has been holding its lock");
    assert!(!waiting.is_finished());
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(waiting.join().unwrap(), 200);
    place.assert_right();
}

/// Taken away under the worker's feet: nothing is acked that would be gone with it, and put back it goes on.
#[test]
fn a_directory_that_is_gone() {
    let mut place = Place::start();
    assert_eq!(place.post(run("before", "running")).join().unwrap(), 200);
    let away = place.dir.path().join("away");
    std::fs::rename(place.data(), &away).unwrap();
    let waiting = place.post(run("gone", "running"));
    place.wait_until_unready("database", "it was removed or replaced: put it back");
    place.wait_until_unready("objects", "the data directory is gone: put it back");
    assert!(!waiting.is_finished());
    std::fs::rename(&away, place.data()).unwrap();
    assert_eq!(waiting.join().unwrap(), 200);
    place.assert_right();
}

/// Deleted for good: the worker says so and acks nothing; started again it begins a new one.
#[test]
fn a_directory_that_is_deleted() {
    let mut place = Place::start();
    assert_eq!(place.post(run("before", "running")).join().unwrap(), 200);
    std::fs::remove_dir_all(place.data()).unwrap();
    place.sent.clear();
    let waiting = place.post(run("after", "running"));
    place.wait_until_unready("database", "restart the worker");
    assert!(!waiting.is_finished());
    place.worker.process.kill_9();
    drop(waiting);
    place.sent.clear();
    place.worker = Server::start(place.dir.path(), "data", &[]);
    assert_eq!(place.post(run("after", "running")).join().unwrap(), 200);
    place.assert_right();
}

/// A directory on a file system of a few megabytes.
struct SmallDisk {
    dir: TempDir,
    holder: Running,
}

impl SmallDisk {
    /// Lives in the namespace of a process that does nothing else, and ends with it.
    fn mount(megabytes: u32) -> SmallDisk {
        let dir = tempfile::tempdir().unwrap();
        let script = format!(
            "mount -t tmpfs -o size={megabytes}m tmpfs '{}' && touch ready && exec sleep 600",
            dir.path().display()
        );
        let mut unshare = Command::new("unshare");
        unshare.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]);
        let ready = tempfile::tempdir().unwrap();
        let child = unshare.current_dir(ready.path()).stdin(Stdio::null()).spawn().unwrap();
        let disk = SmallDisk { dir, holder: Running(child) };
        until(|| match ready.path().join("ready").exists() {
            true => Ok(()),
            false => Err("cannot mount a tmpfs in a user namespace (unshare from util-linux)".into()),
        });
        disk
    }

    /// Its root, as everybody else sees it.
    fn path(&self) -> std::path::PathBuf {
        let inside = self.dir.path().strip_prefix("/").unwrap();
        Path::new("/proc").join(self.holder.0.id().to_string()).join("root").join(inside)
    }

    /// A command that runs in its namespace.
    fn inside(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--preserve-credentials", "--user", "--mount", "--target", &self.holder.0.id().to_string()]);
        command
    }

    /// From now on it is read-only for all that is opened by name. (The whole of it cannot be while files are open.)
    fn freeze(&self) {
        self.run("mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\"");
    }

    fn thaw(&self) {
        self.run("umount \"$1\"");
    }

    fn run(&self, script: &str) {
        let done = self.inside().args(["sh", "-c", script, "sh"]).arg(self.dir.path()).status().unwrap();
        assert!(done.success(), "{script}");
    }

    /// A worker on it.
    fn place(self) -> Place {
        let dir = tempfile::tempdir().unwrap();
        let mut command = self.inside();
        command.arg(env!("CARGO_BIN_EXE_xray-processor-worker")).args(["run", "--embedded", "--data"]);
        command.arg(self.dir.path()).env_clear().stdin(Stdio::null());
        command.envs([("HTTP_ADDR", "127.0.0.1:0"), ("LOG_FORMAT", "json")]);
        Place { dir, worker: Server::spawn(command), disk: Some(self), sent: Vec::new() }
    }
}

#[test]
fn a_disk_that_fills_up() {
    let mut place = SmallDisk::mount(6).place();
    assert_eq!(place.post(run("before", "running")).join().unwrap(), 200);
    let ballast = place.disk.as_ref().unwrap().path().join("ballast");
    // All that is left, to the last byte.
    std::io::copy(&mut std::io::repeat(0), &mut std::fs::File::create(&ballast).unwrap()).unwrap_err();
    let plan = Plan { seed: 1, runs: 2, items_per_run: 3..=5, ..Plan::default() };
    let bodies: Vec<_> = Lines::new(plan).map(|body| String::from_utf8(body.to_vec()).unwrap()).collect();
    let waiting: Vec<_> = bodies.into_iter().map(|body| place.post(body)).collect();
    place.wait_until_unready("objects", "the disk that holds it is full: free some space");
    assert!(waiting.iter().all(|answer| !answer.is_finished()), "nothing is acked");
    std::fs::remove_file(&ballast).unwrap();
    for answer in waiting {
        assert!([200, 422].contains(&answer.join().unwrap()));
    }
    place.assert_right();
}

#[test]
fn a_disk_that_becomes_read_only() {
    let mut place = SmallDisk::mount(16).place();
    assert_eq!(place.post(run("before", "running")).join().unwrap(), 200);
    place.disk.as_ref().unwrap().freeze();
    let waiting = place.post(run("read-only", "running"));
    place.wait_until_unready("objects", "read-only");
    assert!(!waiting.is_finished());
    place.disk.as_ref().unwrap().thaw();
    assert_eq!(waiting.join().unwrap(), 200);
    place.assert_right();
}
