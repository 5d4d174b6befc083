import json

from lib.base import Server, answers
from lib.install import go_install


class Nats(Server):
    """NATS with JetStream. Plain, with TLS, or with a way to log in."""

    name = "nats"
    version = "2.15.2"
    ports = {"nats": 14222, "monitor": 18222}

    def add_options(self, parser):
        parser.add_argument("--user", metavar="NAME:PASSWORD", action="append", default=[], help="who may log in")
        parser.add_argument(
            "--poor", metavar="NAME:PASSWORD", action="append", default=[], help="who may log in, but not use JetStream"
        )
        parser.add_argument("--token", help="what logs in")
        parser.add_argument(
            "--nkey", metavar="PUBLIC", action="append", default=[], help="the public key of who may log in"
        )
        parser.add_argument("--verify", action="store_true", help="with --tls, asks clients for a certificate")
        parser.add_argument("--no-jetstream", action="store_true", help="without JetStream")
        parser.add_argument("--extra", metavar="TEXT", default="", help="lines for its configuration")

    def install(self, into):
        go_install(into, f"github.com/nats-io/nats-server/v2@v{self.version}", "a minute")

    def prepare(self, run):
        (run.data / "nats.conf").write_text("\n".join(configuration(run)) + "\n")

    def command(self, run):
        return [run.home / "nats-server", "-c", run.data / "nats.conf"]

    def ready(self, run):
        # Its monitor speaks plain HTTP in any case, and says so once streams and consumers are there again.
        return answers(run.ports["monitor"], "/healthz")

    def exports(self, run):
        return {"NATS_URL": f"nats://127.0.0.1:{run.port}"}


class Nats29(Nats):
    """The oldest that the worker knows how to talk to."""

    name = "nats-2.9"
    version = "2.9.10"
    ports = {"nats": 14229, "monitor": 18229}


def configuration(run):
    options = run.options
    yield f"listen: 127.0.0.1:{run.port}"
    yield f"http: 127.0.0.1:{run.ports['monitor']}"
    yield "max_payload: 8388608"
    if not options.no_jetstream:
        yield f"jetstream {{ store_dir: {quoted(run.data / 'js')} }}"
    if run.tls:
        files = {"cert_file": "server.pem", "key_file": "server.key", "ca_file": "ca.pem"}
        words = [f"{name}: {quoted(run.tls / file)}" for name, file in files.items()]
        yield f"tls {{ {', '.join(words)}, verify: {str(options.verify).lower()} }}"
    if options.token:
        yield f"authorization {{ token: {quoted(options.token)} }}"
    users = [user(*who.split(":", 1)) for who in options.user]
    users += [user(*who.split(":", 1), ", permissions: { publish: { deny: \"$JS.API.>\" } }") for who in options.poor]
    users += [f"{{ nkey: {quoted(key)} }}" for key in options.nkey]
    if users:
        yield f"authorization {{ users: [{', '.join(users)}] }}"
    yield options.extra


def user(name, password, rest=""):
    return f"{{ user: {quoted(name)}, password: {quoted(password)}{rest} }}"


def quoted(text):
    return json.dumps(str(text))
