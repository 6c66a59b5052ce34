//! [`UpgradedStream`]: the stream of a connection that persists in another protocol.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_io::Timer;
use futures_lite::{AsyncRead, AsyncWrite, FutureExt};

use super::super::http1::Buffer;
use super::super::response::Duplex;

/// A stream that the connection lends to the future that got it, with the input that has come already.
///
/// The future may hand it to another task; the connection takes it back when the future is done.
#[derive(Clone)]
pub(super) struct UpgradedStream(Arc<Mutex<State>>);

struct State {
    /// None once the connection has it again.
    stream: Option<Box<dyn Duplex>>,
    input: Buffer,
    is_ending: bool,
    reader: Option<Waker>,
    write_timeout: Duration,
    /// Runs while the peer does not take what is written.
    late: Option<Timer>,
}

impl UpgradedStream {
    pub(super) fn new(stream: Box<dyn Duplex>, input: Buffer, write_timeout: Duration) -> Self {
        let stream = Some(stream);
        UpgradedStream(Arc::new(Mutex::new(State {
            stream,
            input,
            is_ending: false,
            reader: None,
            write_timeout,
            late: None,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets its reader find the end of the stream: the server is to end.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        state.is_ending = true;
        let reader = state.reader.take();
        drop(state);
        reader.into_iter().for_each(Waker::wake);
    }

    /// Takes the stream back; who still has it finds it closed. A connection that is cut does so as well.
    pub(super) fn take(&self) -> Option<(Box<dyn Duplex>, Buffer)> {
        let mut state = self.lock();
        let taken = (state.stream.take()?, std::mem::take(&mut state.input));
        let reader = state.reader.take();
        drop(state);
        reader.into_iter().for_each(Waker::wake);
        Some(taken)
    }
}

/// The connection's end.
pub(super) struct Lent(pub(super) UpgradedStream);

impl Drop for Lent {
    fn drop(&mut self) {
        self.0.take();
    }
}

impl State {
    fn stream(&mut self) -> io::Result<Pin<&mut Box<dyn Duplex>>> {
        self.stream.as_mut().map(Pin::new).ok_or(io::ErrorKind::NotConnected.into())
    }

    /// A write that takes longer than the timeout fails.
    fn within_timeout<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.late = None;
            return written;
        }
        let late = self.late.get_or_insert_with(|| Timer::after(self.write_timeout));
        let late = late.poll(cx).map(|_| Err(io::ErrorKind::TimedOut.into()));
        self.late.take_if(|_| late.is_ready());
        late
    }
}

impl AsyncRead for UpgradedStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut state = self.lock();
        if !state.input.is_empty() {
            return Poll::Ready(Ok(state.input.read(to)));
        }
        if state.is_ending {
            return Poll::Ready(Ok(0));
        }
        let read = state.stream()?.poll_read(cx, to);
        state.reader = read.is_pending().then(|| cx.waker().clone());
        read
    }
}

impl AsyncWrite for UpgradedStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.lock();
        let written = state.stream()?.poll_write(cx, bytes);
        state.within_timeout(cx, written)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.lock();
        let flushed = state.stream()?.poll_flush(cx);
        state.within_timeout(cx, flushed)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.lock();
        let closed = state.stream()?.poll_close(cx);
        state.within_timeout(cx, closed)
    }
}
