//! The end of a worker: within its time, whatever the stores do; at once at the second signal; also as process 1.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::rig::{Rig, until};
use crate::support::proxy::Fault;
use crate::support::worker;

/// What the worker has to finish what it holds; its last words to broker and clients come on top of that.
const SHUTDOWN: Duration = Duration::from_secs(1);
/// Far more than these, and far less than one would wait for a store.
const SOON: Duration = Duration::from_secs(30);

#[test]
fn stores_that_are_down_do_not_hold_up_the_end() {
    for fault in [Fault::Refuse, Fault::Hang, Fault::status(503)] {
        let mut rig = Rig::start_with("minio", &[("SHUTDOWN_TIMEOUT_MS", "1000"), ("S3_TIMEOUT_MS", "3600000")]);
        rig.objects.set(fault.clone());
        rig.tables.set(fault.clone());
        let sending = rig.send();
        until(|| if rig.held() > 0 { Ok(()) } else { Err("nothing is held".into()) });
        let began = Instant::now();
        rig.worker.process.terminate();
        assert!(rig.worker.process.ended().success(), "{fault:?}");
        assert!(began.elapsed() >= SHUTDOWN, "{fault:?}: it tried to the end");
        assert!(began.elapsed() < SOON, "{fault:?}: {:?}", began.elapsed());
        assert_eq!(sending.durable(), 0, "{fault:?}");
    }
}

#[test]
fn the_second_signal_ends_it_at_once() {
    let mut rig = Rig::start_with("minio", &[("SHUTDOWN_TIMEOUT_MS", "3600000")]);
    rig.objects.set(Fault::Hang);
    let sending = rig.send();
    until(|| if rig.held() > 0 { Ok(()) } else { Err("nothing is held".into()) });
    rig.worker.process.terminate();
    until(|| if rig.is_draining() { Ok(()) } else { Err("it does not drain".into()) });
    rig.worker.process.terminate();
    assert_eq!(rig.worker.process.ended().code(), Some(1));
    assert_eq!(sending.durable(), 0);
}

/// Process 1 gets no signal that it does not ask for, and has to end by itself.
#[test]
fn as_process_1() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--pid", "--fork", "--kill-child"]);
    command.arg(env!("CARGO_BIN_EXE_xray-processor-worker")).args(["run", "--embedded", "--data"]);
    command.arg(dir.path().join("data")).env_clear().stdin(Stdio::null());
    command.envs([("HTTP_ADDR", "127.0.0.1:0"), ("LOG_FORMAT", "json")]);
    let mut parent = worker::Server::spawn(command);
    let children = format!("/proc/{0}/task/{0}/children", parent.process.0.id());
    let worker: i32 = std::fs::read_to_string(children).unwrap().trim().parse().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{worker}/status")).unwrap();
    let pids = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap();
    assert_eq!(pids.split_whitespace().last(), Some("1"));
    let pid = rustix::process::Pid::from_raw(worker).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(parent.process.ended().success());
}
