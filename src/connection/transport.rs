//! [`Transport`]: the stream of a connection with what has been read of it and what is still to be written, within the
//! time that the peer may take.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_lite::{AsyncRead, AsyncWrite};

use super::super::http1::{Buffer, Framing, Head, Rejection};
use super::super::limits::Limits;
use super::super::response::Duplex;
use super::registry::{Registration, Waiting};

/// What is read from the stream at once, unless content goes to its reader.
pub(super) const INPUT_BYTES: usize = 8 * 1024;

/// How long a peer may pause that still sends after the last response.
const LINGER_PAUSE: Duration = Duration::from_secs(1);

/// How many sets of memory a thread keeps for connections that wake up.
const SPARE_MAX: usize = 64;

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
    registration: &'a Registration<'a>,
    limits: &'a Limits,
    memory: Option<Box<Memory>>,
    /// The head that was read last.
    head: Option<Arc<Head>>,
    /// How much of the output is written.
    written: usize,
    is_flushed: bool,
    /// Whether the stream has not been able to flush at once.
    is_flushing: bool,
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
            memory: None,
            head: None,
            written: 0,
            is_flushed: true,
            is_flushing: false,
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

    /// Counts a step of the turn that is neither a read nor a write.
    pub(super) fn count_step(&self) {
        self.registration.count(0);
    }

    pub(super) fn is_ended(&self) -> bool {
        self.is_ended
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

    /// Bytes that are written when the connection next waits, or sends more.
    pub(super) fn output(&mut self) -> &mut Vec<u8> {
        &mut self.memory().output
    }

    pub(super) fn output_bytes(&self) -> usize {
        self.memory.as_ref().map_or(0, |memory| memory.output.len())
    }

    /// Ready when the time for something has passed, which is an error.
    pub(super) fn poll_late<T>(&self, cx: &mut Context<'_>, waiting: Waiting) -> Poll<io::Result<T>> {
        let time = match waiting {
            Waiting::Request => self.limits.idle_timeout,
            Waiting::Head => self.limits.head_timeout,
            Waiting::Body | Waiting::Rest => self.limits.body_timeout,
            Waiting::Write | Waiting::Handler => self.limits.write_timeout,
            Waiting::Linger => LINGER_PAUSE,
        };
        self.registration.poll_deadline(cx, waiting, time).map(|()| Err(io::ErrorKind::TimedOut.into()))
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

    /// Reads past the input, which must be empty.
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
                self.registration.count(count);
                self.is_ended = count == 0;
                // A stream that claims more than it was given room for has given that much.
                Poll::Ready(Ok(count.min(room.len())))
            }
            Poll::Pending => waiting.map_or(Poll::Pending, |waiting| self.poll_late(cx, waiting)),
        }
    }

    /// Keeps up to a buffer of what the peer sends, and is ready, with an error, if it is gone.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        while !self.is_ended && self.unread().len() < INPUT_BYTES {
            if let Err(error) = ready!(self.poll_fill(cx, None)) {
                return Poll::Ready(error);
            }
        }
        if self.socket.as_mut().is_some_and(|socket| socket.poll_reset(cx).is_ready()) {
            return Poll::Ready(io::ErrorKind::ConnectionReset.into());
        }
        if self.is_ended || self.socket.as_ref().is_some_and(|socket| socket.is_ended()) {
            return self.poll_late(cx, Waiting::Handler).map(Result::<(), _>::unwrap_err);
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
                if spare.len() < SPARE_MAX && memory.input.capacity() <= INPUT_BYTES {
                    spare.push(memory);
                }
            });
        }
    }

    /// Writes the output and `more` behind it, which is cut as it goes, and flushes.
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
                Poll::Pending => return self.poll_write_late(cx),
                Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(count) => count,
            };
            self.registration.count(count);
            self.note_written();
            self.is_flushed = false;
            let of_output = count.min(unwritten_bytes);
            self.written += of_output;
            *more = more.get(count - of_output..).unwrap_or_default();
        }
        if !self.is_flushed {
            self.memory().output.clear();
            self.written = 0;
            match Pin::new(&mut self.stream).poll_flush(cx)? {
                Poll::Pending => {
                    self.is_flushing = true;
                    return self.poll_write_late(cx);
                }
                Poll::Ready(()) => self.is_flushed = true,
            }
            // A flush that did not have to wait says nothing of a write that does.
            if mem::take(&mut self.is_flushing) {
                self.note_written();
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Notes that what was waited for has come: the time for more of it has not begun.
    pub(super) fn progress(&self, waiting: Waiting) {
        self.registration.progress(|found| found == waiting);
    }

    fn note_written(&self) {
        self.registration.progress(|waiting| matches!(waiting, Waiting::Write | Waiting::Handler));
    }

    fn poll_write_late(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let late = self.poll_late(cx, Waiting::Write);
        self.is_within_message |= late.is_ready();
        late
    }

    /// Notes that a response begins. If the connection ends before it does, the peer is told by a reset.
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
            Poll::Pending => self.poll_write_late(cx),
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
