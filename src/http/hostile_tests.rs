//! Clients that mean no good, or do not know better.

use super::tests::{get, started, state};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends these bytes and returns the first line of the answer; empty where there is none.
async fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may hang up before all is sent.
    stream.write_all(bytes).await.ok();
    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the connection is not ended").ok();
    String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn nonsense_is_refused_with_the_right_status() {
    let address = started(&state()).await;
    let close = "Connection: close\r\n\r\n";
    let large = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n{close}", "x".repeat(1 << 20));
    let many: String = (0..500).map(|n| format!("X-{n}: y\r\n")).collect();
    let many = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{many}{close}");
    let long = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n{close}", "x".repeat(1 << 20));
    for (bytes, status) in [
        (large.as_bytes(), "431"),
        (many.as_bytes(), "431"),
        (b"GET /\xff\xfe HTTP/1.1\r\n\r\n", "400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "400"),
        (b"GET / HTTP/9.9\r\n\r\n", "400"),
        (b"BREW / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", "405"),
        (b"GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", "404"),
        (b"GET /%00%0d%0aSet-Cookie:%20a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", "404"),
        (b"DELETE /status.json HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", "405"),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello", "405"),
    ] {
        let line = raw(address, bytes).await;
        assert!(
            line.split(' ').nth(1) == Some(status),
            "{line}, not {status}: {:?}",
            String::from_utf8_lossy(&bytes[..40.min(bytes.len())])
        );
    }
    let line = raw(address, long.as_bytes()).await;
    assert!(line.contains("414") || line.contains("431"), "{line}");
    assert_eq!(get(address, "/healthz").await.0, 200);
}

/// Whoever says nothing, or one byte at a time, is hung up on; others are answered meanwhile.
#[tokio::test]
async fn slow_clients_are_hung_up_on() {
    let address = started(&state()).await;
    let mut silent = TcpStream::connect(address).await.unwrap();
    let mut slow = TcpStream::connect(address).await.unwrap();
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let dripping = async {
        while slow.write_all(b"G").await.is_ok() {
            sleep(Duration::from_millis(200)).await;
        }
    };
    let (mut rest, mut answer) = (Vec::new(), Vec::new());
    let ended = async {
        let (silent, idle, ()) = tokio::join!(silent.read_to_end(&mut rest), idle.read_to_end(&mut answer), dripping);
        // However it ends.
        silent.and(idle).ok();
    };
    timeout(PATIENCE, ended).await.expect("they are held for ever");
    assert!(answer.starts_with(b"HTTP/1.1 200"), "what was asked is answered");
    assert_eq!(get(address, "/healthz").await.0, 200);
}

/// As many as are taken at once, and none of them says anything: who comes last does not wait for the first.
#[tokio::test]
async fn a_crowd_that_says_nothing() {
    let address = started(&state()).await;
    let connect = (0..600).map(|_| TcpStream::connect(address));
    let silent = futures_util::future::try_join_all(connect).await.unwrap();
    assert_eq!(get(address, "/healthz").await.0, 200);
    let still = silent.iter().filter(|stream| stream.try_read(&mut [0]).is_err()).count();
    assert!(still > 200, "of all only {still} are held");
}

/// More connections than are taken at once: those that are answered go, and all have their turn.
#[tokio::test]
async fn thousands_of_connections() {
    let address = started(&state()).await;
    let asks = (0..3000).map(|_| async move {
        raw(address, b"GET /status.json HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await
    });
    let answers = timeout(PATIENCE, futures_util::future::join_all(asks)).await.unwrap();
    let good = answers.iter().filter(|line| line.contains("200")).count();
    assert_eq!(good, 3000);
}

/// More connections than are taken, of clients that ask again and again and take no answer.
#[tokio::test]
async fn who_does_not_read_is_hung_up_on() {
    let address = started(&state()).await;
    let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(400);
    let mut clients = Vec::new();
    for _ in 0..600 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(1024).unwrap();
        let stream = socket.connect(address).await.unwrap();
        // As much as is taken.
        stream.writable().await.unwrap();
        stream.try_write(&request).ok();
        clients.push(stream);
    }
    let (status, _) = timeout(PATIENCE, get(address, "/healthz")).await.expect("nobody else is answered");
    assert_eq!(status, 200);
    drop(clients);
}
