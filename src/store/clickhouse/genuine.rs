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
const HEADER: &[u8] = b"\r\nx-clickhouse-";
const END: &[u8] = b"\r\n\r\n";
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
        Box::pin(async { Ok(TokioIo::new(Genuine { io: TokioIo::new(connecting.await?), head: None })) })
    }
}

/// One connection. Requests and answers alternate, so what is read first after a write is the head of an answer.
#[derive(Debug)]
pub(super) struct Genuine<I> {
    io: I,
    /// What has come of the head that is being read.
    head: Option<Vec<u8>>,
}

impl<I> Genuine<I> {
    fn sent(&mut self) {
        self.head.get_or_insert_default();
    }

    fn came(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(head) = &mut self.head else { return Ok(()) };
        head.extend(bytes.iter().map(u8::to_ascii_lowercase));
        while let Some(end) = place(head, END) {
            let rest = head.split_off(end + END.len());
            let status = head.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
            match status {
                // Not the answer yet.
                [b'1', ..] => *head = rest,
                b"200" if place(head, HEADER).is_none() => return Err(io::Error::other(NOT_GENUINE)),
                _ => {
                    self.head = None;
                    return Ok(());
                }
            }
        }
        if head.len() > MAX_HEAD {
            self.head = None;
        }
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
        self.sent();
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.sent();
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
            let mut connection = Genuine { io: (), head: None };
            let good = answers.iter().all(|answer| {
                connection.sent();
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
}
