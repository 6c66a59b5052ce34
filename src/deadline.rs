//! [`Deadline`]: a timeout that costs nothing while things go on.

use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use async_io::Timer;
use futures_lite::Stream;

/// The time by which something must have happened. Progress only moves it; the timer behind it is armed again when it
/// fires too early, not before.
#[derive(Debug)]
pub(super) struct Deadline {
    at: Option<Instant>,
    timer: Timer,
    /// When the timer fires, and whom it wakes.
    armed: Option<(Instant, Waker)>,
}

impl Default for Deadline {
    fn default() -> Self {
        Deadline { at: None, timer: Timer::never(), armed: None }
    }
}

impl Deadline {
    /// Notes that what was waited for has happened.
    pub(super) fn clear(&mut self) {
        self.at = None;
    }

    /// Ready when `timeout` has passed since the first call after [`clear`](Self::clear).
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, timeout: Duration) -> Poll<()> {
        loop {
            let now = Instant::now();
            self.at = self.at.or(now.checked_add(timeout));
            match (self.at, &self.armed) {
                (None, _) => return Poll::Pending,
                (Some(at), _) if at <= now => return Poll::Ready(()),
                (Some(at), Some((armed, waker))) if now < *armed && *armed <= at && waker.will_wake(cx.waker()) => {
                    return Poll::Pending;
                }
                (Some(at), _) => {
                    self.timer.set_at(at);
                    self.armed = Some((at, cx.waker().clone()));
                }
            }
            ready!(Pin::new(&mut self.timer).poll_next(cx));
        }
    }
}
