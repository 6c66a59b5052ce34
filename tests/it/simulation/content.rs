//! [`Maker`]: the reader of a streamed response, which does what the script says.

use std::cmp::Ordering;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use micro_smol::smol::io::AsyncRead;
use micro_smol::smol::stream::Stream;

use super::script::{ContentPlan, Declared, End, Gap};
use super::wire;
use super::world::{Sleep, Wait, WaitGuard, Waiting, World};

impl ContentPlan {
    /// The length that is declared.
    pub fn declared(&self) -> Option<usize> {
        match self.declared {
            Declared::Unknown => None,
            Declared::Right => Some(self.total),
            Declared::TooShort => Some(self.total.saturating_sub(3)),
            Declared::TooLong => Some(self.total + 3),
        }
    }

    /// What becomes of the response if nothing else cuts it.
    pub fn fate(&self) -> Fate {
        match (self.declared().map(|declared| declared.cmp(&self.total)), self.end) {
            (Some(Ordering::Greater), _) => Fate::Cut,
            // Whether a reader is asked for more than was declared depends on when it has it.
            (Some(Ordering::Less), _) | (Some(Ordering::Equal), End::Fails | End::Panics | End::Overclaims) => {
                Fate::Either
            }
            (Some(Ordering::Equal), End::Eof | End::Never) | (None, End::Eof) => Fate::Whole,
            (None, _) => Fate::Cut,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fate {
    Whole,
    Cut,
    Either,
}

pub struct Maker {
    world: Arc<World>,
    message: usize,
    plan: ContentPlan,
    made: usize,
    /// Which piece is next, and what is left of the one that is being made.
    piece: usize,
    left: usize,
    gap: Gate,
    /// It waits for ever.
    stuck: Option<WaitGuard>,
}

/// The gap before a piece.
enum Gate {
    Closed,
    Waiting(Pin<Box<Sleep>>),
    Yielding,
    Open,
}

impl Maker {
    pub fn new(world: &Arc<World>, message: usize, plan: &ContentPlan) -> Self {
        world.lock().calls[message].live_readers += 1;
        Maker {
            world: world.clone(),
            message,
            plan: plan.clone(),
            made: 0,
            piece: 0,
            left: 0,
            gap: Gate::Closed,
            stuck: None,
        }
    }

    fn waiting(&self, wait: Wait) -> Waiting {
        Waiting { message: self.message, wait, is_reader: true }
    }

    fn poll_gap(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            self.gap = match (&mut self.gap, self.plan.gap) {
                (Gate::Closed, Gap::Wait(ticks)) => {
                    Gate::Waiting(Box::pin(self.world.sleep(self.waiting(Wait::Timer), ticks)))
                }
                (Gate::Closed, Gap::Yield) => {
                    self.gap = Gate::Yielding;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                (Gate::Waiting(sleep), _) => {
                    ready!(sleep.as_mut().poll(cx));
                    Gate::Open
                }
                (Gate::Open, _) => return Poll::Ready(()),
                _ => Gate::Open,
            }
        }
    }

    /// Makes up to `most` bytes; none at the end.
    fn poll_make(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<io::Result<&'static [u8]>> {
        ready!(self.poll_gap(cx));
        if self.made == self.plan.total {
            return self.end();
        }
        if self.left == 0 {
            let sizes = &self.plan.pieces;
            self.left = sizes.get(self.piece % sizes.len().max(1)).copied().unwrap_or(usize::MAX).max(1);
            self.piece += 1;
        }
        let count = self.left.min(most).min(self.plan.total - self.made);
        let bytes = &wire::made(self.message, self.plan.total)[self.made..][..count];
        self.made += count;
        self.left -= count;
        if self.left == 0 {
            self.gap = Gate::Closed;
        }
        let mut state = self.world.lock();
        state.progress("content that is made");
        let made = &mut state.calls[self.message].made;
        *made = self.made.max(*made);
        Poll::Ready(Ok(bytes))
    }

    fn end(&mut self) -> Poll<io::Result<&'static [u8]>> {
        match self.plan.end {
            End::Eof => Poll::Ready(Ok(&[])),
            End::Panics => std::panic::resume_unwind(Box::new(PLANNED_PANIC)),
            End::Never => {
                let waiting = self.waiting(Wait::Ever);
                self.stuck.get_or_insert_with(|| self.world.wait_as(waiting));
                Poll::Pending
            }
            End::Fails | End::Overclaims => Poll::Ready(Err(io::Error::other("the reader fails"))),
        }
    }
}

/// So large are the pieces of a stream at most.
const CHUNK_BYTES_MAX: usize = 32 * 1024;

/// What a panic of a script carries.
pub const PLANNED_PANIC: &str = "a panic of the script";

impl AsyncRead for Maker {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        let is_over = self.made == self.plan.total && matches!(self.gap, Gate::Open);
        if is_over && self.plan.end == End::Overclaims {
            return Poll::Ready(Ok(room.len() + 1));
        }
        let bytes = ready!(self.poll_make(cx, room.len()))?;
        room[..bytes.len()].copy_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }
}

impl Stream for Maker {
    type Item = io::Result<&'static [u8]>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(match ready!(self.poll_make(cx, CHUNK_BYTES_MAX)) {
            Ok([]) => None,
            made => Some(made),
        })
    }
}

impl Drop for Maker {
    fn drop(&mut self) {
        self.world.lock().calls[self.message].live_readers -= 1;
    }
}
