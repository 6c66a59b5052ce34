//! A connection's stream and what has been read of it, shared with the body of the request that is being answered.
//!
//! An http-types body is `'static`, so it cannot borrow the connection. The two share a [`Wire`], which each locks for
//! the time of one poll. A connection that is alone with it keeps the lock.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use futures_lite::{AsyncRead, AsyncWrite};
use http_types::StatusCode;

use super::deadline::Timers;
use super::h1::{Decoder, Expectation, Framing, Head, Refusal};
use super::limits::Limits;
use super::timed::Timed;

/// What is read from the stream at once, unless the reader brings a larger buffer.
const INPUT_BYTES: usize = 8 * 1024;

/// How many pairs of buffers are kept for connections that wake up.
const SPARE_MAX: usize = 64;

/// The memory that a message takes. A connection that waits for its next request has none.
#[derive(Default)]
struct Memory {
    input: Vec<u8>,
    output: Vec<u8>,
    head: Option<Arc<Head>>,
}

thread_local! {
    /// Memory that no connection of this thread uses now.
    static SPARE: RefCell<Vec<Memory>> = const { RefCell::new(Vec::new()) };
}

/// A head that was read, or why it is refused.
type Asked = Result<Arc<Head>, Refusal>;

/// Output of a pipelined batch leaves when it is this large, even if more requests have come.
const BATCH_BYTES: usize = 64 * 1024;

/// What is read at once to be dropped.
const DISCARD_BYTES: usize = 4 * 1024;

pub(super) struct Wire<S> {
    pub(super) timed: Timed<S>,
    pub(super) input: Input,
    pub(super) output: Vec<u8>,
    /// How much of the output is sent.
    sent: usize,
    /// The head that was read last.
    pub(super) head: Option<Arc<Head>>,
    pub(super) body: Decoder,
    /// Which of the connection's requests the body belongs to.
    message: u64,
    /// Who waits for more of the body: another task than the connection's, maybe.
    reader: Option<Waker>,
    /// What the peer waits for before it sends the body.
    pub(super) expectation: Expectation,
    body_timeout: Duration,
}

impl<S> Wire<S> {
    /// Takes the body from whoever still reads it, and tells them.
    pub(super) fn end_body(&mut self) {
        self.message = self.message.wrapping_add(1);
        self.wake_reader();
    }

    /// Reads no more: whoever does finds the end of the stream.
    pub(super) fn end(&mut self) {
        self.timed.end();
        self.wake_reader();
    }

    fn wake_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(super) fn new(stream: S, limits: &Limits, timers: &Arc<Timers>) -> Self {
        Wire {
            timed: Timed::new(stream, timers, limits.write_timeout),
            input: Input::default(),
            output: Vec::new(),
            sent: 0,
            head: None,
            body: Decoder::new(Framing::None),
            message: 0,
            reader: None,
            expectation: Expectation::Nothing,
            body_timeout: limits.body_timeout,
        }
    }

    /// Starts a message body, which only a reader with the returned number gets. One that has begun is not waited for.
    pub(super) fn start_body(&mut self, framing: Framing, expectation: Expectation) -> u64 {
        self.end_body();
        self.body = Decoder::new(framing);
        self.expectation = if self.input.unread().is_empty() { expectation } else { Expectation::Nothing };
        self.timed.note_progress();
        self.message
    }

    /// Takes a head off the input; `None` while some of it is missing.
    fn take_head(&mut self, limits: &Limits) -> Result<Option<Arc<Head>>, Refusal> {
        if self.input.unread().is_empty() {
            return Ok(None);
        }
        // A request may still be kept by whoever it was given to.
        let mut head = self.head.take().filter(|head| Arc::strong_count(head) == 1).unwrap_or_default();
        let parsed = Arc::make_mut(&mut head).parse(self.input.unread(), limits);
        let head = self.head.insert(head);
        Ok(parsed?.map(|length| {
            self.input.take(length);
            head.clone()
        }))
    }

    /// Reads until there is a head, or a reason to refuse it; `None` if the peer is done.
    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>, limits: &Limits) -> Poll<io::Result<Option<Asked>>> {
        if self.output.len() > BATCH_BYTES {
            ready!(self.poll_send(cx, &mut &[][..]))?;
        }
        loop {
            match self.take_head(limits) {
                Ok(None) => {}
                taken => return Poll::Ready(Ok(taken.transpose())),
            }
            // The next request is not there yet, so the answers to those before it leave now.
            ready!(self.poll_send(cx, &mut &[][..]))?;
            let waits_for_next = self.input.unread().is_empty() && self.message > 0;
            let timeout = if waits_for_next { limits.idle_timeout } else { limits.head_timeout };
            let refusal = match ready!(self.poll_fill(cx, timeout)) {
                Ok(0) => Refusal::bad("head ends early"),
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    Refusal::new(StatusCode::RequestTimeout, "head took too long")
                }
                filled => {
                    filled?;
                    if waits_for_next {
                        self.timed.note_progress();
                    }
                    continue;
                }
            };
            let has_begun = !self.input.unread().trim_ascii_end().is_empty();
            return Poll::Ready(Ok(has_begun.then_some(Err(refusal))));
        }
    }

    /// Reads more bytes behind those that are unread; 0 at the end of the stream.
    ///
    /// The time runs from the first call after a request was begun or progress was noted.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>, timeout: Duration) -> Poll<io::Result<usize>> {
        if self.input.bytes.is_empty() {
            self.take_memory();
        }
        let read = self.timed.poll_read(cx, self.input.room(), timeout);
        match read {
            Poll::Ready(Ok(count)) => self.input.filled += count,
            Poll::Pending if self.input.unread().is_empty() && self.output.is_empty() => self.leave_memory(),
            _ => {}
        }
        read
    }

    fn take_memory(&mut self) {
        let memory = SPARE.with_borrow_mut(Vec::pop).unwrap_or_default();
        (self.input.bytes, self.head) = (memory.input, memory.head);
        if self.output.is_empty() {
            self.output = memory.output;
        }
    }

    fn leave_memory(&mut self) {
        let input = mem::take(&mut self.input).bytes;
        let memory = Memory { input, output: mem::take(&mut self.output), head: mem::take(&mut self.head) };
        SPARE.with_borrow_mut(|spare| {
            if spare.len() < SPARE_MAX && memory.input.len() <= INPUT_BYTES {
                spare.push(memory);
            }
        });
    }

    /// Looks whether the peer has gone, and keeps what else it sends, up to a buffer. Ready only if it has gone.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        // Who reads the body hears of it, and must not lose its waker to us.
        while self.reader.is_none() && !self.timed.is_ended() && self.input.unread().len() < INPUT_BYTES {
            if let Err(error) = ready!(self.poll_fill(cx, Duration::MAX)) {
                return Poll::Ready(error);
            }
        }
        Poll::Pending
    }

    /// Sends the output and `more` behind it, which is cut as it goes.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>, more: &mut &[u8]) -> Poll<io::Result<()>> {
        if self.sent == self.output.len() && more.is_empty() {
            return Pin::new(&mut self.timed).poll_flush(cx);
        }
        while self.sent < self.output.len() || !more.is_empty() {
            let count = ready!(self.poll_write(cx, more))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let of_output = count.min(self.output.len() - self.sent);
            self.sent += of_output;
            *more = more.get(count - of_output..).unwrap_or_default();
        }
        self.output.clear();
        self.sent = 0;
        // A reader in another task may have waited for this, and its waker been replaced by ours.
        self.wake_reader();
        Pin::new(&mut self.timed).poll_flush(cx)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, more: &[u8]) -> Poll<io::Result<usize>> {
        let stream = Pin::new(&mut self.timed);
        match (self.output.get(self.sent..).unwrap_or_default(), more) {
            ([], bytes) | (bytes, []) => stream.poll_write(cx, bytes),
            (unsent, more) => stream.poll_write_vectored(cx, &[IoSlice::new(unsent), IoSlice::new(more)]),
        }
    }

    /// Whether the rest of the body stands in the way of the next request.
    pub(super) fn leaves_too_much(&self, unread_bytes_max: usize) -> bool {
        self.expectation == Expectation::Continue || !self.body.may_end_within(unread_bytes_max)
    }

    /// Tells a peer that waits for it to send the body (RFC 9110, 10.1.1).
    pub(super) fn go_ahead(&mut self) {
        if self.expectation == Expectation::Continue {
            self.output.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            self.expectation = Expectation::Nothing;
        }
    }

    /// Reads content into `buffer`; 0 at its end.
    fn poll_body(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            let taken = self.body.skip_framing(self.input.unread());
            self.input.take(taken.map_err(|refusal| io::Error::new(io::ErrorKind::InvalidData, refusal.fault))?);
            if self.body.is_done() || buffer.is_empty() {
                return Poll::Ready(Ok(0));
            }
            let wanted = usize::try_from(self.body.content_bytes()).unwrap_or(usize::MAX).min(buffer.len());
            let room = buffer.get_mut(..wanted).unwrap_or_default();
            if !self.input.unread().is_empty() {
                let count = self.input.copy_to(room);
                self.body.took_content(count);
                return Poll::Ready(Ok(count));
            }
            if let Some(count) = ready!(self.poll_more_body(cx, room))? {
                self.body.took_content(count);
                return Poll::Ready(Ok(count));
            }
        }
    }

    /// Reads more of the message body: straight into `room` if that is large, else into the input.
    fn poll_more_body(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<Option<usize>>> {
        self.go_ahead();
        ready!(self.poll_send(cx, &mut &[][..]))?;
        let read = match room.len() >= INPUT_BYTES {
            true => ready!(self.timed.poll_read(cx, room, self.body_timeout)).map(Some),
            false => ready!(self.poll_fill(cx, self.body_timeout)).map(|count| (count == 0).then_some(0)),
        };
        self.timed.note_progress();
        let read = if matches!(read, Ok(Some(0))) { Err(io::ErrorKind::UnexpectedEof.into()) } else { read };
        if read.is_err() {
            self.body.cut();
        }
        Poll::Ready(read)
    }

    /// Reads the rest of the body and drops it, up to a number of bytes; whether that was all.
    pub(super) fn poll_discard(&mut self, cx: &mut Context<'_>, left: &mut usize) -> Poll<io::Result<bool>> {
        let mut buffer = [0; DISCARD_BYTES];
        while *left > 0 {
            match ready!(self.poll_body(cx, &mut buffer))? {
                0 => return Poll::Ready(Ok(true)),
                count => *left = left.saturating_sub(count),
            }
        }
        Poll::Ready(Ok(self.body.is_done()))
    }

    /// Reads and drops what a peer still sends that we will not read, until it ends or pauses.
    pub(super) fn poll_linger(&mut self, cx: &mut Context<'_>, pause: Duration) -> Poll<()> {
        let mut buffer = [0; DISCARD_BYTES];
        let mut is_sending = !self.input.unread().is_empty() || !self.body.is_done();
        loop {
            match self.timed.poll_read(cx, &mut buffer, pause) {
                Poll::Ready(Ok(count)) if count > 0 => {
                    // More than we knew of has come.
                    is_sending = true;
                    self.body.cut();
                    self.timed.note_progress();
                }
                Poll::Pending if is_sending => return Poll::Pending,
                _ => return Poll::Ready(()),
            }
        }
    }
}

/// Bytes that were read from the stream and not yet taken.
#[derive(Default)]
pub(super) struct Input {
    bytes: Vec<u8>,
    taken: usize,
    filled: usize,
}

impl Input {
    pub(super) fn unread(&self) -> &[u8] {
        self.bytes.get(self.taken..self.filled).unwrap_or_default()
    }

    pub(super) fn take(&mut self, count: usize) {
        self.taken = self.filled.min(self.taken + count);
    }

    fn copy_to(&mut self, buffer: &mut [u8]) -> usize {
        let unread = self.unread();
        let count = unread.len().min(buffer.len());
        buffer.iter_mut().zip(unread).for_each(|(to, from)| *to = *from);
        self.take(count);
        count
    }

    /// Room behind the unread bytes, which are moved to the front first; never empty.
    fn room(&mut self) -> &mut [u8] {
        self.bytes.copy_within(self.taken..self.filled, 0);
        self.filled -= self.taken;
        self.taken = 0;
        if self.filled == self.bytes.len() {
            self.bytes.resize(self.filled + INPUT_BYTES, 0);
        }
        self.bytes.get_mut(self.filled..).unwrap_or_default()
    }
}

/// The message body of one request, as its handler reads it.
pub(super) struct Incoming<S> {
    pub(super) wire: Arc<Mutex<Wire<S>>>,
    pub(super) message: u64,
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Incoming<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut wire = lock(&self.wire);
        if wire.message != self.message {
            return Poll::Ready(Err(io::Error::other("the request has been answered")));
        }
        wire.reader = None;
        let read = wire.poll_body(cx, buffer);
        if read.is_pending() {
            wire.reader = Some(cx.waker().clone());
        }
        read
    }
}

/// The stream behind an upgrade, with what has been read of it.
pub(super) struct Tunnel<S>(pub(super) Arc<Mutex<Wire<S>>>);

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Tunnel<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut wire = lock(&self.0);
        if !wire.input.unread().is_empty() {
            return Poll::Ready(Ok(wire.input.copy_to(buffer)));
        }
        let read = wire.timed.poll_read(cx, buffer, Duration::MAX);
        wire.reader = read.is_pending().then(|| cx.waker().clone());
        read
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Tunnel<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut lock(&self.0).timed).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut lock(&self.0).timed).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut lock(&self.0).timed).poll_close(cx)
    }
}

/// Takes the lock for one poll, unless it is for good. What a panicking stream leaves behind is only dropped.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
