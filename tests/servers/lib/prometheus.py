import pathlib
import shutil

from lib.base import Failed, Server
from lib.install import command, say

NOTHING = "scrape_configs: []\n"


class Prometheus(Server):
    """Prometheus, and promtool beside it: from Debian's package, of which nothing else is kept."""

    name = "prometheus"
    version = "2.42.0"
    ports = {"http": 19090}
    health = ("/-/ready", 200)

    def add_options(self, parser):
        parser.add_argument("--config", type=pathlib.Path, metavar="FILE", help="its configuration, default: scrapes nothing")

    def install(self, into):
        if not shutil.which("mmdebstrap"):
            raise Failed("`mmdebstrap` is needed to unpack Prometheus; install mmdebstrap")
        say("unpacking Prometheus from Debian bookworm, which takes about 20 seconds")
        tree = into / "tree"
        command(["mmdebstrap", "-q", "--variant=extract", "--include=prometheus", "bookworm", str(tree)])
        for name in ("prometheus", "promtool"):
            shutil.move(tree / "usr/bin" / name, into / name)
        shutil.rmtree(tree)

    def prepare(self, run):
        if not run.options.config:
            (run.data / "prometheus.yml").write_text(NOTHING)

    def command(self, run):
        config = run.options.config or run.data / "prometheus.yml"
        storage, listen = f"--storage.tsdb.path={run.data / 'tsdb'}", f"--web.listen-address=127.0.0.1:{run.port}"
        return [run.home / "prometheus", f"--config.file={config}", storage, listen]

    def exports(self, run):
        return {"PROMETHEUS_URL": f"http://127.0.0.1:{run.port}"}

    def tools(self, run):
        return {"PROMTOOL": str(run.home / "promtool")}
