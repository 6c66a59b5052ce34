//! [`serve_upgraded`]: a connection that persists in another protocol.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_io::Timer;
use atomic_waker::AtomicWaker;
use futures_lite::io::Cursor;
use futures_lite::{AsyncRead, AsyncWrite, FutureExt};

use super::super::http1::Buffer;
use super::super::response::{Duplex, Upgrade};
use super::pipe::lock;
use super::registry::{TURN_BYTES, left_behind_step};
use super::transport::Transport;

/// Serves the protocol that a connection was upgraded to. If the server is to end, the future finds the end of what it reads.
pub(super) async fn serve_upgraded(transport: &mut Transport<'_>, upgrade: Upgrade) {
    let (registration, write_timeout) = (transport.registration, transport.limits.write_timeout);
    // Until the stream is taken back, the connection has one that is at its end.
    let (mut stream, mut input): (Box<dyn Duplex>, _) = (Box::new(Cursor::new(Vec::new())), Buffer::default());
    transport.swap(&mut stream, &mut input);
    let state = Mutex::new(State { stream: Some(stream), input, is_ending: false, late: None, turn_bytes: TURN_BYTES });
    let shared = Arc::new(Shared { state, reader: AtomicWaker::new(), write_timeout });
    let _lent = Lent { transport, shared: &shared };
    let mut served = upgrade(Box::new(UpgradedStream(shared.clone())));
    poll_fn(|cx| {
        if registration.poll_ending(cx).is_ready() {
            lock(&shared.state).is_ending = true;
            shared.reader.wake();
        }
        served.as_mut().poll(cx)
    })
    .await
}

/// What the connection and the stream that it has lent have in common.
struct Shared {
    state: Mutex<State>,
    reader: AtomicWaker,
    write_timeout: Duration,
}

struct State {
    /// None once the connection has it again.
    stream: Option<Box<dyn Duplex>>,
    /// What had come before the upgrade.
    input: Buffer,
    is_ending: bool,
    /// Runs while the peer does not take what is written.
    late: Option<Timer>,
    /// What may still be moved before other tasks have their turn.
    turn_bytes: usize,
}

impl State {
    /// Pending once when a turn is used up: another one begins behind the other tasks, whichever task has the stream.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.turn_bytes > 0 {
            return Poll::Ready(());
        }
        self.turn_bytes = TURN_BYTES;
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Counts a step.
    fn moved(&mut self, bytes: io::Result<usize>) -> Poll<io::Result<usize>> {
        self.turn_bytes = left_behind_step(self.turn_bytes, bytes.as_ref().map_or(0, |bytes| *bytes));
        Poll::Ready(bytes)
    }
}

/// A connection whose stream is lent. Its drop takes the stream back, also when the connection is cut; a task that still has
/// the stream finds it closed.
struct Lent<'t, 'a> {
    transport: &'t mut Transport<'a>,
    shared: &'t Shared,
}

impl Drop for Lent<'_, '_> {
    fn drop(&mut self) {
        let mut state = lock(&self.shared.state);
        if let Some(mut stream) = state.stream.take() {
            self.transport.swap(&mut stream, &mut state.input);
        }
        drop(state);
        self.shared.reader.wake();
    }
}

/// The stream that is lent. The future that got it may hand it to another task.
struct UpgradedStream(Arc<Shared>);

impl UpgradedStream {
    /// Calls `write`, which returns how many bytes it has moved, and fails if the peer takes nothing for longer than the timeout.
    fn poll_with(
        &self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut Box<dyn Duplex>>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let mut state = lock(&self.0.state);
        ready!(state.poll_turn(cx));
        match write(Pin::new(state.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?), cx) {
            Poll::Pending => {
                let late = state.late.get_or_insert_with(|| Timer::after(self.0.write_timeout));
                ready!(late.poll(cx));
                state.late = None;
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            Poll::Ready(written) => {
                state.late = None;
                state.moved(written)
            }
        }
    }
}

impl AsyncRead for UpgradedStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut state = lock(&self.0.state);
        ready!(state.poll_turn(cx));
        if !state.input.is_empty() {
            let count = state.input.read(to);
            return state.moved(Ok(count));
        }
        if state.is_ending {
            return Poll::Ready(Ok(0));
        }
        match Pin::new(state.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?).poll_read(cx, to) {
            Poll::Pending => {
                self.0.reader.register(cx.waker());
                Poll::Pending
            }
            Poll::Ready(read) => state.moved(read),
        }
    }
}

impl AsyncWrite for UpgradedStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_with(cx, |stream, cx| stream.poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_with(cx, |stream, cx| stream.poll_flush(cx).map_ok(|()| 0)).map_ok(drop)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_with(cx, |stream, cx| stream.poll_close(cx).map_ok(|()| 0)).map_ok(drop)
    }
}
