//! One edge-triggered epoll instance for all sockets of a worker.
//!
//! A socket is registered once, for all events. What the kernel has said of it is kept until a call finds the contrary, so a
//! request costs one read and one write: async-io alone would take an `epoll_ctl` for each wait and a read that fails after
//! each one that does not.
//!
//! A worker with nothing to do sleeps in this epoll, which is one call. Timers and whatever else async-io watches need
//! async-io to look: a thread of its own does, but a worker that its handlers' timers wake again and again sleeps better
//! in async-io itself, where this epoll is one source among others. Where a worker sleeps next follows from what woke it.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
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

use super::super::super::connection::Connections;
use super::super::turn::{Direction, Next, Turn};

/// The most events that are taken from the kernel at once.
const EVENTS_MAX: usize = 256;

/// A worker sleeps in its own epoll after so many sleeps that only sockets have ended.
const SOCKET_SLEEPS: u32 = 32;

const NO_TIME: Option<Timespec> = Some(Timespec { tv_sec: 0, tv_nsec: 0 });

/// The sockets of a worker, and its sleep. Whatever it needs is opened when it is made.
pub struct Reactor {
    /// A source of async-io, too.
    epoll: Async<OwnedFd>,
    events: RefCell<Vec<Event>>,
    sources: RefCell<Slab<Arc<State>>>,
    /// How many sockets have been registered, modulo 2³².
    registered: Cell<u64>,
    notifier: Arc<Notifier>,
    /// How many sleeps in a row were ended by sockets alone.
    socket_sleeps: Cell<u32>,
}

impl Reactor {
    pub fn new() -> io::Result<Self> {
        let epoll = Async::new_nonblocking(epoll::create(CreateFlags::CLOEXEC)?)?;
        let eventfd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &eventfd, EventData::new_u64(u64::MAX), EventFlags::IN | EventFlags::ET)?;
        let notifier = Notifier { state: AtomicU8::new(AWAKE), eventfd, elsewhere: AtomicWaker::new() };
        Ok(Reactor {
            epoll,
            events: Vec::with_capacity(EVENTS_MAX).into(),
            sources: RefCell::default(),
            registered: Cell::new(0),
            notifier: notifier.into(),
            socket_sleeps: Cell::new(0),
        })
    }

    /// Registers a socket until the registration is dropped.
    pub fn register(&self, fd: OwnedFd) -> io::Result<(IoSource, IoRegistration<'_>)> {
        let number = self.registered.get();
        self.registered.set(number.wrapping_add(1) & u64::from(u32::MAX));
        let state = Arc::new(State {
            fd,
            number,
            seen: AtomicU32::new(0),
            read: Readiness::default(),
            write: Readiness::default(),
        });
        let registration = IoRegistration { reactor: self, key: self.sources.borrow_mut().insert(state.clone()) };
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        let data = state.number << 32 | registration.key as u64;
        epoll::add(&self.epoll, &state.fd, EventData::new_u64(data), flags)?;
        Ok((IoSource(state), registration))
    }

    /// Runs tasks to their end, and sleeps while they wait: for sockets, for deadlines, and for whatever wakes them.
    pub fn run(&self, connections: &Connections, mut tasks: impl FnMut(&mut Context<'_>) -> Turn) -> io::Result<()> {
        let mut deadlines = pin!(connections.keep_deadlines::<()>());
        let waker = Waker::from(self.notifier.clone());
        async_io::block_on(poll_fn(|cx| {
            let mut timeout = NO_TIME;
            loop {
                self.wait(timeout)?;
                timeout = match tasks(&mut Context::from_waker(&waker)) {
                    Turn::Done => return Poll::Ready(Ok(())),
                    Turn::More => {
                        connections.wake_overdue();
                        NO_TIME
                    }
                    Turn::Idle if self.socket_sleeps.get() < SOCKET_SLEEPS => {
                        let _ = deadlines.as_mut().poll(cx);
                        ready!(self.poll_elsewhere(cx))?;
                        NO_TIME
                    }
                    Turn::Idle => self.sleep_time(connections.wake_overdue()),
                };
            }
        }))
    }

    /// Falls asleep until a time or for ever, and returns how long that is: not at all if there is something to do.
    fn sleep_time(&self, end: Option<Instant>) -> Option<Timespec> {
        if !self.notifier.fall_asleep(ASLEEP) {
            return NO_TIME;
        }
        end?.saturating_duration_since(Instant::now()).try_into().ok()
    }

    /// Sleeps in async-io; ready when there are sockets to look at, or something else to do.
    fn poll_elsewhere(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.notifier.elsewhere.register(cx.waker());
        match self.notifier.fall_asleep(ASLEEP_ELSEWHERE) {
            true => self.epoll.poll_readable(cx),
            false => Poll::Ready(Ok(())),
        }
    }

    /// Waits for sockets, and wakes the tasks of those that are ready.
    fn wait(&self, timeout: Option<Timespec>) -> io::Result<()> {
        let mut events = self.events.borrow_mut();
        events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut events), timeout.as_ref()) {
            Err(Errno::INTR) | Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        match self.notifier.state.swap(AWAKE, Ordering::SeqCst) {
            AWAKE => {}
            NOTIFIED => self.socket_sleeps.set(0),
            _ => self.socket_sleeps.set(self.socket_sleeps.get().saturating_add(1)),
        }
        let sources = self.sources.borrow();
        for event in events.iter() {
            // A socket that is closed here may live on in a child, and its key be another's by now.
            let (number, key) = (event.data.u64() >> 32, event.data.u64() as u32);
            if let Some(state) = sources.get(key as usize).filter(|state| state.number == number) {
                state.note(event.flags);
            }
        }
        // The tasks that were just woken are about to be polled, so the notification has done its work.
        self.notifier.state.swap(AWAKE, Ordering::SeqCst);
        Ok(())
    }
}

const AWAKE: u8 = 0;
const NOTIFIED: u8 = 1;
const ASLEEP: u8 = 2;
const ASLEEP_ELSEWHERE: u8 = 3;

/// Wakes a worker, from any thread.
struct Notifier {
    state: AtomicU8,
    /// It is in the epoll. Nobody reads it: each write is an edge.
    eventfd: OwnedFd,
    elsewhere: AtomicWaker,
}

impl Notifier {
    /// Falls asleep, unless there was a notification: then there is something to do.
    fn fall_asleep(&self, asleep: u8) -> bool {
        let fallen = self.state.compare_exchange(AWAKE, asleep, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        if !fallen {
            self.state.store(AWAKE, Ordering::SeqCst);
        }
        fallen
    }
}

impl Wake for Notifier {
    fn wake(self: Arc<Self>) {
        match self.state.swap(NOTIFIED, Ordering::SeqCst) {
            // Err only if the worker has not slept for 2⁶⁴ notifications.
            ASLEEP => drop(rustix::io::write(&self.eventfd, &1_u64.to_ne_bytes())),
            ASLEEP_ELSEWHERE => self.elsewhere.wake(),
            _ => {}
        }
    }
}

/// A socket's entry among those of its worker.
pub struct IoRegistration<'a> {
    reactor: &'a Reactor,
    key: usize,
}

impl Drop for IoRegistration<'_> {
    fn drop(&mut self) {
        // The kernel forgets a socket when it is closed.
        self.reactor.sources.borrow_mut().try_remove(self.key);
    }
}

/// A socket and what is known of it. It may be used from other threads: an upgraded stream goes anywhere.
#[derive(Clone)]
pub struct IoSource(Arc<State>);

struct State {
    fd: OwnedFd,
    /// How many sockets were registered before.
    number: u64,
    /// All that the kernel has said so far: an end and a reset it says only once. Only the reactor changes it.
    seen: AtomicU32,
    read: Readiness,
    write: Readiness,
}

/// The peer has reset the connection, or is gone.
const RESET: EventFlags = EventFlags::HUP.union(EventFlags::ERR);

/// The peer sends no more.
const ENDED: EventFlags = RESET.union(EventFlags::RDHUP);

impl State {
    fn note(&self, flags: EventFlags) {
        self.seen.store(self.seen.load(Ordering::Relaxed) | flags.bits(), Ordering::Release);
        if flags.intersects(ENDED | EventFlags::IN) {
            self.read.set_ready();
        }
        if flags.intersects(RESET | EventFlags::OUT) {
            self.write.set_ready();
        }
    }

    fn has_seen(&self, flags: EventFlags) -> bool {
        self.seen.load(Ordering::Acquire) & flags.bits() != 0
    }
}

/// One direction of a socket: ready, unless a call has exhausted it since the kernel last spoke of it.
#[derive(Default)]
struct Readiness {
    is_exhausted: AtomicBool,
    waker: AtomicWaker,
}

impl Readiness {
    fn set_ready(&self) {
        self.is_exhausted.store(false, Ordering::Release);
        self.waker.wake();
    }

    fn is_ready(&self) -> bool {
        !self.is_exhausted.load(Ordering::Acquire)
    }

    /// Ready when a condition holds that an event can make true.
    fn poll_until(&self, cx: &mut Context<'_>, holds: impl Fn() -> bool) -> Poll<()> {
        if !holds() {
            self.waker.register(cx.waker());
            if !holds() {
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }
}

impl IoSource {
    pub fn fd(&self) -> &OwnedFd {
        &self.0.fd
    }

    /// Makes a call, once the socket is ready for it.
    ///
    /// A write is tried even if the kernel has not spoken, which it does when a third of the buffer is free: for a slow peer
    /// and a large buffer, that may take longer than the time for a write.
    pub fn poll_with<T>(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        mut call: impl FnMut(&OwnedFd) -> Result<(T, Next), Errno>,
    ) -> Poll<io::Result<T>> {
        let readiness = match direction {
            Direction::Read => &self.0.read,
            Direction::Write => &self.0.write,
        };
        if direction == Direction::Read {
            ready!(readiness.poll_until(cx, || readiness.is_ready()));
        }
        loop {
            // Stored before the call, so that an event that comes meanwhile, on another thread, is not forgotten.
            readiness.is_exhausted.store(true, Ordering::Release);
            match call(&self.0.fd) {
                Err(Errno::WOULDBLOCK) => ready!(readiness.poll_until(cx, || readiness.is_ready())),
                Err(Errno::INTR) => {}
                Ok((value, Next::Exhausted)) if !self.0.has_seen(ENDED) => return Poll::Ready(Ok(value)),
                done => {
                    readiness.is_exhausted.store(false, Ordering::Release);
                    return Poll::Ready(done.map(|(value, _)| value).map_err(io::Error::from));
                }
            }
        }
    }

    /// Whether the peer has said that it sends no more, however much is unread.
    pub fn is_ended(&self) -> bool {
        self.0.has_seen(ENDED)
    }

    /// Ready once the peer has reset the connection, however much is unread.
    pub fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.read.poll_until(cx, || self.0.has_seen(RESET))
    }
}

/// Accepts a connection that does not block.
pub fn accept(listener: &OwnedFd) -> Result<(OwnedFd, Option<SocketAddrAny>), Errno> {
    rustix::net::acceptfrom_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)
}
