//! Answers that no real server gives on request: each has its class, and one sentence that says what to do.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::fake::{Answer, Fake, ancient, error, http};
use crate::support::bucket::{at, open, refused};
use crate::support::raw_store::{Store, create, object};
use xray_processor_worker::config::{S3, S3Flavor};
use xray_processor_worker::store::{Class, Created, StoreError, Tag};

const KEY: &str = "runs/2026/01/31/r.json";

/// What a write fails with where a server gives this answer.
async fn write_refused_by(answer: Vec<u8>) -> StoreError {
    let fake = Fake::always(answer).await;
    create_refused(&open(&at(&fake.url()))).await
}

async fn create_refused(store: &Store) -> StoreError {
    store.create(&[object(KEY, "{}")]).await.remove(0).expect_err("was stored")
}

fn assert_says(error: &StoreError, class: Class, parts: &[&str]) {
    let text = error.chain();
    assert_eq!(error.class, class, "{text}");
    for part in parts {
        assert!(text.contains(part), "no {part:?} in: {text}");
    }
    assert!(!text.contains("a-secret-key"), "a secret in: {text}");
}

#[tokio::test]
async fn codes_of_s3() {
    for (status, code, class, part) in [
        ("403 Forbidden", "InvalidAccessKeyId", Class::Us, "does not know this access key: check MINIO_ACCESS_KEY"),
        ("403 Forbidden", "SignatureDoesNotMatch", Class::Us, "check MINIO_SECRET_KEY"),
        ("403 Forbidden", "AccessDenied", Class::Us, "need s3:PutObject (and s3:GetObject) on its objects"),
        ("403 Forbidden", "AllAccessDisabled", Class::Us, "access denied"),
        ("400 Bad Request", "ExpiredToken", Class::Us, "renew them"),
        ("404 Not Found", "NoSuchBucket", Class::Us, "no such bucket: create it, set S3_CREATE_BUCKET=true"),
        ("507 Insufficient Storage", "XMinioStorageFull", Class::Us, "disk is full"),
        ("507 Insufficient Storage", "SomethingNew", Class::Us, "disk is full"),
        ("403 Forbidden", "QuotaExceeded", Class::Us, "quota is used up"),
        ("400 Bad Request", "KMS.DisabledException", Class::Us, "encryption key"),
        ("501 Not Implemented", "NotImplemented", Class::Us, "cannot do that"),
        (
            "400 Bad Request",
            "InvalidRequest",
            Class::Us,
            "the server refuses it: HTTP 400 InvalidRequest: The message.",
        ),
        ("418 Teapot", "SomethingNew", Class::Us, "the server refuses it"),
        ("503 Slow Down", "SlowDown", Class::Transient, "overloaded"),
        ("429 Too Many Requests", "TooManyRequests", Class::Transient, "overloaded"),
        ("500 Internal Server Error", "InternalError", Class::Transient, "in trouble"),
        ("400 Bad Request", "RequestTimeout", Class::Transient, "in trouble"),
        ("400 Bad Request", "IncompleteBody", Class::Transient, "cut on its way"),
        ("404 Not Found", "NoSuchVersion", Class::Transient, "refuses it for now"),
        ("400 Bad Request", "EntityTooLarge", Class::Item, "too large"),
        ("400 Bad Request", "KeyTooLongError", Class::Item, "refuses this object"),
        ("400 Bad Request", "XMinioInvalidObjectName", Class::Item, "refuses this object"),
        ("400 Bad Request", "MetadataTooLarge", Class::Item, "refuses this object"),
    ] {
        let failed = write_refused_by(error(status, code, "")).await;
        let place = "cannot write runs/2026/01/31/r.json to bucket xray-raw at http://127.0.0.1:";
        assert_says(&failed, class, &[place, part, code, "The message."]);
    }
    let named = error("400 Bad Request", "SomethingNew", &format!("<Key>{KEY}</Key>"));
    assert_says(&write_refused_by(named).await, Class::Item, &["refuses this object"]);
}

#[tokio::test]
async fn a_wrong_region_names_the_right_one() {
    let malformed = error("400 Bad Request", "AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>");
    assert_says(&write_refused_by(malformed).await, Class::Us, &["another region: set MINIO_REGION=eu-west-1"]);
    let headers = "x-amz-bucket-region: eu-north-1\r\nContent-Type: application/xml\r\n";
    let body = "<Error><Code>PermanentRedirect</Code><Endpoint>b.s3.eu-north-1.amazonaws.com</Endpoint></Error>";
    let redirect = http("301 Moved Permanently", headers, body);
    assert_says(&write_refused_by(redirect).await, Class::Us, &["set MINIO_REGION=eu-north-1"]);
    let host = error("307 Temporary Redirect", "TemporaryRedirect", "<Endpoint>b.s3.example.com</Endpoint>");
    assert_says(&write_refused_by(host).await, Class::Us, &["is reached under b.s3.example.com"]);
    let bare = error("400 Bad Request", "AuthorizationHeaderMalformed", "");
    assert_says(&write_refused_by(bare).await, Class::Us, &["another region: check MINIO_REGION"]);
}

#[tokio::test]
async fn a_wrong_clock_says_by_how_much() {
    for (minutes, part) in [(20, "20 min behind the server's"), (-20, "20 min ahead of the server's")] {
        let server = chrono::Utc::now() + chrono::TimeDelta::minutes(minutes);
        let date = server.format("Date: %a, %d %b %Y %H:%M:%S GMT\r\n").to_string();
        let body = "<Error><Code>RequestTimeTooSkewed</Code><Message>Skewed.</Message></Error>";
        let failed = write_refused_by(http("403 Forbidden", &date, body)).await;
        assert_says(&failed, Class::Us, &["the clock of this machine is", part, "set it right (NTP)"]);
        let body = format!(
            "<Error><Code>RequestTimeTooSkewed</Code><Message>Skewed.</Message><ServerTime>{}</ServerTime></Error>",
            server.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
        );
        assert_says(&write_refused_by(http("403 Forbidden", "", &body)).await, Class::Us, &[part]);
    }
}

/// Told off once, the worker goes by the server's clock.
#[tokio::test]
async fn a_wrong_clock_is_worked_around() {
    let now = || chrono::Utc::now() + chrono::TimeDelta::minutes(20);
    let server = ancient(|_| true);
    let fake = Fake::start(move |request| {
        let signed = chrono::NaiveDateTime::parse_from_str(&request.headers["x-amz-date"], "%Y%m%dT%H%M%SZ").unwrap();
        if (now() - signed.and_utc()).abs() < chrono::TimeDelta::minutes(15) {
            return server(request);
        }
        let date = now().format("Date: %a, %d %b %Y %H:%M:%S GMT\r\n").to_string();
        Answer::Bytes(http("403 Forbidden", &date, "<Error><Code>RequestTimeTooSkewed</Code></Error>"))
    })
    .await;
    let store = open(&at(&fake.url()));
    assert_says(&create_refused(&store).await, Class::Us, &["20 min behind the server's"]);
    assert_eq!(create(&store, KEY, "{}").await, Created::Created);
}

#[tokio::test]
async fn what_is_no_s3_server_is_not_taken_for_one() {
    let html = "Content-Type: text/html; charset=utf-8\r\n";
    for (status, described) in [
        ("404 Not Found", "HTTP 404, text/html; charset=utf-8"),
        ("405 Method Not Allowed", "HTTP 405, text/html; charset=utf-8"),
        ("403 Forbidden", "HTTP 403, text/html; charset=utf-8"),
        ("301 Moved Permanently", "HTTP 301, text/html; charset=utf-8"),
    ] {
        let failed = write_refused_by(http(status, html, "<html>a page</html>")).await;
        let sentence = format!("does not answer like an S3 server ({described}): is that the right port?");
        assert_says(&failed, Class::Us, &[&sentence, "Check MINIO_ENDPOINT and MINIO_PORT"]);
    }
    // Nothing is taken for stored only because somebody says that all is well.
    for page in [http("200 OK", html, "<html>all is well</html>"), http("200 OK", "", "Ok.\n")] {
        let fake = Fake::always(page).await;
        let settings = at(&fake.url());
        let store = open(&settings);
        let sentence = &["does not answer like an S3 server (HTTP 200"];
        assert_says(&create_refused(&store).await, Class::Us, sentence);
        let tagged = [(object(KEY, "{}"), Tag("\"a\"".into()))];
        assert_says(&store.replace(&tagged).await.remove(0).unwrap_err(), Class::Us, sentence);
        assert_says(&store.read(&[KEY.into()]).await.remove(0).unwrap_err(), Class::Us, sentence);
        assert_says(&store.probe().await.unwrap_err(), Class::Us, sentence);
        assert_says(&refused(&settings).await, Class::Us, sentence);
    }
    // Nor because a framework tags its pages.
    let fake = Fake::always(http("200 OK", &format!("{html}ETag: W/\"13-abc\"\r\n"), "<html>all is well</html>")).await;
    let store = open(&at(&fake.url()));
    assert_says(&create_refused(&store).await, Class::Us, &["does not answer like an S3 server"]);
    let tagged = [(object(KEY, "{}"), Tag("\"a\"".into()))];
    let replaced = store.replace(&tagged).await.remove(0);
    assert_says(&replaced.unwrap_err(), Class::Us, &["does not answer like an S3 server"]);
    let gateway = http("502 Bad Gateway", html, "<html>nginx</html>");
    assert_says(&write_refused_by(gateway).await, Class::Transient, &["something between", "HTTP 502, text/html"]);
    let too_large = http("413 Request Entity Too Large", html, "<html>nginx</html>");
    assert_says(&write_refused_by(too_large).await, Class::Item, &["too large for the server, or for a proxy"]);
    let tls = http("400 Bad Request", "", "Client sent an HTTP request to an HTTPS server.\n");
    assert_says(&write_refused_by(tls).await, Class::Us, &["asks for TLS: set MINIO_USE_SSL=true"]);
}

#[tokio::test]
async fn what_is_no_answer_at_all_is_tried_again() {
    let garbage = write_refused_by(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()).await;
    assert_says(&garbage, Class::Transient, &["does not answer in HTTP: is that the right port?"]);
    let nothing = write_refused_by(Vec::new()).await;
    assert_says(&nothing, Class::Transient, &["the connection broke before the end of the answer"]);
    let hangs_up = Fake::always(Vec::new()).await;
    let failed = refused(&at(&hangs_up.url())).await;
    assert_says(&failed, Class::Transient, &["hangs up without an answer: if it wants TLS, set MINIO_USE_SSL=true"]);
    let half = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 1000\r\n\r\n<Error>".to_vec();
    assert_says(&write_refused_by(half).await, Class::Transient, &["the connection broke"]);
    let not_xml = http("500 Internal Server Error", "Content-Type: application/xml\r\n", "<Error><Code>Int");
    assert_says(&write_refused_by(not_xml).await, Class::Transient, &["HTTP 500"]);

    let hangs = Fake::start(|_| Answer::Hang).await;
    let began = Instant::now();
    let settings = S3 { timeout: Duration::from_millis(300), ..at(&hangs.url()) };
    assert_says(&create_refused(&open(&settings)).await, Class::Transient, &["no answer in time (S3_TIMEOUT_MS)"]);
    assert!(began.elapsed() < Duration::from_secs(10), "the timeout of the settings counts");
}

#[tokio::test]
async fn what_cannot_be_reached_is_tried_again() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let failed = create_refused(&open(&at(&format!("http://{nobody}")))).await;
    assert_says(&failed, Class::Transient, &["nothing listens there: start the server, or check MINIO_ENDPOINT"]);
    let failed = create_refused(&open(&at("http://no-such-host.invalid:9000"))).await;
    assert_says(&failed, Class::Transient, &["its name has no address: check MINIO_ENDPOINT and MINIO_PORT"]);
}

#[tokio::test]
async fn a_body_is_read_to_its_end_or_not_at_all() {
    let broken = Fake::always(b"HTTP/1.1 200 OK\r\nETag: \"a\"\r\nContent-Length: 100\r\n\r\nhalf of i".to_vec()).await;
    let read = async |fake: &Fake| open(&at(&fake.url())).read(&[KEY.to_owned()]).await.remove(0);
    assert_says(&read(&broken).await.unwrap_err(), Class::Transient, &["cannot read", "the connection broke"]);

    let huge =
        Fake::always(format!("HTTP/1.1 200 OK\r\nETag: \"a\"\r\nContent-Length: {}\r\n\r\n", 1u64 << 40).into()).await;
    let sentence = &["an object of somebody else's stands there, too long to be read", "more than 67108864 bytes"];
    assert_says(&read(&huge).await.unwrap_err(), Class::Item, sentence);

    let gone = Fake::always(error("404 Not Found", "NoSuchKey", "")).await;
    assert!(read(&gone).await.unwrap().is_none());
    let no_bucket = Fake::always(error("404 Not Found", "NoSuchBucket", "")).await;
    assert_says(&read(&no_bucket).await.unwrap_err(), Class::Us, &["no such bucket"]);
    let forbidden = Fake::always(error("403 Forbidden", "AccessDenied", "")).await;
    assert_says(&read(&forbidden).await.unwrap_err(), Class::Us, &["s3:GetObject on its objects and s3:ListBucket"]);
    let archived = Fake::always(error("403 Forbidden", "InvalidObjectState", "")).await;
    assert_says(&read(&archived).await.unwrap_err(), Class::Item, &["is archived: restore it"]);
}

/// S3 answers 409 where two conditional writes of one key meet, and asks to send it again.
#[tokio::test]
async fn writes_that_collide_are_sent_again() {
    let conflict = || Answer::Bytes(error("409 Conflict", "ConditionalRequestConflict", ""));
    let asked = AtomicUsize::new(0);
    let server = ancient(|_| true);
    let fake = Fake::start(
        move |request| {
            if asked.fetch_add(1, Ordering::Relaxed) < 2 { conflict() } else { server(request) }
        },
    )
    .await;
    assert_eq!(create(&open(&at(&fake.url())), KEY, "{}").await, Created::Created);
    assert_eq!(fake.requests().len(), 3);

    let fake = Fake::start(move |_| conflict()).await;
    let failed = create_refused(&open(&at(&fake.url()))).await;
    assert_says(&failed, Class::Transient, &["others were writing the same key"]);
    assert_eq!(fake.requests().len(), 5, "a few times, then the pipeline waits");
}

#[tokio::test]
async fn a_neighbour_is_not_touched_by_a_refusal() {
    let server = ancient(|_| true);
    let fake = Fake::start(move |request| match request.path.contains("bad") {
        true => Answer::Bytes(error("400 Bad Request", "InvalidObjectName", "")),
        false => server(request),
    })
    .await;
    let store = open(&at(&fake.url()));
    let objects: Vec<_> = ["good1", "bad", "good2"].iter().map(|name| object(&format!("runs/{name}"), "{}")).collect();
    let answers = store.create(&objects).await;
    assert_eq!(answers[1].as_ref().unwrap_err().class, Class::Item);
    for good in [0, 2] {
        assert_eq!(*answers[good].as_ref().unwrap(), Created::Created);
    }
}

/// Two styles of URL, the name of the worker, no header that only S3 itself knows.
#[tokio::test]
async fn requests_are_plain() {
    let fake = Fake::start(ancient(|_| true)).await;
    create(&open(&at(&fake.url())), KEY, "{}").await;
    let by_host = S3 { path_style: false, ..at(&fake.url().replace("127.0.0.1", "localhost")) };
    create_refused(&open(&by_host)).await; // bucket.localhost need not have an address here
    let request = &fake.requests()[0];
    assert_eq!(request.path, format!("/xray-raw/{KEY}"));
    assert!(request.headers["user-agent"].contains("app/xray-processor-worker"), "{request:?}");
    assert!(request.headers["authorization"].starts_with("AWS4-HMAC-SHA256 Credential=key/"), "{request:?}");
    assert!(
        !request.headers.keys().any(|name| name.contains("checksum") || name == "transfer-encoding"),
        "{request:?}"
    );
    assert_eq!(request.body, b"{}");
}

#[tokio::test]
async fn without_keys_requests_are_not_signed() {
    let fake = Fake::start(ancient(|_| true)).await;
    let settings = S3 { credentials: None, ..at(&fake.url()) };
    create(&open(&settings), KEY, "{}").await;
    assert!(!fake.requests()[0].headers.contains_key("authorization"));
    let denies = Fake::always(error("403 Forbidden", "AccessDenied", "")).await;
    let failed = create_refused(&open(&S3 { credentials: None, ..at(&denies.url()) })).await;
    assert_says(&failed, Class::Us, &["no keys are set, and the server asks for some: set MINIO_ACCESS_KEY"]);
}

#[tokio::test]
async fn sentences_name_the_settings_that_are_in_force() {
    let denies = Fake::always(error("403 Forbidden", "SignatureDoesNotMatch", "")).await;
    let aws = S3 { flavor: S3Flavor::Aws, region: Some("eu-west-1".into()), ..at(&denies.url()) };
    assert_says(&create_refused(&open(&aws)).await, Class::Us, &["check AWS_SECRET_ACCESS_KEY"]);
    let page = Fake::always(http("404 Not Found", "Content-Type: text/html\r\n", "")).await;
    let aws = S3 { endpoint: Some(page.url()), ..aws };
    assert_says(&create_refused(&open(&aws)).await, Class::Us, &["Check AWS_S3_ENDPOINT"]);
}
