//! [`Timed`]: a stream, and the time that its peer may take.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_lite::{AsyncRead, AsyncWrite};

use super::deadline::{Deadline, Timers};

/// What waits for longer than it may fails with `TimedOut`.
pub(super) struct Timed<S> {
    stream: S,
    /// Whether no more is read: the peer has said that it sends no more.
    ended: bool,
    reading: Deadline,
    writing: Deadline,
    write_timeout: Duration,
}

impl<S> Timed<S> {
    pub(super) fn new(stream: S, timers: &Arc<Timers>, write_timeout: Duration) -> Self {
        let (reading, writing) = (Deadline::new(timers.clone()), Deadline::new(timers.clone()));
        Timed { stream, ended: false, reading, writing, write_timeout }
    }

    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    pub(super) fn is_ended(&self) -> bool {
        self.ended
    }

    /// Notes that what was read for has come: the time for more has not begun.
    pub(super) fn note_progress(&mut self) {
        self.reading.clear();
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Timed<S> {
    /// Reads; 0 at the end. The time runs from the first call after progress was noted.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
        timeout: Duration,
    ) -> Poll<io::Result<usize>> {
        if self.ended {
            return Poll::Ready(Ok(0));
        }
        match Pin::new(&mut self.stream).poll_read(cx, buffer)? {
            Poll::Ready(count) => {
                self.ended = count == 0;
                Poll::Ready(Ok(count))
            }
            Poll::Pending => self.reading.poll(cx, timeout).map(|()| Err(io::ErrorKind::TimedOut.into())),
        }
    }

    fn poll_in_time<T>(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match write(Pin::new(&mut self.stream), cx) {
            Poll::Pending => self.writing.poll(cx, self.write_timeout).map(|()| Err(io::ErrorKind::TimedOut.into())),
            written => {
                self.writing.clear();
                written
            }
        }
    }
}

/// Each call that gets something done begins the time for the next anew.
impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Timed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_in_time(cx, |stream, cx| stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_in_time(cx, |stream, cx| stream.poll_write_vectored(cx, slices))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_in_time(cx, |stream, cx| stream.poll_flush(cx))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_in_time(cx, |stream, cx| stream.poll_close(cx))
    }
}
