import os
import shutil
import socket

from lib.base import Failed, Server
from lib.install import command, say


class RabbitMQ(Server):
    """RabbitMQ 4 with its Erlang, unpacked from Debian's packages into a directory of its own: nothing is installed."""

    name = "rabbitmq"
    version = "4.0.5"
    ports = {"amqp": 26672, "amqps": 26671, "dist": 26673, "epmd": 26369}
    # amqps listens in any case.
    needs_tls = True

    def add_options(self, parser):
        parser.add_argument("--consumer-timeout", type=int, metavar="MS", help="checked every second, not every minute")
        parser.add_argument("--user", default="guest", help="default %(default)s")
        parser.add_argument("--password", default="guest", help="default %(default)s")
        parser.add_argument("--verify-peer", action="store_true", help="amqps asks clients for a certificate")

    def install(self, into):
        for tool in ("mmdebstrap", "patchelf"):
            if not shutil.which(tool):
                raise Failed(f"`{tool}` is needed to unpack RabbitMQ; install {tool}")
        # The path is written into the files, so it must be the final one.
        tree = into.parent / f"{self.name}-{self.version}.tree"
        shutil.rmtree(tree, ignore_errors=True)
        say("unpacking RabbitMQ and Erlang from Debian trixie, which takes about 30 seconds")
        command(["mmdebstrap", "-q", "--variant=extract", "--include=rabbitmq-server", "trixie", str(tree)])
        libraries = tree / "usr/lib/x86_64-linux-gnu"
        loader = next(libraries.glob("ld-linux-*.so.*"))
        erlang = tree / "usr/lib/erlang"
        for file in erlang.rglob("*"):
            if file.is_file() and not file.is_symlink() and is_elf(file):
                interpreter = [] if file.suffix == ".so" else ["--set-interpreter", str(loader)]
                command(["patchelf", *interpreter, "--set-rpath", str(libraries), str(file)])
        for script in [erlang / "bin/erl", *erlang.glob("erts-*/bin/erl")]:
            script.write_text(script.read_text().replace("=/usr/lib/erlang", f"={erlang}"))
        (into / "tree").symlink_to(tree)

    def prepare(self, run):
        options = run.options
        home = run.data
        cookie = home / ".erlang.cookie"
        if not cookie.exists():
            cookie.write_text("XRAYTESTCOOKIE")
            cookie.chmod(0o400)
        verify = "verify_peer" if options.verify_peer else "verify_none"
        lines = [
            f"listeners.tcp.1 = 127.0.0.1:{run.ports['amqp']}",
            f"listeners.ssl.1 = 127.0.0.1:{run.ports['amqps']}",
            f"ssl_options.cacertfile = {run.ca}",
            f"ssl_options.certfile = {run.tls / 'server.pem'}",
            f"ssl_options.keyfile = {run.tls / 'server.key'}",
            f"ssl_options.verify = {verify}",
            f"ssl_options.fail_if_no_peer_cert = {str(options.verify_peer).lower()}",
            "disk_free_limit.absolute = 50MB",
            f"default_user = {options.user}",
            f"default_pass = {options.password}",
            "default_user_tags.administrator = true",
        ]
        if options.consumer_timeout:
            lines.append(f"consumer_timeout = {options.consumer_timeout}")
        (home / "rabbitmq.conf").write_text("\n".join(lines) + "\n")
        # Otherwise the consumer timeout is looked at once a minute only.
        (home / "advanced.config").write_text("[{rabbit,[{channel_tick_interval,1000}]}].\n")
        (home / "env.conf").write_text("")
        (home / "enabled_plugins").write_text("[].\n")

    def command(self, run):
        # The name server of Erlang, which would otherwise outlive all else as a daemon; the server becomes our process.
        epmd = f"setpriv --pdeathsig KILL epmd -address 127.0.0.1 -port {run.ports['epmd']} &"
        return ["sh", "-c", f"{epmd} exec rabbitmq-server"]

    def environment(self, run):
        home, local = run.data, "-kernel inet_dist_use_interface {127,0,0,1}"
        return {
            "HOME": home,
            "PATH": f"{sbin(run)}:{run.home / 'tree/usr/lib/erlang/bin'}:{os.environ['PATH']}",
            "RABBITMQ_NODENAME": f"n{run.ports['amqp']}@localhost",
            "RABBITMQ_MNESIA_BASE": home / "mnesia",
            "RABBITMQ_LOG_BASE": home / "log",
            "RABBITMQ_CONFIG_FILE": home / "rabbitmq.conf",
            "RABBITMQ_ADVANCED_CONFIG_FILE": home / "advanced.config",
            "RABBITMQ_CONF_ENV_FILE": home / "env.conf",
            "RABBITMQ_ENABLED_PLUGINS_FILE": home / "enabled_plugins",
            "RABBITMQ_PID_FILE": home / "pid",
            "RABBITMQ_DIST_PORT": run.ports["dist"],
            "RUNNING_UNDER_SYSTEMD": "1",
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": run.ports["epmd"],
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": local,
            "RABBITMQ_CTL_ERL_ARGS": local,
        }

    def tools(self, run):
        return {name: str(value) for name, value in self.environment(run).items()}

    def ready(self, run):
        # A port that is open may still be that of a server which reads nothing yet.
        try:
            with socket.create_connection(("127.0.0.1", run.port), timeout=2) as probe:
                probe.sendall(b"AMQP\x00\x00\x09\x01")
                answered = bool(probe.recv(1))
            # The port of TLS opens after that.
            socket.create_connection(("127.0.0.1", run.ports["amqps"]), timeout=2).close()
            return answered
        except OSError:
            return False

    def exports(self, run):
        user = f"{run.options.user}:{run.options.password}"
        return {"AMQP_URL": f"amqp://{user}@127.0.0.1:{run.port}"}


def sbin(run):
    return run.home / "tree/usr/lib/rabbitmq/lib/rabbitmq_server-4.0.5/sbin"


def is_elf(file):
    with open(file, "rb") as opened:
        return opened.read(4) == b"\x7fELF"
