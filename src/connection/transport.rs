//! [`Transport`]: the stream of a connection with what has been read of it and what is still to be written, within the
//! time that the peer may take. It reads heads and content, and does not know what is done with them.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_lite::{AsyncRead, AsyncWrite};

use super::super::error::Rejection;
use super::super::http1::{Buffer, Decoder, Expectation, Framing, Head, More};
use super::super::limits::Limits;
use super::super::response::Duplex;
use super::registry::{Registration, Waiting};

/// What is read from the stream at once, unless content goes to its reader.
const INPUT_BYTES: usize = 8 * 1024;

/// The room for a read of content alone. A read that fills its room doubles that of the next one, because content costs less
/// the more of it is taken at once.
const READ_BYTES_MIN: usize = 64 * 1024;
const READ_BYTES_MAX: usize = 512 * 1024;

/// How long a peer may pause that still sends after the last response.
const LINGER_PAUSE: Duration = Duration::from_secs(1);

/// How many sets of memory a thread keeps for connections that wake up, and how large each buffer of a set may be.
const SPARE_MAX: usize = 64;
const SPARE_BYTES_MAX: usize = 16 * 1024;

thread_local! {
    #[expect(clippy::vec_box, reason = "a box moves to a connection and back")]
    static SPARE: RefCell<Vec<Box<Memory>>> = const { RefCell::new(Vec::new()) };
}

/// The memory that a message takes. A connection that waits has none.
#[derive(Default)]
struct Memory {
    input: Buffer,
    output: Vec<u8>,
    head: Option<Arc<Head>>,
}

/// What can be done with a socket beside its bytes.
pub trait Socket: Send {
    /// Ready once the peer has reset the connection, however much is unread.
    fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Whether the peer is known to send no more, however much is unread.
    fn is_ended(&self) -> bool;

    /// Says whether the end of the socket, also by the end of the process, is to be a reset.
    fn end_by_reset(&self, resets: bool);
}

/// The stream of a connection; with its socket, if it is one.
pub type Stream = (Box<dyn Duplex>, Option<Box<dyn Socket>>);

pub(super) struct Transport<'a> {
    stream: Box<dyn Duplex>,
    socket: Option<Box<dyn Socket>>,
    pub(super) registration: &'a Registration<'a>,
    pub(super) limits: &'a Limits,
    /// What the peer waits for before it sends the body.
    expectation: Expectation,
    /// The room for the next read of content alone.
    read_bytes: usize,
    memory: Option<Box<Memory>>,
    /// The head that was read last.
    head: Option<Arc<Head>>,
    /// How much of the output is written.
    written: usize,
    is_flushed: bool,
    is_within_message: bool,
    /// Whether the peer has said that it sends no more.
    is_ended: bool,
}

impl<'a> Transport<'a> {
    pub(super) fn new((stream, socket): Stream, registration: &'a Registration<'a>, limits: &'a Limits) -> Self {
        Transport {
            stream,
            socket,
            registration,
            limits,
            expectation: Expectation::Nothing,
            read_bytes: READ_BYTES_MIN,
            memory: None,
            head: None,
            written: 0,
            is_flushed: true,
            is_within_message: false,
            is_ended: false,
        }
    }

    pub(super) fn unread(&self) -> &[u8] {
        self.memory.as_ref().map_or(&[], |memory| memory.input.unread())
    }

    pub(super) fn consume(&mut self, count: usize) {
        self.memory().input.consume(count);
    }

    /// Takes a head off the input; `None` while some of it is missing.
    pub(super) fn take_head(&mut self) -> Result<Option<Arc<Head>>, Rejection> {
        if self.unread().is_empty() {
            return Ok(None);
        }
        // A request may still be in use by whoever it was given to.
        let mut head = self.head.take().filter(|head| Arc::strong_count(head) == 1).unwrap_or_default();
        let parsed = Arc::make_mut(&mut head).parse(self.unread(), self.limits);
        self.head = Some(head.clone());
        Ok(parsed?.map(|length| {
            self.consume(length);
            head
        }))
    }

    /// The head that was read last, or what has come of it.
    pub(super) fn last_head(&self) -> Option<&Arc<Head>> {
        self.head.as_ref()
    }

    /// Notes what the peer waits for before it sends the body; a peer that has begun with it does not wait.
    pub(super) fn expect_body(&mut self, expectation: Expectation) {
        self.read_bytes = READ_BYTES_MIN;
        self.expectation = if self.unread().is_empty() { expectation } else { Expectation::Nothing };
    }

    /// Ends the expectation and returns it. No 100 (Continue) may follow, because the head of the final response does.
    pub(super) fn end_expectation(&mut self) -> Expectation {
        mem::replace(&mut self.expectation, Expectation::Nothing)
    }

    /// Tells a peer that waits for it to send the body (RFC 9110, 10.1.1).
    pub(super) fn write_continue(&mut self) {
        if self.end_expectation() == Expectation::Continue {
            self.output().extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
    }

    /// Appends content to the buffer, and returns whether more follows. The inner error is a fault of the message.
    pub(super) fn poll_content(
        &mut self,
        cx: &mut Context<'_>,
        waiting: Waiting,
        decoder: &mut Decoder,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<Result<More, Rejection>>> {
        let start = buffer.unread().len();
        loop {
            match self.take_content(decoder, buffer) {
                Ok(More::Follows) if buffer.unread().len() == start => {}
                taken => return Poll::Ready(Ok(taken)),
            }
            if self.expectation == Expectation::Continue {
                self.write_continue();
                // Output that the peer does not take must not keep the rest of its request from being read.
                if let Poll::Ready(Err(error)) = self.poll_flush(cx) {
                    return Poll::Ready(Err(error));
                }
            }
            let read = ready!(self.poll_more(cx, waiting, decoder, buffer));
            self.registration.progress(&[Waiting::Body]);
            match read {
                Ok(0) => decoder.cut(Rejection::EARLY_END),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::TimedOut => decoder.cut(Rejection::TOO_SLOW),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Moves content that has come from the input to the buffer, and returns whether more follows.
    fn take_content(&mut self, decoder: &mut Decoder, buffer: &mut Buffer) -> Result<More, Rejection> {
        loop {
            let skipped = decoder.skip_framing(self.unread())?;
            self.consume(skipped);
            let count = decoder.content_within(self.unread().len());
            if count == 0 {
                return Ok(if decoder.is_done() { More::Ends } else { More::Follows });
            }
            buffer.prepare(decoder.content_within(self.read_bytes));
            buffer.append(self.unread().get(..count).unwrap_or_default(), count);
            self.consume(count);
            decoder.took_content(count);
            self.registration.charge(0);
        }
    }

    /// Reads more of a body: content straight to the buffer if much follows, else input. 0 bytes at the end of the stream.
    fn poll_more(
        &mut self,
        cx: &mut Context<'_>,
        waiting: Waiting,
        decoder: &mut Decoder,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<usize>> {
        if decoder.content_within(INPUT_BYTES) < INPUT_BYTES {
            return self.poll_fill(cx, Some(waiting));
        }
        buffer.prepare(decoder.content_within(self.read_bytes));
        let room = buffer.room(1);
        let end = decoder.content_within(room.len());
        let read = self.poll_read(cx, room.get_mut(..end).unwrap_or_default(), Some(waiting));
        if read.is_pending() {
            buffer.release();
        }
        let count = ready!(read)?;
        if count >= self.read_bytes {
            self.read_bytes = READ_BYTES_MAX.min(count.saturating_mul(2));
        }
        buffer.filled(count);
        decoder.took_content(count);
        Poll::Ready(Ok(count))
    }

    /// Bytes that are written when the connection next waits, or sends more.
    pub(super) fn output(&mut self) -> &mut Vec<u8> {
        &mut self.memory().output
    }

    pub(super) fn output_bytes(&self) -> usize {
        self.memory.as_ref().map_or(0, |memory| memory.output.len())
    }

    /// Ready when the time for something has passed, which is an error.
    fn poll_late<T>(&mut self, cx: &mut Context<'_>, waiting: Waiting) -> Poll<io::Result<T>> {
        let time = match waiting {
            Waiting::Request => self.limits.idle_timeout,
            Waiting::Head => self.limits.head_timeout,
            Waiting::Body | Waiting::Rest => self.limits.body_timeout,
            Waiting::Write | Waiting::Handler => self.limits.write_timeout,
            Waiting::Linger => LINGER_PAUSE,
        };
        ready!(self.registration.poll_deadline(cx, waiting, time));
        // A peer that does not take a response gets a reset, even where all of the response is in the output.
        self.is_within_message |= waiting == Waiting::Write;
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Reads more input behind that which is unread; 0 at the end of the stream. The time runs from the first call.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>, waiting: Option<Waiting>) -> Poll<io::Result<usize>> {
        self.memory();
        let mut memory = self.memory.take();
        let room = memory.as_mut().map_or(&mut [][..], |memory| memory.input.room(INPUT_BYTES));
        let read = self.poll_read(cx, room, waiting);
        self.memory = memory;
        match read {
            Poll::Ready(Ok(count)) => self.memory().input.filled(count),
            Poll::Pending => self.leave_memory(),
            _ => {}
        }
        read
    }

    /// Reads from the stream, behind the input. Unread input stays where it is.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        room: &mut [u8],
        waiting: Option<Waiting>,
    ) -> Poll<io::Result<usize>> {
        if self.is_ended {
            return Poll::Ready(Ok(0));
        }
        ready!(self.registration.poll_turn(cx));
        match Pin::new(&mut self.stream).poll_read(cx, room)? {
            Poll::Ready(count) => {
                self.registration.charge(count);
                self.is_ended = count == 0;
                // A stream that claims more than it was given room for has given that much.
                Poll::Ready(Ok(count.min(room.len())))
            }
            Poll::Pending => waiting.map_or(Poll::Pending, |waiting| self.poll_late(cx, waiting)),
        }
    }

    /// Keeps up to a buffer of what the peer sends, and is ready, with an error, if it is gone. A socket also reports a reset
    /// behind a full buffer; another stream does not.
    pub(super) fn poll_gone<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        while !self.is_ended && self.unread().len() < INPUT_BYTES {
            ready!(self.poll_fill(cx, None))?;
        }
        if self.socket.as_mut().is_some_and(|socket| socket.poll_reset(cx).is_ready()) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if self.is_ended || self.socket.as_ref().is_some_and(|socket| socket.is_ended()) {
            return self.poll_late(cx, Waiting::Handler);
        }
        Poll::Pending
    }

    fn memory(&mut self) -> &mut Memory {
        self.memory.get_or_insert_with(|| {
            let mut memory = SPARE.with_borrow_mut(Vec::pop).unwrap_or_default();
            self.head = self.head.take().or(memory.head.take());
            memory
        })
    }

    /// Leaves the memory to others while the connection waits with nothing in it. The head of a request that is being
    /// answered stays.
    fn leave_memory(&mut self) {
        let is_empty = |memory: &mut Box<Memory>| memory.input.is_empty() && memory.output.is_empty();
        if let Some(mut memory) = self.memory.take_if(is_empty) {
            memory.head = self.head.take_if(|head| Arc::strong_count(head) == 1);
            SPARE.with_borrow_mut(|spare| {
                if spare.len() < SPARE_MAX && memory.input.capacity().max(memory.output.capacity()) <= SPARE_BYTES_MAX {
                    spare.push(memory);
                }
            });
        }
    }

    /// Writes the output and then `more`, which is advanced, and flushes.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>, more: &mut &[u8]) -> Poll<io::Result<()>> {
        loop {
            let unwritten =
                self.memory.as_ref().and_then(|memory| memory.output.get(self.written..)).unwrap_or_default();
            if unwritten.is_empty() && more.is_empty() {
                break;
            }
            ready!(self.registration.poll_turn(cx));
            let (unwritten_bytes, stream) = (unwritten.len(), Pin::new(&mut self.stream));
            let count = match (unwritten, &**more) {
                ([], bytes) | (bytes, []) => stream.poll_write(cx, bytes)?,
                (unwritten, more) => stream.poll_write_vectored(cx, &[IoSlice::new(unwritten), IoSlice::new(more)])?,
            };
            let count = match count {
                Poll::Pending => return self.poll_late(cx, Waiting::Write),
                Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(count) => count,
            };
            self.registration.charge(count);
            self.note_written();
            self.is_flushed = false;
            let of_output = count.min(unwritten_bytes);
            self.written += of_output;
            *more = more.get(count - of_output..).unwrap_or_default();
        }
        if !self.is_flushed {
            self.memory().output.clear();
            self.written = 0;
            if Pin::new(&mut self.stream).poll_flush(cx)?.is_pending() {
                return self.poll_late(cx, Waiting::Write);
            }
            self.note_written();
            self.is_flushed = true;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes the output and flushes.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_send(cx, &mut &[][..])
    }

    fn note_written(&self) {
        self.registration.progress(&[Waiting::Write, Waiting::Handler]);
    }

    /// Notes that a response begins. If the connection ends before [`end_message`](Self::end_message), the peer gets a reset.
    ///
    /// Where the end of the connection is the end of the message, even the end of the process must not look like it.
    pub(super) fn begin_message(&mut self, framing: Framing) {
        self.is_within_message = true;
        if framing == Framing::Close {
            self.end_by_reset(true);
        }
    }

    /// Notes that a response is whole, or that its end shows that it is not.
    pub(super) fn end_message(&mut self, framing: Framing) {
        self.is_within_message = false;
        if framing == Framing::Close {
            self.end_by_reset(false);
        }
    }

    /// Says that no more is sent.
    pub(super) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_close(cx) {
            Poll::Pending => self.poll_late(cx, Waiting::Write),
            closed => {
                self.note_written();
                closed
            }
        }
    }

    fn end_by_reset(&self, resets: bool) {
        self.socket.iter().for_each(|socket| socket.end_by_reset(resets));
    }

    /// Exchanges the stream and its input for others.
    pub(super) fn swap(&mut self, stream: &mut Box<dyn Duplex>, input: &mut Buffer) {
        mem::swap(&mut self.stream, stream);
        mem::swap(&mut self.memory().input, input);
    }
}

impl Drop for Transport<'_> {
    fn drop(&mut self) {
        if self.is_within_message {
            self.end_by_reset(true);
        }
    }
}
