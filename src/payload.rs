//! [`Payload`]: the content of a request, what has been read of it and what has not.

use std::future::poll_fn;
use std::io;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_lite::AsyncBufRead;
use http_types::Body;
use smol::lock::{Mutex, MutexGuard};

use super::error::{Result, invalid};
use super::http1::Buffer;
use super::limits::Limit;

/// http-types allocates what a body declares, but a declared length is only the peer's word: a larger one is not passed on.
const DECLARED_BYTES_MAX: u64 = 64 * 1024;

/// Content that comes from the connection.
pub(super) trait ContentSource: AsyncBufRead + Unpin + Send + Sync {
    /// Appends at least `wanted_bytes` of content, or what is left before its end; 0 bytes at the end.
    fn poll_append(&mut self, cx: &mut Context<'_>, to: &mut Buffer, wanted_bytes: usize) -> Poll<io::Result<usize>>;

    /// Notes that nobody waits for content: the time for it must not run.
    fn stop_waiting(&mut self);
}

/// The content of a request.
pub(super) enum Payload {
    /// It came with the head, or there is none.
    Whole(Vec<u8>),
    Unread(Box<Unread>),
}

/// Content that did not come with the head. Several tasks may read it at the same time: one does, the others wait.
pub(super) struct Unread {
    /// The length that is declared for the whole content.
    declared: Option<u64>,
    state: Mutex<State>,
}

struct State {
    read: Buffer,
    rest: Rest,
}

enum Rest {
    None,
    Received(Box<dyn ContentSource>),
    /// A body that a wrapper or a test has set.
    Set(Body),
}

impl Default for Payload {
    fn default() -> Self {
        Payload::Whole(Vec::new())
    }
}

impl From<Body> for Payload {
    fn from(body: Body) -> Self {
        match body.len() {
            Some(0) => Payload::default(),
            length => Payload::unread(length.map(|length| length as u64), Rest::Set(body)),
        }
    }
}

impl Payload {
    fn unread(declared: Option<u64>, rest: Rest) -> Self {
        let state = Mutex::new(State { read: Buffer::default(), rest });
        Payload::Unread(Box::new(Unread { declared, state }))
    }

    pub(super) fn received(source: impl ContentSource + 'static, declared: Option<u64>) -> Self {
        Payload::unread(declared, Rest::Received(Box::new(source)))
    }

    /// The length of the whole content, if it is known: as declared, or once it has been read.
    pub(super) fn length(&self) -> Option<u64> {
        match self {
            Payload::Whole(content) => Some(content.len() as u64),
            Payload::Unread(unread) => {
                let whole = unread.state.try_lock().filter(|state| matches!(state.rest, Rest::None));
                whole.map(|state| state.read.unread().len() as u64).or(unread.declared)
            }
        }
    }

    /// Makes a body of the content, and leaves none.
    pub(super) fn take(&mut self) -> Body {
        let unread = match mem::take(self) {
            Payload::Whole(content) => return Body::from_bytes(content),
            Payload::Unread(unread) => unread,
        };
        let State { read, rest } = unread.state.into_inner();
        let left = unread.declared.map(|declared| declared.saturating_sub(read.unread().len() as u64));
        let declared = left.filter(|left| *left <= DECLARED_BYTES_MAX).and_then(|left| usize::try_from(left).ok());
        let rest = match rest {
            Rest::None => return Body::from_bytes(read.into_vec()),
            Rest::Received(source) => Body::from_reader(source, declared),
            Rest::Set(body) => body,
        };
        if read.is_empty() { rest } else { Body::from_bytes(read.into_vec()).chain(rest) }
    }
}

impl Unread {
    /// Reads until the content is whole, and converts it.
    pub(super) async fn read<T>(&self, limit: Limit, convert: impl FnOnce(&[u8]) -> Result<T>) -> Result<T> {
        limit.check(self.declared.unwrap_or(0))?;
        let mut state = Reading(self.state.lock().await);
        let State { read, rest } = &mut *state.0;
        loop {
            limit.check(read.unread().len() as u64)?;
            match poll_fn(|cx| rest.poll_append(cx, read, &limit)).await {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => return Err(invalid("body", error)),
            }
        }
        *rest = Rest::None;
        convert(read.unread())
    }
}

/// A read that may be dropped before it has come to its end.
struct Reading<'a>(MutexGuard<'a, State>);

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        if let Rest::Received(source) = &mut self.0.rest {
            source.stop_waiting();
        }
    }
}

impl Rest {
    fn poll_append(&mut self, cx: &mut Context<'_>, to: &mut Buffer, limit: &Limit) -> Poll<io::Result<usize>> {
        match self {
            Rest::None => Poll::Ready(Ok(0)),
            Rest::Received(source) => source.poll_append(cx, to, limit.bytes_above(to.unread().len())),
            Rest::Set(body) => {
                to.prepare(body.len().unwrap_or(0));
                let read = futures_lite::AsyncRead::poll_read(Pin::new(body), cx, to.room(1))?;
                read.map(|count| {
                    to.filled(count);
                    Ok(count)
                })
            }
        }
    }
}
