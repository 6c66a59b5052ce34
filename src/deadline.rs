//! [`Deadline`]: a timeout that costs nothing while things go on; [`Timers`]: all those of a worker; [`within`]: for once.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use async_io::Timer;
use atomic_waker::AtomicWaker;
use futures_lite::{FutureExt, Stream};

/// What a future comes to, if it does in time.
pub(super) async fn within<T>(time: Duration, future: impl Future<Output = T>) -> Option<T> {
    let in_time = async { Some(future.await) };
    let late = async {
        Timer::after(time).await;
        None
    };
    in_time.or(late).await
}

/// The deadlines that somebody waits for. A worker's own look after them takes no call: async-io's timers would take several
/// for each connection.
#[derive(Debug, Default)]
pub(super) struct Timers {
    armed: Mutex<BTreeMap<Key, Waker>>,
    /// How many there have been.
    count: AtomicU64,
    /// Who is to hear of a deadline that is nearer than all others.
    sleeper: AtomicWaker,
}

/// When a deadline fires, and its number, as two may fire at the same time.
type Key = (Instant, u64);

impl Timers {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Waker>> {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes those that are due, and says when the next one is.
    pub(super) fn fire(&self) -> Option<Instant> {
        loop {
            let mut armed = self.lock();
            let next = armed.first_entry()?;
            let (at, _) = *next.key();
            if Instant::now() < at {
                return Some(at);
            }
            let waker = next.remove();
            // Whom it wakes is not our business, so the queue is not locked while it does.
            drop(armed);
            waker.wake();
        }
    }

    /// Has a nearer deadline wake whoever sleeps until the next one.
    pub(super) fn wake_by_nearer(&self, sleeper: &Waker) {
        self.sleeper.register(sleeper);
    }

    /// Wakes them in time by async-io, for ever.
    pub(super) async fn run<T>(&self) -> T {
        let (mut timer, mut set) = (Timer::never(), None);
        poll_fn(|cx| {
            self.wake_by_nearer(cx.waker());
            while let Some(next) = self.fire() {
                if set != Some(next) {
                    timer.set_at(next);
                    set = Some(next);
                }
                ready!(Pin::new(&mut timer).poll_next(cx));
            }
            Poll::Pending
        })
        .await
    }

    fn arm(&self, at: Instant, waker: &Waker) -> Key {
        let key = (at, self.count.fetch_add(1, Ordering::Relaxed));
        let mut armed = self.lock();
        armed.insert(key, waker.clone());
        let is_nearest = armed.first_key_value().is_some_and(|(first, _)| *first == key);
        drop(armed);
        if is_nearest {
            self.sleeper.wake();
        }
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
            let _waker = self.timers.lock().remove(&key);
        }
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.disarm();
    }
}
