//! The wire path alone: as many keep-alive GETs as the argument says, over a stream in memory, for callgrind to count.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use micro_smol::smol::io::{AsyncRead, AsyncWrite};
use micro_smol::{Limits, Request, serve_connection, smol};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:3000\r\nUser-Agent: wrk/4.1.0\r\nAccept: */*\r\n\r\n";

struct Requests {
    left: usize,
    waited: bool,
}

impl AsyncRead for Requests {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.left == 0 {
            return Poll::Ready(Ok(0));
        }
        self.waited = !self.waited;
        if self.waited {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.left -= 1;
        buffer[..GET.len()].copy_from_slice(GET);
        Poll::Ready(Ok(GET.len()))
    }
}

impl AsyncWrite for Requests {
    fn poll_write(self: Pin<&mut Self>, _cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

async fn handler(_req: Request) -> &'static str {
    "Hello, world"
}

fn main() -> io::Result<()> {
    let left = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(1000);
    smol::future::block_on(serve_connection(Requests { left, waited: false }, &handler, &Limits::default()))
}
