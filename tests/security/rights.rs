//! Users with the rights that the documentation lists, word for word, and no others: worker, check, verify, rebuild, purge.

use std::path::Path;
use std::process::Command;

use aws_sdk_sts::config::{BehaviorVersion, Credentials, Region};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use secrecy::ExposeSecret;

use crate::support::bodies::hostile;
use crate::support::deployment::Deployment;
use crate::support::model::{Input, expected};
use crate::support::servers::Server;
use crate::support::worker::{output, write_lines};

/// The first block of code of this language after this line, in a file of `docs/`.
fn documented(file: &str, after: &str, language: &str) -> String {
    let path = format!("{}/docs/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap();
    let after = text.split_once(after).unwrap_or_else(|| panic!("{after} is not in {path}")).1;
    let block = after.split_once(&format!("```{language}\n")).unwrap().1;
    block.split_once("\n```").unwrap().0.to_owned()
}

/// Exit code and everything that was said.
fn ran(mut command: Command) -> (i32, String) {
    let found = output(&mut command);
    let text = [found.stdout, found.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    (found.status.code().unwrap_or(-1), text)
}

/// The grants in these blocks of SQL, for this database.
fn grants(blocks: &[&str], database: &str) -> String {
    let statements = blocks.concat();
    let lines = statements.lines().filter(|line| line.starts_with("GRANT"));
    let grants: Vec<String> = lines
        .map(|line| line.replace("xray.", &format!("{database}.")).replace("xray_", &format!("{database}_")))
        .collect();
    grants.join("\n")
}

#[test]
fn of_a_user_of_clickhouse() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let bodies = hostile();
    let input = write_lines(dir.join("input"), &bodies);
    let model = expected(bodies.iter().map(|body| Input { body, hint: None }));

    let block = documented("clickhouse.md", "## Rights", "sql");
    let (worker, migrations) = block.split_once("-- for migrations").unwrap();
    let rebuild = documented("rebuild.md", "Rights, besides a worker's", "sql");
    let erase = documented("verify.md", "### Rights", "sql");

    let mut tables = Server::start("clickhouse");
    let place = Deployment::new(Server::shared("minio"), &tables);
    let name = place.database.name.clone();
    let mut with = |blocks: &[&str]| {
        tables.kill_9();
        tables.restart_with(&["--grants", &grants(blocks, &name)]);
    };
    let run = |args: &[&str]| {
        let mut command = place.worker(dir, args);
        command.env("MIGRATE_ON_START", "false");
        ran(command)
    };
    let input = ["run", "--input", &input, "--give-up-after", "5s"];

    with(&[worker]);
    let (code, said) = run(&["migrate"]);
    assert!(code == 1 && said.contains("lacks a right"), "{said}");
    with(&[worker, migrations]);
    let (code, said) = ran(place.worker(dir, &["check"]));
    assert!(code == 0, "before the first start: {said}");
    let (code, said) = run(&["migrate"]);
    assert_eq!(code, 0, "{said}");

    with(&[worker]);
    let (code, said) = run(&input);
    assert_eq!(code, 0, "{said}");
    place.assert_state(&model);
    let (code, said) = run(&["check"]);
    assert!(code == 0 && said.contains("we may read and insert into all of them"), "{said}");
    for command in [&["verify", "--deep", "--min-age", "0s"][..], &["lookup", "run-a", "--min-age", "0s"]] {
        let (code, said) = run(command);
        assert_eq!(code, 0, "{command:?}: {said}");
    }
    let (code, said) = run(&["rebuild"]);
    assert!(code == 1 && said.contains("CREATE TABLE"), "{said}");
    with(&[worker, &rebuild]);
    let (code, said) = run(&["rebuild"]);
    assert_eq!(code, 0, "{said}");
    place.assert_state(&model);

    // Objects go first, so what was refused half way is done by whoever may.
    with(&[worker]);
    let purge = ["purge", "--run", "r", "--yes"];
    let (code, said) = run(&purge);
    assert!(code == 1 && said.contains("ALTER DELETE"), "{said}");
    with(&[worker, &erase]);
    let (code, said) = run(&purge);
    assert_eq!(code, 0, "{said}");
    let (code, said) = run(&["verify", "--repair", "--deep", "--min-age", "0s"]);
    assert_eq!(code, 0, "{said}");
    assert!(place.state().decision_events.values().all(|row| row.run_id != "r"));

    // What a reader has is not enough to write, and says so.
    with(&[&format!("GRANT SELECT ON xray.* TO worker;\n{}", system(worker))]);
    let (code, said) = run(&["verify", "--min-age", "0s"]);
    assert_eq!(code, 0, "{said}");
    let (code, said) = run(&input);
    assert!(code == 1 && said.contains("lacks a right"), "{said}");
}

/// Only the lines about the system's own tables.
fn system(block: &str) -> String {
    block.lines().filter(|line| line.contains("system.")).collect::<Vec<_>>().join("\n")
}

/// Keys that may do what this policy allows: MinIO gives them out for a while, as AWS does.
async fn keys_with(place: &Deployment, policy: &str) -> Credentials {
    let root = place.s3.credentials.as_ref().unwrap();
    let root = Credentials::new(root.access_key.expose_secret(), root.secret_key.expose_secret(), None, None, "root");
    let http = aws_smithy_http_client::Builder::new().tls_provider(Provider::rustls(CryptoMode::Ring)).build_https();
    let config = aws_sdk_sts::config::Builder::new()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .http_client(http)
        .endpoint_url(place.s3.endpoint.as_deref().unwrap())
        .region(Region::new("us-east-1"))
        .credentials_provider(root);
    let asked = aws_sdk_sts::Client::from_conf(config.build()).assume_role().role_session_name("worker").policy(policy);
    let given = asked.role_arn("arn:aws:iam::000000000000:role/worker").send().await.unwrap().credentials.unwrap();
    Credentials::new(given.access_key_id, given.secret_access_key, Some(given.session_token), None, "MinIO")
}

/// With these keys in place of those of the server, as AWS's settings take them.
fn told(place: &Deployment, keys: &Credentials, dir: &Path, args: &[&str]) -> Command {
    let mut command = place.worker(dir, args);
    for name in ["ENDPOINT", "PORT", "ACCESS_KEY", "SECRET_KEY", "USE_SSL", "BUCKET"] {
        command.env_remove(format!("MINIO_{name}"));
    }
    command
        .env("AWS_S3_ENDPOINT", place.s3.endpoint.as_deref().unwrap())
        .env("AWS_S3_BUCKET", &place.s3.bucket)
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", keys.access_key_id())
        .env("AWS_SECRET_ACCESS_KEY", keys.secret_access_key())
        .env("AWS_SESSION_TOKEN", keys.session_token().unwrap());
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_keys_of_s3() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let bodies = hostile();
    let input = write_lines(dir.join("input"), &bodies);
    let model = expected(bodies.iter().map(|body| Input { body, hint: None }));
    let place = Deployment::new(Server::shared("minio"), Server::shared("clickhouse"));
    let policy = documented("s3.md", "## Rights", "json").replace("BUCKET", &place.s3.bucket);
    let worker = keys_with(&place, &policy).await;
    let run = |keys: &Credentials, args: &[&str]| ran(told(&place, keys, dir, args));
    let input = ["run", "--input", &input, "--give-up-after", "5s"];

    let (code, said) = run(&worker, &input);
    assert_eq!(code, 0, "{said}");
    place.assert_state(&model);
    // A second time: what is there is compared, and replaced where a report is newer.
    let (code, said) = run(&worker, &input);
    assert_eq!(code, 0, "{said}");
    place.assert_state(&model);
    for command in [&["verify", "--deep", "--min-age", "0s"][..], &["lookup", "run-a", "--min-age", "0s"], &["rebuild"]]
    {
        let (code, said) = run(&worker, command);
        assert_eq!(code, 0, "{command:?}: {said}");
    }
    let purge = ["purge", "--run", "r", "--yes"];
    let (code, said) = run(&worker, &purge);
    assert!(code == 1 && said.contains("s3:DeleteObject"), "{said}");
    place.assert_state(&model);
    // It leaves its probe there, and says so.
    let (code, said) = run(&worker, &["check"]);
    assert!(code == 0 && said.contains("s3:DeleteObject"), "{said}");
    let mut elsewhere = told(&place, &worker, dir, &input);
    elsewhere.env("AWS_S3_BUCKET", "xray-raw");
    let (code, said) = ran(elsewhere);
    assert!(code == 1 && said.contains("access denied"), "{said}");

    let erasing = policy.replace("\"s3:GetObject\"", "\"s3:GetObject\", \"s3:DeleteObject\"");
    assert_ne!(erasing, policy);
    let (code, said) = run(&keys_with(&place, &erasing).await, &purge);
    assert_eq!(code, 0, "{said}");

    // Neither can be left out. MinIO says of what is absent that it is, also to who may not list.
    for right in ["s3:PutObject", "s3:GetObject"] {
        let less = keys_with(&place, &policy.replace(right, "s3:GetBucketLocation")).await;
        let (code, said) = run(&less, &input);
        assert!(code == 1 && said.contains("access denied"), "without {right}: {said}");
    }
}
