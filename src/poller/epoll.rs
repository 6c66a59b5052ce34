//! One edge-triggered epoll instance for all sockets of a worker, which async-io sees as a single source.
//!
//! A socket is registered once, for all events. What the kernel has said of it is kept, and forgotten when a call finds
//! the contrary, so that a request costs one read and one write and nothing else: async-io alone would take an `epoll_ctl`
//! for each wait and a read that fails after each one that does not.

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use async_io::Async;
use atomic_waker::AtomicWaker;
use futures_lite::future::yield_now;
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{SocketAddrAny, SocketFlags};
use slab::Slab;

use super::Next;

/// The most events that are taken from the kernel at once.
const EVENTS_MAX: usize = 256;

/// The sockets of a worker.
pub(in super::super) struct Poller {
    epoll: Async<OwnedFd>,
    events: RefCell<Vec<Event>>,
    sources: RefCell<Slab<Weak<State>>>,
}

impl Poller {
    pub(in super::super) fn new() -> io::Result<Self> {
        let epoll = Async::new_nonblocking(epoll::create(CreateFlags::CLOEXEC)?)?;
        Ok(Poller { epoll, events: Vec::with_capacity(EVENTS_MAX).into(), sources: RefCell::default() })
    }

    /// Registers a socket, until the entry is dropped.
    pub(super) fn add(&self, fd: OwnedFd) -> io::Result<(Source, Entry<'_>)> {
        // What is not known to be drained is tried.
        let state = Arc::new(State { fd, read: Side::new(), write: Side::new(), ended: AtomicBool::new(false) });
        let key = self.sources.borrow_mut().insert(Arc::downgrade(&state));
        let entry = Entry { poller: self, key };
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(self.epoll.get_ref(), &state.fd, EventData::new_u64(key as u64), flags)?;
        Ok((Source(state), entry))
    }

    /// Wakes the tasks whose sockets become ready. It never returns, but for an error of epoll itself.
    pub(in super::super) async fn run(&self) -> io::Result<()> {
        loop {
            let count = self.look()?;
            // What was woken runs first. Behind a real batch another one is likely, so it is looked for without sleeping.
            yield_now().await;
            if count < 2 {
                self.epoll.readable().await?;
            }
        }
    }

    /// Notes what the kernel has to say by now, wakes whom it concerns, and returns how much that was.
    pub(in super::super) fn look(&self) -> io::Result<usize> {
        let mut events = self.events.borrow_mut();
        events.clear();
        epoll::wait(self.epoll.get_ref(), spare_capacity(&mut events), Some(&Timespec::default()))?;
        let sources = self.sources.borrow();
        for event in events.iter() {
            // The entry may be gone, or another's by now: a socket that is told too much only tries in vain.
            let key = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
            if let Some(state) = sources.get(key).and_then(Weak::upgrade) {
                state.note(event.flags);
            }
        }
        Ok(events.len())
    }
}

/// A socket's place among those of its worker.
pub(in super::super) struct Entry<'a> {
    poller: &'a Poller,
    key: usize,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        // The kernel forgets a socket when it is closed.
        self.poller.sources.borrow_mut().try_remove(self.key);
    }
}

/// A socket and what is known of it. It may be used from other threads: a request's body may be read anywhere.
#[derive(Clone)]
pub(super) struct Source(Arc<State>);

struct State {
    fd: OwnedFd,
    read: Side,
    write: Side,
    /// Whether the peer sends no more, which the kernel says only once.
    ended: AtomicBool,
}

impl State {
    fn note(&self, flags: EventFlags) {
        if flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR) {
            self.ended.store(true, Ordering::SeqCst);
        }
        if flags.intersects(EventFlags::IN | EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR) {
            self.read.set_ready();
        }
        if flags.intersects(EventFlags::OUT | EventFlags::HUP | EventFlags::ERR) {
            self.write.set_ready();
        }
    }
}

/// One direction of a socket.
struct Side {
    ready: AtomicBool,
    waker: AtomicWaker,
}

impl Side {
    fn new() -> Self {
        Side { ready: AtomicBool::new(true), waker: AtomicWaker::new() }
    }

    fn set_ready(&self) {
        self.ready.store(true, Ordering::SeqCst);
        self.waker.wake();
    }

    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.ready.load(Ordering::SeqCst) {
            self.waker.register(cx.waker());
            if !self.ready.load(Ordering::SeqCst) {
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }
}

impl Source {
    pub(super) fn fd(&self) -> &OwnedFd {
        &self.0.fd
    }

    /// Makes a call that reads, once the socket is ready.
    pub(super) fn poll_read_with<T>(
        &self,
        cx: &mut Context<'_>,
        call: impl FnMut(&OwnedFd) -> Result<(T, Next), Errno>,
    ) -> Poll<io::Result<T>> {
        self.poll_with(cx, &self.0.read, call)
    }

    /// Makes a call that writes, once the socket is ready.
    pub(super) fn poll_write_with<T>(
        &self,
        cx: &mut Context<'_>,
        call: impl FnMut(&OwnedFd) -> Result<(T, Next), Errno>,
    ) -> Poll<io::Result<T>> {
        self.poll_with(cx, &self.0.write, call)
    }

    fn poll_with<T>(
        &self,
        cx: &mut Context<'_>,
        side: &Side,
        mut call: impl FnMut(&OwnedFd) -> Result<(T, Next), Errno>,
    ) -> Poll<io::Result<T>> {
        while side.poll_ready(cx).is_ready() {
            // Forgotten before the call, so that what the kernel says meanwhile, to another thread, is not.
            side.ready.store(false, Ordering::SeqCst);
            match call(&self.0.fd) {
                Ok((value, Next::Drained)) if !self.0.ended.load(Ordering::SeqCst) => return Poll::Ready(Ok(value)),
                Ok((value, _)) => {
                    side.ready.store(true, Ordering::SeqCst);
                    return Poll::Ready(Ok(value));
                }
                Err(Errno::WOULDBLOCK) => {}
                Err(Errno::INTR) => side.ready.store(true, Ordering::SeqCst),
                Err(error) => {
                    side.ready.store(true, Ordering::SeqCst);
                    return Poll::Ready(Err(error.into()));
                }
            }
        }
        Poll::Pending
    }
}

/// Accepts a connection that does not block.
pub(super) fn accept(listener: &OwnedFd) -> Result<(OwnedFd, Option<SocketAddrAny>), Errno> {
    rustix::net::acceptfrom_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)
}
