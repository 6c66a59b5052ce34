//! [`ConnectedSocket`]: the stream of a connection, TCP or Unix alike.

use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_lite::{AsyncRead, AsyncWrite};
use rustix::net::{self, RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown};

use super::super::connection::{Socket, Stream};
use super::reactor::{IoRegistration, IoSource, Reactor};
use super::turn::{Direction, Next};

#[derive(Clone)]
struct ConnectedSocket(IoSource);

/// Makes the stream of an accepted socket.
pub(super) fn stream(reactor: &Reactor, socket: OwnedFd) -> io::Result<(Stream, IoRegistration<'_>)> {
    let (source, registration) = reactor.register(socket)?;
    let socket = ConnectedSocket(source);
    Ok(((Box::new(socket.clone()), Some(Box::new(socket))), registration))
}

/// A call that did less than it was asked to has emptied or filled the kernel's buffer.
fn moved(count: usize, wanted: usize) -> (usize, Next) {
    (count, if count < wanted { Next::Exhausted } else { Next::Ready })
}

impl AsyncRead for ConnectedSocket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        self.0.poll_with(cx, Direction::Read, |fd| {
            let (count, _) = net::recv(fd, &mut *room, RecvFlags::empty())?;
            Ok(moved(count, room.len()))
        })
    }
}

impl AsyncWrite for ConnectedSocket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.poll_with(cx, Direction::Write, |fd| Ok(moved(net::send(fd, bytes, SendFlags::NOSIGNAL)?, bytes.len())))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wanted = slices.iter().map(|slice| slice.len()).sum();
        self.0.poll_with(cx, Direction::Write, |fd| {
            let sent = net::sendmsg(fd, slices, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL)?;
            Ok(moved(sent, wanted))
        })
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Says that no more is sent; what the peer sends can still be read.
    fn poll_close(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(net::shutdown(self.0.fd(), Shutdown::Write)?))
    }
}

impl Socket for ConnectedSocket {
    fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_reset(cx)
    }

    fn is_ended(&self) -> bool {
        self.0.is_ended()
    }

    fn end_by_reset(&self, resets: bool) {
        // Err only if the peer is gone, and then it need not be told.
        let _ = net::sockopt::set_socket_linger(self.0.fd(), resets.then_some(Duration::ZERO));
    }
}
