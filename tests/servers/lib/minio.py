from lib.base import S3Server
from lib.install import go_install


class MinIO(S3Server):
    name = "minio"
    version = "2026-02-12"
    ports = {"s3": 19000}
    # Its own health checks are good some 50 ms before or after it takes requests: until it does, this is 503.
    health = ("/", 403)

    def install(self, into):
        go_install(into, "github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c", "5 minutes")

    def command(self, run):
        tls = ["--certs-dir", run.tls / "minio"] if run.tls else []
        return [run.home / "minio", "server", "--quiet", "--address", f"127.0.0.1:{run.port}", *tls, run.data]

    def environment(self, run):
        return {
            "MINIO_ROOT_USER": run.options.access_key,
            "MINIO_ROOT_PASSWORD": run.options.secret_key,
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
        }
