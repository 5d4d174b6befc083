"""What a server is to this tool: how it is installed and started, how one knows it is ready, what the worker needs."""

import argparse
import dataclasses
import http.client
import pathlib
import ssl


class Failed(Exception):
    """Ends the tool with exit code 1; the text says what failed and what to do."""


@dataclasses.dataclass
class Run:
    """One start of a server: where it listens, where its data are, how it was asked to behave."""

    home: pathlib.Path
    ports: dict
    data: pathlib.Path
    tls: pathlib.Path | None
    options: argparse.Namespace

    @property
    def port(self):
        return next(iter(self.ports.values()))

    @property
    def log(self):
        return pathlib.Path(f"{self.data}.log")

    @property
    def ca(self):
        return self.tls and self.tls / "ca.pem"


class Server:
    name = ""
    version = ""
    # Everything it listens on, by name, with the port `servers start` gives it. Clients talk to the first.
    ports = {}
    # The path that answers with this status as soon as the server is ready, and not before.
    health = ("", 200)
    # Whether it needs certificates even where nobody asks for TLS: it has a port of its own for it.
    needs_tls = False
    #: Options that it has where somebody starts it by hand.
    by_hand = []

    def add_options(self, parser):
        """Adds the options that only this server has."""

    def install(self, into):
        """Puts the pinned version into the empty directory `into`, which is moved away afterwards."""
        raise NotImplementedError

    def prepare(self, run):
        """Makes what must be there before it starts."""

    def command(self, run):
        raise NotImplementedError

    def environment(self, run):
        """Its variables besides those of this process."""
        return {}

    def exports(self, run):
        """The variables a worker needs to find it."""
        raise NotImplementedError

    def tools(self, run):
        """The variables its own command line tools need, where it has any."""
        return {}

    def ready(self, run):
        path, status = self.health
        return answers(run.port, path, status, run.ca)


class S3Server(Server):
    """An S3 server with one account, and buckets that are directories of its data."""

    def add_options(self, parser):
        parser.add_argument("--access-key", default="worker", help="default %(default)s")
        parser.add_argument("--secret-key", default="worker-secret", help="at least 8 characters, default %(default)s")
        parser.add_argument("--bucket", action="append", metavar="NAME", help="made at the start, default xray-raw")

    def prepare(self, run):
        for bucket in run.options.bucket or ["xray-raw"]:
            (run.data / bucket).mkdir(exist_ok=True)

    def exports(self, run):
        return {
            "MINIO_ENDPOINT": "127.0.0.1",
            "MINIO_PORT": str(run.port),
            "MINIO_ACCESS_KEY": run.options.access_key,
            "MINIO_SECRET_KEY": run.options.secret_key,
            "MINIO_USE_SSL": "true" if run.tls else "false",
        }


def answers(port, path, status=200, ca=None):
    """Whether a server answers so to a GET, over TLS where its CA is given."""
    if ca:
        context = ssl.create_default_context(cafile=ca)
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=2, context=context)
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == status
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
