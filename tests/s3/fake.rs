//! A server of a few lines that answers what a test tells it to, down to the bytes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// Without the query.
    pub path: String,
    /// By their lower-case names.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

/// What a test answers.
pub enum Answer {
    /// These bytes, then the end of the connection.
    Bytes(Vec<u8>),
    /// Nothing, for ever.
    Hang,
}

pub struct Fake {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    _task: AbortOnDropHandle<()>,
}

impl Fake {
    pub async fn start(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, answer) = (Arc::<Mutex<Vec<Request>>>::default(), Arc::new(answer));
        let seen = requests.clone();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, answer.clone(), seen.clone()));
            }
        });
        Fake { address, requests, _task: AbortOnDropHandle::new(task) }
    }

    /// One that gives every request the same answer.
    pub async fn always(answer: Vec<u8>) -> Fake {
        Fake::start(move |_| Answer::Bytes(answer.clone())).await
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it was asked so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

async fn serve(
    stream: TcpStream,
    answer: Arc<impl Fn(&Request) -> Answer + Send + Sync>,
    seen: Arc<Mutex<Vec<Request>>>,
) -> Option<()> {
    let mut stream = BufReader::new(stream);
    let request = read(&mut stream).await?;
    seen.lock().unwrap().push(request.clone());
    match answer(&request) {
        Answer::Bytes(bytes) => stream.write_all(&bytes).await.ok()?,
        Answer::Hang => std::future::pending().await,
    }
    stream.shutdown().await.ok()
}

/// `None` where the client says no more.
async fn read(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    let mut words = line.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(Request { method, path: target.split('?').next()?.to_owned(), headers, body })
}

/// An answer of HTTP. The status is a number and a word, the headers end with `\r\n` each.
pub fn http(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len()).into()
}

/// An error as S3 answers it.
pub fn error(status: &str, code: &str, more: &str) -> Vec<u8> {
    let body =
        format!("<?xml version=\"1.0\"?>\n<Error><Code>{code}</Code><Message>The message.</Message>{more}</Error>");
    http(status, "Content-Type: application/xml\r\n", &body)
}

/// A store as S3 was before it knew conditions: the last write wins. `knows` says which conditions it heeds.
pub fn ancient(knows: impl Fn(&str) -> bool + Send + Sync + 'static) -> impl Fn(&Request) -> Answer + Send + Sync {
    let objects = Mutex::new(BTreeMap::<String, (Vec<u8>, String)>::new());
    move |request| {
        let mut objects = objects.lock().unwrap();
        let found = objects.get(&request.path);
        let condition = |name: &str| request.headers.get(name).filter(|_| knows(name));
        Answer::Bytes(match request.method.as_str() {
            "PUT" if condition("if-none-match").is_some() && found.is_some() => {
                error("412 Precondition Failed", "PreconditionFailed", "")
            }
            "PUT" if condition("if-match").is_some_and(|tag| found.is_none_or(|(_, mine)| tag != mine)) => {
                error("412 Precondition Failed", "PreconditionFailed", "")
            }
            "PUT" => {
                let tag = format!("\"{}\"", xray_processor_worker::digest::Sha256::of(&request.body));
                let answer = http("200 OK", &format!("ETag: {tag}\r\n"), "");
                objects.insert(request.path.clone(), (request.body.clone(), tag));
                answer
            }
            method => match found {
                Some((body, tag)) => {
                    let headers = format!("ETag: {tag}\r\nx-amz-meta-sha256: x\r\n");
                    let mut answer = http("200 OK", &headers, std::str::from_utf8(body).unwrap());
                    if method == "HEAD" {
                        answer.truncate(answer.len() - body.len());
                    }
                    answer
                }
                None if method == "HEAD" => http("404 Not Found", "", ""),
                None => error("404 Not Found", "NoSuchKey", ""),
            },
        })
    }
}
