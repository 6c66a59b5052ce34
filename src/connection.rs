//! One connection: read a head, let the handler respond, write the response, persist or close.
//!
//! Here the wire half and the value half meet.

use std::borrow::Cow;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_io::Timer;
use futures_lite::future::yield_now;
use futures_lite::io::empty;
use futures_lite::{AsyncRead, AsyncWrite, FutureExt};
use http_types::{Body, Error, Method, StatusCode, Version};

use super::drain::{Connections, Place};
use super::error::log;
use super::h1::{self, Chunk, Encoder, Expectation, Framing, Head, More, Persistence, Refusal};
use super::handler::{Handler, respond};
use super::kept::{Kept, leave};
use super::limits::Limits;
use super::request::{Peer, Request};
use super::response::{Outgoing, Response, Upgrade, send_error, text};
use super::wire::{Incoming, Tunnel, Wire, lock};

/// How long we read from a peer that still sends, so that it can read the last response: in all, and if it pauses.
const LINGER_TIME: Duration = Duration::from_secs(30);
const LINGER_PAUSE: Duration = Duration::from_secs(1);

/// Content up to this size leaves in one buffer with its head; larger content is not copied.
const SMALL_BYTES: usize = 16 * 1024;

/// Output of a pipelined batch leaves when it is this large, even if more requests have come.
const BATCH_BYTES: usize = 64 * 1024;

/// How many requests are answered before other tasks have their turn, even if more have come.
const TURN_EXCHANGES: usize = 16;

/// Serves HTTP/1.1 on any stream of bytes: TLS, a pipe, a test's own.
///
/// Returns when the connection is done, which is when both ends agree that it is, or after a message that had to be
/// refused or cut. The stream is dropped then.
///
/// # Errors
///
/// Whatever the stream fails with, or the reader of a response body. The peer got no whole message then.
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
/// let answer = smol::block_on(async {
///     theirs.write_all(b"GET /tea HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await?;
///     serve_connection(ours, &handler, &Limits::default()).await?;
///     let mut answer = String::new();
///     theirs.read_to_string(&mut answer).await?;
///     std::io::Result::Ok(answer)
/// })?;
/// assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\n/tea"));
/// # std::io::Result::Ok(())
/// ```
pub async fn serve_connection<S>(io: S, handler: &impl Handler, limits: &Limits) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connections = Connections::default();
    serve_peer(io, Peer::default(), &connections.enter(), handler, limits).or(connections.timers.run()).await
}

/// Serves a peer of whom something is known.
pub(super) async fn serve_peer<S>(
    io: S,
    peer: Peer,
    place: &Place<'_>,
    handler: &impl Handler,
    limits: &Limits,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let wire = Arc::new(Mutex::new(Wire::new(io, limits, place.timers())));
    Connection { wire, peer: Arc::new(peer), place, limits }.run(handler).await
}

struct Connection<'a, S> {
    wire: Arc<Mutex<Wire<S>>>,
    peer: Arc<Peer>,
    place: &'a Place<'a>,
    limits: &'a Limits,
}

impl<S> Drop for Connection<'_, S> {
    fn drop(&mut self) {
        lock(&self.wire).end_body();
    }
}

/// What the response to a request depends on.
#[derive(Clone, Copy)]
struct Exchange {
    method: Method,
    version: Version,
    persistence: Persistence,
    /// Of the body, if it is not all in the buffer.
    framing: Framing,
}

/// What a peer asks, or why it is refused.
type Asked = Result<(Exchange, Request), Refusal>;

impl<S> Connection<'_, S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    async fn run(self, handler: &impl Handler) -> io::Result<()> {
        for count in 1_usize.. {
            let Some(request) = poll_fn(|cx| self.poll_request(cx)).await? else { break };
            let (exchange, response) = match request {
                Ok((exchange, request)) => (exchange, self.respond(handler, request).await?),
                Err(refusal) => (self.refuse(), text(refusal.status, refusal.fault)),
            };
            match self.write(exchange, response).await? {
                (Persistence::Upgrade, Some(upgrade)) => return self.hand_over(upgrade).await,
                (Persistence::Persist, _) if exchange.framing == Framing::None || self.discard_body().await? => {}
                _ => return self.close().await,
            }
            // A peer that sends one request behind the other is not to keep the thread for itself.
            if count % TURN_EXCHANGES == 0 {
                yield_now().await;
            }
        }
        Ok(())
    }

    /// Reads until there is a request, or a reason to refuse it; `None` if the peer is done, or nothing has come and the
    /// server is to end.
    fn poll_request(&self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Asked>>> {
        let mut wire = lock(&self.wire);
        if wire.output.len() > BATCH_BYTES {
            ready!(wire.poll_send(cx, &mut &[][..]))?;
        }
        loop {
            match wire.take_head(self.limits) {
                Ok(Some(head)) => return Poll::Ready(Ok(Some(self.request(&mut wire, head)))),
                Ok(None) => {}
                Err(refusal) => return Poll::Ready(Ok(Some(Err(refusal)))),
            }
            // The next request is not there yet, so the answers to those before it leave now.
            ready!(wire.poll_send(cx, &mut &[][..]))?;
            let is_idle = wire.input.unread().is_empty();
            let waits_for_next = is_idle && !wire.is_new();
            let timeout = if waits_for_next { self.limits.idle_timeout } else { self.limits.head_timeout };
            let refusal = match wire.poll_fill(cx, timeout) {
                Poll::Pending if is_idle => return self.place.poll_draining(cx).map(|()| Ok(None)),
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) => Refusal::bad("head ends early"),
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::TimedOut => {
                    Refusal::new(StatusCode::RequestTimeout, "head took too long")
                }
                Poll::Ready(filled) => {
                    filled?;
                    if waits_for_next {
                        wire.note_progress();
                    }
                    continue;
                }
            };
            let has_begun = !wire.input.unread().trim_ascii_end().is_empty();
            return Poll::Ready(Ok(has_begun.then_some(Err(refusal))));
        }
    }

    /// Makes the request of a head; its body is in the buffer, or comes from the wire.
    fn request(&self, wire: &mut Wire<S>, head: Arc<Head>) -> Asked {
        let (framing, expectation) = (h1::framing(&head)?, h1::expectation(&head)?);
        let (method, version, persistence) = (head.method(), head.version(), h1::persistence(&head));
        let (framing, content) = self.content(wire, framing, expectation);
        let exchange = Exchange { method, version, persistence, framing };
        Ok((exchange, Request::new(head, self.peer.clone(), content)))
    }

    fn content(&self, wire: &mut Wire<S>, framing: Framing, expectation: Expectation) -> (Framing, Kept) {
        let length = match framing {
            Framing::Length(length) => usize::try_from(length).ok(),
            Framing::None | Framing::Close => Some(0),
            Framing::Chunked => None,
        };
        let unread = wire.input.unread();
        if let Some(content) = length.and_then(|length| unread.get(..length)) {
            let kept = Kept::new(content, Box::new(empty()), length);
            wire.input.take(length.unwrap_or(0));
            wire.start_body(Framing::None, Expectation::Nothing);
            return (Framing::None, kept);
        }
        let expectation = if unread.is_empty() { expectation } else { Expectation::Nothing };
        let message = wire.start_body(framing, expectation);
        (framing, Kept::new(&[], Box::new(Incoming { wire: self.wire.clone(), message }), length))
    }

    /// After a refusal nothing of the request is believed, but that it was a HEAD. Where the message ends is not known, so
    /// more of it may come while the answer leaves.
    fn refuse(&self) -> Exchange {
        let mut wire = lock(&self.wire);
        wire.body.cut();
        let method = wire.head.as_ref().map_or(Method::Get, |head| head.method());
        Exchange { method, version: Version::Http1_1, persistence: Persistence::Close, framing: Framing::None }
    }

    /// Lets the handler respond. Its future is dropped if the peer resets the connection.
    async fn respond(&self, handler: &impl Handler, request: Request) -> io::Result<Response> {
        let mut response = pin!(respond(handler, request));
        poll_fn(|cx| match response.as_mut().poll(cx) {
            Poll::Ready(response) => Poll::Ready(Ok(response)),
            Poll::Pending => self.poll_meanwhile(cx),
        })
        .await
    }

    /// What happens while something else is waited for: what has been written leaves, and the peer may go.
    fn poll_meanwhile<T>(&self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let mut wire = lock(&self.wire);
        match wire.poll_send(cx, &mut &[][..]) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => wire.poll_gone(cx).map(Err),
        }
    }

    /// Writes the response; the bytes of a small one wait for those of the next.
    async fn write(&self, exchange: Exchange, mut response: Response) -> io::Result<(Persistence, Option<Upgrade>)> {
        let (framing, persistence, content) = loop {
            match self.encode(exchange, &mut response) {
                Ok(decided) => break decided,
                Err(error) => response = send_error(error),
            }
        };
        match content {
            Outgoing::Body(body) => self.write_body(framing, *body).await?,
            Outgoing::Bytes(Cow::Borrowed([])) => {}
            Outgoing::Bytes(Cow::Borrowed(bytes)) => self.send(bytes).await?,
            Outgoing::Bytes(Cow::Owned(bytes)) => {
                self.send(&bytes).await?;
                leave(bytes);
            }
        }
        Ok((persistence, response.upgrade))
    }

    /// Writes the head and small content; returns what is still to be written.
    fn encode(&self, exchange: Exchange, response: &mut Response) -> Result<(Framing, Persistence, Outgoing), Error> {
        let status = response.status();
        let switches = response.upgrade.is_some() && status == StatusCode::SwitchingProtocols;
        if status.is_informational() && !switches {
            return Err(Error::from(io::Error::other(format!("{status} is not a final status"))));
        }
        let mut content = response.take_content();
        let framing = h1::response_framing(exchange.method, exchange.version, status, content.length());
        let sends_content = !matches!(framing, Framing::None | Framing::Length(0)) && exchange.method != Method::Head;
        // A response that is read from the request has asked for its body.
        let will_be_read = sends_content && matches!(content, Outgoing::Body(_)) && Arc::strong_count(&self.wire) > 1;
        let mut wire = lock(&self.wire);
        if will_be_read {
            wire.go_ahead();
        }
        let persistence = match self.place.is_draining() || !will_be_read && self.leaves_too_much(&wire) {
            _ if switches => Persistence::Upgrade,
            true => Persistence::Close,
            false => exchange.persistence,
        };
        let start = wire.output.len();
        let mut encoder = Encoder::new(&mut wire.output, status, persistence);
        if let Some(content_type) = response.content_type() {
            encoder.content_type(content_type);
        }
        for (name, value) in response.fields() {
            if let Err(invalid) = encoder.field(name, value) {
                wire.output.truncate(start);
                return Err(invalid.into());
            }
        }
        let persistence = encoder.finish(framing, exchange.version);
        if !sends_content {
            content = Outgoing::NONE;
        } else if let Outgoing::Bytes(bytes) = &content
            && bytes.len() <= SMALL_BYTES
        {
            wire.output.extend_from_slice(bytes);
            content = Outgoing::NONE;
        }
        Ok((framing, persistence, content))
    }

    /// Whether the rest of the request's body stands in the way of the next request.
    fn leaves_too_much(&self, wire: &Wire<S>) -> bool {
        let is_awaited = wire.expectation == Expectation::Continue;
        is_awaited || !wire.body.may_end_within(self.limits.unread_bytes_max)
    }

    /// Writes what a reader yields, as it comes. A message that turns out to be a lie is not completed.
    async fn write_body(&self, framing: Framing, body: Body) -> io::Result<()> {
        let mut chunk = Chunk::new(framing);
        let mut reader = body.into_reader();
        loop {
            let more = match self.fill(&mut chunk, &mut reader).await {
                Ok(more) => more,
                Err(error) => return self.cut(framing, error).await,
            };
            let framed = chunk.frame(&mut lock(&self.wire).output, more);
            match framed.map_err(report) {
                Ok(framed) => self.send(framed).await?,
                Err(error) => return self.cut(framing, error).await,
            }
            if more == More::Ends {
                return Ok(());
            }
        }
    }

    /// Ends the connection within a message. Where its end is the end of the message, only a reset tells the peer.
    async fn cut(&self, framing: Framing, error: io::Error) -> io::Result<()> {
        if framing == Framing::Close {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, error));
        }
        self.close().await?;
        Err(error)
    }

    /// Fills a chunk until it is full or the reader has no more for now. While there is nothing, what was written leaves.
    async fn fill(&self, chunk: &mut Chunk, reader: &mut (impl AsyncRead + Unpin)) -> io::Result<More> {
        poll_fn(|cx| {
            loop {
                let room = chunk.room();
                if room.is_empty() {
                    return Poll::Ready(Ok(More::Follows));
                }
                match (Pin::new(&mut *reader).poll_read(cx, room).map_err(report)?, chunk.more()) {
                    (Poll::Ready(0), _) => return Poll::Ready(Ok(More::Ends)),
                    (Poll::Ready(count), _) => chunk.fill(count).map_err(report)?,
                    (Poll::Pending, Some(more)) => return Poll::Ready(Ok(more)),
                    (Poll::Pending, None) => return self.poll_meanwhile(cx),
                }
            }
        })
        .await
    }

    /// Sends what has been written, and `more` behind it.
    async fn send(&self, mut more: &[u8]) -> io::Result<()> {
        poll_fn(|cx| lock(&self.wire).poll_send(cx, &mut more)).await
    }

    /// Drops what the handler left of the body; whether the next request can be read.
    async fn discard_body(&self) -> io::Result<bool> {
        let is_done = {
            let mut wire = lock(&self.wire);
            wire.end_body();
            wire.body.is_done()
        };
        if is_done {
            return Ok(true);
        }
        self.send(b"").await?;
        let mut left = self.limits.unread_bytes_max;
        let discard = poll_fn(|cx| lock(&self.wire).poll_discard(cx, &mut left));
        let time_out = async {
            Timer::after(self.limits.body_timeout).await;
            Ok(false)
        };
        match discard.or(time_out).await {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(false),
            discarded => discarded,
        }
    }

    /// Serves the protocol that the connection was upgraded to. If the server is to end, it reads the end of the stream.
    async fn hand_over(&self, upgrade: Upgrade) -> io::Result<()> {
        self.send(b"").await?;
        let mut served = upgrade(Box::new(Tunnel(self.wire.clone())));
        poll_fn(|cx| {
            if self.place.poll_draining(cx).is_ready() {
                lock(&self.wire).end();
            }
            served.as_mut().poll(cx)
        })
        .await;
        self.close().await
    }

    /// Ends the connection so that the peer can read the last response, even if it is still sending (RFC 9112, 9.6).
    async fn close(&self) -> io::Result<()> {
        lock(&self.wire).end_body();
        self.send(b"").await?;
        poll_fn(|cx| lock(&self.wire).poll_close(cx)).await?;
        lock(&self.wire).note_progress();
        let linger = poll_fn(|cx| lock(&self.wire).poll_linger(cx, LINGER_PAUSE));
        let time_out = async {
            Timer::after(LINGER_TIME).await;
        };
        linger.or(time_out).await;
        Ok(())
    }
}

/// Reports why a message is not completed.
fn report(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    let error = io::Error::other(error);
    log(format_args!("a response was cut: {error}"));
    error
}
