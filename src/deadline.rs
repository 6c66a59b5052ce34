//! [`Deadline`]: a timeout that costs nothing while things go on; [`Timers`]: all those of a worker.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use async_io::Timer;
use futures_lite::Stream;

/// The deadlines that somebody waits for. A worker's own look after them takes no call: async-io's timers would take several
/// for each connection.
#[derive(Debug, Default)]
pub(super) struct Timers(Mutex<Queue>);

#[derive(Debug, Default)]
struct Queue {
    armed: BTreeMap<Key, Waker>,
    last: u64,
    /// Who is to hear of a deadline that is nearer than all others.
    sleeper: Option<Waker>,
}

/// A deadline's place in the queue.
type Key = (Instant, u64);

impl Timers {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes those that are due, and says when the next one is.
    pub(super) fn fire(&self) -> Option<Instant> {
        loop {
            // Whom it wakes is not our business, so the queue is not locked while it does.
            let waker = {
                let mut queue = self.lock();
                let next = queue.armed.first_entry()?;
                let (at, _) = *next.key();
                if Instant::now() < at {
                    return Some(at);
                }
                next.remove()
            };
            waker.wake();
        }
    }

    /// Has a nearer deadline wake whoever sleeps until the next one.
    pub(super) fn wake_by_nearer(&self, sleeper: &Waker) {
        self.lock().sleeper.get_or_insert_with(|| sleeper.clone()).clone_from(sleeper);
    }

    /// Wakes them in time by async-io, for ever.
    pub(super) async fn run<T>(&self) -> T {
        let (mut timer, mut set) = (Timer::never(), None);
        poll_fn(|cx| {
            self.wake_by_nearer(cx.waker());
            loop {
                let next = self.fire();
                match next {
                    Some(at) if next != set => timer.set_at(at),
                    Some(_) => {}
                    None => return Poll::Pending,
                }
                set = next;
                ready!(Pin::new(&mut timer).poll_next(cx));
                set = None;
            }
        })
        .await
    }

    fn arm(&self, at: Instant, waker: &Waker) -> Key {
        let mut queue = self.lock();
        queue.last += 1;
        let key = (at, queue.last);
        queue.armed.insert(key, waker.clone());
        let is_nearest = queue.armed.first_key_value().is_some_and(|(first, _)| *first == key);
        let sleeper = if is_nearest { queue.sleeper.clone() } else { None };
        drop(queue);
        sleeper.into_iter().for_each(Waker::wake);
        key
    }
}

/// The time by which something must have happened. Progress only moves it; it is armed again when it fires too early, not
/// before.
#[derive(Debug)]
pub(super) struct Deadline {
    timers: Arc<Timers>,
    at: Option<Instant>,
    /// When it fires, and whom it wakes.
    armed: Option<(Key, Waker)>,
}

impl Deadline {
    pub(super) fn new(timers: Arc<Timers>) -> Self {
        Deadline { timers, at: None, armed: None }
    }

    /// Notes that what was waited for has happened.
    pub(super) fn clear(&mut self) {
        self.at = None;
    }

    /// Ready when `timeout` has passed since the first call after [`clear`](Self::clear).
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, timeout: Duration) -> Poll<()> {
        let now = Instant::now();
        self.at = self.at.or(now.checked_add(timeout));
        match (self.at, &self.armed) {
            (None, _) => return Poll::Pending,
            (Some(at), _) if at <= now => return Poll::Ready(()),
            (Some(at), Some(((fires, _), waker))) if now < *fires && *fires <= at && waker.will_wake(cx.waker()) => {}
            (Some(at), _) => {
                self.disarm();
                self.armed = Some((self.timers.arm(at, cx.waker()), cx.waker().clone()));
            }
        }
        Poll::Pending
    }

    fn disarm(&mut self) {
        if let Some((key, _)) = self.armed.take() {
            // Dropped when the queue is no longer locked: it may be the last of a task.
            let _waker = self.timers.lock().armed.remove(&key);
        }
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.disarm();
    }
}
