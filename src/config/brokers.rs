//! The settings of the brokers: a part of the table of all settings.

use super::kind::Kind;
use super::settings::{MAX_MILLIS, Section, Setting};
use super::value::{CREATE, DECLARE, SASL_MECHANISMS, SECURITY_PROTOCOLS};

pub(super) const KAFKA: Section = Section {
    title: "Kafka",
    doc: "With `QUEUE_TYPE=kafka`. [brokers.md](brokers.md) has a minimal and a production configuration.",
    settings: &[
        Setting {
            env: "KAFKA_BROKERS",
            path: "kafka.brokers",
            default: Some("localhost:9092"),
            kind: Kind::List(|d, v| d.config.kafka.brokers = v),
            doc: "Brokers to start from, `host:port`; the others are learnt from these.",
        },
        Setting {
            env: "KAFKA_TOPICS",
            path: "kafka.topics",
            default: Some("xray.decisions,xray.steps,xray.runs"),
            kind: Kind::List(|d, v| d.config.kafka.topics = v),
            doc: "Topics to consume. Those that do not exist yet are waited for.",
        },
        Setting {
            env: "KAFKA_GROUP_ID",
            path: "kafka.group_id",
            default: Some("xray-processor-worker"),
            kind: Kind::Text(|d, v| d.config.kafka.group_id = v),
            doc: "The consumer group. All workers that share the work have the same.",
        },
        Setting {
            env: "KAFKA_SECURITY_PROTOCOL",
            path: "kafka.security_protocol",
            default: None,
            kind: Kind::Word(SECURITY_PROTOCOLS, |d, v| d.config.kafka.security_protocol = Some(v)),
            doc: "Not set: `sasl_ssl` where `KAFKA_SASL_USERNAME` is set, else `ssl` where a `KAFKA_SSL_` file is, else \
                  `plaintext`.",
        },
        Setting {
            env: "KAFKA_SASL_MECHANISM",
            path: "kafka.sasl_mechanism",
            default: Some("PLAIN"),
            kind: Kind::Word(SASL_MECHANISMS, |d, v| d.config.kafka.sasl_mechanism = v),
            doc: "How to log in, where the protocol is one with SASL.",
        },
        Setting {
            env: "KAFKA_SASL_USERNAME",
            path: "kafka.sasl_username",
            default: None,
            kind: Kind::Text(|d, v| d.config.kafka.sasl_username = Some(v)),
            doc: "The user to log in as.",
        },
        Setting {
            env: "KAFKA_SASL_PASSWORD",
            path: "kafka.sasl_password",
            default: None,
            kind: Kind::Secret(|d, v| d.config.kafka.sasl_password = Some(v)),
            doc: "That user's password.",
        },
        Setting {
            env: "KAFKA_SSL_CA_FILE",
            path: "kafka.ssl_ca_file",
            default: None,
            kind: Kind::File(|d, v| d.config.kafka.ssl_ca_file = Some(v)),
            doc: "Certificates in PEM to trust, in place of those of the system.",
        },
        Setting {
            env: "KAFKA_SSL_CERT_FILE",
            path: "kafka.ssl_cert_file",
            default: None,
            kind: Kind::File(|d, v| d.config.kafka.ssl_cert_file = Some(v)),
            doc: "Our own certificate in PEM, where the broker asks for one.",
        },
        Setting {
            env: "KAFKA_SSL_KEY_FILE",
            path: "kafka.ssl_key_file",
            default: None,
            kind: Kind::File(|d, v| d.config.kafka.ssl_key_file = Some(v)),
            doc: "Its key in PEM.",
        },
        Setting {
            env: "KAFKA_SSL_KEY_PASSWORD",
            path: "kafka.ssl_key_password",
            default: None,
            kind: Kind::Secret(|d, v| d.config.kafka.ssl_key_password = Some(v)),
            doc: "What that key is encrypted with.",
        },
        Setting {
            env: "KAFKA_PROPERTIES",
            path: "kafka.properties",
            default: None,
            kind: Kind::Properties(|d, v| d.config.kafka.properties = v),
            doc: "Further [properties of librdkafka](https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md): \
                  `session.timeout.ms=30000; client.rack=a`, split at semicolons and line ends. In the file a table: \
                  `\"session.timeout.ms\" = 30000`. The ones that what the worker promises rests on, and those that have a \
                  setting of their own, cannot be set here. Values are never shown.",
        },
    ],
};

pub(super) const RABBITMQ: Section = Section {
    title: "RabbitMQ",
    doc: "With `QUEUE_TYPE=rabbitmq`. [brokers.md](brokers.md) has a minimal and a production configuration.",
    settings: &[
        Setting {
            env: "AMQP_URL",
            path: "rabbitmq.url",
            default: Some("amqp://guest:guest@localhost:5672"),
            kind: Kind::Secret(|d, v| d.config.rabbitmq.url = v),
            doc: "`amqp://user:password@host:port/vhost`, or `amqps://…` for TLS. Of several nodes, their URLs separated by \
                  commas: each is tried in turn. `?heartbeat=SECONDS` and `?auth_mechanism=external` are understood.",
        },
        Setting {
            env: "RABBITMQ_QUEUES",
            path: "rabbitmq.queues",
            default: Some("xray.decisions,xray.steps,xray.runs"),
            kind: Kind::List(|d, v| d.config.rabbitmq.queues = v),
            doc: "Queues to consume, each on a channel of its own. Those that do not exist yet are waited for.",
        },
        Setting {
            env: "RABBITMQ_DECLARE",
            path: "rabbitmq.declare",
            default: Some("no"),
            kind: Kind::Word(DECLARE, |d, v| d.config.rabbitmq.declare = v),
            doc: "Whether to create missing queues, durable and of this type. Queues that are there stay as they are.",
        },
        Setting {
            env: "RABBITMQ_PREFETCH",
            path: "rabbitmq.prefetch",
            default: None,
            kind: Kind::Count(1..=65_535, |d, v| d.config.rabbitmq.prefetch = Some(v)),
            doc: "Unacked messages per queue, at most. Not set: as many as the limits on what is in flight leave each queue, \
                  judged by the sizes that were seen, up to 2000.",
        },
        Setting {
            env: "RABBITMQ_CONSUMER_TIMEOUT_MS",
            path: "rabbitmq.consumer_timeout_ms",
            default: Some("1800000"),
            kind: Kind::Millis(1000..=MAX_MILLIS * 24 * 30, |d, v| d.config.rabbitmq.consumer_timeout = v),
            doc: "The `consumer_timeout` of the broker, where that was changed. Before a message is held for so long, because \
                  the stores are away, it is given back and consuming pauses.",
        },
        Setting {
            env: "RABBITMQ_CA_FILE",
            path: "rabbitmq.ca_file",
            default: None,
            kind: Kind::File(|d, v| d.config.rabbitmq.ca_file = Some(v)),
            doc: "Certificates in PEM to trust beside those of the system.",
        },
        Setting {
            env: "RABBITMQ_CERT_FILE",
            path: "rabbitmq.cert_file",
            default: None,
            kind: Kind::File(|d, v| d.config.rabbitmq.cert_file = Some(v)),
            doc: "Our own certificate in PEM, where the broker asks for one.",
        },
        Setting {
            env: "RABBITMQ_KEY_FILE",
            path: "rabbitmq.key_file",
            default: None,
            kind: Kind::File(|d, v| d.config.rabbitmq.key_file = Some(v)),
            doc: "Its key in PEM, not encrypted.",
        },
    ],
};

pub(super) const NATS: Section = Section {
    title: "NATS JetStream",
    doc: "With `QUEUE_TYPE=nats`. [brokers.md](brokers.md) has a minimal and a production configuration.",
    settings: &[
        Setting {
            env: "NATS_URL",
            path: "nats.url",
            default: Some("nats://localhost:4222"),
            kind: Kind::Secret(|d, v| d.config.nats.url = v),
            doc: "`nats://user:password@host:port`, `nats://token@host:port`, or `tls://…` where TLS must be spoken. Of \
                  several servers, their URLs separated by commas: each is tried in turn.",
        },
        Setting {
            env: "NATS_STREAM",
            path: "nats.stream",
            default: Some("XRAY"),
            kind: Kind::Text(|d, v| d.config.nats.stream = v),
            doc: "The stream to consume. One that does not exist yet is waited for.",
        },
        Setting {
            env: "NATS_CONSUMER",
            path: "nats.consumer",
            default: Some("xray-processor-worker"),
            kind: Kind::Text(|d, v| d.config.nats.consumer = v),
            doc: "The durable pull consumer. All workers that share the work have the same.",
        },
        Setting {
            env: "NATS_SUBJECT",
            path: "nats.subject",
            default: Some("xray.>"),
            kind: Kind::Text(|d, v| d.config.nats.subject = v),
            doc: "Which subjects of the stream are ours: the filter of the consumer. `publish` puts each kind on the subject \
                  that is named after it: `xray.decisions`, `xray.steps`, `xray.runs`.",
        },
        Setting {
            env: "NATS_CREATE",
            path: "nats.create",
            default: Some("consumer"),
            kind: Kind::Word(CREATE, |d, v| d.config.nats.create = v),
            doc: "What to create where it is missing: nothing, the consumer, or the stream as well (in files, each message \
                  removed as it is acked). What is there stays as it is.",
        },
        Setting {
            env: "NATS_ACK_WAIT_MS",
            path: "nats.ack_wait_ms",
            default: Some("30000"),
            kind: Kind::Millis(1000..=MAX_MILLIS, |d, v| d.config.nats.ack_wait = v),
            doc: "The `ack_wait` of a consumer that the worker creates: after so long without a word of the worker, which \
                  speaks twice in that time, the server gives a message to another. Of one that is there its own counts.",
        },
        Setting {
            env: "NATS_USER",
            path: "nats.user",
            default: None,
            kind: Kind::Text(|d, v| d.config.nats.user = Some(v)),
            doc: "The user to log in as, where it is not in the URL.",
        },
        Setting {
            env: "NATS_PASSWORD",
            path: "nats.password",
            default: None,
            kind: Kind::Secret(|d, v| d.config.nats.password = Some(v)),
            doc: "That user's password.",
        },
        Setting {
            env: "NATS_TOKEN",
            path: "nats.token",
            default: None,
            kind: Kind::Secret(|d, v| d.config.nats.token = Some(v)),
            doc: "A token to log in with, in place of a user.",
        },
        Setting {
            env: "NATS_NKEY",
            path: "nats.nkey",
            default: None,
            kind: Kind::Secret(|d, v| d.config.nats.nkey = Some(v)),
            doc: "The seed of an NKey to log in with (`SU…`), in place of a user.",
        },
        Setting {
            env: "NATS_CREDS_FILE",
            path: "nats.creds_file",
            default: None,
            kind: Kind::File(|d, v| d.config.nats.creds_file = Some(v)),
            doc: "A credentials file (`.creds`: a JWT and the seed of its key) to log in with. Read anew for each connection.",
        },
        Setting {
            env: "NATS_CA_FILE",
            path: "nats.ca_file",
            default: None,
            kind: Kind::File(|d, v| d.config.nats.ca_file = Some(v)),
            doc: "Certificates in PEM to trust beside those of the system. Set, only servers that speak TLS are spoken to.",
        },
        Setting {
            env: "NATS_CERT_FILE",
            path: "nats.cert_file",
            default: None,
            kind: Kind::File(|d, v| d.config.nats.cert_file = Some(v)),
            doc: "Our own certificate in PEM, where the server asks for one.",
        },
        Setting {
            env: "NATS_KEY_FILE",
            path: "nats.key_file",
            default: None,
            kind: Kind::File(|d, v| d.config.nats.key_file = Some(v)),
            doc: "Its key in PEM, not encrypted.",
        },
    ],
};

pub(super) const SQS: Section = Section {
    title: "SQS",
    doc: "With `QUEUE_TYPE=sqs`. Credentials are those of `AWS_ACCESS_KEY_ID` and its neighbours, else what AWS's default chain \
          finds: environment, profile, web identity, container, instance, SSO. [brokers.md](brokers.md) has a minimal and a \
          production configuration.",
    settings: &[
        Setting {
            env: "SQS_QUEUE_URL",
            path: "sqs.queue_urls",
            default: None,
            kind: Kind::List(|d, v| d.config.sqs.queue_urls = v),
            doc: "URLs of the queues to consume, separated by commas. Those that do not exist yet are waited for.",
        },
        Setting {
            env: "SQS_ENDPOINT",
            path: "sqs.endpoint",
            default: None,
            kind: Kind::Endpoint(|d, v| d.sqs_endpoint = Some(v)),
            doc: "The server to speak to, where it is not the one that the queue's URL names: a URL, or a host name (then \
                  with TLS).",
        },
        Setting {
            env: "SQS_CREATE_QUEUES",
            path: "sqs.create_queues",
            default: Some("false"),
            kind: Kind::Bool(|d, v| d.config.sqs.create_queues = v),
            doc: "Whether to create missing queues, by the last part of their URLs. Queues that are there stay as they are.",
        },
        Setting {
            env: "SQS_VISIBILITY_TIMEOUT_MS",
            path: "sqs.visibility_timeout_ms",
            default: Some("30000"),
            kind: Kind::Millis(2000..=MAX_MILLIS * 12, |d, v| d.config.sqs.visibility_timeout = v),
            doc: "How long a message stays hidden from others, in whole seconds, whatever the queue itself says. It is renewed \
                  at half of this for as long as the message is held; so it is how long the messages of a worker that crashed \
                  are waited for.",
        },
        Setting {
            env: "SQS_WAIT_TIME_MS",
            path: "sqs.wait_time_ms",
            default: Some("5000"),
            kind: Kind::Millis(0..=20_000, |d, v| d.config.sqs.wait_time = v),
            doc: "How long SQS waits for a first message, in whole seconds. Longer costs fewer requests where there is little \
                  to do, and a shutdown waits for the polls under way, up to 8 s.",
        },
        Setting {
            env: "SQS_POLLS",
            path: "sqs.polls",
            default: Some("8"),
            kind: Kind::Count(1..=64, |d, v| d.config.sqs.polls = v),
            doc: "Polls of a queue at once, at most. One where there is little to do.",
        },
        Setting {
            env: "SQS_TIMEOUT_MS",
            path: "sqs.timeout_ms",
            default: Some("5000"),
            kind: Kind::Millis(100..=MAX_MILLIS, |d, v| d.config.sqs.timeout = v),
            doc: "How long one request may take, a poll that much longer than it waits.",
        },
        Setting {
            env: "SQS_CA_FILE",
            path: "sqs.ca_file",
            default: None,
            kind: Kind::File(|d, v| d.config.sqs.ca_file = Some(v)),
            doc: "Certificates in PEM to trust beside those of the system.",
        },
    ],
};

/// What librdkafka may not be told otherwise, and why; a setting's name where there is one.
const PROTECTED: &[(&str, &str)] = &[
    ("bootstrap.servers", "KAFKA_BROKERS"),
    ("metadata.broker.list", "KAFKA_BROKERS"),
    ("group.id", "KAFKA_GROUP_ID"),
    ("security.protocol", "KAFKA_SECURITY_PROTOCOL"),
    ("sasl.mechanism", "KAFKA_SASL_MECHANISM"),
    ("sasl.mechanisms", "KAFKA_SASL_MECHANISM"),
    ("sasl.username", "KAFKA_SASL_USERNAME"),
    ("sasl.password", "KAFKA_SASL_PASSWORD"),
    ("ssl.ca.location", "KAFKA_SSL_CA_FILE"),
    ("ssl.certificate.location", "KAFKA_SSL_CERT_FILE"),
    ("ssl.key.location", "KAFKA_SSL_KEY_FILE"),
    ("ssl.key.password", "KAFKA_SSL_KEY_PASSWORD"),
    ("enable.auto.commit", ""),
    ("auto.commit.enable", ""),
    ("enable.auto.offset.store", ""),
    ("offset.store.method", ""),
    ("auto.offset.reset", ""),
    ("enable.partition.eof", ""),
    ("statistics.interval.ms", ""),
    ("enable.idempotence", ""),
    ("acks", ""),
    ("request.required.acks", ""),
];

/// What is wrong with setting this property, if anything.
pub(super) fn protected(property: &str) -> Option<String> {
    let (_, setting) = PROTECTED.iter().find(|(name, _)| *name == property)?;
    Some(match *setting {
        "" => format!("{property} cannot be set: that nothing is lost rests on it"),
        setting => format!("{property} cannot be set here, set {setting}"),
    })
}
