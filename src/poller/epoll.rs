//! One edge-triggered epoll instance for all sockets of a worker.
//!
//! A socket is registered once, for all events. What the kernel has said of it is kept, and forgotten when a call finds
//! the contrary, so that a request costs one read and one write and nothing else: async-io alone would take an `epoll_ctl`
//! for each wait and a read that fails after each one that does not.
//!
//! A worker with nothing to do sleeps in this epoll, which is one call. Timers and whatever else async-io watches need
//! async-io to look: a thread of its own does, but a worker that its handlers' timers wake again and again had better sleep
//! in async-io itself, where this epoll is one source among others. Where a worker sleeps next follows from what woke it.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker, ready};
use std::time::Instant;

use async_io::Async;
use atomic_waker::AtomicWaker;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::io::Errno;
use rustix::net::{SocketAddrAny, SocketFlags};
use slab::Slab;

use super::super::deadline::Timers;
use super::Next;

/// The most events that are taken from the kernel at once.
const EVENTS_MAX: usize = 256;

/// A worker sleeps in its own epoll after so many sleeps that only sockets have ended.
const SOCKET_SLEEPS: u32 = 32;

/// The sockets of a worker, and its sleep.
pub(in super::super) struct Poller {
    epoll: OwnedFd,
    events: RefCell<Vec<Event>>,
    sources: RefCell<Slab<Arc<State>>>,
    alarm: Arc<Alarm>,
    /// How many sleeps in a row were ended by sockets alone.
    socket_sleeps: Cell<u32>,
    /// The epoll as a source of async-io, while the worker sleeps there.
    source: RefCell<Option<Async<OwnedFd>>>,
}

impl Poller {
    pub(in super::super) fn new() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &bell, EventData::new_u64(u64::MAX), EventFlags::IN | EventFlags::ET)?;
        let alarm = Alarm { state: AtomicU8::new(AWAKE), bell, elsewhere: AtomicWaker::new() };
        Ok(Poller {
            epoll,
            events: Vec::with_capacity(EVENTS_MAX).into(),
            sources: RefCell::default(),
            alarm: alarm.into(),
            socket_sleeps: Cell::new(0),
            source: RefCell::default(),
        })
    }

    /// Registers a socket, until the entry is dropped.
    pub(super) fn add(&self, fd: OwnedFd) -> io::Result<(Source, Entry<'_>)> {
        let (read, write) = (Side::default(), Side::default());
        read.set_ready();
        write.set_ready();
        let state = Arc::new(State { fd, read, write, ended: AtomicBool::new(false) });
        let key = self.sources.borrow_mut().insert(state.clone());
        let entry = Entry { poller: self, key };
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&self.epoll, &state.fd, EventData::new_u64(key as u64), flags)?;
        Ok((Source(state), entry))
    }

    /// Runs a future to its end, and sleeps while it waits: for sockets, for timers, and for whatever wakes it.
    pub(in super::super) fn block_on<T>(&self, timers: &Timers, future: impl Future<Output = T>) -> io::Result<T> {
        let (mut future, mut firing) = (pin!(future), pin!(timers.run::<()>()));
        let waker = Waker::from(self.alarm.clone());
        async_io::block_on(poll_fn(|cx| {
            let mut timeout = Some(Timespec::default());
            loop {
                self.wait(timeout.as_ref())?;
                if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                    return Poll::Ready(Ok(output));
                }
                if self.socket_sleeps.get() < SOCKET_SLEEPS {
                    let _ = firing.as_mut().poll(cx);
                    ready!(self.poll_elsewhere(cx))?;
                    timeout = Some(Timespec::default());
                } else {
                    timers.wake_by_nearer(&waker);
                    timeout = self.timeout(timers.fire());
                }
            }
        }))
    }

    /// Falls asleep until a time or for ever, and says how long that is; not at all if there is something to do.
    fn timeout(&self, end: Option<Instant>) -> Option<Timespec> {
        self.source.take();
        match end {
            _ if !self.alarm.set(ASLEEP) => Some(Timespec::default()),
            Some(end) => end.saturating_duration_since(Instant::now()).try_into().ok(),
            None => None,
        }
    }

    /// Sleeps in async-io; ready when there are sockets to look at, or something else to do.
    fn poll_elsewhere(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.alarm.elsewhere.register(cx.waker());
        let mut source = self.source.borrow_mut();
        let source = match &mut *source {
            Some(source) => source,
            source => source.insert(Async::new_nonblocking(self.epoll.try_clone()?)?),
        };
        if self.alarm.set(ASLEEP_ELSEWHERE) { source.poll_readable(cx) } else { Poll::Ready(Ok(())) }
    }

    /// Waits for sockets, and wakes the tasks of those that are ready.
    fn wait(&self, timeout: Option<&Timespec>) -> io::Result<()> {
        let mut events = self.events.borrow_mut();
        events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut events), timeout) {
            Err(Errno::INTR) | Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        match self.alarm.state.swap(AWAKE, Ordering::SeqCst) {
            AWAKE => {}
            RUNG => self.socket_sleeps.set(0),
            _ => self.socket_sleeps.set(self.socket_sleeps.get().saturating_add(1)),
        }
        let sources = self.sources.borrow();
        for event in events.iter() {
            // The entry may be gone, or another's by now: a socket that is told too much only tries in vain.
            let key = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
            if let Some(state) = sources.get(key) {
                state.note(event.flags);
            }
        }
        Ok(())
    }

    /// Notes what the kernel has to say by now, and returns how much that was.
    pub(in super::super) fn look(&self) -> io::Result<usize> {
        self.wait(Some(&Timespec::default()))?;
        Ok(self.events.borrow().len())
    }
}

const AWAKE: u8 = 0;
const RUNG: u8 = 1;
const ASLEEP: u8 = 2;
const ASLEEP_ELSEWHERE: u8 = 3;

/// What wakes a worker, from any thread.
struct Alarm {
    state: AtomicU8,
    /// An eventfd in the epoll. Nobody reads it: each write is an edge.
    bell: OwnedFd,
    elsewhere: AtomicWaker,
}

impl Alarm {
    /// Falls asleep, if the alarm has not rung; else there is something to do.
    fn set(&self, asleep: u8) -> bool {
        let set = self.state.compare_exchange(AWAKE, asleep, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        if !set {
            self.state.store(AWAKE, Ordering::SeqCst);
        }
        set
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        match self.state.swap(RUNG, Ordering::SeqCst) {
            // It only fails if the worker has not slept for 2⁶⁴ rings.
            ASLEEP => drop(rustix::io::write(&self.bell, &1_u64.to_ne_bytes())),
            ASLEEP_ELSEWHERE => self.elsewhere.wake(),
            _ => {}
        }
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

/// One direction of a socket: ready, unless a call has drained it since the kernel last spoke of it.
#[derive(Default)]
struct Side {
    /// How often the kernel has spoken. Only the poller counts.
    events: AtomicU64,
    /// How often it had when a call last drained the side.
    drained: AtomicU64,
    waker: AtomicWaker,
}

impl Side {
    fn set_ready(&self) {
        self.events.store(self.events.load(Ordering::Relaxed) + 1, Ordering::Release);
        self.waker.wake();
    }

    fn is_ready(&self) -> bool {
        self.events.load(Ordering::Acquire) != self.drained.load(Ordering::Acquire)
    }

    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_ready() {
            self.waker.register(cx.waker());
            if !self.is_ready() {
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
        ready!(self.0.read.poll_ready(cx));
        self.poll_with(cx, &self.0.read, call)
    }

    /// Makes a call that writes.
    ///
    /// It is tried even if the kernel has not spoken, which it does when a third of the buffer is free: to a slow reader of a
    /// large buffer, that may take longer than the time for a write.
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
        loop {
            // Asked before the call, so that what the kernel says meanwhile, to another thread, is not forgotten.
            let events = side.events.load(Ordering::Acquire);
            let drain = || side.drained.store(events, Ordering::Release);
            match call(&self.0.fd) {
                Ok((value, next)) => {
                    if matches!(next, Next::Drained) && !self.0.ended.load(Ordering::SeqCst) {
                        drain();
                    }
                    return Poll::Ready(Ok(value));
                }
                Err(Errno::WOULDBLOCK) => {
                    drain();
                    ready!(side.poll_ready(cx));
                }
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }
}

/// Accepts a connection that does not block.
pub(super) fn accept(listener: &OwnedFd) -> Result<(OwnedFd, Option<SocketAddrAny>), Errno> {
    rustix::net::acceptfrom_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)
}
