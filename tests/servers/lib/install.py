"""Installs servers below one directory, each into NAME-VERSION. A directory of that name is complete, always: it is
filled under another name and renamed, so an interrupted install leaves nothing that looks like one."""

import contextlib
import fcntl
import os
import pathlib
import shutil
import subprocess
import sys

from lib.base import Failed

REPOSITORY = pathlib.Path(__file__).resolve().parents[3]


def root():
    directory = pathlib.Path(os.environ.get("XRAY_SERVERS_DIR") or REPOSITORY / "target" / "servers").absolute()
    directory.mkdir(parents=True, exist_ok=True)
    return directory


@contextlib.contextmanager
def lock(name):
    """Lets one process at a time make `name`. The lock goes with the process, however it ends."""
    with open(root() / f".{name}.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def make_once(name, fill):
    """The directory `name`, filled by `fill(directory)` the first time."""
    home, partial = root() / name, root() / f".{name}.{os.getpid()}.partial"
    if not home.exists():
        with lock(name):
            if not home.exists():
                for left in root().glob(f".{name}.*.partial"):
                    shutil.rmtree(left, ignore_errors=True)
                partial.mkdir()
                fill(partial)
                partial.rename(home)
    return home


def install(server):
    home = make_once(f"{server.name}-{server.version}", server.install)
    say(f"{server.name} {server.version} is in {home}")


def installed(server):
    home = root() / f"{server.name}-{server.version}"
    if not home.exists():
        raise Failed(f"{server.name} is not installed; run `tests/servers/servers install {server.name}`")
    return home


def go_install(into, package, duration):
    if not shutil.which("go"):
        raise Failed(
            f"`go` is needed to build {package.split('@')[0]}; install Go 1.25 or newer, see https://go.dev/dl"
        )
    say(f"building {package}, which takes about {duration} on two cores the first time")
    command(["go", "install", "-trimpath", "-ldflags", "-s -w", package], GOBIN=str(into))


def pip_install(into, *packages):
    pip = [sys.executable, "-m", "pip"]
    if subprocess.run([*pip, "--version"], capture_output=True).returncode:
        raise Failed(f"pip is needed by {sys.executable} for {packages[0]}; install python3-pip")
    say(f"downloading {', '.join(packages)}")
    wheels = ["--no-deps", "--only-binary", ":all:", "--target", str(into)]
    command(
        [*pip, "install", "-q", *wheels, *packages], PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_ROOT_USER_ACTION="ignore"
    )


def maven_copy(into, *artifacts):
    """The jars of these (group, artifact, version, [(group, artifact) to leave out]) and what they need, in `lib`."""
    if not shutil.which("mvn"):
        raise Failed(f"`mvn` is needed to fetch {artifacts[0][1]}; install Java 17 or newer and Maven")
    pom = into / "pom.xml"
    dependencies = "".join(
        f"<dependency><groupId>{group}</groupId><artifactId>{name}</artifactId><version>{version}</version><exclusions>"
        + "".join(
            f"<exclusion><groupId>{group}</groupId><artifactId>{name}</artifactId></exclusion>" for group, name in without
        )
        + "</exclusions></dependency>"
        for group, name, version, without in artifacts
    )
    pom.write_text(
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion><groupId>xray</groupId>'
        f"<artifactId>servers</artifactId><version>1</version><packaging>pom</packaging>"
        f"<dependencies>{dependencies}</dependencies></project>"
    )
    say(f"downloading {artifacts[0][1]} {artifacts[0][2]}")
    goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={into / 'lib'}"]
    command(["mvn", "-q", "-B", "-f", str(pom), *goal])


def command(words, **environment):
    # Standard output is for results.
    result = subprocess.run(words, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, stdout=sys.stderr)
    if result.returncode:
        raise Failed(f"`{' '.join(words)}` failed with exit code {result.returncode}; its output above says why")


def say(text):
    print(f"servers: {text}", file=sys.stderr, flush=True)
