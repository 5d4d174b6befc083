//! The whole of it, from sources to configuration. No test touches the environment of the process.

use super::*;
use crate::config::settings::all;
use secrecy::ExposeSecret;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

const SECRET: &str = "hunter2-do-not-show";

fn env(pairs: &[(&str, &str)]) -> Sources {
    let env = pairs.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect();
    Sources { env, ..Sources::default() }
}

fn flag(path: &'static str, flag: &'static str, value: &str) -> Flag {
    Flag { path, flag, value: value.to_owned() }
}

/// A file `xray.toml` and the sources that name it.
fn toml(text: &str) -> (TempDir, Sources) {
    let dir = tempfile::tempdir().unwrap();
    let file = write(&dir, "xray.toml", text);
    (dir, Sources { file: Some(file), ..Sources::default() })
}

fn write(dir: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = dir.path().join(name);
    fs::write(&path, text).unwrap();
    path
}

fn config(sources: &Sources) -> Config {
    load(sources).unwrap().config
}

fn problems(sources: &Sources) -> String {
    load(sources).unwrap_err().to_string()
}

fn resolved(loaded: &Loaded, env: &str) -> (String, String) {
    let it = loaded.resolved.iter().find(|it| it.env == env).unwrap();
    (it.value.clone(), it.origin.clone())
}

/// Everything of a configuration, secrets too, to compare.
fn all_of(config: &Config) -> String {
    let mut secrets = vec![&config.clickhouse.password];
    secrets.extend(&config.http.ingest_token);
    secrets.extend(&config.http.status_token);
    secrets.extend([&config.kafka.sasl_password, &config.kafka.ssl_key_password].into_iter().flatten());
    secrets.extend(config.kafka.properties.values());
    secrets.push(&config.rabbitmq.url);
    secrets.push(&config.nats.url);
    secrets.extend([&config.nats.password, &config.nats.token, &config.nats.nkey].into_iter().flatten());
    secrets.extend(config.s3.credentials.iter().flat_map(|it| [&it.access_key, &it.secret_key]));
    secrets.extend(config.s3.credentials.iter().flat_map(|it| &it.session_token));
    let secrets: Vec<_> = secrets.into_iter().map(ExposeSecret::expose_secret).collect();
    format!("{config:#?} {secrets:?}")
}

/// A value for every setting, as in the environment and as in TOML, none of it the default.
const SAMPLES: &[(&str, &str, &str)] = &[
    ("CLICKHOUSE_HOST", "https://ch.example.com", "\"https://ch.example.com\""),
    ("CLICKHOUSE_PORT", "9440", "9440"),
    ("CLICKHOUSE_DATABASE", "traces", "\"traces\""),
    ("CLICKHOUSE_USER", "worker", "\"worker\""),
    ("CLICKHOUSE_PASSWORD", "0123456789", "\"0123456789\""),
    ("CLICKHOUSE_CA_FILE", "/etc/ca.pem", "\"/etc/ca.pem\""),
    ("CLICKHOUSE_FSYNC", "true", "true"),
    ("CLICKHOUSE_TIMEOUT_MS", "20000", "20000"),
    ("MIGRATE_ON_START", "false", "false"),
    ("MINIO_ENDPOINT", "minio", "\"minio\""),
    ("MINIO_PORT", "9900", "9900"),
    ("MINIO_ACCESS_KEY", "access", "\"access\""),
    ("MINIO_SECRET_KEY", "secret", "\"secret\""),
    ("MINIO_BUCKET", "raw", "\"raw\""),
    ("MINIO_USE_SSL", "yes", "true"),
    ("MINIO_REGION", "eu", "\"eu\""),
    ("AWS_REGION", "eu-central-1", "\"eu-central-1\""),
    ("AWS_ACCESS_KEY_ID", "AKIA", "\"AKIA\""),
    ("AWS_SECRET_ACCESS_KEY", "secret", "\"secret\""),
    ("AWS_SESSION_TOKEN", "session", "\"session\""),
    ("AWS_S3_BUCKET", "aws-raw", "\"aws-raw\""),
    ("AWS_S3_ENDPOINT", "s3.example.com", "\"s3.example.com\""),
    ("S3_PATH_STYLE", "false", "false"),
    ("S3_CREATE_BUCKET", "true", "true"),
    ("S3_CA_FILE", "/etc/s3.pem", "\"/etc/s3.pem\""),
    ("S3_TIMEOUT_MS", "7000", "7000"),
    ("QUEUE_TYPE", "kafka", "\"kafka\""),
    ("POLL_INTERVAL_MS", "250", "250"),
    ("BATCH_SIZE", "100", "100"),
    ("KAFKA_BROKERS", "a:9092, b:9092", "[\"a:9092\", \"b:9092\"]"),
    ("KAFKA_TOPICS", "events", "\"events\""),
    ("KAFKA_GROUP_ID", "group", "\"group\""),
    ("KAFKA_SECURITY_PROTOCOL", "SASL_SSL", "\"sasl_ssl\""),
    ("KAFKA_SASL_MECHANISM", "scram-sha-512", "\"SCRAM-SHA-512\""),
    ("KAFKA_SASL_USERNAME", "worker", "\"worker\""),
    ("KAFKA_SASL_PASSWORD", "007", "\"007\""),
    ("KAFKA_SSL_CA_FILE", "/etc/k.pem", "\"/etc/k.pem\""),
    ("KAFKA_SSL_CERT_FILE", "/etc/c.pem", "\"/etc/c.pem\""),
    ("KAFKA_SSL_KEY_FILE", "/etc/c.key", "\"/etc/c.key\""),
    ("KAFKA_SSL_KEY_PASSWORD", "key", "\"key\""),
    (
        "KAFKA_PROPERTIES",
        "client.rack=a; check.crcs=true;fetch.wait.max.ms=10",
        "{ \"client.rack\" = \"a\", check.crcs = true, fetch.wait.max.ms = 10 }",
    ),
    ("AMQP_URL", "amqps://u:p@a,amqps://u:p@b", "\"amqps://u:p@a,amqps://u:p@b\""),
    ("RABBITMQ_QUEUES", "a,b,a", "\"a,b\""),
    ("RABBITMQ_DECLARE", "quorum", "\"quorum\""),
    ("RABBITMQ_PREFETCH", "50", "50"),
    ("RABBITMQ_CONSUMER_TIMEOUT_MS", "60000", "60000"),
    ("RABBITMQ_CA_FILE", "/etc/r.pem", "\"/etc/r.pem\""),
    ("RABBITMQ_CERT_FILE", "/etc/rc.pem", "\"/etc/rc.pem\""),
    ("RABBITMQ_KEY_FILE", "/etc/rc.key", "\"/etc/rc.key\""),
    ("NATS_URL", "nats://u:p@a,tls://b", "\"nats://u:p@a,tls://b\""),
    ("NATS_STREAM", "events", "\"events\""),
    ("NATS_CONSUMER", "worker", "\"worker\""),
    ("NATS_SUBJECT", "events.*", "\"events.*\""),
    ("NATS_CREATE", "stream", "\"stream\""),
    ("NATS_ACK_WAIT_MS", "60000", "60000"),
    ("NATS_USER", "worker", "\"worker\""),
    ("NATS_PASSWORD", "0815", "\"0815\""),
    ("NATS_TOKEN", "t0ken", "\"t0ken\""),
    ("NATS_NKEY", "SUA", "\"SUA\""),
    ("NATS_CREDS_FILE", "/etc/n.creds", "\"/etc/n.creds\""),
    ("NATS_CA_FILE", "/etc/n.pem", "\"/etc/n.pem\""),
    ("NATS_CERT_FILE", "/etc/nc.pem", "\"/etc/nc.pem\""),
    ("NATS_KEY_FILE", "/etc/nc.key", "\"/etc/nc.key\""),
    ("SQS_QUEUE_URL", "https://sqs/1/a,https://sqs/1/b", "[\"https://sqs/1/a\", \"https://sqs/1/b\"]"),
    ("SQS_ENDPOINT", "sqs.example.com", "\"sqs.example.com\""),
    ("SQS_CREATE_QUEUES", "true", "true"),
    ("SQS_VISIBILITY_TIMEOUT_MS", "60000", "60000"),
    ("SQS_WAIT_TIME_MS", "20000", "20000"),
    ("SQS_POLLS", "2", "2"),
    ("SQS_TIMEOUT_MS", "3000", "3000"),
    ("SQS_CA_FILE", "/etc/q.pem", "\"/etc/q.pem\""),
    ("MAX_EVENT_BYTES", "1 MiB", "1048576"),
    ("MAX_IN_FLIGHT_MESSAGES", "500", "500"),
    ("MAX_IN_FLIGHT_BYTES", "8000000", "\"8 MB\""),
    ("SHUTDOWN_TIMEOUT_MS", "0", "0"),
    ("INGEST_TIMEOUT_MS", "5000", "\"5000\""),
    ("STORE_REFUSED_AFTER_MS", "60000", "60000"),
    ("LOG_LEVEL", "silly", "\"TRACE\""),
    ("LOG_FORMAT", "json", "\"json\""),
    ("XRAY_DATA_DIR", "/var/lib/xray", "\"/var/lib/xray\""),
    ("XRAY_DURABLE", "0", "false"),
    ("HTTP_ADDR", "0.0.0.0:80", "\"0.0.0.0:80\""),
    ("INGEST_TOKEN", "token", "\"token\""),
    ("STATUS_TOKEN", "status", "\"status\""),
];

#[test]
fn empty_is_default() {
    let loaded = load(&Sources::default()).unwrap();
    assert_eq!(all_of(&loaded.config), all_of(&Config::default()));
    assert_eq!(loaded.warnings, [""; 0]);
    assert!(loaded.resolved.iter().all(|it| it.origin == "default"));
}

#[test]
fn every_setting_from_the_environment_and_from_toml() {
    assert_eq!(SAMPLES.iter().map(|it| it.0).collect::<Vec<_>>(), all().map(|it| it.env).collect::<Vec<_>>());
    for other_group in ["AWS_", "MINIO_"] {
        let samples = || SAMPLES.iter().filter(|it| !it.0.starts_with(other_group));
        let from_env = config(&env(&samples().map(|it| (it.0, it.1)).collect::<Vec<_>>()));
        let text: String = samples()
            .map(|it| format!("{} = {}\n", all().find(|setting| setting.env == it.0).unwrap().path, it.2))
            .collect();
        let (_dir, sources) = toml(&text);
        assert_eq!(all_of(&config(&sources)), all_of(&from_env));

        assert_eq!(from_env.clickhouse.url, "https://ch.example.com:9440");
        assert_eq!(from_env.clickhouse.password.expose_secret(), "0123456789");
        assert_eq!(from_env.queue.poll_interval, Duration::from_millis(250));
        assert_eq!(from_env.limits.max_in_flight_bytes, 8_000_000);
        assert!(!from_env.embedded.durable);
        let (endpoint, bucket, region) = match from_env.s3.flavor {
            S3Flavor::Minio => ("https://minio:9900", "raw", Some("eu")),
            S3Flavor::Aws => ("https://s3.example.com", "aws-raw", Some("eu-central-1")),
        };
        assert_eq!(from_env.s3.flavor == S3Flavor::Aws, other_group == "MINIO_");
        assert_eq!(from_env.s3.endpoint.as_deref(), Some(endpoint));
        assert_eq!(from_env.s3.bucket, bucket);
        assert_eq!(from_env.s3.region.as_deref(), region);
        assert_eq!(from_env.s3.credentials.unwrap().secret_key.expose_secret(), "secret");
    }
}

#[test]
fn flags_over_environment_over_file_over_default() {
    let (_dir, mut sources) = toml("[queue]\nbatch_size = 20\npoll_interval_ms = 20\n[log]\nlevel = \"warn\"");
    sources.env = env(&[("BATCH_SIZE", "30"), ("POLL_INTERVAL_MS", "30")]).env;
    sources.flags = vec![flag("queue.batch_size", "--batch-size", "40")];
    let loaded = load(&sources).unwrap();
    let file = sources.file.unwrap();
    for (env, value, origin) in [
        ("BATCH_SIZE", "40", "flag --batch-size".to_owned()),
        ("POLL_INTERVAL_MS", "30", "environment POLL_INTERVAL_MS".to_owned()),
        ("LOG_LEVEL", "warn", format!("file {}", file.display())),
        ("HTTP_ADDR", "127.0.0.1:8080", "default".to_owned()),
        ("XRAY_DATA_DIR", "(not set)", "default".to_owned()),
    ] {
        assert_eq!(resolved(&loaded, env), (value.to_owned(), origin));
    }
    assert_eq!(loaded.config.queue.batch_size, 40);
    assert_eq!(loaded.config.queue.poll_interval, Duration::from_millis(30));
    assert_eq!(loaded.config.log.level, Level::WARN);
}

#[test]
fn which_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, size: u32| write(&dir, name, &format!("queue.batch_size = {size}"));
    let (by_flag, by_env, by_default) = (file("flag.toml", 1), file("env.toml", 2), file("default.toml", 3));
    let mut sources = env(&[("XRAY_CONFIG", by_env.to_str().unwrap())]);
    sources.default_file = Some(by_default);
    sources.file = Some(by_flag);
    assert_eq!(config(&sources).queue.batch_size, 1);
    sources.file = None;
    assert_eq!(config(&sources).queue.batch_size, 2);
    sources.env = env(&[("XRAY_CONFIG", "")]).env;
    assert_eq!(config(&sources).queue.batch_size, 3);

    let missing = dir.path().join("missing.toml");
    sources.default_file = Some(missing.clone());
    assert_eq!(config(&sources).queue.batch_size, 10);
    sources.file = Some(missing.clone());
    let expected = format!("--config: cannot read {}: No such file or directory (os error 2)", missing.display());
    assert_eq!(problems(&sources), expected);
    let sources = env(&[("XRAY_CONFIG", missing.to_str().unwrap())]);
    assert!(problems(&sources).starts_with("XRAY_CONFIG: cannot read"));
}

#[test]
fn all_problems_at_once_by_the_name_as_typed() {
    let (dir, mut sources) = toml(
        "quue = 1\nlog = 3\n\"http.addr\" = \"x\"\n[clickhouse]\nhots = \"x\"\nport = \"x\"\ndatabase = 7\n\
         [queue]\nbatch_size = 1.5\npoll_interval_ms = []\n[timeouts]\ningest_ms = -1",
    );
    sources.env = env(&[
        ("QUEUE_TYPE", "redis"),
        ("MAX_EVENT_BYTES", "10"),
        ("MAX_IN_FLIGHT_MESSAGES", "0"),
        ("SHUTDOWN_TIMEOUT_MS", "25s"),
        ("MINIO_USE_SSL", "maybe"),
        ("MINIO_ACCESS_KEY", "x"),
        ("CLICKHOUSE_USER", "x\ty"),
    ])
    .env;
    sources.flags = vec![flag("http.addr", "--http-addr", "8080")];
    let text = problems(&sources).replace(&format!("{}/", dir.path().display()), "");
    assert_eq!(
        text.lines().collect::<Vec<_>>(),
        [
            "clickhouse.hots in xray.toml: is no setting, the nearest is clickhouse.host",
            "http.addr in xray.toml: is no setting, the nearest is http.addr",
            "log in xray.toml: must be a table of settings",
            "quue in xray.toml: is no setting, the nearest is queue",
            "clickhouse.port in xray.toml: must be a port from 1 to 65535, found \"x\"",
            "clickhouse.database in xray.toml: must be text, found 7; put it in quotes",
            "MINIO_USE_SSL: must be true or false (also yes, no, on, off, 1, 0), found \"maybe\"",
            "QUEUE_TYPE: must be one of memory, kafka, rabbitmq, nats, sqs, found \"redis\"",
            "queue.poll_interval_ms in xray.toml: must be whole milliseconds from 1 to 3600000, found an array",
            "queue.batch_size in xray.toml: must be a whole number from 1 to 10000, found \"1.5\"",
            "MAX_EVENT_BYTES: must be bytes or a size like 512 KiB or 10 MB, from 1 KiB to 1 GiB, found \"10\"",
            "MAX_IN_FLIGHT_MESSAGES: must be a whole number from 1 to 10000000, found \"0\"",
            "SHUTDOWN_TIMEOUT_MS: must be whole milliseconds from 0 to 3600000, found \"25s\"",
            "timeouts.ingest_ms in xray.toml: must be whole milliseconds from 1 to 3600000, found \"-1\"",
            "--http-addr: must be an IP address and a port, like 127.0.0.1:8080, found \"8080\"",
            "MINIO_ACCESS_KEY: needs MINIO_SECRET_KEY as well, or neither of them",
        ]
    );
}

#[test]
fn secrets_from_files() {
    let dir = tempfile::tempdir().unwrap();
    for (written, expected) in [("pw\n", "pw"), ("pw\r\n", "pw"), ("pw\n\n", "pw\n"), (" 007 ", " 007 "), ("", "")] {
        let path = write(&dir, "password", written);
        let loaded =
            load(&env(&[("CLICKHOUSE_PASSWORD_FILE", path.to_str().unwrap()), ("CLICKHOUSE_PASSWORD", "")])).unwrap();
        assert_eq!(loaded.config.clickhouse.password.expose_secret(), expected);
        assert_eq!(resolved(&loaded, "CLICKHOUSE_PASSWORD").1, "file named by CLICKHOUSE_PASSWORD_FILE");
        assert_eq!(loaded.warnings, [""; 0]);
    }

    let empty = write(&dir, "empty", "\n");
    let missing = dir.path().join("missing");
    let text = problems(&env(&[
        ("CLICKHOUSE_PASSWORD", SECRET),
        ("CLICKHOUSE_PASSWORD_FILE", empty.to_str().unwrap()),
        ("MINIO_ACCESS_KEY", SECRET),
        ("MINIO_SECRET_KEY_FILE", missing.to_str().unwrap()),
        ("INGEST_TOKEN_FILE", empty.to_str().unwrap()),
    ]));
    let cannot = format!("cannot read {}: No such file or directory (os error 2)", missing.display());
    assert_eq!(
        text.lines().collect::<Vec<_>>(),
        [
            "CLICKHOUSE_PASSWORD and CLICKHOUSE_PASSWORD_FILE: set one of them, not both",
            &format!("MINIO_SECRET_KEY_FILE: {cannot}"),
            "INGEST_TOKEN_FILE: must not be empty",
        ]
    );
}

#[test]
fn empty_variables_count_as_not_set_but_for_the_password() {
    let names: Vec<_> = all().map(|setting| (setting.env, "")).collect();
    let loaded = load(&env(&names)).unwrap();
    assert_eq!(all_of(&loaded.config), all_of(&Config::default()));
    assert_eq!(resolved(&loaded, "BATCH_SIZE"), ("10".into(), "default".into()));
    assert_eq!(resolved(&loaded, "CLICKHOUSE_PASSWORD"), ("(empty)".into(), "environment CLICKHOUSE_PASSWORD".into()));

    let (_dir, mut sources) = toml("clickhouse.password = \"x\"\nclickhouse.database = \"\"");
    sources.env = env(&[("CLICKHOUSE_PASSWORD", ""), ("CLICKHOUSE_DATABASE", "xray")]).env;
    assert_eq!(config(&sources).clickhouse.password.expose_secret(), "");
    sources.env.clear();
    assert!(problems(&sources).ends_with("xray.toml: must not be empty"));
}

#[test]
fn a_password_of_digits_stays_text() {
    for password in ["0123", "12345678901234567890123", "1e3", "true", "[1]", "\"quoted\"", " spaced "] {
        let config = config(&env(&[("CLICKHOUSE_PASSWORD", password)]));
        assert_eq!(config.clickhouse.password.expose_secret(), password);
    }
    let (_dir, sources) = toml("clickhouse.password = 8317\n");
    let text = problems(&sources);
    assert!(text.ends_with("must be text, found a number; put it in quotes"), "{text}");
    assert!(!text.contains("8317"), "{text}");
}

#[test]
fn minio_or_aws() {
    let s3 = |pairs: &[(&str, &str)]| config(&env(pairs)).s3;
    let aws = s3(&[("AWS_S3_BUCKET", "b"), ("MINIO_ROOT_USER", "x"), ("MINIO_SERVICE_HOST", "x"), ("MINIO_PORT", "")]);
    assert_eq!((aws.flavor, aws.endpoint, aws.bucket.as_str()), (S3Flavor::Aws, None, "b"));
    assert!(!aws.path_style && aws.region.is_none());
    assert!(aws.credentials.is_none());
    let aws = s3(&[("AWS_S3_ENDPOINT", "http://localhost:4566")]);
    assert_eq!((aws.flavor, aws.endpoint.as_deref()), (S3Flavor::Aws, Some("http://localhost:4566")));
    assert!(aws.path_style && aws.bucket == "xray-raw");

    let minio = s3(&[("AWS_S3_BUCKET", "b"), ("MINIO_USE_SSL", "false")]);
    assert_eq!((minio.flavor, minio.bucket.as_str()), (S3Flavor::Minio, "xray-raw"));
    let minio = s3(&[("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "s"), ("AWS_REGION", "r")]);
    assert_eq!((minio.flavor, minio.region.as_deref()), (S3Flavor::Minio, Some("us-east-1")));
    assert!(minio.credentials.is_none());

    let (_dir, mut sources) = toml("s3.minio.bucket = \"m\"");
    sources.env = env(&[("AWS_S3_BUCKET", "b")]).env;
    assert_eq!(config(&sources).s3.flavor, S3Flavor::Minio);
}

#[test]
fn addresses_of_clickhouse_and_minio() {
    for (host, port, expected) in [
        ("ch", None, "http://ch:8123"),
        ("ch", Some("9000"), "http://ch:9000"),
        ("http://ch", None, "http://ch:8123"),
        ("https://ch", None, "https://ch:8443"),
        ("https://ch", Some("8123"), "https://ch:8123"),
        ("https://ch:443/x/", Some("8123"), "https://ch:443/x"),
    ] {
        let sources = env(&[("CLICKHOUSE_HOST", host), ("CLICKHOUSE_PORT", port.unwrap_or_default())]);
        assert_eq!(config(&sources).clickhouse.url, expected);
    }
    let sources = env(&[("MINIO_ENDPOINT", "http://minio:1"), ("MINIO_PORT", "2"), ("MINIO_USE_SSL", "true")]);
    assert_eq!(config(&sources).s3.endpoint.as_deref(), Some("http://minio:1"));
}

#[test]
fn properties_of_kafka() {
    let of = |config: Config| {
        let value = |(name, value): (String, SecretString)| format!("{name}={}", value.expose_secret());
        config.kafka.properties.into_iter().map(value).collect::<Vec<_>>()
    };
    let (_dir, mut sources) = toml("[kafka.properties]\n\"client.rack\" = \"a\"\nsession.timeout.ms = 30000");
    assert_eq!(of(config(&sources)), ["client.rack=a", "session.timeout.ms=30000"]);
    sources.env = env(&[("KAFKA_PROPERTIES", "# ours\n a = b=c ;; d=\n")]).env;
    assert_eq!(of(config(&sources)), ["a=b=c", "d="], "the variable takes the place of the table");
    let shown = resolved(&load(&sources).unwrap(), "KAFKA_PROPERTIES");
    assert_eq!(shown, ("(hidden)".into(), "environment KAFKA_PROPERTIES".into()));

    let text = problems(&env(&[("KAFKA_PROPERTIES", "enable.auto.commit=false;group.id=x;sasl.password=hunter2")]));
    assert_eq!(
        text.lines().collect::<Vec<_>>(),
        [
            "KAFKA_PROPERTIES: enable.auto.commit cannot be set: that nothing is lost rests on it",
            "KAFKA_PROPERTIES: group.id cannot be set here, set KAFKA_GROUP_ID",
            "KAFKA_PROPERTIES: sasl.password cannot be set here, set KAFKA_SASL_PASSWORD",
        ]
    );
    let text = problems(&env(&[("KAFKA_PROPERTIES", "hunter2")]));
    assert_eq!(text, "KAFKA_PROPERTIES: must be name=value, separated by semicolons or line ends");
    let (_dir, sources) = toml("[kafka.properties]\na = \"hunter2;b=c\"");
    let text = problems(&sources);
    assert!(text.ends_with("a must be text without semicolons and line ends"), "{text}");
}

#[test]
fn what_settings_of_brokers_need_of_each_other() {
    for (pairs, problem) in [
        (&[("KAFKA_SECURITY_PROTOCOL", "sasl_ssl")][..], "needs KAFKA_SASL_USERNAME and"),
        (&[("KAFKA_SASL_USERNAME", "u")], "needs KAFKA_SASL_PASSWORD as well"),
        (&[("KAFKA_SSL_KEY_FILE", "x")], "needs KAFKA_SSL_CERT_FILE as well"),
        (&[("RABBITMQ_CERT_FILE", "x")], "needs RABBITMQ_KEY_FILE as well"),
        (&[("NATS_CERT_FILE", "x")], "needs NATS_KEY_FILE as well"),
        (&[("NATS_USER", "x")], "needs NATS_PASSWORD as well"),
        (&[("KAFKA_TOPICS", " , ")], "must be names separated by commas, found \" , \""),
        (
            &[("KAFKA_SASL_USERNAME", "u"), ("KAFKA_SASL_PASSWORD", "p"), ("KAFKA_SECURITY_PROTOCOL", "ssl")],
            "does not log in",
        ),
    ] {
        let text = problems(&env(pairs));
        assert!(text.contains(problem) && text.lines().count() == 1, "{text}");
    }
}

#[test]
fn kubernetes_service_links() {
    let loaded = load(&env(&[
        ("MINIO_SERVICE_HOST", "10.0.0.2"),
        ("CLICKHOUSE_SERVICE_PORT", "8123"),
        ("CLICKHOUSE_PORT_8123_TCP", "tcp://10.0.0.1:8123"),
        ("CLICKHOUSE_PORT_8123_TCP_ADDR", "10.0.0.1"),
        ("KAFKA_BROKERS", "x"),
        ("AWS_PROFILE", "x"),
    ]))
    .unwrap();
    assert_eq!(loaded.warnings, [""; 0]);

    let text = problems(&env(&[("CLICKHOUSE_PORT", "tcp://10.0.0.1:8123")]));
    assert!(
        text.starts_with("CLICKHOUSE_PORT: must be a port from 1 to 65535, found \"tcp://10.0.0.1:8123\""),
        "{text}"
    );
    assert!(text.contains("enableServiceLinks: false"), "{text}");
}

#[test]
fn unknown_variables_are_warnings() {
    let loaded = load(&env(&[("CLICKHOUSE_PASWORD", SECRET), ("MINIO_ROOT_USER", "x"), ("UNRELATED", "x")])).unwrap();
    let [clickhouse, minio] = loaded.warnings.as_slice() else { panic!("{:?}", loaded.warnings) };
    assert_eq!(
        clickhouse,
        "CLICKHOUSE_PASWORD is no setting of this worker and does nothing, the nearest is CLICKHOUSE_PASSWORD"
    );
    assert!(minio.starts_with("MINIO_ROOT_USER is no setting"));
}

#[test]
#[cfg(unix)]
fn what_is_not_utf8() {
    use std::os::unix::ffi::OsStringExt;
    let bytes = || OsString::from_vec(vec![0xff]);
    let env = vec![("MINIO_SECRET_KEY".into(), bytes()), ("MINIO_ACCESS_KEY".into(), "x".into()), (bytes(), bytes())];
    assert_eq!(problems(&Sources { env, ..Sources::default() }), "MINIO_SECRET_KEY: is not valid UTF-8");
}

#[test]
fn broken_toml_is_located_and_not_quoted() {
    for text in [
        format!("[clickhouse]\npassword = {SECRET}\n"),
        format!("[clickhouse]\npassword = \"{SECRET}\n"),
        format!("[clickhouse]\npassword = '{SECRET}\n"),
        format!("[clickhouse]\npassword = \"{SECRET}\" \"{SECRET}\"\n"),
        format!("[clickhouse]\npassword = [\"{SECRET}\"\n"),
        format!("[clickhouse]\npassword = \"\\{SECRET}\"\n"),
    ] {
        let (_dir, sources) = toml(&text);
        let text = problems(&sources);
        assert!(text.contains("xray.toml: is not valid TOML: line "), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
    let (_dir, sources) = toml("[queue]\nbatch_size = 1\nbatch_size = 2\n");
    assert!(problems(&sources).contains("line 3, column 1: "), "{}", problems(&sources));
}

#[test]
fn no_secret_is_ever_shown() {
    let secrets: Vec<_> = all().filter(|setting| setting.is_secret()).collect();
    let aws = ["AWS_S3_BUCKET", "MINIO_BUCKET"].map(|bucket| (bucket, "b"));
    for bucket in aws {
        let pairs: Vec<_> = secrets
            .iter()
            .map(|setting| setting.env)
            .filter(|name| bucket.0 == "MINIO_BUCKET" || !name.starts_with("MINIO_"))
            .map(|name| (name, SECRET))
            .chain([
                bucket,
                ("KAFKA_SASL_USERNAME", "u"),
                ("KAFKA_PROPERTIES", "ssl.key.pem=hunter2"),
                ("NATS_USER", "u"),
            ])
            .collect();
        let mut sources = env(&pairs);
        sources.flags = vec![flag("http.ingest_token", "--token", SECRET)];
        let loaded = load(&sources).unwrap();
        assert!(loaded.config.s3.credentials.is_some());
        let shown = [
            format!("{sources:?}"),
            format!("{loaded:?}"),
            format!("{:?}", loaded.config),
            render_text(&loaded),
            render_json(&loaded),
        ];
        assert!(shown.iter().all(|text| !text.contains("hunter2")), "{shown:#?}");
    }

    for setting in secrets {
        for value in [
            format!("[\"{SECRET}\"]"),
            format!("{{ value = \"{SECRET}\" }}"),
            format!("[[\"{SECRET}\"]]"),
            "20260131".to_owned(),
            "2026.0131".to_owned(),
            "2026-01-31".to_owned(),
            "true".to_owned(),
        ] {
            let (_dir, sources) = toml(&format!("{} = {value}", setting.path));
            let text = problems(&sources);
            assert!(text.contains("xray.toml: must be text, found "), "{text}");
            assert!(!text.contains("hunter2") && !text.contains("2026"), "{text}");
        }
    }

    let (_dir, mut sources) = toml(&format!("pasword = \"{SECRET}\"\n[clickhous]\npassword = \"{SECRET}\""));
    sources.env = env(&[("CLICKHOUSE_HOST", &format!("https://user:{SECRET}@host"))]).env;
    let error = load(&sources).unwrap_err();
    assert_eq!(error.lines().len(), 3);
    assert!(!format!("{error:?} {error}").contains("hunter2"), "{error}");
}

#[test]
fn rendered() {
    let loaded = load(&env(&[("CLICKHOUSE_HOST", "ch"), ("CLICKHOUSE_PASSWORD", SECRET)])).unwrap();
    let text = render_text(&loaded);
    assert_eq!(
        text.lines().take(6).map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>(),
        [
            "ClickHouse",
            "CLICKHOUSE_HOST ch environment CLICKHOUSE_HOST",
            "CLICKHOUSE_PORT 8123 default",
            "CLICKHOUSE_DATABASE xray default",
            "CLICKHOUSE_USER default default",
            "CLICKHOUSE_PASSWORD (hidden) environment CLICKHOUSE_PASSWORD",
        ]
    );
    assert!(all().all(|setting| text.contains(setting.env)));

    let json: serde_json::Value = serde_json::from_str(&render_json(&loaded)).unwrap();
    assert_eq!(json["settings"].as_array().unwrap().len(), all().count());
    assert_eq!(json["settings"][0]["path"], "clickhouse.host");
    assert_eq!(json["settings"][0]["value"], "ch");
}

#[test]
fn the_example_of_the_reference_is_right() {
    let reference = reference_markdown();
    let example = reference.split("```").find_map(|block| block.strip_prefix("toml\n")).unwrap();
    let (_dir, sources) = toml(example);
    assert_eq!(config(&sources).queue.batch_size, 100);
}

#[test]
fn the_reference_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, reference_markdown()).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == reference_markdown(), "regenerate it: UPDATE_DOCS=1 cargo test --lib config::");
}
