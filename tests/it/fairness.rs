//! A connection lets the other tasks of its thread have their turn, whatever its peer and its stream do.

use std::future::poll_fn;
use std::io::{self, Read};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::support::get;
use micro_smol::smol::future::FutureExt;
use micro_smol::smol::io::{AsyncRead, AsyncWrite, copy, repeat, split};
use micro_smol::smol::{LocalExecutor, Timer, block_on};
use micro_smol::{IntoResponse, Limits, Request, Response, Result, buffer, serve_connection, stream, upgrade};

/// More than a connection moves in a turn, both ways together, and far less than in a second: the largest read and what it
/// follows.
const TURN_BYTES_MAX: usize = 768 * 1024;

/// More requests, or pieces of a stream, than a turn has.
const TURN_STEPS_MAX: usize = 1024;

/// How many turns are looked at.
const TURNS: usize = 100;

/// What is in time, also on a machine that is busy otherwise. Without turns it never comes.
const IN_TIME: Duration = Duration::from_secs(10);

/// What a connection has done in this turn.
#[derive(Default)]
struct Turn {
    bytes: AtomicUsize,
    /// Requests, and pieces of a stream.
    steps: AtomicUsize,
}

impl Turn {
    fn begin(&self) {
        self.bytes.store(0, Relaxed);
        self.steps.store(0, Relaxed);
    }

    /// Fails within the turn, which need not have an end.
    fn count(&self, bytes: usize, steps: usize) {
        let bytes = self.bytes.fetch_add(bytes, Relaxed) + bytes;
        let steps = self.steps.fetch_add(steps, Relaxed) + steps;
        assert!(bytes <= TURN_BYTES_MAX && steps <= TURN_STEPS_MAX, "{bytes} bytes and {steps} steps in one turn");
    }
}

/// A stream that is always ready. Its input is a head, then the same bytes again and again; it takes what is written.
struct Ready {
    head: Vec<u8>,
    more: Vec<u8>,
    /// How much of the head and of the rest was read.
    read: usize,
    turn: Arc<Turn>,
}

impl AsyncRead for Ready {
    fn poll_read(self: Pin<&mut Self>, _cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        let Ready { head, more, read, turn } = self.get_mut();
        let mut count = 0;
        while count < room.len() {
            let behind_head = read.checked_sub(head.len());
            let mut input = behind_head.map_or_else(|| &head[*read..], |behind| &more[behind % more.len()..]);
            let piece = input.read(&mut room[count..])?;
            *read += piece;
            count += piece;
        }
        turn.count(count, 0);
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Ready {
    fn poll_write(self: Pin<&mut Self>, _cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.turn.count(bytes.len(), 0);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Yields one byte at a time, always ready.
struct Pieces(Arc<Turn>);

impl AsyncRead for Pieces {
    fn poll_read(self: Pin<&mut Self>, _cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        self.0.count(0, 1);
        room[0] = b'x';
        Poll::Ready(Ok(1))
    }
}

async fn answer(mut req: Request, turn: Arc<Turn>) -> Result<Response> {
    turn.count(0, 1);
    match req.path() {
        "/echo" => stream(req.take_body()).into_response(),
        "/buffer" => buffer(&req).limit(usize::MAX).await?.into_response(),
        "/endless" => stream(repeat(b'x')).into_response(),
        "/upgrade" => upgrade(&req, "copy", async |io| {
            let (reader, writer) = split(io);
            let _ = copy(reader, writer).await;
        })
        .into_response(),
        "/pieces" => stream(Pieces(turn)).into_response(),
        _ => "hello".into_response(),
    }
}

const CHUNKED: &str = "transfer-encoding: chunked\r\n\r\n";
const CHUNK: &str = "1\r\nx\r\n";

/// The head and what follows it, again and again, of peers that keep a connection busy.
fn busy_peers() -> [(String, String); 9] {
    let post = |path: &str, framing: &str| format!("POST {path} HTTP/1.1\r\nhost: a\r\n{framing}");
    let long = format!("content-length: {}\r\n\r\n", u64::MAX / 2);
    let upgrade = "GET /upgrade HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: copy\r\n\r\n".to_owned();
    [
        (upgrade.clone(), "x".to_owned()),
        (upgrade, "x".repeat(1000)),
        (post("/echo", CHUNKED), CHUNK.to_owned()),
        (post("/echo", &long), "x".repeat(1000)),
        (post("/buffer", CHUNKED), CHUNK.to_owned()),
        (post("/unread", CHUNKED), CHUNK.to_owned()),
        (get("/endless"), get("/")),
        (get("/pieces"), get("/")),
        (get("/flood"), get("/flood")),
    ]
}

/// A connection with such a peer.
fn serve((head, more): (String, String)) -> impl Future<Output = io::Result<()>> {
    let turn = Arc::<Turn>::default();
    let stream = Ready { head: head.into(), more: more.into(), read: 0, turn: turn.clone() };
    // What a handler leaves unread is discarded without an end.
    let limits = Limits { unread_bytes_max: usize::MAX, ..Limits::default() };
    let turn_of_handler = turn.clone();
    let mut served = Box::pin(async move {
        let handler = async move |req: Request| answer(req, turn_of_handler.clone()).await;
        serve_connection(stream, &handler, &limits).await
    });
    poll_fn(move |cx| {
        turn.begin();
        served.as_mut().poll(cx)
    })
}

#[test]
fn a_turn_is_bounded_in_bytes_requests_and_pieces() {
    for peer in busy_peers() {
        let (mut served, mut turns) = (pin!(serve(peer)), 0);
        block_on(poll_fn(|cx| {
            assert!(served.as_mut().poll(cx).is_pending());
            turns += 1;
            if turns == TURNS { Poll::Ready(()) } else { Poll::Pending }
        }));
    }
}

#[test]
fn a_timer_fires_beside_a_connection_that_is_always_busy() {
    for peer in busy_peers() {
        let name = peer.0.clone();
        let timer = async {
            Timer::after(Duration::from_millis(10)).await;
            Ok(())
        };
        let start = Instant::now();
        block_on(serve(peer).or(timer)).unwrap();
        assert!(start.elapsed() < IN_TIME, "{name}: {:?}", start.elapsed());
    }
}

#[test]
fn a_task_runs_beside_connections_that_are_always_busy() {
    let executor = LocalExecutor::new();
    let busy: Vec<_> = busy_peers().map(|peer| executor.spawn(serve(peer))).into();
    let start = Instant::now();
    block_on(executor.run(executor.spawn(Timer::after(Duration::from_millis(10)))));
    assert!(start.elapsed() < IN_TIME, "{:?}", start.elapsed());
    assert!(busy.iter().all(|connection| !connection.is_finished()), "a connection has ended or panicked");
}
