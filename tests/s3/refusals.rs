//! Wrong settings against real servers: one sentence each, and nothing is written.

use crate::support::bucket::{self, SERVERS, at, client, keys, open, ready, refused, see, settings};
use crate::support::raw_store::{create, object, read};
use crate::support::servers::Server;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use xray_processor_worker::config::S3;
use xray_processor_worker::object::Object;
use xray_processor_worker::store::s3::S3Objects;
use xray_processor_worker::store::{Class, Created, StoreError};

const KEY: &str = "runs/2026/01/31/r.json";

fn assert_says(error: &StoreError, class: Class, parts: &[&str]) {
    let text = error.chain();
    for part in parts {
        assert!(text.contains(part), "no {part:?} in: {text}");
    }
    assert_eq!(error.class, class, "{text}");
}

#[tokio::test]
async fn wrong_keys() {
    for server in SERVERS {
        let right = settings(Server::shared(server));
        ready(&right).await;
        let access_key = Server::shared(server).env("MINIO_ACCESS_KEY");
        let wrong = S3 { credentials: Some(keys(access_key, "not-the-secret")), ..right.clone() };
        assert_says(&refused(&wrong).await, Class::Us, &["the secret key does not fit", "check MINIO_SECRET_KEY"]);
        assert!(!refused(&wrong).await.chain().contains("not-the-secret"));
        let wrong = S3 { credentials: Some(keys("nobody-we-know", "not-the-secret")), ..right.clone() };
        assert_says(&refused(&wrong).await, Class::Us, &["does not know this access key: check MINIO_ACCESS_KEY"]);
        let wrong = S3 { credentials: None, ..right.clone() };
        assert_says(&refused(&wrong).await, Class::Us, &["no keys are set, and the server asks for some"]);
        let failed = open(&wrong).create(&[object(KEY, "{}")]).await.remove(0).unwrap_err();
        assert_eq!(failed.class, Class::Us);
        assert!(read(&open(&right), KEY).await.is_none());
    }
}

#[tokio::test]
async fn a_missing_bucket() {
    for server in SERVERS {
        let asked = settings(Server::shared(server));
        let not_asked = S3 { create_bucket: false, ..asked.clone() };
        let sentence = "there is no such bucket: create it, set S3_CREATE_BUCKET=true";
        assert_says(&refused(&not_asked).await, Class::Us, &[sentence, &asked.bucket]);
        let store = open(&not_asked);
        for failed in [
            store.create(&[object(KEY, "{}")]).await.remove(0).map(drop),
            store.read(&[KEY.into()]).await.remove(0).map(drop),
            store.probe().await,
        ] {
            assert_says(&failed.unwrap_err(), Class::Us, &[sentence]);
        }
        // Several workers begin at once.
        let stores: Vec<_> = (0..4).map(|_| open(&asked)).collect();
        let tasks = stores.into_iter().map(|store| tokio::spawn(async move { store.prepare().await }));
        for answer in futures_util::future::join_all(tasks).await {
            answer.unwrap().unwrap_or_else(|error| panic!("{}", error.chain()));
        }
        assert_eq!(create(&open(&not_asked), KEY, "{}").await, Created::Created);
    }
}

#[tokio::test]
async fn a_name_that_no_bucket_can_have() {
    for server in SERVERS {
        for create_bucket in [false, true] {
            let wrong = S3 { bucket: "Not_A_Bucket".into(), create_bucket, ..settings(Server::shared(server)) };
            let failed = refused(&wrong).await;
            assert_says(&failed, Class::Us, &["Not_A_Bucket"]);
            println!("{server} {create_bucket}: {}", failed.chain());
        }
    }
}

#[tokio::test]
async fn another_region() {
    let minio = Server::start_with("minio", &["--env", "MINIO_SITE_REGION=eu-west-1"]);
    let right = S3 { region: Some("eu-west-1".into()), ..settings(&minio) };
    ready(&right).await;
    let wrong = S3 { region: Some("us-east-1".into()), ..right };
    assert_says(&refused(&wrong).await, Class::Us, &["in another region: set MINIO_REGION=eu-west-1"]);
    let right = settings(Server::shared("versitygw"));
    ready(&right).await;
    let wrong = S3 { region: Some("eu-west-1".into()), ..right };
    assert_says(&refused(&wrong).await, Class::Us, &["MINIO_REGION"]);
}

#[tokio::test]
async fn a_server_of_another_kind() {
    let clickhouse = Server::shared("clickhouse");
    let failed = refused(&at(&format!("http://127.0.0.1:{}", clickhouse.running().port))).await;
    assert_says(&failed, Class::Us, &["does not answer like an S3 server (HTTP ", "is that the right port?"]);
}

#[tokio::test]
async fn a_server_that_only_lets_read() {
    let mut server = Server::start("versitygw");
    let settings = settings(&server);
    create(&ready(&settings).await, KEY, "{}").await;
    server.kill_9();
    server.restart_with(&["--env", "VGW_READ_ONLY=true"]);
    let store = open(&settings);
    assert!(read(&store, KEY).await.is_some());
    assert_says(&store.probe().await.unwrap_err(), Class::Us, &["access denied", "s3:PutObject"]);
    let failed = store.create(&[object("runs/2026/01/31/new.json", "{}")]).await.remove(0).unwrap_err();
    assert_says(&failed, Class::Us, &["access denied", "s3:PutObject"]);
}

#[tokio::test]
async fn tls_and_the_lack_of_it() {
    for name in SERVERS {
        let server = Server::start_with(name, &["--tls"]);
        let untrusted = settings(&server);
        let trusted = S3 { ca_file: server.running().ca.clone(), ..untrusted.clone() };
        let store = ready(&trusted).await;
        assert_eq!(create(&store, KEY, "{}").await, Created::Created);
        assert_eq!(read(&store, KEY).await.unwrap().body, "{}");

        let sentence =
            "its certificate is signed by nobody who is trusted here: name the CA's certificate in S3_CA_FILE";
        assert_says(&refused(&untrusted).await, Class::Transient, &[sentence]);
        let plain = S3 { endpoint: untrusted.endpoint.map(|url| url.replace("https", "http")), ..trusted };
        let failed = refused(&plain).await;
        println!("{name}: {}", failed.chain());
        assert_says(&failed, failed.class, &["MINIO_USE_SSL=true"]);

        let plain = settings(Server::shared(name));
        let tls = S3 { endpoint: plain.endpoint.map(|url| url.replace("http", "https")), ..plain };
        let sentence = "what listens there does not speak TLS: set MINIO_USE_SSL=false";
        assert_says(&refused(&tls).await, Class::Transient, &[sentence]);
    }
}

#[test]
fn a_ca_file_of_no_use() {
    let wrong = S3 { ca_file: Some(PathBuf::from("/no/such/ca.pem")), ..at("https://localhost:9000") };
    let failed = S3Objects::open(&wrong, 10 << 20).unwrap_err();
    assert_says(&failed, Class::Us, &["S3_CA_FILE names /no/such/ca.pem, which cannot be read"]);
}

/// What other clients see of an object.
#[tokio::test]
async fn metadata() {
    for server in SERVERS {
        let settings = settings(Server::shared(server));
        let store = ready(&settings).await;
        let ids = vec![
            ("event-id", "e-1 \"quoted\", listed; a=b/c?d&%20".to_owned()),
            ("run-id", "two  blanks".into()),
            ("step-id", " a blank at the end ".into()),
            ("pipeline-id", "p".repeat(256)),
        ];
        let object = Object { metadata: ids.clone(), ..(*object(KEY, "{\"a\":1}")).clone() };
        let sha256 = object.sha256.to_string();
        assert_eq!(store.create(&[Arc::new(object)]).await.remove(0).unwrap(), Created::Created);
        let seen = see(&settings, KEY).await;
        assert_eq!((seen.body.as_str(), seen.content_type.as_str()), ("{\"a\":1}", "application/json"));
        let expected = [("sha256", &sha256), ("event-id", &ids[0].1), ("pipeline-id", &ids[3].1)];
        assert_eq!(seen.metadata, expected.map(|(name, value)| (name.to_owned(), value.clone())).into(), "{server}");

        // What the worker of before wrote.
        let body = aws_sdk_s3::primitives::ByteStream::from_static(b"{}");
        let put = client(&settings).put_object().bucket(&settings.bucket).key("runs/legacy.json").body(body);
        put.metadata("event-id", "e").send().await.unwrap();
        assert!(read(&store, "runs/legacy.json").await.unwrap().legacy);
        assert!(!read(&store, KEY).await.unwrap().legacy);
    }
}

/// What is left behind beside objects.
#[tokio::test]
async fn nothing_but_the_probe_is_added() {
    for server in SERVERS {
        let settings = settings(Server::shared(server));
        let store = ready(&settings).await;
        create(&store, KEY, "{}").await;
        store.probe().await.unwrap();
        let listed = client(&settings).list_objects_v2().bucket(&settings.bucket).send().await.unwrap();
        let keys: BTreeMap<_, _> = listed.contents().iter().map(|object| (object.key().unwrap(), ())).collect();
        assert_eq!(keys.into_keys().collect::<Vec<_>>(), [".xray-probe", KEY], "{server}");
        let probe = see(&settings, ".xray-probe").await;
        assert!(probe.body.contains("xray-processor-worker"), "{probe:?}");
    }
}

#[tokio::test]
async fn made_ready_while_the_bucket_is_ready_costs_three_requests() {
    let fake = crate::fake::Fake::start(crate::fake::ancient(|_| true)).await;
    bucket::ready(&at(&fake.url())).await;
    let first = fake.requests().len();
    bucket::ready(&at(&fake.url())).await;
    assert_eq!(fake.requests().len() - first, 3);
}
