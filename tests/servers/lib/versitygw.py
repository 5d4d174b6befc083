from lib.base import S3Server
from lib.install import go_install


class VersityGW(S3Server):
    name = "versitygw"
    version = "1.8.0"
    ports = {"s3": 19010}
    health = ("/health", 200)

    def install(self, into):
        go_install(into, f"github.com/versity/versitygw/cmd/versitygw@v{self.version}", "2 minutes")

    def command(self, run):
        tls = ["--cert", run.tls / "server.pem", "--key", run.tls / "server.key"] if run.tls else []
        listen = ["--port", f"127.0.0.1:{run.port}", "--health", "/health", "--region", "us-east-1"]
        return [run.home / "versitygw", *listen, *tls, "posix", run.data]

    def environment(self, run):
        keys = {"ROOT_ACCESS_KEY": run.options.access_key, "ROOT_SECRET_KEY": run.options.secret_key}
        # Else it ends each connection after one answer, which costs both sides more than the request itself.
        return keys | {"VGW_KEEP_ALIVE": "true"}
