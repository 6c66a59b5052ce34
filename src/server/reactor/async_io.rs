//! Readiness as async-io knows it.

use std::io;
use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_io::{Async, Timer};
use futures_lite::Stream;
use futures_lite::future::poll_fn;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::SocketAddrAny;

use super::super::super::connection::Connections;
use super::super::turn::{Direction, Next, Turn};

/// How often a connection whose input is not read is asked whether its peer has reset it: async-io reports a reset only
/// together with input, of which there may be some all the time.
const RESET_INTERVAL: Duration = Duration::from_millis(500);

/// async-io has the sockets.
pub struct Reactor;

impl Reactor {
    pub fn new() -> io::Result<Self> {
        Ok(Reactor)
    }

    /// Registers a socket.
    pub fn register(&self, fd: OwnedFd) -> io::Result<(IoSource, IoRegistration<'_>)> {
        Ok((IoSource { socket: Arc::new(Async::new_nonblocking(fd)?), reset_timer: None }, IoRegistration(PhantomData)))
    }

    /// Runs tasks to their end, and keeps deadlines.
    pub fn run(&self, connections: &Connections, mut tasks: impl FnMut(&mut Context<'_>) -> Turn) -> io::Result<()> {
        let mut deadlines = pin!(connections.keep_deadlines::<()>());
        async_io::block_on(poll_fn(|cx| {
            let turn = tasks(cx);
            let _ = deadlines.as_mut().poll(cx);
            match turn {
                Turn::Done => return Poll::Ready(Ok(())),
                Turn::More => cx.waker().wake_by_ref(),
                Turn::Idle => {}
            }
            Poll::Pending
        }))
    }
}

/// A socket's entry among those of its worker.
pub struct IoRegistration<'a>(PhantomData<&'a Reactor>);

/// A socket. A clone has a timer of its own.
pub struct IoSource {
    socket: Arc<Async<OwnedFd>>,
    reset_timer: Option<Timer>,
}

impl Clone for IoSource {
    fn clone(&self) -> Self {
        IoSource { socket: self.socket.clone(), reset_timer: None }
    }
}

impl IoSource {
    pub fn fd(&self) -> &OwnedFd {
        self.socket.get_ref()
    }

    /// Makes a call, once the socket is ready for it.
    pub fn poll_with<T>(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        mut call: impl FnMut(&OwnedFd) -> Result<(T, Next), Errno>,
    ) -> Poll<io::Result<T>> {
        loop {
            match (call(self.fd()), direction) {
                (Ok((value, _)), _) => return Poll::Ready(Ok(value)),
                (Err(Errno::WOULDBLOCK), Direction::Read) => ready!(self.socket.poll_readable(cx))?,
                (Err(Errno::WOULDBLOCK), Direction::Write) => ready!(self.socket.poll_writable(cx))?,
                (Err(Errno::INTR), _) => {}
                (Err(error), _) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// Not known: async-io does not tell an end apart from input, so one behind unread input is seen once that is read.
    pub fn is_ended(&self) -> bool {
        false
    }

    /// Ready once the peer has reset the connection, however much is unread, give or take an interval.
    pub fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let IoSource { socket, reset_timer } = self;
        let timer = reset_timer.get_or_insert_with(|| Timer::interval(RESET_INTERVAL));
        loop {
            ready!(Pin::new(&mut *timer).poll_next(cx));
            let mut socket = [PollFd::new(&**socket, PollFlags::empty())];
            if poll(&mut socket, Some(&Timespec::default())).is_ok_and(|ready| ready > 0) {
                return Poll::Ready(());
            }
        }
    }
}

/// Accepts a connection that does not block.
pub fn accept(listener: &OwnedFd) -> Result<(OwnedFd, Option<SocketAddrAny>), Errno> {
    let (socket, address) = rustix::net::acceptfrom(listener)?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok((socket, address))
}
