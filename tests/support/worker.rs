//! The worker's binary as a user would start it: with a clean environment, in a directory of its own.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Long enough for any healthy end on a loaded machine; only a hang takes longer.
const PATIENCE: Duration = Duration::from_secs(120);

/// The binary with these arguments, in `dir`, and nothing of this process's environment.
pub fn worker(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xray-processor-worker"));
    command.args(args).current_dir(dir).env_clear().stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub fn output(command: &mut Command) -> Output {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap()
}

/// Exit code, standard output and standard error of a run to its end.
pub fn ran(dir: &Path, args: &[&str]) -> (i32, String, String) {
    let output = output(&mut worker(dir, args));
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

/// Works `input` off into `data` and returns the summary.
pub fn work_off(dir: &Path, data: &str, input: &str) -> Value {
    let (code, stdout, stderr) = ran(dir, &["run", "--embedded", "--data", data, "--input", input, "--output", "json"]);
    assert_eq!(code, 0, "{stderr}");
    serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}"))
}

/// Writes lines as NDJSON and returns the path.
pub fn write_lines(path: PathBuf, lines: &[Vec<u8>]) -> String {
    let mut file = File::create(&path).unwrap();
    for line in lines {
        file.write_all(line).unwrap();
        file.write_all(b"\n").unwrap();
    }
    path.to_str().unwrap().to_owned()
}

/// A running process that is killed with -9 when the test is done with it.
pub struct Running(pub Child);

impl Running {
    pub fn kill_9(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    pub fn terminate(&self) {
        let pid = rustix::process::Pid::from_raw(self.0.id() as i32).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    /// Waits for its end.
    pub fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the worker does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A worker that serves HTTP on a port of its own.
pub struct Server {
    pub process: Running,
    pub address: SocketAddr,
}

impl Server {
    /// Starts one in embedded mode on `data`, with further environment variables.
    pub fn start(dir: &Path, data: &str, env: &[(&str, &str)]) -> Server {
        let mut command = worker(dir, &["run", "--embedded", "--data", data]);
        command.env("HTTP_ADDR", "127.0.0.1:0").env("LOG_FORMAT", "json").envs(env.iter().copied());
        Server::spawn(command)
    }

    /// Starts one that says in JSON where it listens.
    pub fn spawn(mut command: Command) -> Server {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut seen = String::new();
        let address = loop {
            let mut line = String::new();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "the worker ended: {seen}");
            let entry: Value = serde_json::from_str(&line).unwrap_or_default();
            if entry["message"] == "http server is up" {
                break entry["address"].as_str().unwrap().parse().unwrap();
            }
            seen.push_str(&line);
        };
        // The rest of the log must go somewhere, or the worker blocks on a full pipe.
        std::thread::spawn(move || log.read_to_end(&mut Vec::new()));
        Server { process: Running(child), address }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}
