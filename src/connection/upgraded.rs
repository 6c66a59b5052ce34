//! [`serve_upgraded`]: a connection that persists in another protocol.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_io::Timer;
use atomic_waker::AtomicWaker;
use futures_lite::io::Cursor;
use futures_lite::{AsyncRead, AsyncWrite, FutureExt};

use super::super::http1::Buffer;
use super::super::response::{Duplex, Upgrade};
use super::pipe::lock;
use super::registry::{TURN_BYTES, turn_bytes_after};
use super::transport::Transport;

/// Serves the protocol that a connection was upgraded to. If the server is to end, the future finds the end of what it reads.
pub(super) async fn serve_upgraded(transport: &mut Transport<'_>, upgrade: Upgrade) {
    let (registration, write_timeout) = (transport.registration, transport.limits.write_timeout);
    // Until the stream is taken back, the connection has one that is at its end.
    let (mut stream, mut input): (Box<dyn Duplex>, _) = (Box::new(Cursor::new(&mut [][..])), Buffer::default());
    transport.swap(&mut stream, &mut input);
    let state = Mutex::new(State { stream, input, is_ending: false, late: None, turn_bytes: TURN_BYTES });
    let lent = Arc::new(Lent { state, reader: AtomicWaker::new(), writer: AtomicWaker::new(), write_timeout });
    let mut served = upgrade(Box::new(UpgradedStream(Arc::downgrade(&lent))));
    poll_fn(|cx| {
        if registration.poll_ending(cx).is_ready() {
            lock(&lent.state).is_ending = true;
            lent.reader.wake();
        }
        served.as_mut().poll(cx)
    })
    .await;
    let State { stream, input, .. } = &mut *lock(&lent.state);
    transport.swap(stream, input);
}

/// A stream that the connection has lent. It ends with the connection: a task that still waits for it finds it closed.
struct Lent {
    state: Mutex<State>,
    reader: AtomicWaker,
    writer: AtomicWaker,
    write_timeout: Duration,
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.reader.wake();
        self.writer.wake();
    }
}

struct State {
    stream: Box<dyn Duplex>,
    /// What had come before the upgrade.
    input: Buffer,
    is_ending: bool,
    /// Runs while the peer does not take what is written.
    late: Option<Timer>,
    /// What may still be moved before other tasks have their turn.
    turn_bytes: usize,
}

impl State {
    /// Makes a call, which returns how many bytes it has moved. When a turn is used up, another one begins behind the other tasks,
    /// whichever task has the stream.
    fn poll_with(
        &mut self,
        cx: &mut Context<'_>,
        call: impl FnOnce(Pin<&mut Box<dyn Duplex>>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if self.turn_bytes == 0 {
            self.turn_bytes = TURN_BYTES;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let moved = ready!(call(Pin::new(&mut self.stream), cx));
        self.turn_bytes = turn_bytes_after(self.turn_bytes, moved.as_ref().map_or(0, |bytes| *bytes));
        Poll::Ready(moved)
    }
}

/// The future that got it may hand it to another task.
struct UpgradedStream(Weak<Lent>);

impl UpgradedStream {
    fn lent(&self) -> io::Result<Arc<Lent>> {
        self.0.upgrade().ok_or(io::ErrorKind::NotConnected.into())
    }

    /// Writes, and fails if the peer takes nothing for longer than the timeout.
    fn poll_in_time(
        &self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut Box<dyn Duplex>>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let lent = self.lent()?;
        let mut state = lock(&lent.state);
        lent.writer.register(cx.waker());
        let written = match state.poll_with(cx, write) {
            Poll::Ready(written) => written,
            Poll::Pending => {
                ready!(state.late.get_or_insert_with(|| Timer::after(lent.write_timeout)).poll(cx));
                Err(io::ErrorKind::TimedOut.into())
            }
        };
        state.late = None;
        Poll::Ready(written)
    }
}

impl AsyncRead for UpgradedStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut [u8]) -> Poll<io::Result<usize>> {
        let lent = self.lent()?;
        let mut state = lock(&lent.state);
        if !state.input.is_empty() {
            return Poll::Ready(Ok(state.input.read(to)));
        }
        if state.is_ending {
            return Poll::Ready(Ok(0));
        }
        lent.reader.register(cx.waker());
        state.poll_with(cx, |stream, cx| stream.poll_read(cx, to))
    }
}

impl AsyncWrite for UpgradedStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_in_time(cx, |stream, cx| stream.poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_in_time(cx, |stream, cx| stream.poll_flush(cx).map_ok(|()| 0)).map_ok(drop)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_in_time(cx, |stream, cx| stream.poll_close(cx).map_ok(|()| 0)).map_ok(drop)
    }
}
