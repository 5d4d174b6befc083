import pathlib
import sys

from lib.base import Server
from lib.install import pip_install

FRONT = pathlib.Path(__file__).resolve().parent.parent / "clickhouse_http"


class ClickHouse(Server):
    """The ClickHouse engine as a Python library, with an HTTP interface of our own in front (../clickhouse_http)."""

    name = "clickhouse"
    # The wheels belong to one version of Python.
    version = f"26.9.0-py{sys.version_info.major}.{sys.version_info.minor}"
    ports = {"http": 18123}
    health = ("/ping", 200)

    def add_options(self, parser):
        parser.add_argument("--user", default="default", help="default %(default)s; `reader` may always only read")
        parser.add_argument("--password", default="", help="default empty; that of `reader` is reader")
        parser.add_argument("--grants", metavar="SQL", help="all that may be done: GRANT …; GRANT …; default everything")
        parser.add_argument("--timezone", metavar="TZ", help="of the server, such as America/New_York; default UTC")

    def install(self, into):
        pip_install(into, "chdb-core==26.9.0", "lz4==4.4.5", "clickhouse-cityhash==1.0.2.6")

    def command(self, run):
        users = ["--user", run.options.user, "--password", run.options.password]
        tls = ["--cert", run.tls / "server.pem", "--key", run.tls / "server.key"] if run.tls else []
        rights = ["--grants", run.options.grants] if run.options.grants else []
        return [sys.executable, FRONT, "--port", str(run.port), "--data", run.data, *users, *tls, *rights]

    def environment(self, run):
        return {"PYTHONPATH": run.home, "PYTHONDONTWRITEBYTECODE": "1", "TZ": run.options.timezone or "UTC"}

    def exports(self, run):
        return {
            "CLICKHOUSE_HOST": "https://127.0.0.1" if run.tls else "127.0.0.1",
            "CLICKHOUSE_PORT": str(run.port),
            "CLICKHOUSE_USER": run.options.user,
            "CLICKHOUSE_PASSWORD": run.options.password,
        }
