//! [`World`]: what the parts of a simulation share: the stream, the time, and what each handler does.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use micro_smol::Body;

use super::script::TICK_MILLIS;
use super::stream::Link;

pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

pub struct World(Mutex<State>);

/// The shortest time that the connection gives a peer, in ticks.
const TIMEOUT_TICKS: u64 = 10_000 / TICK_MILLIS;

/// How long the connection waits for more of a body, and for all that the handler has left of it.
pub const BODY_TIMEOUT_TICKS: u64 = 30_000 / TICK_MILLIS;

/// Owned by whoever has the lock.
#[derive(Default)]
pub struct State {
    pub link: Link,
    /// The time, in ticks since the start.
    pub now: u64,
    /// Keys, times and whom they wake.
    timers: Vec<(usize, u64, Waker)>,
    /// Tasks that handlers have spawned, for the executor to take.
    pub spawned: Vec<Task>,
    /// By the index of the message.
    pub calls: Vec<Call>,
    /// The order in which requests came to the handler.
    pub order: Vec<usize>,
    waits: Vec<(usize, Waiting)>,
    next_key: usize,
    /// Bodies that were kept past their requests.
    pub kept: Vec<Body>,
    /// Grows with each thing that happens.
    pub progress: u64,
    pub last_progress: &'static str,
    /// While all is polled that nothing has woken, the stream makes no steps of its own.
    pub is_probe: bool,
    pub phase: Phase,
    /// When the connection has last read and written.
    read_at: u64,
    write_at: u64,
    /// The head and the body that arrive, and since when.
    head_since: Option<(usize, u64)>,
    body_since: Option<(usize, u64)>,
    /// Whether the peer was so slow that the connection may have given it up.
    pub is_late: bool,
    pub faults: Vec<String>,
    pub upgraded: Upgraded,
}

/// What the server was told.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Phase {
    #[default]
    Serving,
    Draining,
    Ending,
}

/// What was done with an upgraded connection.
#[derive(Debug, Default)]
pub struct Upgraded {
    pub has_begun: bool,
    pub is_live: bool,
    /// How much was read, and what was written behind the 101.
    pub read: Vec<u8>,
    /// The future that got it has ended, and another task may go on.
    pub is_detached: bool,
    pub written: Vec<u8>,
}

/// One call of the handler.
#[derive(Debug, Default)]
pub struct Call {
    pub has_begun: bool,
    /// How much the connection had read then.
    pub input_when_begun: usize,
    /// Its future has not been dropped.
    pub is_live: bool,
    pub answer: Option<Expected>,
    /// The server had been told to stop when the handler answered.
    pub is_last: bool,
    /// How much of the content was read, by whoever has read most.
    pub read: usize,
    /// The most that somebody has waited for.
    pub wanted: usize,
    /// Since when somebody waits for content of which none has come since.
    pub waits_since: Option<u64>,
    pub is_too_slow: bool,
    /// A read of the body was given up, which the connection does not know.
    pub has_given_up: bool,
    /// How much of it had been read when the handler answered.
    pub read_when_answered: usize,
    /// How much the readers of its response have made, and how many there are.
    pub made: usize,
    pub live_readers: usize,
}

/// What the response to a request must be.
#[derive(Clone, Debug, PartialEq)]
pub struct Expected {
    pub status: u16,
    pub content: Content,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// None, whatever the message says.
    Empty,
    /// So many bytes that the handler has made.
    Made(usize),
    Text(String),
    /// A text of the library's own.
    Any,
    /// What the plan of the response says.
    Stream,
    /// The content of the request from this byte on.
    Echo(usize),
    Switched,
}

/// What somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Wait {
    Timer,
    /// So much content of the message, or its end.
    Content(usize),
    Ever,
    /// More from the peer over the upgraded connection, or more room.
    Upgraded,
}

#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    pub message: usize,
    pub wait: Wait,
    /// The reader of the response, not the handler.
    pub is_reader: bool,
}

impl State {
    pub fn progress(&mut self, what: &'static str) {
        self.progress += 1;
        self.last_progress = what;
    }

    pub fn progress_if(&mut self, has_happened: bool, what: &'static str) {
        if has_happened {
            self.progress(what);
        }
    }

    pub fn fault(&mut self, fault: impl Into<String>) {
        self.faults.push(fault.into());
    }

    pub fn note_read(&mut self) {
        self.progress("a read");
        let now = self.now;
        self.read_at = now;
        self.calls.iter_mut().for_each(|call| call.waits_since = call.waits_since.map(|_| now));
    }

    pub fn note_write(&mut self) {
        self.progress("a write");
        self.write_at = self.now;
    }

    /// Notes what has arrived.
    pub fn note_arrival(&mut self) {
        let since = |index, before: Option<(usize, u64)>| match before {
            Some((found, since)) if found == index => (index, since),
            _ => (index, self.now),
        };
        self.head_since = self.link.head_that_arrives().map(|index| since(index, self.head_since));
        self.body_since = self.link.body_that_arrives().map(|index| since(index, self.body_since));
    }

    /// Lets the time go on, and notes whether the peer is too slow.
    pub fn set_time(&mut self, now: u64) {
        self.now = now;
        self.note_arrival();
        let waits_for_room = self.link.is_blocked() && now - self.write_at >= TIMEOUT_TICKS;
        let has_passed = |ticks, since: Option<(usize, u64)>| since.is_some_and(|(_, since)| now - since >= ticks);
        let is_slow = has_passed(TIMEOUT_TICKS, self.head_since) || has_passed(BODY_TIMEOUT_TICKS, self.body_since);
        self.is_late |= waits_for_room || is_slow || now - self.read_at >= TIMEOUT_TICKS;
        self.progress("the time");
    }

    pub fn hold(&mut self, count: usize) {
        self.link.room = count;
        self.write_at = self.now;
    }

    pub fn waits(&self) -> impl Iterator<Item = Waiting> {
        self.waits.iter().map(|(_, waiting)| *waiting)
    }

    fn next_key(&mut self) -> usize {
        self.next_key += 1;
        self.next_key
    }

    pub fn next_timer(&self) -> Option<u64> {
        self.timers.iter().map(|(_, at, _)| *at).min()
    }

    /// Wakes whoever waits for a time that has come.
    pub fn wake_timers(&mut self) {
        let now = self.now;
        let due = self.timers.extract_if(.., |(_, at, _)| *at <= now);
        due.for_each(|(_, _, waker)| waker.wake());
    }
}

impl World {
    pub fn new(link: Link, messages: usize) -> Arc<Self> {
        let calls = (0..messages).map(|_| Call::default()).collect();
        Arc::new(World(Mutex::new(State { link, calls, ..State::default() })))
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that somebody waits, until the guard is dropped.
    pub fn wait(self: &Arc<Self>, message: usize, wait: Wait) -> WaitGuard {
        self.wait_as(Waiting { message, wait, is_reader: false })
    }

    pub fn wait_as(self: &Arc<Self>, waiting: Waiting) -> WaitGuard {
        let mut state = self.lock();
        let (key, now) = (state.next_key(), state.now);
        if let Wait::Content(wanted) = waiting.wait {
            let most = &mut state.calls[waiting.message].wanted;
            *most = wanted.max(*most);
            state.calls[waiting.message].waits_since.get_or_insert(now);
        }
        state.waits.push((key, waiting));
        WaitGuard { world: self.clone(), key }
    }

    pub fn sleep(self: &Arc<Self>, waiting: Waiting, ticks: u64) -> Sleep {
        let mut state = self.lock();
        let (key, at) = (state.next_key(), state.now + ticks);
        Sleep { key, at, waiting, world: self.clone(), guard: None }
    }

    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.lock().spawned.push(Box::pin(task));
    }
}

pub struct WaitGuard {
    world: Arc<World>,
    key: usize,
}

impl Drop for WaitGuard {
    fn drop(&mut self) {
        let mut state = self.world.lock();
        state.waits.retain(|(key, _)| *key != self.key);
        let State { waits, calls, .. } = &mut *state;
        let is_waited_for = |message: usize| {
            waits.iter().any(|(_, waiting)| waiting.message == message && matches!(waiting.wait, Wait::Content(_)))
        };
        for (message, call) in calls.iter_mut().enumerate() {
            call.waits_since = call.waits_since.filter(|_| call.has_given_up || is_waited_for(message));
        }
    }
}

/// A timer of the simulated time.
pub struct Sleep {
    key: usize,
    at: u64,
    waiting: Waiting,
    world: Arc<World>,
    guard: Option<WaitGuard>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Sleep { key, at, waiting, world, guard } = &mut *self;
        let mut state = world.lock();
        if *at <= state.now {
            state.progress("a timer");
            drop(state);
            *guard = None;
            return Poll::Ready(());
        }
        state.timers.retain(|(found, ..)| found != key);
        state.timers.push((*key, *at, cx.waker().clone()));
        drop(state);
        guard.get_or_insert_with(|| world.wait_as(*waiting));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let key = self.key;
        self.world.lock().timers.retain(|(found, ..)| *found != key);
    }
}
