//! Handlers whose readers and panics are not what they should be: they harm one response, and no other.

use std::io::{ErrorKind, Read, Write};
use std::panic::panic_any;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_lite::io::{AsyncRead, AsyncReadExt, repeat};
use micro_smol::http_types::Body;
use micro_smol::{
    IntoResponse, Limits, Request, Response, Result, Running, buffer, listen, respond, serve_connection, smol, stream,
};

use crate::support::get;
use crate::test_service::{ask, connect_to};

/// Fills so much of the buffer with `x`, claims so many bytes, then waits for ever or is at its end.
struct Claiming {
    filled: usize,
    claimed: fn(usize) -> usize,
    is_read: bool,
}

impl AsyncRead for Claiming {
    fn poll_read(mut self: Pin<&mut Self>, _cx: &mut Context<'_>, room: &mut [u8]) -> Poll<std::io::Result<usize>> {
        if std::mem::replace(&mut self.is_read, true) {
            return Poll::Ready(Ok(0));
        }
        let filled = self.filled.min(room.len());
        room[..filled].fill(b'x');
        Poll::Ready(Ok((self.claimed)(room.len())))
    }
}

impl futures_lite::AsyncBufRead for Claiming {
    fn poll_fill_buf(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<std::io::Result<&[u8]>> {
        let is_read = std::mem::replace(&mut self.get_mut().is_read, true);
        Poll::Ready(Ok(if is_read { b"" } else { b"xxxxx" }))
    }

    fn consume(self: Pin<&mut Self>, _count: usize) {}
}

fn claiming(filled: usize, claimed: fn(usize) -> usize) -> Claiming {
    Claiming { filled, claimed, is_read: false }
}

/// Answers with content that is not as long as it claims to be.
async fn lie(req: Request) -> Result<Response> {
    match req.path() {
        "/more-than-room" => stream(claiming(5, |room| room + 1)).into_response(),
        "/much-more-than-room" => stream(claiming(5, |_| usize::MAX)).into_response(),
        "/more-than-room-with-length" => stream(claiming(5, |room| room + 1)).length(1 << 20).into_response(),
        "/more-than-length" => stream(claiming(11, |_| 11)).length(10).into_response(),
        "/more-than-length-later" => stream(repeat(b'x').take(5).chain(claiming(5, |_| 5))).length(9).into_response(),
        "/fewer-than-length" => stream(claiming(5, |_| 5)).length(10).into_response(),
        "/none" => stream(claiming(0, |_| 0)).length(10).into_response(),
        "/body-fewer" => Body::from_reader(claiming(5, |_| 5), Some(10)).into_response(),
        "/response-fewer" => {
            let mut response = Response::new(200);
            response.set_body(Body::from_reader(claiming(5, |_| 5), Some(10)));
            Ok(response)
        }
        _ => "right".into_response(),
    }
}

const LIES: [&str; 9] = [
    "/more-than-room",
    "/much-more-than-room",
    "/more-than-room-with-length",
    "/more-than-length",
    "/more-than-length-later",
    "/fewer-than-length",
    "/none",
    "/body-fewer",
    "/response-fewer",
];

/// What comes for a request until the connection ends, and whether it ends by a reset.
fn read_to_the_end(server: &Running, request: &str) -> (String, bool) {
    let mut client = connect_to(server.addr().unwrap());
    client.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let read = client.read_to_end(&mut answer);
    let is_reset = read.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset);
    (String::from_utf8(answer).unwrap(), is_reset)
}

/// Whether a client would take the answer for a whole one.
fn looks_whole(answer: &str, is_reset: bool) -> bool {
    let Some((head, content)) = answer.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    match length {
        Some(length) => content.len() >= length,
        None if head.contains("transfer-encoding: chunked") => content.ends_with("0\r\n\r\n"),
        None => !is_reset,
    }
}

#[test]
fn a_reader_that_lies_about_its_bytes_has_its_connection_cut() {
    let server = listen(lie).unwrap();
    let mut other = connect_to(server.addr().unwrap());
    for path in LIES {
        // A second request must not be answered where the content of the first is missing.
        for request in [get(path) + &get("/"), format!("GET {path} HTTP/1.0\r\n\r\n")] {
            let (answer, is_reset) = read_to_the_end(&server, &request);
            assert!(!looks_whole(&answer, is_reset), "{request:?}: {answer:?}");
            assert!(!answer.contains("right"), "{request:?}: {answer:?}");
            let content = answer.split_once("\r\n\r\n").map_or("", |(_, content)| content);
            assert!(content.trim_matches(['x', '5', '\r', '\n']).is_empty(), "{request:?}: {answer:?}");
            assert_eq!(ask(&mut other, "/"), "right");
            assert_eq!(ask(&mut connect_to(server.addr().unwrap()), "/"), "right");
        }
    }
}

/// A stream of a connection that claims more bytes than there are, in both directions.
struct ClaimingStream {
    input: Vec<u8>,
    is_read: bool,
}

impl AsyncRead for ClaimingStream {
    fn poll_read(mut self: Pin<&mut Self>, _cx: &mut Context<'_>, room: &mut [u8]) -> Poll<std::io::Result<usize>> {
        if std::mem::replace(&mut self.is_read, true) {
            return Poll::Ready(Ok(0));
        }
        room[..self.input.len()].copy_from_slice(&self.input);
        Poll::Ready(Ok(room.len() + 1000))
    }
}

impl futures_lite::AsyncWrite for ClaimingStream {
    fn poll_write(self: Pin<&mut Self>, _cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Ok(bytes.len() + 1000))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[test]
fn a_stream_that_claims_more_bytes_than_there_are_is_survived() {
    for input in [get("/"), "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n".to_owned()] {
        let stream = ClaimingStream { input: input.into(), is_read: false };
        let handler = async |req: Request| -> Result<Vec<u8>> { buffer(&req).await };
        let _ = smol::block_on(serve_connection(stream, &handler, &Limits::default()));
    }
}

/// What panics when it is dropped, also when what it panics with is dropped, so many times.
struct Bomb(usize);

impl Drop for Bomb {
    fn drop(&mut self) {
        if self.0 > 0 {
            panic_any(Bomb(self.0 - 1));
        }
    }
}

/// A reader that panics with it.
struct Bombing;

impl AsyncRead for Bombing {
    fn poll_read(self: Pin<&mut Self>, _cx: &mut Context<'_>, _room: &mut [u8]) -> Poll<std::io::Result<usize>> {
        panic_any(Bomb(3))
    }
}

/// A reader that panics when it is dropped.
struct DroppedBadly;

impl AsyncRead for DroppedBadly {
    fn poll_read(self: Pin<&mut Self>, _cx: &mut Context<'_>, _room: &mut [u8]) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Ok(0))
    }
}

impl Drop for DroppedBadly {
    fn drop(&mut self) {
        panic_any(Bomb(1));
    }
}

async fn bomb(req: Request) -> Result<Response> {
    match req.path() {
        "/" => "right".into_response(),
        "/reader" => stream(Bombing).into_response(),
        "/reader-dropped" => stream(DroppedBadly).into_response(),
        "/response-dropped" => {
            drop(stream(DroppedBadly));
            unreachable!()
        }
        "/later" => {
            smol::future::yield_now().await;
            panic_any(Bomb(1))
        }
        path => panic_any(Bomb(path.len())),
    }
}

#[test]
fn a_panic_whose_payload_panics_when_it_is_dropped_is_a_500() {
    let server = listen(bomb).unwrap();
    for path in ["/1", "/22", "/333", "/later", "/response-dropped"] {
        let mut client = connect_to(server.addr().unwrap());
        assert_eq!(ask(&mut client, path), "Internal Server Error", "{path}");
        assert_eq!(ask(&mut client, "/"), "right", "{path}");
        assert_eq!(smol::block_on(respond(&bomb, Request::get(path))).status(), 500, "{path}");
    }
    for path in ["/reader", "/reader-dropped"] {
        read_to_the_end(&server, &get(path));
        assert_eq!(ask(&mut connect_to(server.addr().unwrap()), "/"), "right", "{path}");
    }
    server.stop().unwrap();
}
