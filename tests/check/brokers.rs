use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use async_nats::jetstream::{self, consumer::pull, stream};
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::types::QueueAttributeName;
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{Connection, ConnectionProperties};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;

use crate::Checked;
use crate::support::servers::Server;
use crate::support::worker::worker;

/// With everything kept in a directory, on this broker.
fn check(broker: &str, server: &Server, env: &[(&str, &str)]) -> Checked {
    let dir = tempfile::tempdir().unwrap();
    let mut command = worker(dir.path(), &["check", "--data", "data"]);
    server.tell(&mut command).env("QUEUE_TYPE", broker).envs(env.iter().copied());
    Checked::run(&mut command)
}

fn fresh(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{what}-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed))
}

#[tokio::test]
async fn kafka() {
    let server = Server::shared("kafka");
    let brokers = server.env("KAFKA_BROKERS");
    check("kafka", server, &[("KAFKA_TOPICS", "not-there")]).assert(3, &[("fail", "none of the topics exists")]);
    check("kafka", server, &[("KAFKA_BROKERS", "127.0.0.1:1")])
        .assert(3, &[("fail", "no Kafka broker at 127.0.0.1:1 can be reached")]);

    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    let (good, eaten) = (fresh("good"), fresh("eaten"));
    let one = || TopicReplication::Fixed(1);
    let topics = [
        NewTopic::new(&good, 3, one()).set("retention.ms", "604800000"),
        NewTopic::new(&eaten, 1, one()).set("cleanup.policy", "compact").set("retention.ms", "60000"),
    ];
    let created =
        admin.create_topics(&topics, &AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)))).await;
    created.unwrap().into_iter().for_each(|topic| drop(topic.unwrap()));
    let names = format!("{good},{eaten}");
    let checked = check("kafka", server, &[("KAFKA_TOPICS", &names)]);
    checked.assert(
        3,
        &[
            ("warn", &format!("topic {good}: 3 partitions, 1 replicas")),
            ("ok", &format!("topic {good} keeps records for 7 days")),
            ("fail", &format!("topic {eaten} is compacted")),
            ("warn", &format!("topic {eaten} keeps records for 60 s")),
            ("ok", "the group xray-processor-worker may be used; 0 records wait for it"),
        ],
    );
    assert_eq!(check("kafka", server, &[("KAFKA_TOPICS", &good)]).code, 0);
}

#[tokio::test]
async fn rabbitmq() {
    let server = Server::shared("rabbitmq");
    let missing = fresh("missing");
    check("rabbitmq", server, &[("RABBITMQ_QUEUES", &missing)])
        .assert(3, &[("fail", "create it, or set RABBITMQ_QUEUES")]);
    let declare = [("RABBITMQ_QUEUES", &*missing), ("RABBITMQ_DECLARE", "quorum")];
    check("rabbitmq", server, &declare)
        .assert(0, &[("ok", "a worker creates it if it may (quorum, RABBITMQ_DECLARE)")]);
    check("rabbitmq", server, &declare).assert(0, &[("ok", "a worker creates it")]);
    let wrong = format!("amqp://guest:wrong@127.0.0.1:{}", server.running().port);
    let checked = check("rabbitmq", server, &[("AMQP_URL", &wrong)]);
    checked.assert(3, &[("fail", "refuses the login of guest; look at user and password in AMQP_URL")]);
    assert!(!format!("{checked:?}").contains("wrong"), "no secret is shown");

    let connection = Connection::connect(server.env("AMQP_URL"), ConnectionProperties::default()).await.unwrap();
    let make = async |name: &str, arguments: &[(&str, AMQPValue)]| {
        let mut table = FieldTable::default();
        for (name, value) in arguments {
            table.insert((*name).into(), value.clone());
        }
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        connection.create_channel().await.unwrap().queue_declare(name.into(), options, table).await.unwrap();
    };
    let quorum = ("x-queue-type", AMQPValue::LongString(LongString::from("quorum")));
    let [good, classic, expiring, few] = ["good", "classic", "expiring", "few"].map(fresh);
    make(&good, std::slice::from_ref(&quorum)).await;
    make(&classic, &[]).await;
    make(&expiring, &[("x-message-ttl", AMQPValue::LongInt(60_000))]).await;
    make(&few, &[quorum, ("x-delivery-limit", AMQPValue::LongInt(3))]).await;
    let names = [&*good, &classic, &expiring, &few].join(",");
    check("rabbitmq", server, &[("RABBITMQ_QUEUES", &names)]).assert(
        0,
        &[
            ("ok", &format!("queue {good} is a quorum queue without further arguments")),
            ("ok", &format!("queue {good} may be consumed")),
            ("warn", &format!("queue {classic} is a classic queue")),
            ("warn", &format!("queue {expiring} has x-message-ttl=60000: messages expire")),
            ("warn", &format!("queue {few} gives up on a message after 3 deliveries")),
        ],
    );
}

#[tokio::test]
async fn nats() {
    let server = Server::shared("nats");
    let jetstream = jetstream::new(async_nats::connect(server.env("NATS_URL")).await.unwrap());
    let name = fresh("S");
    let env = [("NATS_STREAM", &*name), ("NATS_SUBJECT", &*name)];
    check("nats", server, &env).assert(3, &[("fail", "has no stream"), ("ok", "is NATS 2.15.2")]);
    let create = [env[0], env[1], ("NATS_CREATE", "stream")];
    check("nats", server, &create).assert(0, &[("ok", "a worker creates it if it may (NATS_CREATE)")]);

    let config = stream::Config {
        name: name.clone(),
        subjects: vec![name.clone()],
        max_age: Duration::from_secs(60),
        max_messages: 10,
        storage: stream::StorageType::Memory,
        ..stream::Config::default()
    };
    let stream = jetstream.create_stream(config).await.unwrap();
    check("nats", server, &env).assert(
        0,
        &[
            ("warn", "is kept in memory"),
            ("warn", "keeps messages for 60 s (max_age)"),
            ("warn", "drops its oldest messages when it is full"),
            ("ok", "there is no consumer xray-processor-worker yet; a worker creates it"),
        ],
    );
    let consumer = async |name: &str, max_deliver: i64, max_ack_pending: i64| {
        let config = pull::Config {
            durable_name: Some(name.into()),
            filter_subject: stream.cached_info().config.subjects[0].clone(),
            max_deliver,
            max_ack_pending,
            ..pull::Config::default()
        };
        stream.create_consumer(config).await.unwrap();
    };
    consumer("gives-up", 5, 1000).await;
    check("nats", server, &[env[0], env[1], ("NATS_CONSUMER", "gives-up")])
        .assert(3, &[("fail", "gives up on a message after 5 deliveries (max_deliver)")]);
    consumer("few", -1, 10).await;
    check("nats", server, &[env[0], env[1], ("NATS_CONSUMER", "few")])
        .assert(0, &[("warn", "no more than 10 messages at a time"), ("ok", "consumer few: ack_wait 30 s")]);
}

/// Who may not ask for messages or ack them is told so, and no message is taken to find that out.
#[tokio::test]
async fn rights_on_nats() {
    let user = |name: &str, denied: &str| {
        format!("{{ user: {name}, password: p, permissions: {{ publish: {{ deny: \"{denied}\" }} }} }}")
    };
    let users = ["{ user: admin, password: p }", &user("asks", "$JS.ACK.>"), &user("acks", "$JS.API.CONSUMER.MSG.>")];
    let users = format!("authorization {{ users: [{}] }}, no_auth_user: admin", users.join(", "));
    for name in ["nats", "nats-2.9"] {
        let server = Server::start_with(name, &["--extra", &users]);
        let jetstream = jetstream::new(async_nats::connect(server.env("NATS_URL")).await.unwrap());
        let config = stream::Config { name: "S".into(), subjects: vec!["s".into()], ..stream::Config::default() };
        let stream = jetstream.create_stream(config).await.unwrap();
        let config = pull::Config { durable_name: Some("c".into()), max_ack_pending: -1, ..pull::Config::default() };
        let mut consumer = stream.create_consumer(config).await.unwrap();
        jetstream.publish("s", "x".into()).await.unwrap().await.unwrap();
        let as_user = |user: &str| {
            let who = [("NATS_USER", user), ("NATS_PASSWORD", "p")];
            check(
                "nats",
                &server,
                &[&[("NATS_STREAM", "S"), ("NATS_SUBJECT", "s"), ("NATS_CONSUMER", "c")], &who[..]].concat(),
            )
        };
        as_user("admin").assert(0, &[("ok", "consumer c: we may ask for messages and ack them")]);
        as_user("asks").assert(3, &[("fail", "we may not ack messages of the consumer c")]);
        as_user("acks").assert(3, &[("fail", "does not let us use the consumer c of the stream S; grant it")]);
        let info = consumer.info().await.unwrap();
        assert_eq!((info.delivered.consumer_sequence, info.num_ack_pending, info.num_pending), (0, 0, 1), "{name}");
    }
}

#[tokio::test]
async fn sqs() {
    let server = Server::shared("elasticmq");
    let endpoint = format!("http://127.0.0.1:{}", server.running().port);
    let [missing, good, poor] = ["missing", "good", "poor"].map(fresh);
    let url = |queue: &str| format!("{endpoint}/000000000000/{queue}");
    check("sqs", server, &[("SQS_QUEUE_URL", &url(&missing))]).assert(3, &[("fail", "has no queue")]);
    let create = [("SQS_QUEUE_URL", &*url(&missing)), ("SQS_CREATE_QUEUES", "true")];
    check("sqs", server, &create).assert(0, &[("ok", "a worker creates it if it may (SQS_CREATE_QUEUES)")]);

    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(&endpoint)
        .credentials_provider(Credentials::new("worker", "worker-secret", None, None, "test"))
        .http_client(aws_smithy_http_client::Builder::new().build_http());
    let client = aws_sdk_sqs::Client::from_conf(config.build());
    client.create_queue().queue_name(&good).send().await.unwrap();
    let dead = client.create_queue().queue_name(format!("{poor}-dead")).send().await.unwrap();
    let arn = client.get_queue_attributes().queue_url(dead.queue_url().unwrap());
    let arn = arn.attribute_names(QueueAttributeName::QueueArn).send().await.unwrap();
    let arn = &arn.attributes().unwrap()[&QueueAttributeName::QueueArn];
    let policy = format!(r#"{{"deadLetterTargetArn":"{arn}","maxReceiveCount":"3"}}"#);
    let asked = client.create_queue().queue_name(&poor).attributes(QueueAttributeName::RedrivePolicy, policy);
    asked.send().await.unwrap();

    check("sqs", server, &[("SQS_QUEUE_URL", &url(&good))]).assert_well();
    let both = format!("{},{}", url(&good), url(&poor));
    let short = [("SQS_QUEUE_URL", &*both), ("SQS_VISIBILITY_TIMEOUT_MS", "10000")];
    check("sqs", server, &short).assert(
        0,
        &[
            ("ok", &format!("queue {good} at {endpoint}: 0 messages")),
            ("ok", &format!("we may delete and renew messages of {good}")),
            ("warn", &format!("queue {poor}: its RedrivePolicy moves a message to {poor}-dead")),
            ("warn", "one that is slow can come too late"),
        ],
    );
}
