"""Starts one server, waits until it is ready, and ends it with everything it started."""

import contextlib
import ctypes
import os
import random
import select
import signal
import socket
import subprocess
import time

from lib.base import Failed, Run

PR_SET_PDEATHSIG = 1


# Names in the system's abstract namespace, which say that a port is ours before its server listens. They go with us.
reservations = []


def free_port():
    # Below the range that outgoing connections take theirs from, so that a port stays free while its server restarts.
    while True:
        port = random.randrange(20000, 32000)
        if not taken(port) and reserve(port):
            return port


def reserve(port):
    name = socket.socket(socket.AF_UNIX)
    try:
        name.bind(f"\0xray-test-port-{port}")
    except OSError:
        name.close()
        return False
    reservations.append(name)
    return True


def taken(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def start(server, home, data, ports, tls, options, interrupted=lambda wait: time.sleep(wait), own=True):
    """Starts it and returns (process, run) when it is ready. A port of None is a free one. `interrupted(seconds)`
    waits that long, and raises to give up. `own`: it ends with this process, however that ends."""
    for attempt in range(5):
        run = Run(home, {name: port or free_port() for name, port in ports.items()}, data, tls, options)
        wait_until_free(server, run, interrupted)
        data.mkdir(parents=True, exist_ok=True)
        server.prepare(run)
        process = spawn(server, run, own)
        try:
            wait_until_ready(server, run, process, options.timeout, interrupted)
            return process, run
        except BaseException as error:
            lost_the_port = isinstance(error, Failed) and process.poll() is not None and "in use" in tail(run.log)
            end(process)
            if not lost_the_port or None not in ports.values() or attempt == 4:
                raise


def wait_until_free(server, run, interrupted):
    # Another server there would pass for ours until ours gives up. One killed a moment ago may still hold it.
    deadline = time.monotonic() + 5
    for port in run.ports.values():
        while taken(port):
            if time.monotonic() > deadline:
                raise Failed(f"cannot start {server.name}: port {port} is in use")
            interrupted(0.05)


def spawn(server, run, own):
    parent = os.getpid()

    def before_exec():
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    environment = {name: str(value) for name, value in server.environment(run).items()} | dict(run.options.env)
    with open(run.log, "ab") as log:
        return subprocess.Popen(
            [str(word) for word in server.command(run)],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=run.data.parent,
            start_new_session=True,
            preexec_fn=before_exec if own else None,
        )


def wait_until_ready(server, run, process, timeout, interrupted):
    deadline = time.monotonic() + timeout
    while not server.ready(run):
        if process.poll() is not None:
            raise Failed(f"{server.name} {ending(process)} before it was ready; {log_tail(run.log)}")
        if time.monotonic() > deadline:
            raise Failed(f"{server.name} was not ready after {timeout:g} s; {log_tail(run.log)}")
        interrupted(0.02)


def end(process):
    kill_group(process.pid)
    process.wait()


def kill_group(pid):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def wait_for(pidfd):
    select.select([pidfd], [], [])


def ending(process):
    code = process.poll()
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def log_tail(log):
    return f"the end of its log {log}:\n{tail(log)}"


def tail(log, size=4000):
    with open(log, "rb") as file:
        file.seek(max(0, os.path.getsize(log) - size))
        return file.read().decode(errors="replace").rstrip()


def input_ended(wait, *others):
    """Waits up to `wait` seconds (None: for ever) for the end of standard input or one of `others`; returns which of
    others came, and raises SystemExit at the end of input."""
    ready, _, _ = select.select([0, *others], [], [], wait)
    if 0 in ready and not os.read(0, 65536):
        raise SystemExit(0)
    return [other for other in others if other in ready]
