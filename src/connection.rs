//! One connection: read a head, let the handler respond, write the response, persist or close.
//!
//! Here the wire half and the value half meet.

use std::borrow::Cow;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_lite::future::yield_now;
use futures_lite::io::empty;
use futures_lite::{AsyncRead, AsyncWrite, FutureExt};
use http_types::{Body, Error, Method, StatusCode, Version};

use super::deadline::within;
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
    Connection { wire: &wire, held: None, peer: Arc::new(peer), place, limits }.run(handler).await
}

struct Connection<'a, S> {
    wire: &'a Arc<Mutex<Wire<S>>>,
    /// The lock of the wire, kept while nobody shares it.
    held: Option<MutexGuard<'a, Wire<S>>>,
    peer: Arc<Peer>,
    place: &'a Place<'a>,
    limits: &'a Limits,
}

impl<S> Connection<'_, S> {
    /// Shares the wire with who reads from it beside us.
    fn share(&mut self) -> Arc<Mutex<Wire<S>>> {
        self.held = None;
        self.wire.clone()
    }

    fn is_shared(&self) -> bool {
        Arc::strong_count(self.wire) > 1
    }

    fn with<T>(&mut self, call: impl FnOnce(&mut Wire<S>) -> T) -> T {
        let result = call(self.held.get_or_insert_with(|| lock(self.wire)));
        if self.is_shared() {
            self.held = None;
        }
        result
    }
}

impl<S> Drop for Connection<'_, S> {
    fn drop(&mut self) {
        self.with(Wire::end_body);
    }
}

/// What the response to a request depends on.
#[derive(Clone, Copy)]
struct Exchange {
    method: Method,
    version: Version,
    persistence: Persistence,
}

/// What a peer asks, or why it is refused.
type Asked = Result<(Exchange, Request), Refusal>;

impl<S> Connection<'_, S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    async fn run(mut self, handler: &impl Handler) -> io::Result<()> {
        for count in 1_usize.. {
            let Some(request) = poll_fn(|cx| self.poll_request(cx)).await? else { break };
            let (exchange, mut response) = match request {
                Ok((exchange, request)) => (exchange, self.respond(handler, request).await?),
                Err(refusal) => (self.refuse(), text(refusal.status, refusal.fault)),
            };
            match (self.write(exchange, &mut response).await?, response.upgrade.take()) {
                (Persistence::Upgrade, Some(upgrade)) => return self.hand_over(upgrade).await,
                (Persistence::Persist, _) if self.discard_body().await? => {}
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
    fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Asked>>> {
        let limits = self.limits;
        let (head, is_idle) = self.with(|wire| (wire.poll_head(cx, limits), wire.input.unread().is_empty()));
        match head {
            Poll::Pending if is_idle => self.place.poll_draining(cx).map(|()| Ok(None)),
            head => head.map_ok(|head| head.map(|head| self.request(head?))),
        }
    }

    /// Makes the request of a head; its body is in the buffer, or comes from the wire.
    fn request(&mut self, head: Arc<Head>) -> Asked {
        let (framing, expectation) = (h1::framing(&head)?, h1::expectation(&head)?);
        let (method, version, persistence) = (head.method(), head.version(), h1::persistence(&head));
        let content = self.content(framing, expectation);
        Ok((Exchange { method, version, persistence }, Request::new(head, self.peer.clone(), content)))
    }

    fn content(&mut self, framing: Framing, expectation: Expectation) -> Kept {
        let length = match framing {
            Framing::Length(length) => usize::try_from(length).ok(),
            Framing::None | Framing::Close => Some(0),
            Framing::Chunked => None,
        };
        let taken = self.with(|wire| {
            let content = length.and_then(|length| wire.input.unread().get(..length));
            match content.map(|content| Kept::new(content, Box::new(empty()), length)) {
                None => Err(wire.start_body(framing, expectation)),
                Some(kept) => {
                    wire.input.take(length.unwrap_or(0));
                    wire.start_body(Framing::None, Expectation::Nothing);
                    Ok(kept)
                }
            }
        });
        match taken {
            Ok(kept) => kept,
            Err(message) => Kept::new(&[], Box::new(Incoming { wire: self.share(), message }), length),
        }
    }

    /// After a refusal nothing of the request is believed, but that it was a HEAD. Where the message ends is not known, so
    /// more of it may come while the answer leaves.
    fn refuse(&mut self) -> Exchange {
        let method = self.with(|wire| {
            wire.body.cut();
            wire.head.as_ref().map_or(Method::Get, |head| head.method())
        });
        Exchange { method, version: Version::Http1_1, persistence: Persistence::Close }
    }

    /// Lets the handler respond. Its future is dropped if the peer resets the connection.
    async fn respond(&mut self, handler: &impl Handler, request: Request) -> io::Result<Response> {
        let mut response = pin!(respond(handler, request));
        poll_fn(|cx| match response.as_mut().poll(cx) {
            Poll::Ready(response) => Poll::Ready(Ok(response)),
            Poll::Pending => self.poll_meanwhile(cx),
        })
        .await
    }

    /// What happens while something else is waited for: what has been written leaves, and the peer may go.
    fn poll_meanwhile<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        self.with(|wire| match wire.poll_send(cx, &mut &[][..]) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => wire.poll_gone(cx).map(Err),
        })
    }

    /// Writes the response; the bytes of a small one wait for those of the next.
    async fn write(&mut self, exchange: Exchange, response: &mut Response) -> io::Result<Persistence> {
        let (framing, persistence, content) = loop {
            match self.encode(exchange, response) {
                Ok(decided) => break decided,
                Err(error) => *response = send_error(error),
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
        Ok(persistence)
    }

    /// Writes the head and small content; returns what is still to be written.
    fn encode(
        &mut self,
        exchange: Exchange,
        response: &mut Response,
    ) -> Result<(Framing, Persistence, Outgoing), Error> {
        let status = response.status();
        let switches = response.upgrade.is_some() && status == StatusCode::SwitchingProtocols;
        if status.is_informational() && !switches {
            return Err(Error::from(io::Error::other(format!("{status} is not a final status"))));
        }
        let mut content = response.take_content();
        let framing = h1::response_framing(exchange.method, exchange.version, status, content.length());
        let sends_content = !matches!(framing, Framing::None | Framing::Length(0)) && exchange.method != Method::Head;
        // A response that is read from the request has asked for its body.
        let will_be_read = sends_content && matches!(content, Outgoing::Body(_)) && self.is_shared();
        let (is_draining, unread_bytes_max) = (self.place.is_draining(), self.limits.unread_bytes_max);
        self.with(|wire| {
            if will_be_read {
                wire.go_ahead();
            }
            let persistence = match is_draining || !will_be_read && wire.leaves_too_much(unread_bytes_max) {
                _ if switches => Persistence::Upgrade,
                true => Persistence::Close,
                false => exchange.persistence,
            };
            let persistence = write_head(&mut wire.output, response, framing, exchange.version, persistence)?;
            if !sends_content {
                content = Outgoing::NONE;
            } else if let Outgoing::Bytes(bytes) = &content
                && bytes.len() <= SMALL_BYTES
            {
                wire.output.extend_from_slice(bytes);
                content = Outgoing::NONE;
            }
            Ok((framing, persistence, content))
        })
    }

    /// Writes what a reader yields, as it comes. A message that turns out to be a lie is not completed.
    async fn write_body(&mut self, framing: Framing, body: Body) -> io::Result<()> {
        let mut chunk = Chunk::new(framing);
        let mut reader = body.into_reader();
        loop {
            let more = match self.fill(&mut chunk, &mut reader).await {
                Ok(more) => more,
                Err(error) => return self.cut(framing, error).await,
            };
            let framed = self.with(|wire| chunk.frame(&mut wire.output, more));
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
    async fn cut(&mut self, framing: Framing, error: io::Error) -> io::Result<()> {
        if framing == Framing::Close {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, error));
        }
        self.close().await?;
        Err(error)
    }

    /// Fills a chunk until it is full or the reader has no more for now. While there is nothing, what was written leaves.
    async fn fill(&mut self, chunk: &mut Chunk, reader: &mut (impl AsyncRead + Unpin)) -> io::Result<More> {
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
    async fn send(&mut self, mut more: &[u8]) -> io::Result<()> {
        poll_fn(|cx| self.with(|wire| wire.poll_send(cx, &mut more))).await
    }

    /// Drops what the handler left of the body; whether the next request can be read.
    async fn discard_body(&mut self) -> io::Result<bool> {
        self.with(Wire::end_body);
        if self.with(|wire| wire.body.is_done()) {
            return Ok(true);
        }
        self.send(b"").await?;
        let Limits { unread_bytes_max: mut left, body_timeout, .. } = *self.limits;
        let discard = poll_fn(|cx| self.with(|wire| wire.poll_discard(cx, &mut left)));
        match within(body_timeout, discard).await {
            Some(Err(error)) if error.kind() == io::ErrorKind::InvalidData => Ok(false),
            discarded => discarded.unwrap_or(Ok(false)),
        }
    }

    /// Serves the protocol that the connection was upgraded to. If the server is to end, it reads the end of the stream.
    async fn hand_over(&mut self, upgrade: Upgrade) -> io::Result<()> {
        self.send(b"").await?;
        let mut served = upgrade(Box::new(Tunnel(self.share())));
        poll_fn(|cx| {
            if self.place.poll_draining(cx).is_ready() {
                self.with(Wire::end);
            }
            served.as_mut().poll(cx)
        })
        .await;
        self.close().await
    }

    /// Ends the connection so that the peer can read the last response, even if it is still sending (RFC 9112, 9.6).
    async fn close(&mut self) -> io::Result<()> {
        self.with(Wire::end_body);
        self.send(b"").await?;
        poll_fn(|cx| self.with(|wire| Pin::new(&mut wire.timed).poll_close(cx))).await?;
        self.with(|wire| wire.timed.note_progress());
        let linger = poll_fn(|cx| self.with(|wire| wire.poll_linger(cx, LINGER_PAUSE)));
        within(LINGER_TIME, linger).await;
        Ok(())
    }
}

/// Writes the head of a response, or nothing.
fn write_head(
    output: &mut Vec<u8>,
    response: &Response,
    framing: Framing,
    version: Version,
    persistence: Persistence,
) -> Result<Persistence, Error> {
    let start = output.len();
    let mut encoder = Encoder::new(output, response.status(), persistence);
    if let Some(content_type) = response.content_type() {
        encoder.line("content-type", content_type.as_bytes());
    }
    for (name, value) in response.fields() {
        if let Err(invalid) = encoder.field(name, value) {
            output.truncate(start);
            return Err(io::Error::other(invalid).into());
        }
    }
    Ok(encoder.finish(framing, version))
}

/// Reports why a message is not completed.
fn report(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    let error = io::Error::other(error);
    log(format_args!("a response was cut: {error}"));
    error
}
