use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use aws_sdk_s3::types::{
    BucketLifecycleConfiguration, BucketVersioningStatus, ExpirationStatus, LifecycleExpiration, LifecycleRule,
    LifecycleRuleFilter, VersioningConfiguration,
};

use crate::Checked;
use crate::support::bucket;
use crate::support::clickhouse::block_on;
use crate::support::deployment::Deployment;
use crate::support::proxy::{Fault, Proxy};
use crate::support::servers::Server;

fn deployment(objects: &str) -> Deployment {
    Deployment::new(Server::shared(objects), Server::shared("clickhouse"))
}

fn check(deployment: &Deployment, env: &[(&str, &str)]) -> Checked {
    let dir = tempfile::tempdir().unwrap();
    Checked::run(deployment.worker(dir.path(), &["check"]).envs(env.iter().copied()))
}

fn keys(deployment: &Deployment) -> Vec<String> {
    let s3 = &deployment.s3;
    let listed = block_on(async { bucket::client(s3).list_objects_v2().bucket(&s3.bucket).send().await.unwrap() });
    listed.contents().iter().filter_map(|object| object.key().map(str::to_owned)).collect()
}

#[test]
fn before_and_after_the_first_start() {
    for objects in bucket::SERVERS {
        let deployment = deployment(objects);
        let before = check(&deployment, &[]);
        before.assert(0, &[("ok", "is not there yet; a worker creates it, and its tables")]);
        assert_eq!(keys(&deployment), [] as [&str; 0], "nothing is left behind");
        check(&deployment, &[("MIGRATE_ON_START", "false")])
            .assert(3, &[("fail", "run `xray-processor-worker migrate`")]);

        let input = crate::support::worker::write_lines(
            tempfile::tempdir().unwrap().keep().join("input"),
            &[crate::support::events::run("a", "running").into_bytes()],
        );
        deployment.work_off(&std::env::temp_dir(), &input);
        let (before, after) = (keys(&deployment), check(&deployment, &[]));
        assert_eq!(keys(&deployment), before);
        assert!(!after.has("warn", "") && !after.has("fail", ""), "{objects}: {:#?}", after.found);
        for words in [
            "conditional writes hold also where 4 race for one key",
            "its clock and ours agree",
            "objects can be deleted",
            "is ClickHouse 26.9.2.1 and answers in",
            ".decision_events is ReplacingMergeTree by (run_id, step_id, event_id, toDate32(timestamp)), with our 13 columns",
            "the schema is the one that this program needs",
            "we may read and insert into all of them",
        ] {
            assert!(after.has("ok", words), "{words} is not in {:#?}", after.found);
        }
    }
}

/// As versitygw does unless it is told otherwise.
#[test]
fn a_server_that_ends_each_connection() {
    let server = Server::start_with("versitygw", &["--env", "VGW_KEEP_ALIVE=false"]);
    let deployment = Deployment::new(&server, Server::shared("clickhouse"));
    check(&deployment, &[]).assert(0, &[("warn", "ends each connection after one answer")]);
}

#[test]
fn wrong_keys_passwords_and_addresses() {
    let deployment = deployment("minio");
    let wrong = [("MINIO_SECRET_KEY", "wrong-secret"), ("CLICKHOUSE_PASSWORD", "wrong")];
    let checked = check(&deployment, &wrong);
    checked.assert(3, &[("fail", "check MINIO_SECRET_KEY"), ("fail", "check CLICKHOUSE_USER and CLICKHOUSE_PASSWORD")]);
    assert!(!format!("{checked:?}").contains("wrong"), "no secret is shown");
    let nobody = [("MINIO_PORT", "1"), ("CLICKHOUSE_PORT", "1")];
    check(&deployment, &nobody).assert(3, &[("fail", "nothing listens there"), ("fail", "refuses connections")]);
    check(&deployment, &[("MINIO_BUCKET", "not-there")]).assert(3, &[("fail", "there is no such bucket")]);
    let create = [("MINIO_BUCKET", "not-there"), ("S3_CREATE_BUCKET", "true")];
    check(&deployment, &create).assert(0, &[("ok", "a worker creates it if it may, as S3_CREATE_BUCKET is true")]);
    let reader = [("CLICKHOUSE_USER", "reader"), ("CLICKHOUSE_PASSWORD", "reader")];
    assert_eq!(check(&deployment, &reader).code, 3);
}

/// Rules of a bucket that would take raw objects away, or keep what was to be erased.
#[test]
fn versions_and_rules_of_a_bucket() {
    let deployment = deployment("minio");
    let (client, name) = (bucket::client(&deployment.s3), &deployment.s3.bucket);
    let rule = |id: &str, prefix: &str| {
        let rule = LifecycleRule::builder().id(id).status(ExpirationStatus::Enabled);
        let rule = rule.filter(LifecycleRuleFilter::builder().prefix(prefix).build());
        rule.expiration(LifecycleExpiration::builder().days(30).build()).build().unwrap()
    };
    let rules = BucketLifecycleConfiguration::builder().rules(rule("eats", "decisions/")).rules(rule("logs", "logs/"));
    block_on(async {
        let versioning = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
        client.put_bucket_versioning().bucket(name).versioning_configuration(versioning).send().await.unwrap();
        let asked = client.put_bucket_lifecycle_configuration().bucket(name);
        asked.lifecycle_configuration(rules.build().unwrap()).send().await.unwrap();
    });
    let checked = check(&deployment, &[]);
    checked.assert(
        0,
        &[("warn", "the bucket keeps versions"), ("warn", "rule eats deletes objects below decisions/ after 30 days")],
    );
    assert!(!checked.has("warn", "logs"), "{:#?}", checked.found);
}

#[test]
fn tables_that_are_not_ours_or_gone() {
    let deployment = deployment("minio");
    deployment.database.query("CREATE DATABASE {db}");
    deployment.database.query("CREATE TABLE {db}.steps (step_id String) ENGINE = MergeTree ORDER BY step_id");
    check(&deployment, &[]).assert(3, &[("fail", ".steps is not this program's: it has no column run_id")]);
    deployment.database.query("DROP TABLE {db}.steps SYNC");
    block_on(deployment.database.tables());
    deployment.database.query("DROP TABLE {db}.steps SYNC");
    deployment.database.query("ALTER TABLE {db}.runs MODIFY TTL toDateTime(started_at) + INTERVAL 400 DAY");
    let said = [("warn", "its rows expire (TTL)"), ("fail", "the table steps is gone from the database")];
    check(&deployment, &[]).assert(3, &said);
    deployment.database.query("DROP TABLE {db}.schema_migrations SYNC");
    let manual = [("MIGRATE_ON_START", "false")];
    check(&deployment, &manual).assert(3, &[("fail", ".steps run `xray-processor-worker migrate`")]);
    check(&deployment, &[]).assert(0, &[("ok", ".steps is not there yet; a worker creates it")]);
}

/// One that takes connections and never says a word keeps nothing back for long.
#[test]
fn a_server_that_never_answers() {
    let deployment = deployment("minio");
    let silent = || TcpListener::bind("127.0.0.1:0").unwrap();
    let listener = silent();
    let dir = tempfile::tempdir().unwrap();
    let mut command = deployment.worker(dir.path(), &["check"]);
    let port = |listener: &TcpListener| listener.local_addr().unwrap().port().to_string();
    let mut running = command.env("CLICKHOUSE_PORT", port(&listener)).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(running.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.starts_with("ok    s3 ")), "what is known is said");
    drop(listener);
    assert!(lines.any(|line| line.starts_with("fail  clickhouse  cannot ask the server who it is")));
    assert_eq!(running.wait().unwrap().code(), Some(3));

    let listener = silent();
    let port = port(&listener);
    let question = format!(
        "no answer within 10 s in all; the last question was which version of ClickHouse http://127.0.0.1:{port}"
    );
    check(&deployment, &[("CLICKHOUSE_PORT", &port)])
        .assert(3, &[("fail", &question), ("ok", "objects can be deleted")]);
}

/// A write that fails may have taken effect, or that of another racer.
#[test]
fn nothing_is_left_where_writes_fail() {
    let deployment = deployment("minio");
    let proxy = Proxy::start(Server::shared("minio").running().port);
    let writes = AtomicU32::new(0);
    proxy.set_by(move |request| match &*request.method {
        "PUT" if writes.fetch_add(1, Relaxed) > 0 => Fault::status(500),
        _ => Fault::Pass,
    });
    check(&deployment, &[("MINIO_PORT", &proxy.port.to_string())]).assert(3, &[("fail", "HTTP 500")]);
    assert!(proxy.faults() > 0);
    assert_eq!(keys(&deployment), [] as [&str; 0]);
}
