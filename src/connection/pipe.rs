//! The way of content from the connection, which owns the stream, to its reader, which may be in another task.
//!
//! The connection reads content into the pipe's buffer for as long as its reader waits for more; the reader then takes the
//! buffer. Content is copied only where the reader has some already. The pipe ends with the connection, whatever becomes of the
//! reader.

use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use atomic_waker::AtomicWaker;
use futures_lite::{AsyncBufRead, AsyncRead};

use super::super::error::Rejection;
use super::super::http1::{Buffer, More};
use super::super::payload::ContentSource;

#[derive(Default)]
struct Pipe {
    state: Mutex<State>,
    reader: AtomicWaker,
    connection: AtomicWaker,
}

#[derive(Default)]
struct State {
    /// What has come and was not taken.
    buffer: Buffer,
    /// The reader waits until there are so many bytes; 0 if it does not wait.
    wanted_bytes: usize,
    /// How the content has ended.
    end: Option<Result<(), Rejection>>,
}

impl State {
    /// Whether the reader can go on.
    fn is_enough(&self, wanted_bytes: usize) -> bool {
        self.end.is_some() || self.buffer.unread().len() >= wanted_bytes
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The connection's end.
#[derive(Default)]
pub(super) struct PipeWriter(Arc<Pipe>);

impl PipeWriter {
    pub(super) fn reader(&self) -> PipeReader {
        PipeReader { pipe: self.0.clone(), buffer: Buffer::default() }
    }

    pub(super) fn has_reader(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// Has `read` append content for as long as the reader waits for more.
    ///
    /// Returns `None` if the reader does not wait; the task is woken when it does. Ready when a reader in the same task has
    /// to be polled again, or with an error of the stream.
    pub(super) fn poll_fill(
        &self,
        cx: &mut Context<'_>,
        mut read: impl FnMut(&mut Context<'_>, &mut Buffer) -> Poll<io::Result<Result<More, Rejection>>>,
    ) -> Option<Poll<io::Result<()>>> {
        loop {
            let mut state = lock(&self.0.state);
            if state.wanted_bytes == 0 || !self.has_reader() {
                self.0.connection.register(cx.waker());
                return None;
            }
            let Poll::Ready(content) = read(cx, &mut state.buffer) else { return Some(Poll::Pending) };
            state.end = match content {
                Ok(Ok(More::Follows)) => None,
                Ok(Ok(More::Ends)) => Some(Ok(())),
                Ok(Err(fault)) => Some(Err(fault)),
                Err(error) => {
                    state.end = Some(Err(Rejection::EARLY_END));
                    return Some(Poll::Ready(Err(error)));
                }
            };
            if state.is_enough(state.wanted_bytes) {
                state.wanted_bytes = 0;
                // Wake outside the lock: a waker may run any code.
                drop(state);
                match self.0.reader.take() {
                    Some(reader) if reader.will_wake(cx.waker()) => return Some(Poll::Ready(Ok(()))),
                    reader => reader.into_iter().for_each(Waker::wake),
                }
            }
        }
    }
}

impl Drop for PipeWriter {
    fn drop(&mut self) {
        lock(&self.0.state).end.get_or_insert(Err(Rejection::CONNECTION_ENDED));
        self.0.reader.wake();
    }
}

/// The reader's end.
pub(super) struct PipeReader {
    pipe: Arc<Pipe>,
    /// What was taken from the pipe and not read.
    buffer: Buffer,
}

/// Waits for so many bytes, and takes what has come then: nothing at the end.
fn poll_take(pipe: &Pipe, cx: &mut Context<'_>, to: &mut Buffer, wanted_bytes: usize) -> Poll<io::Result<usize>> {
    let mut state = lock(&pipe.state);
    if !state.is_enough(wanted_bytes) {
        state.wanted_bytes = wanted_bytes;
        pipe.reader.register(cx.waker());
        drop(state);
        // Within one task the connection is polled next anyway.
        let connection = pipe.connection.take().filter(|connection| !connection.will_wake(cx.waker()));
        connection.into_iter().for_each(Waker::wake);
        return Poll::Pending;
    }
    state.wanted_bytes = 0;
    let count = state.buffer.unread().len();
    match (count, state.end) {
        (0, Some(end)) => return Poll::Ready(end.map(|()| 0).map_err(io::Error::from)),
        _ if to.is_empty() => mem::swap(to, &mut state.buffer),
        _ => {
            to.append(state.buffer.unread(), count);
            state.buffer.consume(count);
        }
    }
    Poll::Ready(Ok(count))
}

impl ContentSource for PipeReader {
    fn poll_append(&mut self, cx: &mut Context<'_>, to: &mut Buffer, wanted_bytes: usize) -> Poll<io::Result<usize>> {
        poll_take(&self.pipe, cx, to, wanted_bytes)
    }

    fn stop_waiting(&mut self) {
        lock(&self.pipe.state).wanted_bytes = 0;
    }
}

impl AsyncBufRead for PipeReader {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let PipeReader { pipe, buffer } = self.get_mut();
        if buffer.is_empty() {
            ready!(poll_take(pipe, cx, buffer, 1))?;
        }
        Poll::Ready(Ok(buffer.unread()))
    }

    fn consume(mut self: Pin<&mut Self>, count: usize) {
        self.buffer.consume(count);
        self.buffer.release();
    }
}

impl AsyncRead for PipeReader {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut [u8]) -> Poll<io::Result<usize>> {
        ready!(self.as_mut().poll_fill_buf(cx))?;
        let count = self.buffer.read(to);
        self.buffer.release();
        Poll::Ready(Ok(count))
    }
}
