//! [`Link`]: a stream in memory. The script says what arrives, what leaves, and how short and late that is.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use micro_smol::smol::io::{AsyncRead, AsyncWrite};

use super::script::{Step, StreamPlan};
use super::wire::Wire;
use super::world::World;

/// What the two ends of the stream share.
#[derive(Debug, Default)]
pub struct Link {
    pub wire: Arc<Wire>,
    /// How many bytes of the wire have arrived.
    pub arrived: usize,
    /// How many of them the connection has read.
    pub read: usize,
    pub is_fin: bool,
    pub is_reset: bool,
    pub output: Vec<u8>,
    /// How much of the output has been flushed.
    pub flushed: usize,
    /// How much more the peer takes.
    pub room: usize,
    /// The connection has said that it sends no more.
    pub is_closed: bool,
    pub is_dropped: bool,
    pub is_vectored: bool,
    pub is_buffered: bool,
    pub reads: Steps,
    pub writes: Steps,
    pub flushes: Steps,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// Wakers, and after how many polls they are woken.
    pub later: Vec<(usize, Waker)>,
}

/// Steps that come round again. Whoever was told to come again goes on then.
#[derive(Debug, Default)]
pub struct Steps {
    list: Vec<Step>,
    next: usize,
    was_pending: bool,
}

impl Steps {
    fn next(&mut self, is_probe: bool) -> Step {
        if is_probe || self.list.is_empty() || std::mem::take(&mut self.was_pending) {
            return Step::Whole;
        }
        let step = self.list[self.next % self.list.len()];
        self.next += 1;
        self.was_pending = matches!(step, Step::Again | Step::Later(_));
        step
    }
}

impl Link {
    pub fn new(wire: Arc<Wire>, plan: &StreamPlan) -> Self {
        let steps = |list: &Vec<Step>| Steps { list: list.clone(), ..Steps::default() };
        Link {
            wire,
            room: usize::MAX,
            is_vectored: plan.is_vectored,
            is_buffered: plan.is_buffered,
            reads: steps(&plan.reads),
            writes: steps(&plan.writes),
            flushes: steps(&plan.flushes),
            ..Link::default()
        }
    }

    /// What the peer has got.
    pub fn seen(&self) -> &[u8] {
        if self.is_buffered { &self.output[..self.flushed] } else { &self.output }
    }

    /// Whether the peer takes nothing at present.
    pub fn is_blocked(&self) -> bool {
        self.room == 0
    }

    /// The message of whose head some has arrived, but not all. That of the first is waited for from the start.
    pub fn head_that_arrives(&self) -> Option<usize> {
        let is_part = |index: usize| {
            let place = &self.wire.places[index];
            (place.start < self.arrived || index == 0) && self.arrived < place.head_end
        };
        (0..self.wire.places.len()).find(|index| is_part(*index))
    }

    /// The message of whose body some has not arrived.
    pub fn body_that_arrives(&self) -> Option<usize> {
        self.wire.places.iter().position(|place| place.head_end <= self.arrived && self.arrived < place.end)
    }

    pub fn wake(&mut self) {
        self.reader.take().into_iter().chain(self.writer.take()).for_each(Waker::wake);
    }

    /// How many bytes a step moves of those that could be; `None` if it is pending.
    fn step(&mut self, step: Step, count: usize, cx: &mut Context<'_>) -> Option<usize> {
        match step {
            Step::Whole | Step::Overclaim => return Some(count),
            Step::Short(most) => return Some(count.min(most.max(1))),
            Step::Again => cx.waker().wake_by_ref(),
            Step::Later(polls) => self.later.push((polls, cx.waker().clone())),
        }
        None
    }

    fn read(&mut self, cx: &mut Context<'_>, room: &mut [u8], is_probe: bool) -> Poll<io::Result<usize>> {
        if self.is_reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let count = (self.arrived - self.read).min(room.len());
        if count == 0 && !self.is_fin {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let step = self.reads.next(is_probe);
        let Some(count) = self.step(step, count, cx) else { return Poll::Pending };
        room[..count].copy_from_slice(&self.wire.bytes[self.read..][..count]);
        self.read += count;
        let is_full = count == room.len() && step == Step::Overclaim;
        Poll::Ready(Ok(if is_full { count + 7 } else { count }))
    }

    fn write(&mut self, cx: &mut Context<'_>, bytes: &[u8], is_probe: bool) -> Poll<io::Result<usize>> {
        if self.is_reset {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let count = bytes.len().min(self.room);
        if count == 0 {
            self.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let step = self.writes.next(is_probe);
        let Some(count) = self.step(step, count, cx) else { return Poll::Pending };
        self.output.extend_from_slice(&bytes[..count]);
        self.room -= if self.room == usize::MAX { 0 } else { count };
        Poll::Ready(Ok(count))
    }

    /// Ready once what was written is on its way; says whether anything was.
    fn flush(&mut self, cx: &mut Context<'_>, is_probe: bool) -> Poll<io::Result<bool>> {
        if self.is_reset {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if self.flushed == self.output.len() {
            return Poll::Ready(Ok(false));
        }
        let step = self.flushes.next(is_probe);
        if self.step(step, 0, cx).is_none() {
            return Poll::Pending;
        }
        self.flushed = self.output.len();
        Poll::Ready(Ok(true))
    }
}

/// The connection's end.
pub struct Stream(pub Arc<World>);

impl Stream {
    fn write_parts(&self, cx: &mut Context<'_>, parts: &[&[u8]]) -> Poll<io::Result<usize>> {
        let mut state = self.0.lock();
        if state.link.is_closed {
            state.fault("the connection writes behind the end of what it sends");
        }
        let parts: Vec<_> = parts.iter().filter(|part| !part.is_empty()).copied().collect();
        let bytes =
            if state.link.is_vectored { parts.concat() } else { parts.first().copied().unwrap_or(&[]).to_vec() };
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let is_probe = state.is_probe;
        let written = state.link.write(cx, &bytes, is_probe);
        if written.is_ready() {
            state.note_write();
        }
        written
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut state = self.0.lock();
        if room.is_empty() {
            state.fault("the connection reads into no room");
        }
        let (is_probe, is_upgraded, most) = (state.is_probe, state.upgraded.has_begun, room.len());
        let read = state.link.read(cx, room, is_probe);
        // Whoever has the stream now gets what it says.
        let read = read.map_ok(|count| if is_upgraded { count.min(most) } else { count });
        if read.is_ready() {
            state.note_read();
        }
        read
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.write_parts(cx, &[bytes])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let parts: Vec<&[u8]> = slices.iter().map(|slice| &**slice).collect();
        self.write_parts(cx, &parts)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.lock();
        let is_probe = state.is_probe;
        let flushed = state.link.flush(cx, is_probe);
        state.progress_if(matches!(flushed, Poll::Ready(Ok(true))), "a flush");
        flushed.map_ok(drop)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.lock();
        let is_probe = state.is_probe;
        let flushed = state.link.flush(cx, is_probe);
        if let Poll::Ready(Ok(_)) = flushed {
            state.link.is_closed = true;
        }
        state.progress_if(flushed.is_ready(), "a close");
        flushed.map_ok(drop)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.link.is_dropped = true;
        state.progress("the end of the stream");
    }
}
