//! Stands between a worker and a store that speaks HTTP, and fails as it is told to, from one request to the next.
//!
//! It runs on a thread of its own, so any test can use it: `proxy.set(Fault::Hang)`, then `proxy.set(Fault::Pass)`; or
//! `proxy.set_by(|request| …)` to choose for each request, by what it is or by a throw of dice.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The store answers it.
    Pass,
    /// The port is closed: every connection is broken, and new ones are refused. Chosen for a single request it only
    /// breaks that one's connection.
    Refuse,
    /// It is taken and never answered; the store does not hear of it.
    Hang,
    /// The store does what it says, and the answer never comes.
    Swallow,
    /// The store does what it says, and the connection is reset in the middle of the answer.
    Reset,
    /// The same, and the connection ends there as if nothing were missing.
    Half,
    /// These bytes are the answer; the store does not hear of it.
    Answer(Vec<u8>),
    /// The store answers it, so much later.
    Slow(Duration),
}

impl Fault {
    /// An answer of HTTP with this status and a page of a stranger, as balancers between worker and store give it.
    pub fn status(status: u16) -> Fault {
        let page = "<html><body>This is not the page you are looking for.</body></html>";
        let location = if (300..400).contains(&status) { "Location: http://127.0.0.1:1/\r\n" } else { "" };
        let head = format!("HTTP/1.1 {status} So It Is\r\n{location}Content-Type: text/html\r\n");
        Fault::Answer(format!("{head}Content-Length: {}\r\n\r\n{page}", page.len()).into_bytes())
    }

    /// An answer of nothing that anybody speaks.
    pub fn garbage() -> Fault {
        Fault::Answer(b"\x15\x03\x01\x00\x02\x02\x16 SSH-2.0-OpenSSH_9.2\r\n\0\0\0\r\n\r\n".to_vec())
    }
}

/// A request as the worker sent it.
#[derive(Debug)]
pub struct Request {
    /// `PUT`
    pub method: String,
    /// Path and query, decoded: what is inserted is told there.
    pub target: String,
    /// The body as it was sent: a query of ClickHouse, unless it is compressed rows.
    pub body: Vec<u8>,
    /// All of it.
    bytes: Vec<u8>,
}

impl Request {
    /// Whether these words stand in its target, or in its body.
    pub fn says(&self, words: &str) -> bool {
        self.target.contains(words) || self.body.windows(words.len()).any(|window| window == words.as_bytes())
    }

    /// Whether it would change what is stored.
    pub fn writes(&self) -> bool {
        self.method == "PUT" || self.method == "DELETE" || self.says("INSERT INTO")
    }
}

type Choose = Arc<dyn Fn(&Request) -> Fault + Send + Sync>;

#[derive(Clone)]
enum Rule {
    All(Fault),
    By(Choose),
}

/// A proxy in front of one store; it ends with this value.
pub struct Proxy {
    pub port: u16,
    rule: watch::Sender<Rule>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    store: SocketAddr,
    /// Requests and connections that did not get what they came for.
    hit: AtomicUsize,
    /// The same since the rule was last set.
    hit_now: AtomicUsize,
    passed: AtomicUsize,
    open: AtomicBool,
}

impl Proxy {
    /// In front of the store on this port of this machine. It passes all on.
    pub fn start(store: u16) -> Proxy {
        let (rule, rules) = watch::channel(Rule::All(Fault::Pass));
        let shared = Arc::new(Shared {
            store: (Ipv4Addr::LOCALHOST, store).into(),
            hit: AtomicUsize::new(0),
            hit_now: AtomicUsize::new(0),
            passed: AtomicUsize::new(0),
            open: AtomicBool::new(false),
        });
        let (port_in, port) = std::sync::mpsc::channel();
        let thread = std::thread::spawn({
            let shared = shared.clone();
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    // Bound and never listening, it keeps the port ours while that is closed.
                    let ours = socket(0).unwrap();
                    let port = ours.local_addr().unwrap().port();
                    port_in.send(port).unwrap();
                    serve(port, rules, shared).await;
                });
            }
        });
        let proxy = Proxy { port: port.recv().unwrap(), rule, shared, thread: Some(thread) };
        proxy.wait_until(true);
        proxy
    }

    /// From now on this happens to every request. What hangs already hangs on.
    pub fn set(&self, fault: Fault) {
        self.change(Rule::All(fault));
    }

    /// From now on this chooses for each request.
    pub fn set_by(&self, choose: impl Fn(&Request) -> Fault + Send + Sync + 'static) {
        self.change(Rule::By(Arc::new(choose)));
    }

    fn change(&self, rule: Rule) {
        let open = !rule.refuses();
        self.rule.send_modify(|now| {
            self.shared.hit_now.store(0, Relaxed);
            *now = rule;
        });
        self.wait_until(open);
    }

    fn wait_until(&self, open: bool) {
        while self.shared.open.load(Relaxed) != open {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// How many faults there have been in all.
    pub fn faults(&self) -> usize {
        self.shared.hit.load(Relaxed)
    }

    /// How many requests got their answer, at once or slowly.
    pub fn passed(&self) -> usize {
        self.shared.passed.load(Relaxed)
    }

    /// Waits until so many faults have happened since the last `set`. Where the port is closed nobody is seen.
    pub fn wait_for_faults(&self, count: usize) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.shared.hit_now.load(Relaxed) < count {
            assert!(Instant::now() < deadline, "nobody ran into the fault");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // The thread sees that its sender is gone.
        drop(std::mem::replace(&mut self.rule, watch::channel(Rule::All(Fault::Pass)).0));
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || ended.is_none_or(|ended| ended.is_ok()), "the proxy panicked");
    }
}

fn socket(port: u16) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseport(true)?;
    socket.bind((Ipv4Addr::LOCALHOST, port).into())?;
    Ok(socket)
}

/// Until the proxy is dropped.
async fn serve(port: u16, mut rules: watch::Receiver<Rule>, shared: Arc<Shared>) {
    loop {
        if rules.borrow().refuses() {
            shared.hit();
            shared.open.store(false, Relaxed);
        } else {
            let listener = socket(port).unwrap().listen(1024).unwrap();
            shared.open.store(true, Relaxed);
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    changed = rules.changed() => match changed {
                        Err(_) => return,
                        Ok(()) if rules.borrow().refuses() => break,
                        Ok(()) => {}
                    },
                    accepted = listener.accept() => {
                        let (stream, _) = accepted.unwrap();
                        connections.spawn(connection(stream, rules.clone(), shared.clone()));
                    }
                    Some(_) = connections.join_next() => {}
                }
            }
            continue;
        }
        if rules.changed().await.is_err() {
            return;
        }
    }
}

impl Rule {
    /// Whether nobody is listened to.
    fn refuses(&self) -> bool {
        matches!(self, Rule::All(Fault::Refuse))
    }
}

impl Shared {
    fn hit(&self) {
        self.hit.fetch_add(1, Relaxed);
        self.hit_now.fetch_add(1, Relaxed);
    }
}

/// One connection of the worker. An error of either side ends it, which is what the other side sees too.
async fn connection(stream: TcpStream, rules: watch::Receiver<Rule>, shared: Arc<Shared>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut worker = BufReader::new(stream);
    let mut store: Option<BufReader<TcpStream>> = None;
    while let Some(request) = read_request(&mut worker).await? {
        let rule = rules.borrow().clone();
        let fault = match rule {
            Rule::All(fault) => fault,
            Rule::By(choose) => choose(&request),
        };
        match &fault {
            Fault::Pass | Fault::Slow(_) => drop(shared.passed.fetch_add(1, Relaxed)),
            _ => shared.hit(),
        }
        match &fault {
            Fault::Refuse => return reset(&worker),
            Fault::Hang => return hang(&mut worker).await,
            Fault::Answer(bytes) => {
                worker.write_all(bytes).await?;
                continue;
            }
            Fault::Slow(pause) => sleep(*pause).await,
            Fault::Pass | Fault::Swallow | Fault::Reset | Fault::Half => {}
        }
        // A connection that was kept may have been closed since.
        let kept = match &mut store {
            Some(kept) => ask(kept, &request).await.ok(),
            None => None,
        };
        let (answer, goes_on) = match kept {
            Some(answer) => answer,
            None => ask(store.insert(BufReader::new(TcpStream::connect(shared.store).await?)), &request).await?,
        };
        match fault {
            Fault::Swallow => return hang(&mut worker).await,
            Fault::Reset | Fault::Half => {
                worker.write_all(&answer[..answer.len() / 2]).await?;
                return if fault == Fault::Half { worker.shutdown().await } else { reset(&worker) };
            }
            _ => worker.write_all(&answer).await?,
        }
        if !goes_on {
            return worker.shutdown().await;
        }
    }
    Ok(())
}

fn reset(worker: &BufReader<TcpStream>) -> io::Result<()> {
    worker.get_ref().set_zero_linger()
}

/// Until the worker has had enough.
async fn hang(worker: &mut BufReader<TcpStream>) -> io::Result<()> {
    tokio::io::copy_buf(worker, &mut tokio::io::sink()).await.map(drop)
}

/// `None` where the worker says no more.
async fn read_request(worker: &mut BufReader<TcpStream>) -> io::Result<Option<Request>> {
    let Some(head) = read_head(worker).await? else { return Ok(None) };
    if head.says("expect", "100-continue") {
        worker.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    let mut words = head.first.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let target = percent_encoding::percent_decode_str(&target.replace('+', " ")).decode_utf8_lossy().into_owned();
    let mut bytes = head.bytes.clone();
    let body = read_body(worker, &head, &mut bytes).await?;
    Ok(Some(Request { method: method.to_owned(), target, body, bytes }))
}

/// The bytes of the store's answer, and whether the connection goes on after it.
async fn ask(store: &mut BufReader<TcpStream>, request: &Request) -> io::Result<(Vec<u8>, bool)> {
    store.write_all(&request.bytes).await?;
    let head = loop {
        let head = read_head(store).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if !head.status().starts_with('1') {
            break head;
        }
    };
    let mut bytes = head.bytes.clone();
    if request.method == "HEAD" || ["204", "304"].contains(&head.status()) {
        return Ok((bytes, !head.says("connection", "close")));
    }
    if head.get("content-length").is_none() && !head.says("transfer-encoding", "chunked") {
        store.read_to_end(&mut bytes).await?;
        return Ok((bytes, false));
    }
    read_body(store, &head, &mut bytes).await?;
    Ok((bytes, !head.says("connection", "close")))
}

struct Head {
    first: String,
    /// By their lower-case names.
    headers: Vec<(String, String)>,
    bytes: Vec<u8>,
}

impl Head {
    /// Of an answer.
    fn status(&self) -> &str {
        self.first.split(' ').nth(1).unwrap_or_default()
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    fn says(&self, name: &str, value: &str) -> bool {
        self.get(name).is_some_and(|found| found.eq_ignore_ascii_case(value))
    }
}

/// `None` where nothing more comes.
async fn read_head(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Head>> {
    let (mut bytes, mut lines) = (Vec::new(), Vec::new());
    loop {
        let start = bytes.len();
        if stream.read_until(b'\n', &mut bytes).await? == 0 {
            return if start == 0 { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        let line = String::from_utf8_lossy(&bytes[start..]).trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let headers = lines.iter().skip(1).filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())).collect();
    Ok(Some(Head { first: lines.first().cloned().unwrap_or_default(), headers, bytes }))
}

/// Returns the body, and adds it to `bytes` as it came.
async fn read_body(stream: &mut BufReader<TcpStream>, head: &Head, bytes: &mut Vec<u8>) -> io::Result<Vec<u8>> {
    if !head.says("transfer-encoding", "chunked") {
        let length = head.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        bytes.extend(&body);
        return Ok(body);
    }
    let mut body = Vec::new();
    loop {
        let mut line = Vec::new();
        stream.read_until(b'\n', &mut line).await?;
        let text = String::from_utf8_lossy(&line);
        let size = text.trim_end().split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(size, 16).map_err(|_| io::ErrorKind::InvalidData)?;
        let mut chunk = vec![0; size + 2];
        stream.read_exact(&mut chunk).await?;
        bytes.extend(line);
        bytes.extend(&chunk);
        body.extend(&chunk[..size]);
        if size == 0 {
            return Ok(body);
        }
    }
}

/// Told of the proxies instead of the stores: what comes before it in the environment is overruled.
pub fn tell(objects: &Proxy, tables: &Proxy) -> [(&'static str, String); 2] {
    [("MINIO_PORT", objects.port.to_string()), ("CLICKHOUSE_PORT", tables.port.to_string())]
}
