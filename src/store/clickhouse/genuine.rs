//! Connections over which only ClickHouse may say that something is done.
//!
//! The driver takes any answer of 200 for a success and shows nobody its headers, so a page of a balancer or of a portal would
//! count as an insert. Here it is an error of the connection.

use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use std::error::Error;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tower_service::Service;

/// What the error says, see [`Fault`](super::fault::Fault).
pub(super) const NOT_GENUINE: &str = "an answer of 200 without any header of ClickHouse";

/// Every answer of ClickHouse has some that begin so.
const HEADER: &[u8] = b"\nx-clickhouse-";
const END: &[u8] = b"\n\n";
/// A longer head is refused by the HTTP client anyway.
const MAX_HEAD: usize = 1 << 20;

/// Makes such connections of any others.
#[derive(Debug, Clone)]
pub(super) struct OnlyGenuine<C>(pub(super) C);

impl<C, A> Service<A> for OnlyGenuine<C>
where
    C: Service<A>,
    C::Future: Send + 'static,
    C::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = TokioIo<Genuine<TokioIo<C::Response>>>;
    type Error = C::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, address: A) -> Self::Future {
        let connecting = self.0.call(address);
        Box::pin(async { Ok(TokioIo::new(Genuine::new(TokioIo::new(connecting.await?)))) })
    }
}

/// One connection. Requests and answers alternate, so what is read first after the line that begins a request is the head of
/// an answer. The rest of a request says nothing: an answer may come before it is all sent.
#[derive(Debug)]
pub(super) struct Genuine<I> {
    io: I,
    /// What has come of the head that is being read.
    head: Option<Vec<u8>>,
}

impl<I> Genuine<I> {
    fn new(io: I) -> Self {
        Genuine { io, head: Some(Vec::new()) }
    }

    fn sending(&mut self, bytes: &[u8]) {
        if bytes.starts_with(b"POST /") || bytes.starts_with(b"GET /") {
            self.head = Some(Vec::new());
        }
    }

    fn came(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(head) = &mut self.head else { return Ok(()) };
        // The HTTP client takes lines that end without a carriage return as well, and empty ones before an answer.
        for byte in bytes.iter().filter(|byte| **byte != b'\r') {
            if *byte != b'\n' || !head.is_empty() {
                head.push(byte.to_ascii_lowercase());
            }
        }
        while let Some(end) = place(head, END) {
            let rest = head.split_off(end + END.len());
            let status = head.split(|byte| matches!(byte, b' ' | b'\n')).nth(1).unwrap_or_default();
            match status.first() {
                // Not the answer yet.
                Some(b'1') => *head = rest.into_iter().skip_while(|byte| *byte == b'\n').collect(),
                Some(b'3'..=b'5') => return self.judged(),
                _ if place(head, HEADER).is_some() => return self.judged(),
                // The client says better what that is.
                _ if !head.starts_with(b"http/1.") => return self.judged(),
                _ => return Err(io::Error::other(NOT_GENUINE)),
            }
        }
        if head.len() > MAX_HEAD { self.judged() } else { Ok(()) }
    }

    fn judged(&mut self) -> io::Result<()> {
        self.head = None;
        Ok(())
    }
}

fn place(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

impl<I: AsyncRead + Unpin> AsyncRead for Genuine<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buffer))?;
        Poll::Ready(self.came(&buffer.filled()[before..]))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Genuine<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.sending(bytes);
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.sending(bytes.iter().find(|part| !part.is_empty()).map_or(&[], |part| part));
        Pin::new(&mut self.io).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl<I: Connection> Connection for Genuine<TokioIo<I>> {
    fn connected(&self) -> Connected {
        self.io.inner().connected()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of these answers, however they are cut.
    fn judged(answers: &[&str]) -> bool {
        let mut outcomes = Vec::new();
        for size in 1..200 {
            let mut connection = Genuine::new(());
            let good = answers.iter().all(|answer| {
                connection.sending(b"POST /?query");
                answer.as_bytes().chunks(size).all(|part| connection.came(part).is_ok())
            });
            outcomes.push(good);
        }
        assert!(outcomes.iter().all(|good| *good == outcomes[0]), "{answers:?}");
        outcomes[0]
    }

    #[test]
    fn only_a_success_has_to_be_genuine() {
        let good = "HTTP/1.1 200 OK\r\nX-ClickHouse-Query-Id: 1\r\nContent-Length: 4\r\n\r\n\r\n\r\n";
        let page = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nX-ClickHouse-";
        let refusal = "HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nno";
        let go_on = "HTTP/1.1 100 Continue\r\n\r\n";
        assert!(judged(&[good, refusal, good, &format!("{go_on}{good}"), good]));
        assert!(!judged(&[page]) && !judged(&[good, page]) && !judged(&[&format!("{go_on}{page}")]));
    }

    /// What the HTTP client takes for a success, however carelessly it is written.
    #[test]
    fn a_careless_stranger_is_one_too() {
        for page in [
            "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
            "\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            "\nHTTP/1.0 200\r\n\r\n",
            "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200\n\r\n",
            "HTTP/1.1 100 Continue\n\n\n\nHTTP/1.1 200 OK\n\n",
        ] {
            assert!(!judged(&[page]), "{page:?}");
        }
        assert!(judged(&["\nHTTP/1.1 200\nx-clickhouse-query-id: 1\n\n"]));
    }

    /// The server refuses before it has read all of an insert.
    #[test]
    fn an_answer_before_the_end_of_its_request() {
        let mut connection = Genuine::new(());
        connection.sending(b"POST /?query");
        assert!(connection.came(b"HTTP/1.1 404 Not Found\r\nX-ClickHouse-Exception-Code: 60\r\n\r\n").is_ok());
        connection.sending(b"400\r\nrows");
        assert!(connection.came(b"9\r\nCode: 60.\r\n0\r\n\r\n").is_ok());
    }
}
