//! A live stream of events, as in the example `sse`.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::examples::sse;
use crate::support::{connect, get};
use futures_lite::{AsyncRead, AsyncWrite, StreamExt, stream};
use micro_smol::smol::block_on;
use micro_smol::smol::channel::{self, Sender};
use micro_smol::{Limits, Request, Running, chunks, listen, serve, serve_connection};

const EVENT: &str = "data: x\n\n";

/// A server of one stream, whose limits are all short, and what feeds it. It can be fed until the stream is dropped.
fn listen_short(timeout: Duration) -> (Running, Sender<String>) {
    let (sender, receiver) = channel::bounded(1);
    let receiver = Mutex::new(Some(receiver));
    let handler = async move |_req: Request| {
        let events = receiver.lock().unwrap().take();
        events.map(|events| chunks(events.map(io::Result::Ok)))
    };
    let limits = Limits {
        head_timeout: timeout,
        idle_timeout: timeout,
        body_timeout: timeout,
        write_timeout: timeout,
        ..Limits::default()
    };
    (serve(handler).listen("tcp://127.0.0.1:0").unwrap().workers(1).limits(limits).start().unwrap(), sender)
}

fn read_until(client: &mut TcpStream, end: &str) -> String {
    let mut read = Vec::new();
    while !read.ends_with(end.as_bytes()) {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        read.push(byte[0]);
    }
    String::from_utf8(read).unwrap()
}

#[test]
fn an_event_leaves_before_the_next_is_there() {
    let (server, sender) = listen_short(Duration::from_secs(10));
    let mut client = connect(&server);
    client.write_all(get("/events").as_bytes()).unwrap();
    assert!(read_until(&mut client, "\r\n\r\n").starts_with("HTTP/1.1 200 OK\r\n"));
    for count in 0..100 {
        let event = format!("data: {count:02}\n\n");
        sender.send_blocking(event.clone()).unwrap();
        assert_eq!(read_until(&mut client, "\n\n\r\n"), format!("a\r\n{event}\r\n"));
    }
}

#[test]
fn silence_longer_than_every_timeout_does_not_cut_a_live_stream() {
    let timeout = Duration::from_millis(50);
    let (server, sender) = listen_short(timeout);
    let mut client = connect(&server);
    client.write_all(get("/events").as_bytes()).unwrap();
    for _ in 0..2 {
        std::thread::sleep(4 * timeout);
        sender.send_blocking(EVENT.to_owned()).unwrap();
        read_until(&mut client, "data: x\n\n\r\n");
    }
}

#[test]
fn the_stream_is_dropped_when_the_client_has_left() {
    let (server, sender) = listen_short(Duration::from_secs(10));
    let mut client = connect(&server);
    client.write_all(get("/events").as_bytes()).unwrap();
    sender.send_blocking(EVENT.to_owned()).unwrap();
    read_until(&mut client, "data: x\n\n\r\n");
    drop(client);
    while sender.send_blocking(EVENT.to_owned()).is_ok() {}
}

#[test]
fn the_example_ends_by_itself_when_the_server_stops() {
    let server = listen(sse::handler).unwrap();
    let mut client = connect(&server);
    client.write_all(get("/events").as_bytes()).unwrap();
    let head = read_until(&mut client, "\r\n\r\n");
    assert!(head.contains("\r\ncontent-type: text/event-stream\r\ncache-control: no-store\r\n"), "{head}");
    server.stop().unwrap();
    let mut rest = String::new();
    client.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with("0\r\n\r\n"), "{rest}");
}

static MADE_BYTES: AtomicUsize = AtomicUsize::new(0);

/// A peer that asks once, and then takes little by little; it ends when it has taken enough.
#[derive(Default)]
struct SlowReader {
    asked: bool,
    hesitated: bool,
    taken_bytes: usize,
}

impl SlowReader {
    const ENOUGH_BYTES: usize = 20_000_000;
    /// Far less than it takes in all: what is made and not yet taken, a chunk or two.
    const WAITING_BYTES_MAX: usize = 200_000;
}

impl AsyncRead for SlowReader {
    fn poll_read(mut self: Pin<&mut Self>, _cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if std::mem::replace(&mut self.asked, true) {
            return Poll::Pending;
        }
        Poll::Ready(get("/events").as_bytes().read(buffer))
    }
}

impl AsyncWrite for SlowReader {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let waiting_bytes = MADE_BYTES.load(Relaxed).saturating_sub(self.taken_bytes);
        assert!(waiting_bytes <= Self::WAITING_BYTES_MAX, "{waiting_bytes}");
        self.hesitated = !self.hesitated;
        if self.hesitated {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let count = bytes.len().min(1000);
        self.taken_bytes += count;
        let is_enough = self.taken_bytes > Self::ENOUGH_BYTES;
        Poll::Ready(if is_enough { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(count) })
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[test]
fn events_are_made_no_faster_than_a_slow_reader_takes_them() {
    let endless = async |_req: Request| {
        chunks(stream::repeat_with(|| {
            MADE_BYTES.fetch_add(EVENT.len(), Relaxed);
            io::Result::Ok(EVENT)
        }))
    };
    let ended = block_on(serve_connection(SlowReader::default(), &endless, &Limits::default()));
    assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    assert!(MADE_BYTES.load(Relaxed) > SlowReader::ENOUGH_BYTES / 2);
}
