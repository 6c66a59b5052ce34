//! A peer in memory, which the count of instructions in benches/peers/ takes as well.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use micro_smol::smol::io::{AsyncRead, AsyncWrite};

pub const GET: &str = "GET / HTTP/1.1\r\nHost: 127.0.0.1:3000\r\nUser-Agent: wrk/4.1.0\r\nAccept: */*\r\n\r\n";

/// A peer that sends the same request so many times, each when it has been waited for.
pub struct Peer {
    request: &'static str,
    left: usize,
    has_waited: bool,
}

impl Peer {
    pub fn new(request: &'static str, left: usize) -> Self {
        Peer { request, left, has_waited: false }
    }
}

impl AsyncRead for Peer {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.has_waited = !self.has_waited;
        if self.has_waited {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Some(left) = self.left.checked_sub(1) else { return Poll::Ready(Ok(0)) };
        self.left = left;
        buffer[..self.request.len()].copy_from_slice(self.request.as_bytes());
        Poll::Ready(Ok(self.request.len()))
    }
}

impl AsyncWrite for Peer {
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
