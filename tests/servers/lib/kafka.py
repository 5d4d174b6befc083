import pathlib
import socket
import subprocess

from lib.base import Failed, Server
from lib.install import maven_copy

LOG4J = """\
status = warn
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss.SSS} %p %c{1} %m%n
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
"""

PLAIN = 'org.apache.kafka.common.security.plain.PlainLoginModule required user_plain="plain-secret";'
SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"


class Kafka(Server):
    """Apache Kafka, one node that is broker and controller. Plain, SASL, SASL over TLS and mutual TLS, a port each."""

    name = "kafka"
    version = "4.3.1"
    ports = {"plaintext": 19092, "controller": 19093, "sasl_plaintext": 19094, "sasl_ssl": 19095, "ssl": 19096}
    # Every listener may be wanted by a test, so the certificates are always there.
    needs_tls = True
    by_hand = ["--auto-create"]

    def add_options(self, parser):
        parser.add_argument("--auto-create", action="store_true", help="topics come into being when they are asked for")
        parser.add_argument("--partitions", type=int, default=4, help="of such topics, default %(default)s")

    def install(self, into):
        # kafka-tools brings in the storage tool that formats a new data directory; all of Connect would come with it.
        maven_copy(
            into,
            ("org.apache.kafka", "kafka_2.13", self.version, []),
            ("org.apache.kafka", "kafka-tools", self.version, [("org.apache.kafka", "connect-runtime")]),
            ("org.apache.logging.log4j", "log4j-slf4j-impl", "2.25.5", []),
        )
        (into / "log4j2.properties").write_text(LOG4J)

    def prepare(self, run):
        chain(run).write_text("".join((run.tls / name).read_text() for name in ("server.key", "server.pem", "ca.pem")))
        properties(run).write_text(self.properties(run))
        if (data(run) / "meta.properties").exists():
            return
        words = ["kafka.tools.StorageTool", "format", "--standalone", "-t", "AAAAAAAAAAAAAAAAAAAAAQ"]
        words += ["-c", properties(run), "--add-scram", "SCRAM-SHA-512=[name=worker,password=secret]"]
        words += ["--add-scram", "SCRAM-SHA-256=[name=worker,password=secret]"]
        result = subprocess.run([str(word) for word in java(run, words)], capture_output=True, text=True)
        if result.returncode:
            raise Failed(f"formatting the data directory of Kafka failed: {result.stdout}{result.stderr}")

    def command(self, run):
        return java(run, ["kafka.Kafka", properties(run)])

    def ready(self, run):
        try:
            socket.create_connection(("127.0.0.1", run.port), timeout=2).close()
            return True
        except OSError:
            return False

    def exports(self, run):
        return {"KAFKA_BROKERS": f"127.0.0.1:{run.port}"}

    def properties(self, run):
        at = {name: f"127.0.0.1:{port}" for name, port in run.ports.items()}
        listeners = {name.upper(): address for name, address in at.items() if name != "controller"}
        text = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.bootstrap.servers": at["controller"],
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "listeners": ",".join(f"{name}://{address}" for name, address in listeners.items())
            + f",CONTROLLER://{at['controller']}",
            "advertised.listeners": ",".join(f"{name}://{address}" for name, address in listeners.items()),
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,"
            "SASL_SSL:SASL_SSL,SSL:SSL",
            "log.dirs": data(run),
            "auto.create.topics.enable": str(run.options.auto_create).lower(),
            "num.partitions": run.options.partitions,
            "group.initial.rebalance.delay.ms": 0,
            "group.min.session.timeout.ms": 1000,
            # A killed broker is let in again once its session is over: after 7 s, not 13.
            "broker.session.timeout.ms": 3000,
            "broker.heartbeat.interval.ms": 500,
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 4,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "sasl.enabled.mechanisms": "SCRAM-SHA-512,SCRAM-SHA-256,PLAIN",
            "listener.name.ssl.ssl.client.auth": "required",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": chain(run),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": run.ca,
        }
        for listener in ("sasl_plaintext", "sasl_ssl"):
            text[f"listener.name.{listener}.plain.sasl.jaas.config"] = PLAIN
            for digest in ("256", "512"):
                text[f"listener.name.{listener}.scram-sha-{digest}.sasl.jaas.config"] = SCRAM
        return "".join(f"{key}={value}\n" for key, value in text.items())


def data(run):
    return run.data / "log"


def chain(run):
    return run.data / "server-chain.pem"


def properties(run):
    return run.data / "server.properties"


def java(run, words):
    # Small and quick to start rather than fast: a test sends thousands of messages, not millions.
    options = ["-Xms128m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
    options += [f"-Dlog4j2.configurationFile={run.home / 'log4j2.properties'}"]
    return ["java", *options, "-cp", pathlib.Path(run.home, "lib", "*"), *words]
