//! Buckets on the real servers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::raw_store::Store;
use super::servers::Server;
use xray_processor_worker::config::{Config, Credentials, S3};
use xray_processor_worker::store::StoreError;
use xray_processor_worker::store::s3::S3Objects;

/// What every one of them is called by `tests/servers/servers`.
pub const SERVERS: [&str; 2] = ["minio", "versitygw"];

/// The settings of a bucket that no other test has, on this server.
pub fn settings(server: &Server) -> S3 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let scheme = if server.running().ca.is_some() { "https" } else { "http" };
    S3 {
        bucket: format!("test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)),
        create_bucket: true,
        credentials: Some(keys(server.env("MINIO_ACCESS_KEY"), server.env("MINIO_SECRET_KEY"))),
        timeout: Duration::from_secs(10),
        ..at(&format!("{scheme}://127.0.0.1:{}", server.running().port))
    }
}

/// The default settings with another address, and keys that no server asks for.
pub fn at(url: &str) -> S3 {
    S3 {
        endpoint: Some(url.to_owned()),
        credentials: Some(keys("key", "a-secret-key")),
        timeout: Duration::from_secs(2),
        ..Config::default().s3
    }
}

pub fn keys(access_key: &str, secret_key: &str) -> Credentials {
    Credentials { access_key: access_key.into(), secret_key: secret_key.into(), session_token: None }
}

pub fn open(settings: &S3) -> Store {
    Arc::new(S3Objects::open(settings, 10 << 20).unwrap())
}

/// Opened and made ready.
pub async fn ready(settings: &S3) -> Store {
    let store = open(settings);
    store.prepare().await.unwrap_or_else(|error| panic!("{}", error.chain()));
    store
}

/// Why it cannot be made ready.
pub async fn refused(settings: &S3) -> StoreError {
    open(settings).prepare().await.expect_err("was made ready")
}

/// What the SDK says about an object, as any other client would see it.
#[derive(Debug)]
pub struct Seen {
    pub body: String,
    pub content_type: String,
    pub metadata: BTreeMap<String, String>,
}

pub async fn see(settings: &S3, key: &str) -> Seen {
    let answer = client(settings).get_object().bucket(&settings.bucket).key(key).send().await.unwrap();
    Seen {
        content_type: answer.content_type().unwrap().to_owned(),
        metadata: answer.metadata().cloned().unwrap_or_default().into_iter().collect(),
        body: String::from_utf8(answer.body.collect().await.unwrap().to_vec()).unwrap(),
    }
}

/// A client of the tests' own.
pub fn client(settings: &S3) -> aws_sdk_s3::Client {
    use aws_sdk_s3::config::{BehaviorVersion, Builder, Credentials, Region};
    use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
    use secrecy::ExposeSecret;
    let keys = settings.credentials.as_ref().unwrap();
    let keys =
        Credentials::new(keys.access_key.expose_secret(), keys.secret_key.expose_secret(), None, None, "the tests");
    let http = aws_smithy_http_client::Builder::new().tls_provider(Provider::rustls(CryptoMode::Ring)).build_https();
    let config = Builder::new()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .http_client(http)
        .endpoint_url(settings.endpoint.as_deref().unwrap())
        .region(Region::new(settings.region.clone().unwrap()))
        .credentials_provider(keys)
        .force_path_style(true);
    aws_sdk_s3::Client::from_conf(config.build())
}

/// Every object of the bucket.
pub async fn all(settings: &S3) -> BTreeMap<String, Vec<u8>> {
    let client = client(settings);
    let mut found = BTreeMap::new();
    let mut pages = client.list_objects_v2().bucket(&settings.bucket).into_paginator().send();
    while let Some(page) = pages.next().await {
        for key in page.unwrap().contents().iter().map(|object| object.key().unwrap()) {
            match client.get_object().bucket(&settings.bucket).key(key).send().await {
                Ok(answer) => drop(found.insert(key.to_owned(), answer.body.collect().await.unwrap().to_vec())),
                // MinIO lists what a client that is gone had only begun to write.
                Err(error) => {
                    assert!(error.as_service_error().is_some_and(|it| it.is_no_such_key()), "{key}: {error:?}")
                }
            }
        }
    }
    found
}
