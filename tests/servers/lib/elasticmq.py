from lib.base import Server
from lib.install import maven_copy


class ElasticMQ(Server):
    """ElasticMQ, a server that speaks the protocol of Amazon SQS. Any access key is good; there is no TLS."""

    name = "elasticmq"
    version = "1.7.1"
    ports = {"http": 19324}
    health = ("/health", 200)

    def add_options(self, parser):
        parser.add_argument("--in-memory", action="store_true", help="twice as fast, and gone with the process")

    def install(self, into):
        maven_copy(into, ("org.elasticmq", "elasticmq-server_2.13", self.version, []))

    def prepare(self, run):
        storage = ""
        if not run.options.in_memory:
            # Without this delay a kill -9 takes along what was confirmed half a second before.
            storage = f'messages-storage {{ enabled = true, uri = "jdbc:h2:{run.data}/messages;WRITE_DELAY=0" }}\n'
        at = f'bind-hostname = "127.0.0.1", bind-port = {run.port}'
        configuration(run).write_text(
            'include classpath("application.conf")\n'
            f'node-address {{ protocol = http, host = 127.0.0.1, port = {run.port}, context-path = "" }}\n'
            f"rest-sqs {{ enabled = true, {at}, sqs-limits = strict }}\n"
            f'rest-stats {{ enabled = false, bind-hostname = "127.0.0.1", bind-port = 0 }}\n'
            f"{storage}aws {{ region = us-east-1, accountId = 000000000000 }}\n"
        )

    def command(self, run):
        java = ["java", "-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        return [*java, f"-Dconfig.file={configuration(run)}", "-cp", f"{run.home}/lib/*", "org.elasticmq.server.Main"]

    def exports(self, run):
        names = ("xray-decisions", "xray-steps", "xray-runs")
        return {
            "SQS_QUEUE_URL": ",".join(f"http://127.0.0.1:{run.port}/000000000000/{name}" for name in names),
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "worker",
            "AWS_SECRET_ACCESS_KEY": "worker-secret",
        }


def configuration(run):
    return run.data / "elasticmq.conf"
