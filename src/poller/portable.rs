//! Readiness as async-io knows it.

use std::io;
use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_io::Async;
use futures_lite::FutureExt;
use rustix::io::Errno;
use rustix::net::SocketAddrAny;

use super::super::deadline::Timers;
use super::Next;

/// Nothing: async-io has the sockets.
pub(in super::super) struct Poller;

impl Poller {
    pub(in super::super) fn new() -> io::Result<Self> {
        Ok(Poller)
    }

    /// Registers a socket.
    pub(super) fn add(&self, fd: OwnedFd) -> io::Result<(Source, Entry<'_>)> {
        Ok((Source(Arc::new(Async::new_nonblocking(fd)?)), Entry(PhantomData)))
    }

    /// Runs a future to its end, and wakes by timers.
    pub(in super::super) fn block_on<T>(&self, timers: &Timers, future: impl Future<Output = T>) -> io::Result<T> {
        Ok(async_io::block_on(future.or(timers.run())))
    }

    /// Does nothing: each socket looks for itself.
    pub(in super::super) fn look(&self) -> io::Result<usize> {
        Ok(0)
    }
}

/// A socket's place among those of its worker.
pub(in super::super) struct Entry<'a>(PhantomData<&'a Poller>);

/// A socket.
#[derive(Clone)]
pub(super) struct Source(Arc<Async<OwnedFd>>);

impl Source {
    pub(super) fn fd(&self) -> &OwnedFd {
        self.0.get_ref()
    }

    /// Makes a call that reads, once the socket is ready.
    pub(super) fn poll_read_with<T>(
        &self,
        cx: &mut Context<'_>,
        call: impl FnMut(&OwnedFd) -> Result<(T, Next), Errno>,
    ) -> Poll<io::Result<T>> {
        self.poll_with(call, || self.0.poll_readable(cx))
    }

    /// Makes a call that writes, once the socket is ready.
    pub(super) fn poll_write_with<T>(
        &self,
        cx: &mut Context<'_>,
        call: impl FnMut(&OwnedFd) -> Result<(T, Next), Errno>,
    ) -> Poll<io::Result<T>> {
        self.poll_with(call, || self.0.poll_writable(cx))
    }

    fn poll_with<T>(
        &self,
        mut call: impl FnMut(&OwnedFd) -> Result<(T, Next), Errno>,
        mut poll_ready: impl FnMut() -> Poll<io::Result<()>>,
    ) -> Poll<io::Result<T>> {
        loop {
            match call(self.fd()) {
                Ok((value, _)) => return Poll::Ready(Ok(value)),
                Err(Errno::WOULDBLOCK) => ready!(poll_ready())?,
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }
}

/// Accepts a connection that does not block.
pub(super) fn accept(listener: &OwnedFd) -> Result<(OwnedFd, Option<SocketAddrAny>), Errno> {
    let (socket, address) = rustix::net::acceptfrom(listener)?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok((socket, address))
}
