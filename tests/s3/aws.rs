//! AWS's own configuration, where ours leaves something open. It comes from the environment, so each case runs in a
//! process of its own: this test binary once more.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::bucket::{self, open, settings};
use crate::support::servers::Server;
use xray_processor_worker::config::{S3, S3Flavor};

/// Says where the other process finds its bucket, and that it is the other process.
const ENDPOINT: &str = "XRAY_TEST_S3_ENDPOINT";
const BUCKET: &str = "XRAY_TEST_S3_BUCKET";

/// What a store of the AWS flavour with nothing but an endpoint and a bucket says when it is made ready with these
/// variables: `ready`, or why not.
fn made_ready(at: &S3, variables: &[(&str, &str)]) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "aws::in_the_other_process", "--nocapture"]).env_clear();
    command.env(BUCKET, &at.bucket).env(ENDPOINT, at.endpoint.as_deref().unwrap_or_default());
    command.env("HOME", "/nonexistent").env("AWS_EC2_METADATA_DISABLED", "true").envs(variables.iter().copied());
    let output = String::from_utf8(command.output().unwrap().stdout).unwrap();
    output.lines().find_map(|line| line.strip_prefix("said: ")).unwrap_or_else(|| panic!("{output}")).to_owned()
}

#[tokio::test]
async fn in_the_other_process() {
    let (Ok(bucket), Ok(endpoint)) = (std::env::var(BUCKET), std::env::var(ENDPOINT)) else { return };
    let settings = S3 {
        flavor: S3Flavor::Aws,
        endpoint: Some(endpoint).filter(|endpoint| !endpoint.is_empty()),
        bucket,
        region: None,
        credentials: None,
        ..bucket::at("")
    };
    let said = open(&settings).prepare().await.map_or_else(|error| error.chain(), |()| "ready".into());
    println!("\nsaid: {said}");
}

fn write(dir: &Path, name: &str, content: &str) -> String {
    let path = dir.join(name);
    fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn keys_and_region_come_from_variables_or_a_profile() {
    let server = Server::shared("versitygw");
    let there = settings(server);
    bucket::ready(&there).await;
    let (key, secret) = (server.env("MINIO_ACCESS_KEY"), server.env("MINIO_SECRET_KEY"));

    let variables = [("AWS_ACCESS_KEY_ID", key), ("AWS_SECRET_ACCESS_KEY", secret), ("AWS_REGION", "us-east-1")];
    assert_eq!(made_ready(&there, &variables), "ready");

    let dir = tempfile::tempdir().unwrap();
    let config = write(dir.path(), "config", "[profile worker]\nregion = us-east-1\n");
    let keys = format!("[worker]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n");
    let keys = write(dir.path(), "credentials", &keys);
    let files = [("AWS_CONFIG_FILE", &*config), ("AWS_SHARED_CREDENTIALS_FILE", &*keys), ("AWS_PROFILE", "worker")];
    assert_eq!(made_ready(&there, &files), "ready");

    let wrong = [("AWS_ACCESS_KEY_ID", key), ("AWS_SECRET_ACCESS_KEY", "wrong"), ("AWS_REGION", "us-east-1")];
    let said = made_ready(&there, &wrong);
    assert!(said.contains("check the credentials that AWS's default chain finds here"), "{said}");
}

#[test]
fn what_is_missing_is_one_sentence_and_soon() {
    let began = Instant::now();
    let nowhere = S3 { bucket: "events".into(), endpoint: None, ..bucket::at("") };
    let said = made_ready(&nowhere, &[]);
    assert_eq!(
        said,
        "the region of bucket events is not known: set AWS_REGION, or the region of AWS's own configuration"
    );
    let said = made_ready(&nowhere, &[("AWS_REGION", "eu-west-1")]);
    assert!(
        said.starts_with("cannot read .xray-probe from bucket events at S3 in eu-west-1: AWS's default chain"),
        "{said}"
    );
    assert!(said.contains("found no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"), "{said}");
    assert!(began.elapsed() < Duration::from_secs(60));
}
