//! One connection: read a head, let the handler respond, write the response, persist or close.
//!
//! The connection owns its stream. While the handler runs and while its response is written, one function does all else:
//! [`Connection::poll_receive`] brings content to its reader, which may be in another task, and watches the peer.

mod registry;
mod transport;
mod pipe;
mod upgraded;

use std::borrow::Cow;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_lite::{AsyncRead, AsyncWrite, FutureExt};
use http_types::{Method, StatusCode, Version};

use super::error::Rejection;
use super::handler::{Handler, respond};
use super::http1::{self, Buffer, Chunk, Decoder, Expectation, Framing, Head, More, Persistence, ResponseHead, give};
use super::limits::Limits;
use super::log::log;
use super::payload::Payload;
use super::request::{ConnectionContext, Request};
use super::response::{Reader, Response, ResponseBody};
use pipe::PipeWriter;
use registry::{REQUEST_BYTES, Waiting};
use transport::Transport;
use upgraded::serve_upgraded;

pub use registry::timeout;
pub use registry::{Connections, Registration};
pub use transport::{Socket, Stream};

/// How long the bytes of a peer that goes on sending are dropped, so that it can read the last response.
const LINGER_TIME: Duration = Duration::from_secs(30);

/// Content up to this size leaves in one buffer with its head; larger content is not copied.
const SMALL_BYTES: usize = 16 * 1024;

/// The output of pipelined requests leaves when it is this large, even if more of them have come.
const BATCH_BYTES: usize = 64 * 1024;

/// What is read at once to be dropped.
const DISCARD_BYTES: usize = 4 * 1024;

/// Serves HTTP/1.1 on any stream of bytes: TLS, a pipe, a test's own.
///
/// Returns when the connection has ended: the peer or the handler has closed it, or a message had to be refused or cut. The
/// stream is dropped then.
///
/// # Errors
///
/// What the stream or the reader of a response fails with; `TimedOut` for a peer that does not take a response. The peer has
/// got no whole message then.
///
/// # Examples
///
/// ```
/// use micro_smol::{Limits, Request, serve_connection, smol};
/// use smol::io::{AsyncReadExt, AsyncWriteExt};
/// use std::os::unix::net::UnixStream;
///
/// async fn handler(req: Request) -> String {
///     req.path().to_owned()
/// }
///
/// let (ours, theirs) = UnixStream::pair()?;
/// let (ours, mut theirs) = (smol::Async::new(ours)?, smol::Async::new(theirs)?);
/// let response = smol::block_on(async {
///     theirs.write_all(b"GET /tea HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await?;
///     serve_connection(ours, &handler, &Limits::default()).await?;
///     let mut response = String::new();
///     theirs.read_to_string(&mut response).await?;
///     std::io::Result::Ok(response)
/// })?;
/// assert!(response.starts_with("HTTP/1.1 200 OK\r\n") && response.ends_with("\r\n\r\n/tea"));
/// # std::io::Result::Ok(())
/// ```
pub async fn serve_connection<S>(io: S, handler: &dyn Handler, limits: &Limits) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stream: Stream = (Box::new(io), None);
    let connections = Connections::default();
    let registration = connections.register();
    serve_stream(stream, ConnectionContext::default(), &registration, handler, limits)
        .or(connections.keep_deadlines())
        .await
}

/// Serves HTTP/1.1 on a stream, with what the server knows about its connection.
pub async fn serve_stream(
    stream: Stream,
    context: ConnectionContext,
    registration: &Registration<'_>,
    handler: &dyn Handler,
    limits: &Limits,
) -> io::Result<()> {
    let transport = Transport::new(stream, registration, limits);
    let decoder = Decoder::new(Framing::None);
    let connection = Connection { transport, decoder, pipe: None, context: Arc::new(context) };
    let mut served = pin!(connection.run(handler));
    poll_fn(|cx| {
        registration.begin_turn();
        served.as_mut().poll(cx)
    })
    .await
}

struct Connection<'a> {
    transport: Transport<'a>,
    /// How far the body of the last request has been read.
    decoder: Decoder,
    /// Where its content goes, if some did not come with the head.
    pipe: Option<PipeWriter>,
    context: Arc<ConnectionContext>,
}

/// What the response to a request depends on.
#[derive(Clone, Copy)]
struct ResponseContext {
    method: Method,
    version: Version,
    persistence: Persistence,
}

/// A head, or why it is rejected.
type ReadHead = Result<Arc<Head>, Rejection>;

impl Connection<'_> {
    async fn run(mut self, handler: &dyn Handler) -> io::Result<()> {
        let mut waiting = Waiting::Head;
        while let Some(head) = poll_fn(|cx| self.poll_head(cx, waiting)).await? {
            waiting = Waiting::Request;
            let (context, mut response) = match head.and_then(|head| self.begin_request(head)) {
                Ok((context, request)) => {
                    let mut response = pin!(respond(handler, request));
                    (context, self.drive(|cx| response.as_mut().poll(cx)).await?)
                }
                Err(rejection) => self.reject(rejection),
            };
            let upgrade = response.take_upgrade();
            let (framing, persistence) = self.encode(context, &response, upgrade.is_some());
            self.write_content(framing, response.take_content()).await?;
            match (persistence, upgrade) {
                // The rest of a body is no part of another protocol.
                (Persistence::Upgrade, Some(upgrade)) if self.decoder.is_done() => {
                    self.send(b"").await?;
                    serve_upgraded(&mut self.transport, upgrade).await;
                    return self.close().await;
                }
                (Persistence::Persist, _) if self.discard_body().await? => {}
                _ => return self.close().await,
            }
        }
        Ok(())
    }

    /// Reads until there is a head, or a reason to reject it; `None` if the peer has ended, or the server is to end.
    fn poll_head(&mut self, cx: &mut Context<'_>, waiting: Waiting) -> Poll<io::Result<Option<ReadHead>>> {
        ready!(self.transport.registration.poll_turn(cx));
        let transport = &mut self.transport;
        if transport.output_bytes() > BATCH_BYTES {
            ready!(transport.poll_flush(cx))?;
        }
        loop {
            match transport.take_head() {
                Ok(None) => {}
                taken => return Poll::Ready(Ok(taken.transpose())),
            }
            // The next request has not come, so the responses to those before it leave now.
            ready!(transport.poll_flush(cx))?;
            let waiting = if transport.unread().is_empty() { waiting } else { Waiting::Head };
            let rejection = match transport.poll_fill(cx, Some(waiting)) {
                Poll::Pending => return self.transport.registration.poll_ending(cx).map(|()| Ok(None)),
                Poll::Ready(Ok(0)) => Rejection::bad("head ends early"),
                Poll::Ready(Ok(_)) => continue,
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::TimedOut => {
                    Rejection::new(StatusCode::RequestTimeout, "head took too long")
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            };
            let has_begun = !transport.unread().trim_ascii_end().is_empty();
            return Poll::Ready(Ok(has_begun.then_some(Err(rejection))));
        }
    }

    /// Makes the request of a head.
    fn begin_request(&mut self, head: Arc<Head>) -> Result<(ResponseContext, Request), Rejection> {
        let (framing, expectation) = (http1::framing(&head)?, http1::expectation(&head)?);
        let (method, version, persistence) = (head.method, head.version, http1::persistence(&head));
        self.transport.registration.charge(REQUEST_BYTES);
        self.transport.registration.progress(&[Waiting::Request, Waiting::Head]);
        let payload = self.begin_body(framing, expectation);
        let request = Request::received(head, self.context.clone(), payload);
        Ok((ResponseContext { method, version, persistence }, request))
    }

    /// Begins the body behind a head. Its content is in the input already, or comes by a pipe.
    fn begin_body(&mut self, framing: Framing, expectation: Expectation) -> Payload {
        let length = match framing {
            Framing::None | Framing::Close => return Payload::default(),
            Framing::Length(length) => Some(length),
            Framing::Chunked => None,
        };
        let count = length.and_then(|length| usize::try_from(length).ok()).unwrap_or(usize::MAX);
        if let Some(whole) = self.transport.unread().get(..count) {
            let payload = Payload::Whole(whole.to_vec());
            self.transport.consume(count);
            return payload;
        }
        self.decoder = Decoder::new(framing);
        self.transport.expect_body(expectation);
        Payload::received(self.pipe.insert(PipeWriter::default()).reader(), length)
    }

    /// Makes the response to a head that is rejected. Of that head, only the method HEAD is used. The end of the message is
    /// unknown, so more of it may come while the response leaves.
    fn reject(&mut self, rejection: Rejection) -> (ResponseContext, Response) {
        self.decoder.cut(rejection);
        let head = self.transport.last_head().cloned().unwrap_or_default();
        let context =
            ResponseContext { method: head.method, version: Version::Http1_1, persistence: Persistence::Close };
        let mut response = Response::text(rejection.status, rejection.reason);
        response.finish(&head);
        (context, response)
    }

    /// Polls what the peer waits for. Meanwhile output leaves and content comes; it is an error if the peer is gone.
    async fn drive<T>(&mut self, mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> io::Result<T> {
        poll_fn(|cx| {
            loop {
                if let Poll::Ready(output) = poll(cx) {
                    return Poll::Ready(Ok(output));
                }
                if let Poll::Ready(Err(error)) = self.transport.poll_flush(cx) {
                    return Poll::Ready(Err(error));
                }
                ready!(self.poll_receive(cx))?;
            }
        })
        .await
    }

    /// Sends the output and `more` behind it. Meanwhile content comes.
    async fn send(&mut self, mut more: &[u8]) -> io::Result<()> {
        poll_fn(|cx| {
            loop {
                if let Poll::Ready(sent) = self.transport.poll_send(cx, &mut more) {
                    return Poll::Ready(sent);
                }
                ready!(self.poll_receive(cx))?;
            }
        })
        .await
    }

    /// What goes on while the handler runs or a response is written: content goes to its reader; if there is none, some input
    /// is kept, and a peer that is gone is an error. Ready when a reader in the same task has to be polled again.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Connection { transport, decoder, pipe, .. } = self;
        if let Some(pipe) = pipe
            && let Some(filled) = pipe.poll_fill(cx, |cx, to| transport.poll_content(cx, Waiting::Body, decoder, to))
        {
            return filled;
        }
        transport.registration.progress(&[Waiting::Body]);
        transport.poll_gone(cx)
    }

    /// Writes the head of a response to the output, and returns how its content ends and whether the connection persists.
    fn encode(&mut self, context: ResponseContext, response: &Response, switches: bool) -> (Framing, Persistence) {
        let ResponseContext { method, version, persistence } = context;
        let framing = http1::response_framing(method, version, response.status(), response.content.length());
        // A response that is read from the request has asked for its body.
        let reads_body = matches!(response.content, ResponseBody::Reader(..))
            && self.pipe.as_ref().is_some_and(PipeWriter::has_reader);
        if reads_body {
            self.transport.write_continue();
        }
        let leaves_too_much = self.transport.end_expectation() == Expectation::Continue
            || !reads_body && !self.decoder.may_end_within(self.transport.limits.unread_bytes_max);
        let persistence = match self.transport.registration.is_draining() || leaves_too_much {
            _ if switches => Persistence::Upgrade,
            true => Persistence::Close,
            false => persistence,
        };
        let (content_type, fields) = (response.content_type, &response.fields);
        let head = ResponseHead { status: response.status(), content_type, fields, framing, version, persistence };
        (framing, head.encode(self.transport.output()))
    }

    /// Writes content. Small content leaves with its head, and both with the next response or when the connection waits.
    async fn write_content(&mut self, framing: Framing, content: ResponseBody) -> io::Result<()> {
        match content {
            ResponseBody::Omitted(_) => {}
            ResponseBody::Bytes(bytes) if bytes.len() <= SMALL_BYTES => {
                self.transport.output().extend_from_slice(&bytes);
            }
            ResponseBody::Bytes(bytes) => {
                self.transport.begin_message(framing);
                self.send(&bytes).await?;
                self.transport.end_message(framing);
                if let Cow::Owned(bytes) = bytes {
                    give(bytes);
                }
            }
            ResponseBody::Reader(reader, _) => {
                let head = self.transport.last_head().cloned().unwrap_or_default();
                self.transport.begin_message(framing);
                if let Err(error) = self.write_stream(framing, reader).await? {
                    return self.cut(&head, framing, error).await;
                }
                self.transport.end_message(framing);
            }
        }
        Ok(())
    }

    /// Writes what a reader yields, as it comes. The inner error is the reader's.
    async fn write_stream(&mut self, framing: Framing, mut reader: Reader) -> io::Result<io::Result<()>> {
        let (mut chunk, registration) = (Chunk::new(framing), self.transport.registration);
        loop {
            let filled = self.drive(|cx| poll_fill_chunk(cx, &mut chunk, &mut reader, registration)).await?;
            let framed = filled.and_then(|more| {
                let bytes = chunk.frame(self.transport.output(), more).map_err(io::Error::other)?;
                Ok((bytes, more))
            });
            match framed {
                Ok((bytes, More::Follows)) => self.send(bytes).await?,
                Ok((bytes, More::Ends)) => return self.send(bytes).await.map(Ok),
                Err(error) => return Ok(Err(error)),
            }
        }
    }

    /// Ends the connection within a message, whose reader has failed. Where its end is the end of the message, only a reset
    /// tells the peer.
    async fn cut(&mut self, head: &Head, framing: Framing, error: io::Error) -> io::Result<()> {
        // A fault of the body is the client's, and is not logged.
        if Rejection::among(&error).is_none() {
            log(format_args!("{head}: the response was cut: {error}"));
        }
        if framing != Framing::Close {
            self.close().await?;
            self.transport.end_message(framing);
        }
        Err(error)
    }

    /// Drops what the handler has left of the body, and returns whether the next request can be read.
    async fn discard_body(&mut self) -> io::Result<bool> {
        self.pipe = None;
        if self.decoder.is_done() {
            return Ok(true);
        }
        self.send(b"").await?;
        let (mut left, mut dropped) = (self.transport.limits.unread_bytes_max, Buffer::default());
        poll_fn(|cx| {
            loop {
                let content = match self.transport.poll_content(cx, Waiting::Rest, &mut self.decoder, &mut dropped)? {
                    Poll::Pending => return self.transport.registration.poll_ending(cx).map(|()| Ok(false)),
                    Poll::Ready(content) => content,
                };
                match (content, left.checked_sub(dropped.unread().len())) {
                    (Ok(More::Ends), Some(_)) => return Poll::Ready(Ok(true)),
                    (Ok(More::Follows), Some(rest)) => left = rest,
                    _ => return Poll::Ready(Ok(false)),
                }
                dropped.consume(usize::MAX);
            }
        })
        .await
    }

    /// Ends the connection so that the peer can read the last response, even if it is still sending (RFC 9112, 9.6).
    async fn close(&mut self) -> io::Result<()> {
        self.pipe = None;
        self.send(b"").await?;
        poll_fn(|cx| self.transport.poll_close(cx)).await?;
        let mut is_sending = !self.transport.unread().is_empty() || !self.decoder.is_done();
        let start = self.transport.registration.now();
        poll_fn(|cx| {
            let mut room = [0; DISCARD_BYTES];
            loop {
                // Pending at the end of a turn does not mean that nothing has come.
                ready!(self.transport.registration.poll_turn(cx));
                match self.transport.poll_read(cx, &mut room, Some(Waiting::Linger)) {
                    Poll::Ready(Ok(1..)) if self.transport.registration.now() - start < LINGER_TIME => {
                        is_sending = true;
                        self.transport.registration.progress(&[Waiting::Linger]);
                    }
                    Poll::Pending if is_sending => return self.transport.registration.poll_ending(cx),
                    _ => return Poll::Ready(()),
                }
            }
        })
        .await;
        Ok(())
    }
}

/// Fills a chunk until it is full or the reader has no more for now.
fn poll_fill_chunk(
    cx: &mut Context<'_>,
    chunk: &mut Chunk,
    reader: &mut Reader,
    registration: &Registration<'_>,
) -> Poll<io::Result<More>> {
    loop {
        ready!(registration.poll_turn(cx));
        let room = chunk.room();
        if room.is_empty() {
            return Poll::Ready(Ok(More::Follows));
        }
        match (reader.as_mut().poll_read(cx, room)?, chunk.more()) {
            (Poll::Ready(0), _) => return Poll::Ready(Ok(More::Ends)),
            (Poll::Ready(count), _) => {
                chunk.fill(count).map_err(io::Error::other)?;
                registration.charge(0);
            }
            (Poll::Pending, Some(more)) => return Poll::Ready(Ok(more)),
            (Poll::Pending, None) => return Poll::Pending,
        }
    }
}
