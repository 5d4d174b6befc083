//! The real servers, as `tests/servers/servers` installs and runs them. One that cannot be started fails the test with
//! that script's own words; nothing is skipped.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tempfile::TempDir;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/servers");

/// What the script says about a server that is ready.
#[derive(Debug, Deserialize)]
pub struct Running {
    pub pid: i32,
    pub port: u16,
    pub log: PathBuf,
    /// By what is spoken there.
    pub ports: BTreeMap<String, u16>,
    /// What a worker has to be told, `MINIO_PORT` or `CLICKHOUSE_PORT` among them.
    pub env: BTreeMap<String, String>,
    /// The file of the CA that signed its certificate, with `--tls`.
    pub ca: Option<PathBuf>,
    /// The variables that its own command line tools need.
    #[serde(default)]
    pub tools: BTreeMap<String, String>,
}

/// A server. It ends with this value, and at the latest with this process, by whatever means, and its data with it.
pub struct Server {
    name: String,
    args: Vec<String>,
    running: Box<Running>,
    script: Script,
    /// `None`: the script keeps them, and nobody restarts it.
    data: Option<TempDir>,
}

/// A server that others use too, or one of one's own.
pub enum Which {
    Shared(&'static Server),
    Own(Box<Server>),
}

impl std::ops::Deref for Which {
    type Target = Server;

    fn deref(&self) -> &Server {
        match self {
            Which::Shared(server) => server,
            Which::Own(server) => server,
        }
    }
}

impl Server {
    /// Starts `minio`, `versitygw` or `clickhouse` on a free port.
    pub fn start(name: &str) -> Server {
        Server::start_with(name, &[])
    }

    /// The same with further arguments of `servers run`: `--tls`, `--env NAME=VALUE`, …
    pub fn start_with(name: &str, args: &[&str]) -> Server {
        Server::new(name, args, Some(tempfile::tempdir().unwrap()))
    }

    /// The one that all tests of this binary share. It is never killed.
    pub fn shared(name: &str) -> &'static Server {
        Server::shared_with(name, &[])
    }

    /// The same, started with further arguments of `servers run` by whoever comes first.
    pub fn shared_with(name: &str, args: &[&str]) -> &'static Server {
        static SHARED: Mutex<BTreeMap<String, &Server>> = Mutex::new(BTreeMap::new());
        // A server that did not start fails every test that wants it, each with the reason.
        let mut shared = SHARED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        // What is never dropped would leave its directory behind; the script's is removed when this process ends.
        shared.entry(name.to_owned()).or_insert_with(|| Box::leak(Box::new(Server::new(name, args, None))))
    }

    fn new(name: &str, args: &[&str], data: Option<TempDir>) -> Server {
        let mut args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        if let Some(data) = &data {
            args.extend(["--data".to_owned(), data.path().join(name).to_str().unwrap().to_owned()]);
        }
        let (script, running) = Script::run(name, &args);
        Server { name: name.to_owned(), args, running, script, data }
    }

    /// What is known about it.
    pub fn running(&self) -> &Running {
        &self.running
    }

    /// One of the variables a worker has to be told.
    pub fn env(&self, name: &str) -> &str {
        self.running.env.get(name).unwrap_or_else(|| panic!("{} has no {name}: {:?}", self.name, self.running.env))
    }

    /// Tells a worker where it is.
    pub fn tell<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.envs(&self.running.env)
    }

    /// Ends it in the middle of whatever it does.
    pub fn kill_9(&mut self) {
        self.signal(Signal::KILL);
        self.script.ended();
    }

    /// Stops it where it is, until [`go_on`](Self::go_on): connections stay open, and nobody answers.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
        // On a busy machine its threads take their time.
        while !self.frozen() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn frozen(&self) -> bool {
        let mut threads = fs::read_dir(format!("/proc/{}/task", self.running.pid)).unwrap();
        threads.all(|thread| {
            let stat = fs::read_to_string(thread.unwrap().path().join("stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['T', 't']))
        })
    }

    /// Lets it go on after [`freeze`](Self::freeze).
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.running.pid).unwrap(), signal).unwrap();
    }

    /// Starts it again after [`kill_9`](Self::kill_9), on the same port and data.
    pub fn restart(&mut self) {
        self.restart_with(&[]);
    }

    /// The same with further arguments.
    pub fn restart_with(&mut self, args: &[&str]) {
        assert!(self.data.is_some(), "a shared server is not restarted");
        self.args.extend(args.iter().map(|arg| (*arg).to_owned()));
        let port = ["--port".to_owned(), self.running.port.to_string()];
        (self.script, self.running) = Script::run(&self.name, &[&port, &self.args[..]].concat());
    }
}

/// The script, which keeps the server as long as its standard input is open.
struct Script {
    child: Child,
    stderr: Option<JoinHandle<String>>,
}

impl Script {
    /// Returns once the server is ready.
    fn run(name: &str, args: &[String]) -> (Script, Box<Running>) {
        let mut command = Command::new(SCRIPT);
        command.args(["run", name]).args(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot run {SCRIPT}: {error}"));
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut stderr = child.stderr.take().unwrap();
        let stderr = std::thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).ok();
            text
        });
        let mut script = Script { child, stderr: Some(stderr) };
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        match serde_json::from_str(&line) {
            Ok(running) => (script, running),
            Err(_) => panic!("{name} cannot be started: {}", script.ended()),
        }
    }

    /// Waits for its end and returns what it complained about.
    fn ended(&mut self) -> String {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
        self.stderr.take().map(|stderr| stderr.join().unwrap()).unwrap_or_default()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.ended();
    }
}
