//! [`RequestBody`]: the message body of the request that is being answered, from the transport to its reader.

use std::io;
use std::task::{Context, Poll, ready};

use super::super::error::BodyError;
use super::super::http1::{Buffer, Decoder, Expectation, Framing};
use super::super::payload::Payload;
use super::pipe::PipeWriter;
use super::registry::Waiting;
use super::transport::{INPUT_BYTES, Transport};

/// The room for a read of content alone. A read that fills its room doubles that of the next one, because content costs less
/// the more of it is taken at once.
const READ_BYTES_MIN: usize = 64 * 1024;
const READ_BYTES_MAX: usize = 512 * 1024;

/// A body of which nothing is left, until [`begin`](Self::begin).
pub(super) struct RequestBody {
    decoder: Decoder,
    /// What the peer waits for before it sends the body.
    expectation: Expectation,
    /// Where content goes that did not come with the head.
    pipe: Option<PipeWriter>,
    /// The room for the next read.
    read_bytes: usize,
}

impl Default for RequestBody {
    fn default() -> Self {
        let decoder = Decoder::new(Framing::None);
        RequestBody { decoder, expectation: Expectation::Nothing, pipe: None, read_bytes: READ_BYTES_MIN }
    }
}

impl RequestBody {
    /// Begins the body behind a head. Its content is in the input already, or comes by a pipe.
    pub(super) fn begin(
        &mut self,
        framing: Framing,
        expectation: Expectation,
        transport: &mut Transport<'_>,
    ) -> Payload {
        let length = match framing {
            Framing::None | Framing::Close => return Payload::default(),
            Framing::Length(length) => Some(length),
            Framing::Chunked => None,
        };
        let count = length.and_then(|length| usize::try_from(length).ok()).unwrap_or(usize::MAX);
        if let Some(whole) = transport.unread().get(..count) {
            let payload = Payload::Whole(whole.to_vec());
            transport.consume(count);
            return payload;
        }
        self.decoder = Decoder::new(framing);
        self.read_bytes = READ_BYTES_MIN;
        // A peer that has begun with the body does not wait.
        self.expectation = if transport.unread().is_empty() { expectation } else { Expectation::Nothing };
        Payload::received(self.pipe.insert(PipeWriter::default()).reader(), length)
    }

    /// Notes that where the message ends is not known.
    pub(super) fn cut(&mut self) {
        self.decoder.cut();
    }

    /// Tells the reader that no more comes.
    pub(super) fn end_pipe(&mut self) {
        self.pipe = None;
    }

    pub(super) fn is_done(&self) -> bool {
        self.decoder.is_done()
    }

    /// Whether nothing is left of the body, neither here nor with its reader.
    pub(super) fn is_over(&self) -> bool {
        self.is_done() && self.pipe.is_none()
    }

    pub(super) fn has_reader(&self) -> bool {
        self.pipe.as_ref().is_some_and(PipeWriter::has_reader)
    }

    /// Whether the rest of the body prevents the next request from being read.
    pub(super) fn leaves_too_much(&self, unread_bytes_max: usize) -> bool {
        self.expectation == Expectation::Continue || !self.decoder.may_end_within(unread_bytes_max)
    }

    /// Tells a peer that waits for it to send the body (RFC 9110, 10.1.1).
    pub(super) fn write_continue(&mut self, transport: &mut Transport<'_>) {
        if self.expectation == Expectation::Continue {
            transport.output().extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            self.expectation = Expectation::Nothing;
        }
    }

    /// Notes that the head of the final response is written: 100 (Continue) must not follow it.
    pub(super) fn forbid_continue(&mut self) {
        self.expectation = Expectation::Nothing;
    }

    /// What goes on while the handler runs or a response is written: content goes to its reader; if there is none, some input
    /// is kept, and a peer that is gone is an error. Ready when a reader in the same task has to be polled again.
    pub(super) fn poll_receive(&mut self, cx: &mut Context<'_>, transport: &mut Transport<'_>) -> Poll<io::Result<()>> {
        if let Some(pipe) = self.pipe.take() {
            let mut failed = None;
            let filled = pipe.poll_fill(cx, |cx, buffer| {
                Poll::Ready(match ready!(self.poll_content(cx, transport, Waiting::Body, buffer)) {
                    Ok(_) => self.decoder.is_done().then_some(Ok(())),
                    // After a fault of the message, the connection can still answer.
                    Err(error) => Some(Err(BodyError::among(&error).unwrap_or_else(|| {
                        failed = Some(error);
                        EARLY_END
                    }))),
                })
            });
            self.pipe = Some(pipe);
            match (failed, filled) {
                (Some(error), _) => return Poll::Ready(Err(error)),
                (None, Some(filled)) => return filled.map(Ok),
                (None, None) => {}
            }
        }
        transport.progress(Waiting::Body);
        transport.poll_gone(cx).map(Err)
    }

    /// Appends content to the buffer; 0 bytes at the end of the body. A fault of the message is a [`BodyError`].
    fn poll_content(
        &mut self,
        cx: &mut Context<'_>,
        transport: &mut Transport<'_>,
        waiting: Waiting,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<usize>> {
        let mut count = 0;
        loop {
            let skipped = self.decoder.skip_framing(transport.unread());
            transport.consume(skipped.map_err(|rejection| BodyError::malformed(rejection.reason))?);
            if self.decoder.is_done() {
                return Poll::Ready(Ok(count));
            }
            let wanted = usize::try_from(self.decoder.content_bytes()).unwrap_or(usize::MAX);
            let here = transport.unread().get(..wanted.min(transport.unread().len())).unwrap_or_default();
            if !here.is_empty() {
                buffer.prepare(wanted.min(self.read_bytes));
                buffer.append(here, here.len());
                let taken = here.len();
                transport.consume(taken);
                self.decoder.took_content(taken);
                transport.count_step();
                count += taken;
                continue;
            }
            if count > 0 {
                return Poll::Ready(Ok(count));
            }
            self.write_continue(transport);
            // Output that the peer does not take must not keep the rest of its request from being read.
            if let Poll::Ready(Err(error)) = transport.poll_send(cx, &mut &[][..]) {
                return Poll::Ready(Err(error));
            }
            let read = ready!(self.poll_more(cx, transport, waiting, wanted, buffer));
            transport.progress(Waiting::Body);
            match read {
                Ok(0) if transport.is_ended() => {
                    self.decoder.cut();
                    return Poll::Ready(Err(EARLY_END.into()));
                }
                Ok(read) => count += read,
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    self.decoder.cut();
                    return Poll::Ready(Err(BodyError::TOO_SLOW.into()));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Reads more of the body: content straight to the buffer if much follows, else input, which counts as 0 bytes.
    fn poll_more(
        &mut self,
        cx: &mut Context<'_>,
        transport: &mut Transport<'_>,
        waiting: Waiting,
        wanted: usize,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<usize>> {
        if wanted < INPUT_BYTES {
            return transport.poll_fill(cx, Some(waiting)).map_ok(|_| 0);
        }
        buffer.prepare(wanted.min(self.read_bytes));
        let room = buffer.room(1);
        let end = room.len().min(wanted);
        let read = transport.poll_read(cx, room.get_mut(..end).unwrap_or_default(), Some(waiting));
        if read.is_pending() {
            buffer.release();
        }
        let count = ready!(read)?;
        if count >= self.read_bytes {
            self.read_bytes = READ_BYTES_MAX.min(count.saturating_mul(2));
        }
        buffer.filled(count);
        self.decoder.took_content(count);
        Poll::Ready(Ok(count))
    }

    /// Reads the rest of the body and drops it, up to a number of bytes and within the time for a body; returns whether that
    /// was all.
    pub(super) fn poll_discard(
        &mut self,
        cx: &mut Context<'_>,
        transport: &mut Transport<'_>,
        left: &mut usize,
    ) -> Poll<io::Result<bool>> {
        let mut buffer = Buffer::default();
        while !self.decoder.is_done() {
            match ready!(self.poll_content(cx, transport, Waiting::Rest, &mut buffer)) {
                Ok(count) if count > *left => return Poll::Ready(Ok(false)),
                Ok(count) => *left -= count,
                Err(error) if BodyError::among(&error).is_some() => return Poll::Ready(Ok(false)),
                Err(error) => return Poll::Ready(Err(error)),
            }
            buffer.consume(usize::MAX);
        }
        Poll::Ready(Ok(true))
    }
}

const EARLY_END: BodyError = BodyError::malformed("message body ends early");
