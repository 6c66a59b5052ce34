//! Readiness of a worker's sockets: [`Listener`] and [`Socket`], TCP or Unix alike.
//!
//! On Linux a worker has an epoll instance of its own, elsewhere async-io serves; the two files have the same names in
//! them. `--cfg micro_smol_portable` lets Linux take the second, for its tests.
#![allow(unexpected_cfgs, reason = "the crate that this source is vendored into need not know the cfg")]

#[cfg(all(target_os = "linux", not(micro_smol_portable)))]
#[path = "poller/epoll.rs"]
mod readiness;
#[cfg(not(all(target_os = "linux", not(micro_smol_portable))))]
#[path = "poller/portable.rs"]
mod readiness;

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_lite::future::poll_fn;
use futures_lite::{AsyncRead, AsyncWrite};
use rustix::net::{self, RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown};

pub(super) use readiness::{Entry, Poller};
use readiness::{Source, accept};

/// What a call to the kernel says of the next one.
enum Next {
    /// It may have more to give or take.
    Ready,
    /// There was no more.
    Drained,
}

/// A listening socket.
pub(super) struct Listener(Source);

impl Listener {
    pub(super) fn new(poller: &Poller, socket: OwnedFd) -> io::Result<(Self, Entry<'_>)> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        let (source, entry) = poller.add(socket)?;
        Ok((Listener(source), entry))
    }

    /// Accepts a connection that is still there; its peer has an address if it is not a Unix socket.
    pub(super) async fn accept(&self) -> io::Result<(OwnedFd, Option<SocketAddr>)> {
        loop {
            match poll_fn(|cx| self.0.poll_read_with(cx, |fd| Ok((accept(fd)?, Next::Ready)))).await {
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                accepted => {
                    let (socket, address) = accepted?;
                    return Ok((socket, address.and_then(|address| SocketAddr::try_from(address).ok())));
                }
            }
        }
    }
}

/// A connected socket.
#[derive(Clone)]
pub(super) struct Socket {
    source: Source,
    /// How many bytes have been moved in this turn.
    read_bytes: usize,
    written_bytes: usize,
}

impl Socket {
    pub(super) fn new(poller: &Poller, socket: OwnedFd) -> io::Result<(Self, Entry<'_>)> {
        let (source, entry) = poller.add(socket)?;
        Ok((Socket { source, read_bytes: 0, written_bytes: 0 }, entry))
    }

    /// Makes the socket tell its peer, when it is closed, that the last message was cut.
    pub(super) fn reset(&self) -> io::Result<()> {
        Ok(net::sockopt::set_socket_linger(self.source.fd(), Some(Duration::ZERO))?)
    }
}

/// What a socket may move before the other tasks of its worker have their turn, even if it is always ready: a fast peer
/// could keep the worker for itself.
const TURN_BYTES: usize = 256 * 1024;

/// Makes a call, if the turn is not over.
fn poll_in_turn(
    turn_bytes: &mut usize,
    cx: &mut Context<'_>,
    call: impl FnOnce(&mut Context<'_>) -> Poll<io::Result<usize>>,
) -> Poll<io::Result<usize>> {
    if *turn_bytes >= TURN_BYTES {
        *turn_bytes = 0;
        cx.waker().wake_by_ref();
        return Poll::Pending;
    }
    let moved = call(cx);
    *turn_bytes = if let Poll::Ready(Ok(count)) = moved { *turn_bytes + count } else { 0 };
    moved
}

/// A call that did less than it was asked to has emptied or filled the kernel's buffer.
fn moved(count: usize, wanted: usize) -> (usize, Next) {
    (count, if count < wanted { Next::Drained } else { Next::Ready })
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let Socket { source, read_bytes, .. } = &mut *self;
        let mut receive = |fd: &OwnedFd| {
            let (count, _) = net::recv(fd, &mut *buffer, RecvFlags::empty())?;
            Ok(moved(count, buffer.len()))
        };
        poll_in_turn(read_bytes, cx, |cx| source.poll_read_with(cx, &mut receive))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Socket { source, written_bytes, .. } = &mut *self;
        let send = |fd: &OwnedFd| Ok(moved(net::send(fd, bytes, SendFlags::NOSIGNAL)?, bytes.len()));
        poll_in_turn(written_bytes, cx, |cx| source.poll_write_with(cx, send))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Socket { source, written_bytes, .. } = &mut *self;
        let wanted = slices.iter().map(|slice| slice.len()).sum();
        let send = |fd: &OwnedFd| {
            let sent = net::sendmsg(fd, slices, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL)?;
            Ok(moved(sent, wanted))
        };
        poll_in_turn(written_bytes, cx, |cx| source.poll_write_with(cx, send))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Says that no more is sent; what the peer sends can still be read.
    fn poll_close(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(net::shutdown(self.source.fd(), Shutdown::Write)?))
    }
}
