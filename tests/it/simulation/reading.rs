//! Reads of the content of a request: what is read must be what was sent, and an error must have its cause.

use std::io::{Error, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use micro_smol::smol::io::AsyncRead;
use micro_smol::{Body, Request, Result, buffer};

use super::wire;
use super::world::{BODY_TIMEOUT_TICKS, State, Wait, WaitGuard, Waiting, World};

/// A reader of the content of a request, which must be what was sent.
pub struct Tracked {
    pub world: Arc<World>,
    pub message: usize,
    pub body: Body,
    pub position: usize,
    /// What is read is the content of the response.
    pub is_reader: bool,
    pub guard: Option<WaitGuard>,
}

impl AsyncRead for Tracked {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<std::io::Result<usize>> {
        let Tracked { world, message, body, position, is_reader, guard } = &mut *self;
        let read = Pin::new(body).poll_read(cx, room);
        match &read {
            Poll::Pending => {
                let (wait, message, is_reader) = (Wait::Content(*position + 1), *message, *is_reader);
                guard.get_or_insert_with(|| world.wait_as(Waiting { message, wait, is_reader }));
                return Poll::Pending;
            }
            Poll::Ready(Ok(0)) => world.lock().read_end(*message, *position),
            Poll::Ready(Ok(count)) => {
                world.lock().read_some(*message, *position, &room[..*count]);
                *position += count;
            }
            Poll::Ready(Err(error)) => world.lock().read_failed(*message, status_of(error)),
        }
        *guard = None;
        read
    }
}

/// The status that answers an error of reading a body.
pub fn status_of(error: &Error) -> u16 {
    match error.kind() {
        ErrorKind::InvalidData => 400,
        ErrorKind::TimedOut => 408,
        _ => 500,
    }
}

/// Reads the whole content of a request, up to a limit.
pub async fn read_whole(world: &Arc<World>, message: usize, request: &Request, limit: usize) -> Result<()> {
    let waiting = world.wait(message, Wait::Content(limit + 1));
    let read = buffer(request).limit(limit).await;
    let mut state = world.lock();
    match &read {
        Ok(bytes) => {
            state.read_some(message, 0, bytes);
            state.read_end(message, bytes.len());
        }
        Err(error) if u16::from(error.status()) == 413 => {
            let length = state.link.wire.places[message].content_bytes;
            if length <= limit {
                state.fault(format!("message {message}: {length} bytes are above the limit {limit}"));
            }
        }
        Err(error) => state.read_failed(message, error.status().into()),
    }
    drop((state, waiting));
    read.map(drop)
}

impl State {
    fn read_some(&mut self, message: usize, position: usize, bytes: &[u8]) {
        self.progress("content that is read");
        let end = position + bytes.len();
        let place = &self.link.wire.places[message];
        if end > place.available(self.link.arrived) || bytes != &wire::content(message, end)[position..] {
            self.fault(format!("message {message}: bytes {position} to {end} of the content are not what was sent"));
        }
        let read = &mut self.calls[message].read;
        *read = end.max(*read);
    }

    fn read_end(&mut self, message: usize, position: usize) {
        self.progress("the end of content");
        let place = &self.link.wire.places[message];
        if position != place.content_bytes || !place.is_whole(self.link.arrived) {
            self.fault(format!("message {message}: content of {} bytes ends at {position}", place.content_bytes));
        }
    }

    fn read_failed(&mut self, message: usize, status: u16) {
        self.progress("an error of content");
        let now = self.now;
        let call = &mut self.calls[message];
        call.is_too_slow |= call.waits_since.is_some_and(|since| now - since >= BODY_TIMEOUT_TICKS);
        let (link, call) = (&self.link, &self.calls[message]);
        let place = &link.wire.places[message];
        let has_cause = match status {
            400 => link.is_reset || link.is_fin && !place.is_over(link.arrived) || place.is_malformed,
            408 => call.is_too_slow,
            // The response has left, or the connection has ended.
            500 => call.answer.is_some() || !call.is_live,
            _ => false,
        };
        if !has_cause {
            self.fault(format!("message {message}: reading its content fails with {status}"));
        }
    }
}
