//! Responses on the wire: framing, HEAD, HTTP/1.0, streams.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::support::{answer, converse, get, ok, statuses};
use micro_smol::http_types;
use micro_smol::smol::io::{AsyncRead, Cursor};
use micro_smol::{Body, IntoResponse, Json, Limits, Request, Response, Result, json, send, stream};

/// Yields pieces, each of which is waited for, then ends or fails.
struct Pieces {
    pieces: VecDeque<io::Result<&'static str>>,
    waited: bool,
}

fn pieces(pieces: impl IntoIterator<Item = io::Result<&'static str>>) -> Pieces {
    Pieces { pieces: pieces.into_iter().collect(), waited: false }
}

impl AsyncRead for Pieces {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.waited = !self.waited;
        if self.waited {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let piece = self.pieces.pop_front().unwrap_or(Ok(""))?;
        buffer[..piece.len()].copy_from_slice(piece.as_bytes());
        Poll::Ready(Ok(piece.len()))
    }
}

fn broken() -> io::Result<&'static str> {
    Err(io::ErrorKind::BrokenPipe.into())
}

const CHUNKED: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ntransfer-encoding: chunked\r\n\r\n";

#[test]
fn each_kind_of_value_has_its_head() {
    let sent = |response: Response| {
        let response = std::sync::Mutex::new(Some(response));
        answer_once(async move |_req: Request| response.lock().unwrap().take())
    };
    fn answer_once(handler: impl micro_smol::Handler) -> String {
        converse(&handler, &Limits::default(), &[get("/").as_bytes()], usize::MAX).0
    }
    assert_eq!(sent(().into_response().unwrap()), "HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(sent("hi".into_response().unwrap()), ok("hi"));
    assert_eq!(sent("".into_response().unwrap()), ok(""));
    assert_eq!(
        sent(json!([1]).into_response().unwrap()),
        "HTTP/1.1 200 OK\r\ncontent-type: application/json; charset=utf-8\r\ncontent-length: 3\r\n\r\n[1]"
    );
    assert_eq!(
        sent(b"hi".into_response().unwrap()),
        "HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: 2\r\n\r\nhi"
    );
    assert_eq!(sent(send(404, ()).unwrap()), "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(sent(stream(Cursor::new("hi")).into_response().unwrap()), format!("{CHUNKED}2\r\nhi\r\n0\r\n\r\n"));
    let with_length = Body::from_reader(Cursor::new("hi"), Some(2));
    assert_eq!(
        sent(with_length.into_response().unwrap()),
        "HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: 2\r\n\r\nhi"
    );
}

#[test]
fn head_equals_get_without_the_content() {
    let head = get("/").replace("GET", "HEAD");
    assert_eq!(answer(&async |_req: Request| "hello", &head), ok("hello").replace("\r\n\r\nhello", "\r\n\r\n"));
    assert_eq!(answer(&async |_req: Request| stream(Cursor::new("hello")), &head), CHUNKED);
    assert_eq!(
        answer(&async |_req: Request| "hello", head.repeat(2)),
        ok("hello").replace("\r\n\r\nhello", "\r\n\r\n").repeat(2)
    );
}

#[test]
fn a_204_a_205_and_a_304_have_no_content() {
    let answer = |status: u16| answer(&async move |_req: Request| (status, "hello"), get("/") + &get("/"));
    let text = "content-type: text/plain; charset=utf-8\r\n";
    assert_eq!(answer(204), format!("HTTP/1.1 204 No Content\r\n{text}\r\n").repeat(2));
    assert_eq!(answer(304), format!("HTTP/1.1 304 Not Modified\r\n{text}\r\n").repeat(2));
    assert_eq!(answer(205), format!("HTTP/1.1 205 Reset Content\r\n{text}content-length: 0\r\n\r\n").repeat(2));
}

#[test]
fn an_interim_status_is_no_answer() {
    for status in [100, 101, 103] {
        assert_eq!(statuses(&async move |_req: Request| (status, ()), get("/") + &get("/")), ["500", "500"]);
    }
}

#[test]
fn framing_is_not_the_handlers_to_say() {
    let handler = async |_req: Request| -> Result<Response> {
        let response = send(200, "hello")?.with_header("content-length", "3").with_header("transfer-encoding", "gzip");
        Ok(response.with_header("connection", "keep-alive"))
    };
    let answer = answer(&handler, get("/"));
    assert_eq!(answer, ok("hello"));
}

#[test]
fn close_from_a_handler_is_honoured() {
    let handler =
        async |_req: Request| -> Result<Response> { Ok(send(200, "x")?.with_header("Connection", "x, Close")) };
    assert_eq!(statuses(&handler, get("/") + &get("/")), ["200 close"]);
}

#[test]
fn a_date_from_a_handler_is_kept() {
    let date = "Thu, 01 Jan 1970 00:00:00 GMT";
    let handler = async move |_req: Request| -> Result<Response> { Ok(send(200, "x")?.with_header("date", date)) };
    assert_eq!(answer(&handler, get("/")), ok("x"), "exactly one Date");
}

#[test]
fn a_field_that_would_break_the_head_is_500() {
    for value in ["a\r\nb: c", "a\nb", "a\rb", "a\0b", "a\x7fb", "\u{1b}[0m", "é"] {
        let handler = async move |_req: Request| -> Result<Response> { Ok(send(200, "x")?.with_header("x", value)) };
        let answer = answer(&handler, get("/") + &get("/"));
        let expected = ok("Internal Server Error").replace("200 OK", "500 Internal Server Error");
        assert_eq!(answer, expected.repeat(2), "{value:?}");
    }
    for name in ["a b", "a:b", "", "a\r\nb", "é", "a(b)"] {
        let handler = async move |_req: Request| -> Result<Response> { Ok(send(200, "x")?.with_header(name, "y")) };
        assert_eq!(statuses(&handler, get("/") + &get("/")), ["500", "500"], "{name:?}");
    }
}

#[test]
fn fields_of_one_name_are_lines_of_their_own() {
    let handler = async |_req: Request| -> Result<Response> {
        let mut response = send(200, "x")?;
        response.append_header("set-cookie", "a=1");
        response.append_header("set-cookie", "b=2");
        Ok(response)
    };
    let (answer, _) = converse(&handler, &Limits::default(), &[get("/").as_bytes()], usize::MAX);
    assert!(answer.contains("\r\nset-cookie: a=1\r\nset-cookie: b=2\r\n"), "{answer}");
}

#[test]
fn http_1_0_closes_unless_asked_not_to() {
    let handler = async |_req: Request| "x";
    let close = "GET / HTTP/1.0\r\n\r\n";
    let keep = "GET / HTTP/1.0\r\nConnection: foo, Keep-Alive\t\r\n\r\n";
    assert_eq!(statuses(&handler, format!("{keep}{close}{keep}")), ["200", "200 close"]);
    assert!(answer(&handler, keep).contains("\r\nconnection: keep-alive\r\n"));
}

#[test]
fn http_1_1_goes_on_unless_asked_not_to() {
    let handler = async |_req: Request| "x";
    for option in ["close", "Close", "keep-alive, close", "close \t", "\tclose,upgrade", ",close"] {
        let close = format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: {option}\r\n\r\n");
        assert_eq!(statuses(&handler, close + &get("/")), ["200 close"], "{option:?}");
    }
    for option in ["keep-alive", "upgrade", "closed", "x-close", "", "\"close\""] {
        let go_on = format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: {option}\r\nproxy-connection: close\r\n\r\n");
        assert_eq!(statuses(&handler, go_on + &get("/")), ["200", "200"], "{option:?}");
    }
}

#[test]
fn an_upgrade_that_nobody_takes_is_ignored() {
    let upgrade = "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    assert_eq!(statuses(&async |_req: Request| "x", format!("{upgrade}{}", get("/"))), ["200", "200"]);
}

#[test]
fn a_stream_leaves_in_chunks_as_it_comes() {
    let handler = async |_req: Request| stream(pieces([Ok("one"), Ok("two and three"), Ok("4")]));
    let answer = answer(&handler, get("/").repeat(2));
    assert_eq!(answer, format!("{CHUNKED}3\r\none\r\nd\r\ntwo and three\r\n1\r\n4\r\n0\r\n\r\n").repeat(2));
}

#[test]
fn a_long_stream_leaves_in_long_chunks() {
    let handler = async |_req: Request| stream(Cursor::new(vec![b'x'; 200_000]));
    let answer = answer(&handler, get("/"));
    let (_, mut chunks) = answer.split_once("\r\n\r\n").unwrap();
    let mut sizes = Vec::new();
    while let Some((size, rest)) = chunks.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        chunks = &rest[size + 2..];
        sizes.push(size);
    }
    assert_eq!((chunks, sizes.iter().sum::<usize>()), ("", 200_000));
    assert!(sizes.len() <= 5, "{sizes:?}");
}

#[test]
fn an_empty_stream_is_the_last_chunk_alone() {
    assert_eq!(answer(&async |_req: Request| stream(Cursor::new("")), get("/")), format!("{CHUNKED}0\r\n\r\n"));
}

#[test]
fn a_stream_to_http_1_0_ends_with_the_connection() {
    let handler = async |_req: Request| stream(pieces([Ok("one"), Ok("two")]));
    let answer = answer(&handler, "GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n");
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\nconnection: close\r\n\r\n";
    assert_eq!(answer, format!("{head}onetwo"));
}

#[test]
fn a_stream_that_fails_half_way_is_cut() {
    let handler = async |_req: Request| stream(pieces([Ok("one"), broken()]));
    let (answer, ended) = converse(&handler, &Limits::default(), &[get("/").repeat(2).as_bytes()], usize::MAX);
    assert_eq!(answer, format!("{CHUNKED}3\r\none\r\n"));
    assert!(ended.is_err());
}

#[test]
fn a_body_that_is_shorter_or_longer_than_declared_is_cut() {
    let sent = |declared: usize| {
        let handler = async move |_req: Request| {
            let reader = futures_lite::io::BufReader::new(pieces([Ok("one"), Ok("two")]));
            let mut response = http_types::Response::new(200);
            response.set_body(Body::from_reader(reader, Some(declared)));
            response
        };
        let (answer, ended) = converse(&handler, &Limits::default(), &[get("/").as_bytes()], usize::MAX);
        (answer.split_once("\r\n\r\n").map(|(_, content)| content.to_owned()), ended.is_ok())
    };
    assert_eq!(sent(5), (Some("one".into()), false));
    assert_eq!(sent(6), (Some("onetwo".into()), true));
    assert_eq!(sent(7), (Some("onetwo".into()), false));
}

#[test]
fn a_request_can_be_streamed_back() {
    let handler = async |mut req: Request| stream(req.take_body());
    let input =
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
    let (answer, _) = converse(&handler, &Limits::default(), &[(input.to_owned() + &get("/")).as_bytes()], usize::MAX);
    assert_eq!(answer, format!("{CHUNKED}b\r\nhello world\r\n0\r\n\r\n{CHUNKED}0\r\n\r\n"));
    let expecting = input.replace("transfer", "expect: 100-continue\r\ntransfer");
    let (head, body) = expecting.split_at(expecting.find("5\r\n").unwrap());
    let (answer, _) = converse(&handler, &Limits::default(), &[head.as_bytes(), body.as_bytes()], usize::MAX);
    assert_eq!(answer, format!("HTTP/1.1 100 Continue\r\n\r\n{CHUNKED}b\r\nhello world\r\n0\r\n\r\n"));
}

#[test]
fn a_large_value_leaves_whole() {
    let handler = async |_req: Request| Json("x".repeat(300_000));
    let answer = answer(&handler, get("/").repeat(2));
    assert_eq!(answer.matches(&format!("\r\ncontent-length: 300002\r\n\r\n\"{}\"", "x".repeat(300_000))).count(), 2);
}
