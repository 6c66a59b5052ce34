//! [`Connections`]: the open connections of a worker, by when each must make progress, and whether they should end.
//!
//! A request sets no timer, because those of async-io wake a thread: each connection has one deadline, and the worker looks
//! through the list of them.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use async_io::Timer;
use futures_lite::{FutureExt, Stream};
use slab::Slab;

/// How exact deadlines are: the connections are looked through no more often than this.
const TICK: Duration = Duration::from_millis(10);

/// How long a worker waits for the others to close their listeners.
const CLOSE_GRACE: Duration = Duration::from_millis(100);

/// What a connection does before the other tasks of its worker have their turn: it moves so many bytes, or takes as many
/// steps as count for them. One read of a fast upload may be more.
pub(super) const TURN_BYTES: usize = 128 * 1024;

/// The least that a step counts for: a read, a write, a piece of a stream.
const STEP_BYTES: usize = 256;

/// What a request counts for.
pub(super) const REQUEST_BYTES: usize = 8 * 1024;

/// The output of a future, unless the time passes first.
pub async fn timeout<T>(time: Duration, future: impl Future<Output = T>) -> Option<T> {
    let in_time = async { Some(future.await) };
    let late = async {
        Timer::after(time).await;
        None
    };
    in_time.or(late).await
}

/// The open connections of a worker.
#[derive(Default)]
#[allow(missing_debug_implementations, reason = "it is hidden, and of a module not public at all")]
pub struct Connections {
    phase: Cell<Phase>,
    open: RefCell<Slab<Rc<Entry>>>,
    /// No deadline is more than a tick before this.
    next_deadline: Cell<Option<Instant>>,
    /// Wakes whoever waits for the last connection to end.
    empty_waker: Cell<Option<Waker>>,
    /// What is left of the turn of the connection that is polled, or was polled last.
    turn_bytes: Cell<usize>,
    /// The time of a simulation, in place of the system's.
    simulated_now: Cell<Option<Instant>>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Serving,
    /// A response is the last of its connection.
    Draining,
    /// A connection without a request ends.
    Ending,
}

#[derive(Default)]
struct Entry {
    deadline: Cell<Option<(Waiting, Instant)>>,
    waker: Cell<Option<Waker>>,
}

/// What a connection waits for, each with a time of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiting {
    /// The first byte of the next request.
    Request,
    /// The end of a head.
    Head,
    /// More of a message body.
    Body,
    /// The rest of a message body that the handler has left unread.
    Rest,
    /// The peer to take output.
    Write,
    /// The handler, for a peer that sends no more.
    Handler,
    /// A peer that still sends after the last response.
    Linger,
}

impl Connections {
    /// Registers a connection until the guard is dropped.
    pub fn register(&self) -> Registration<'_> {
        let entry = Rc::<Entry>::default();
        let key = self.open.borrow_mut().insert(entry.clone());
        Registration { connections: self, key, entry }
    }

    /// Whether the connection that was polled last has used its turn up.
    pub fn is_turn_over(&self) -> bool {
        self.turn_bytes.get() == 0
    }

    /// Sets the time that deadlines are held against: a simulation's.
    pub fn simulate_now(&self, now: Instant) {
        self.simulated_now.set(Some(now));
    }

    fn now(&self) -> Instant {
        self.simulated_now.get().unwrap_or_else(Instant::now)
    }

    /// How many connections are open.
    pub fn count(&self) -> usize {
        self.open.borrow().len()
    }

    /// Wakes the connections whose deadline has passed, and returns when to look again.
    pub fn wake_overdue(&self) -> Option<Instant> {
        let next = self.next_deadline.get()?;
        let now = self.now();
        if now < next {
            return Some(next);
        }
        let (mut overdue, mut next) = (Vec::new(), None::<Instant>);
        for (_, entry) in self.open.borrow().iter() {
            match entry.deadline.get() {
                Some((_, at)) if at <= now => overdue.extend(entry.waker.take()),
                Some((_, at)) => next = Some(next.map_or(at, |next| next.min(at))),
                None => {}
            }
        }
        self.next_deadline.set(next.map(|next| next.max(now + TICK)));
        overdue.into_iter().for_each(Waker::wake);
        self.next_deadline.get()
    }

    /// Keeps the deadlines by a timer of async-io, for ever. It is polled after the connections.
    pub async fn keep_deadlines<T>(&self) -> T {
        let (mut timer, mut set) = (Timer::never(), None);
        poll_fn(|cx| {
            while let Some(next) = self.wake_overdue() {
                if set.replace(next) != Some(next) {
                    timer.set_at(next);
                }
                ready!(Pin::new(&mut timer).poll_next(cx));
            }
            Poll::Pending
        })
        .await
    }

    /// Asks the connections to end once the listeners are `closed`, and returns when none is left.
    ///
    /// A client that is told to close and comes again must not find a listener that is about to close. An idle connection is
    /// kept for `grace`: a request may be on its way, because the last response did not say that the connection ends.
    pub async fn drain<T>(&self, grace: Duration, closed: impl Future<Output = T>) {
        timeout(CLOSE_GRACE, closed).await;
        self.phase.set(Phase::Draining);
        timeout(grace, self.emptied()).await;
        self.phase.set(Phase::Ending);
        let wakers: Vec<_> = self.open.borrow().iter().filter_map(|(_, entry)| entry.waker.take()).collect();
        wakers.into_iter().for_each(Waker::wake);
        self.emptied().await;
    }

    async fn emptied(&self) {
        poll_fn(|cx| {
            self.empty_waker.set(Some(cx.waker().clone()));
            if self.open.borrow().is_empty() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await
    }
}

/// A connection's entry among those of its worker.
#[allow(missing_debug_implementations, reason = "it is hidden, and of a module not public at all")]
pub struct Registration<'a> {
    connections: &'a Connections,
    key: usize,
    entry: Rc<Entry>,
}

/// What is left of a turn behind a step that has moved so many bytes.
pub(super) fn turn_bytes_after(left: usize, bytes: usize) -> usize {
    left.saturating_sub(bytes.max(STEP_BYTES))
}

impl Registration<'_> {
    pub(super) fn begin_turn(&self) {
        self.connections.turn_bytes.set(TURN_BYTES);
    }

    /// Ready while the turn lasts. After that, the task is woken for another one behind the other tasks.
    pub(super) fn poll_turn(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.connections.is_turn_over() {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Counts a step that has moved so many bytes.
    pub(super) fn charge(&self, bytes: usize) {
        let left = &self.connections.turn_bytes;
        left.set(turn_bytes_after(left.get(), bytes));
    }

    /// Ready when `time` has passed since the first call for this, or since [`progress`](Self::progress).
    ///
    /// There is one deadline. A pending write keeps its deadline while something else is awaited, too.
    pub(super) fn poll_deadline(&self, cx: &mut Context<'_>, waiting: Waiting, time: Duration) -> Poll<()> {
        let now = self.now();
        let deadline = match self.entry.deadline.get() {
            Some((Waiting::Write, at)) => Some((Waiting::Write, at)),
            Some((found, at)) if found == waiting => Some((waiting, at)),
            // A time too long for the clock never passes.
            _ => now.checked_add(time).map(|at| (waiting, at)),
        };
        self.entry.deadline.set(deadline);
        if let Some((_, at)) = deadline {
            if at <= now {
                return Poll::Ready(());
            }
            let next = &self.connections.next_deadline;
            next.set(Some(next.get().map_or(at, |next| next.min(at))));
        }
        self.entry.wake_later(cx)
    }

    /// Clears the deadline if it is for one of these. The next wait sets a new one.
    pub(super) fn progress(&self, happened: &[Waiting]) {
        if self.entry.deadline.get().is_some_and(|(waiting, _)| happened.contains(&waiting)) {
            self.entry.deadline.set(None);
        }
    }

    pub(super) fn now(&self) -> Instant {
        self.connections.now()
    }

    pub(super) fn is_draining(&self) -> bool {
        self.connections.phase.get() != Phase::Serving
    }

    /// Ready when a connection without a request should end.
    pub(super) fn poll_ending(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self.connections.phase.get() {
            Phase::Ending => Poll::Ready(()),
            _ => self.entry.wake_later(cx),
        }
    }
}

impl Entry {
    fn wake_later(&self, cx: &mut Context<'_>) -> Poll<()> {
        let waker = self.waker.take().filter(|waker| waker.will_wake(cx.waker()));
        self.waker.set(Some(waker.unwrap_or_else(|| cx.waker().clone())));
        Poll::Pending
    }
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        self.connections.open.borrow_mut().try_remove(self.key);
        self.connections.empty_waker.take().into_iter().for_each(Waker::wake);
    }
}
