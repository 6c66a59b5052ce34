//! Responses on the wire: framing, HEAD, HTTP/1.0, streams.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::support::{answer, converse, get, ok, statuses};
use micro_smol::http_types;
use micro_smol::smol::io::{AsyncRead, Cursor};
use micro_smol::smol::stream::{self as streams, StreamExt};
use micro_smol::{Body, IntoResponse, Json, Limits, Request, Response, Result, StatusCode, chunks, json, send, stream};

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
fn a_head_says_no_length_that_is_not_known_to_be_true() {
    let handler = async |req: Request| -> Result<Response> {
        let response = if req.path() == "/empty" { send(200, "")? } else { send(200, "hello")? };
        Ok(response.with_header("content-length", "1234"))
    };
    let head = |path| get(path).replace("GET", "HEAD");
    let text = "HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\n";
    assert_eq!(answer(&handler, head("/empty").repeat(2)), format!("{text}\r\n").repeat(2));
    assert_eq!(answer(&handler, head("/")), format!("{text}content-length: 5\r\n\r\n"));
    assert_eq!(answer(&handler, get("/empty") + &get("/")), ok("") + &ok("hello"));
    // A length that a handler declares for content that it has not made.
    let declaring = async |_req: Request| stream(Cursor::new("")).length(1234);
    let declared = "HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: 1234\r\n\r\n";
    assert_eq!(answer(&declaring, head("/")), declared);
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
    for value in ["a\r\nb: c", "a\nb", "a\rb", "a\0b", "a\x7fb", "\u{1b}[0m"] {
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
fn a_field_value_may_have_any_byte_that_a_field_can() {
    for value in ["é", "日本", "a\tb", "", " a ", "~!\"#"] {
        let handler = async move |_req: Request| -> Result<Response> { Ok(send(200, "x")?.with_header("x", value)) };
        let expected = ok("x").replace("\r\ncontent-length", &format!("\r\nx: {value}\r\ncontent-length"));
        assert_eq!(answer(&handler, get("/").repeat(2)), expected.repeat(2), "{value:?}");
    }
}

#[test]
fn twelve_fields_leave_in_the_order_and_with_the_names_that_were_set() {
    let names =
        ["Zeta", "alpha", "X-One", "x-two", "set-cookie", "ETag", "Vary", "set-cookie", "B", "a", "Link", "link"];
    let handler = async move |_req: Request| -> Result<Response> {
        let mut response = send(200, "x")?;
        for (number, name) in names.into_iter().enumerate() {
            response.append_header(name, format!("{number}"));
        }
        Ok(response)
    };
    let fields: String = names.iter().enumerate().map(|(number, name)| format!("{name}: {number}\r\n")).collect();
    let expected = ok("x").replace("content-length", &format!("{fields}content-length"));
    assert_eq!(answer(&handler, get("/").repeat(20)), expected.repeat(20));
}

#[test]
fn a_field_that_is_set_again_leaves_in_its_last_place() {
    let handler =
        async |_req: Request| Response::new(200).with_header("A", "1").with_header("b", "2").with_header("a", "3");
    assert_eq!(answer(&handler, get("/")), "HTTP/1.1 200 OK\r\nb: 2\r\na: 3\r\ncontent-length: 0\r\n\r\n");
}

#[test]
fn a_status_and_fields_leave_with_the_value() {
    let handler =
        async |_req: Request| (201, [("location", "/tea/1"), ("Set-Cookie", "a"), ("Set-Cookie", "b")], "made");
    let expected = ok("made")
        .replace("200 OK", "201 Created")
        .replace("content-length", "location: /tea/1\r\nSet-Cookie: a\r\nSet-Cookie: b\r\ncontent-length");
    assert_eq!(answer(&handler, get("/")), expected);
}

#[test]
fn a_body_that_moves_on_keeps_its_type() {
    let handler = async |_req: Request| send(200, json!({}))?.take_body().into_response();
    let expected = "HTTP/1.1 200 OK\r\ncontent-type: application/json;charset=utf-8\r\ncontent-length: 2\r\n\r\n{}";
    assert_eq!(answer(&handler, get("/")), expected);
}

#[test]
fn reason_phrases_are_those_of_the_standard() {
    // RFC 9110, 15, and the IANA registry; only those that http-types knows.
    let table = [
        "200 OK",
        "201 Created",
        "202 Accepted",
        "203 Non-Authoritative Information",
        "204 No Content",
        "205 Reset Content",
        "206 Partial Content",
        "207 Multi-Status",
        "226 IM Used",
        "300 Multiple Choices",
        "301 Moved Permanently",
        "302 Found",
        "303 See Other",
        "304 Not Modified",
        "307 Temporary Redirect",
        "308 Permanent Redirect",
        "400 Bad Request",
        "401 Unauthorized",
        "402 Payment Required",
        "403 Forbidden",
        "404 Not Found",
        "405 Method Not Allowed",
        "406 Not Acceptable",
        "407 Proxy Authentication Required",
        "408 Request Timeout",
        "409 Conflict",
        "410 Gone",
        "411 Length Required",
        "412 Precondition Failed",
        "413 Content Too Large",
        "414 URI Too Long",
        "415 Unsupported Media Type",
        "416 Range Not Satisfiable",
        "417 Expectation Failed",
        "418 I'm a teapot",
        "421 Misdirected Request",
        "422 Unprocessable Content",
        "423 Locked",
        "424 Failed Dependency",
        "425 Too Early",
        "426 Upgrade Required",
        "428 Precondition Required",
        "429 Too Many Requests",
        "431 Request Header Fields Too Large",
        "451 Unavailable For Legal Reasons",
        "500 Internal Server Error",
        "501 Not Implemented",
        "502 Bad Gateway",
        "503 Service Unavailable",
        "504 Gateway Timeout",
        "505 HTTP Version Not Supported",
        "506 Variant Also Negotiates",
        "507 Insufficient Storage",
        "508 Loop Detected",
        "510 Not Extended",
        "511 Network Authentication Required",
    ];
    let known = (200..1000).filter(|status| StatusCode::try_from(*status).is_ok());
    assert_eq!(known.collect::<Vec<u16>>(), table.map(|line| line[..3].parse::<u16>().unwrap()));
    for line in table {
        let status: u16 = line[..3].parse().unwrap();
        let (answer, _) =
            converse(&async move |_req: Request| (status, ()), &Limits::default(), &[get("/").as_bytes()], usize::MAX);
        assert_eq!(answer.lines().next(), Some(format!("HTTP/1.1 {line}").as_str()));
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
fn chunks_leave_as_they_come() {
    let handler = async |_req: Request| chunks(streams::iter(["one", "", "two and three"]).map(io::Result::Ok));
    let (answer, ended) = converse(&handler, &Limits::default(), &[get("/").as_bytes()], usize::MAX);
    assert_eq!(answer, format!("{CHUNKED}10\r\nonetwo and three\r\n0\r\n\r\n"));
    assert!(ended.is_ok());
    let handler = async |_req: Request| {
        chunks(streams::iter(["one", "two and three"]).then(|piece| async move {
            micro_smol::smol::future::yield_now().await;
            io::Result::Ok(piece.to_owned())
        }))
    };
    let (answer, _) = converse(&handler, &Limits::default(), &[get("/").as_bytes()], usize::MAX);
    assert_eq!(answer, format!("{CHUNKED}3\r\none\r\nd\r\ntwo and three\r\n0\r\n\r\n"));
}

#[test]
fn chunks_that_fail_are_cut() {
    let handler = async |_req: Request| chunks(streams::iter([Ok("one"), Err(io::ErrorKind::Other.into())]));
    let (answer, ended) = converse(&handler, &Limits::default(), &[get("/").repeat(2).as_bytes()], usize::MAX);
    assert!(answer.starts_with(CHUNKED) && !answer.ends_with("0\r\n\r\n"), "{answer}");
    assert_eq!((answer.matches("HTTP/1.1").count(), ended.is_err()), (1, true), "{answer}");
}

/// What is sent for two requests if a length is declared for `onetwo`, and whether the connection ended well.
fn sent_with_length(length: u64, version: &str) -> (String, bool) {
    let input = format!("GET / HTTP/{version}\r\nhost: a\r\nconnection: keep-alive\r\n\r\n").repeat(2);
    let handler = async move |_req: Request| chunks(streams::iter(["one", "two"]).map(io::Result::Ok)).length(length);
    let (answer, ended) = converse(&handler, &Limits::default(), &[input.as_bytes()], usize::MAX);
    (answer, ended.is_ok())
}

#[test]
fn a_stream_of_the_declared_length_leaves_by_length() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: 6\r\n";
    assert_eq!(sent_with_length(6, "1.1"), (format!("{head}\r\nonetwo").repeat(2), true));
    assert_eq!(sent_with_length(6, "1.0"), (format!("{head}connection: keep-alive\r\n\r\nonetwo").repeat(2), true));
}

#[test]
fn a_stream_longer_than_declared_is_cut() {
    for (declared, version) in (0..6).flat_map(|declared| [(declared, "1.1"), (declared, "1.0")]) {
        let (answer, is_ok) = sent_with_length(declared, version);
        let (head, content) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("\r\ncontent-length: {declared}")), "{head}");
        let is_part = "onetwo".starts_with(content) && (content.len() as u64) < declared;
        assert!(is_part || (content.is_empty() && declared == 0), "{declared}: {content:?}");
        assert!(!is_ok, "{declared}");
    }
}

#[test]
fn a_stream_shorter_than_declared_is_cut() {
    for declared in [7, 1_000_000, u64::MAX] {
        let (answer, is_ok) = sent_with_length(declared, "1.1");
        let (head, content) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("\r\ncontent-length: {declared}")), "{head}");
        assert!("onetwo".starts_with(content) && !is_ok, "{declared}: {content:?}");
    }
}

#[test]
fn a_stream_that_waits_at_its_declared_length_is_whole() {
    let handler = async |_req: Request| stream(pieces([Ok("one"), Ok("two")])).length(3);
    let (answer, ended) = converse(&handler, &Limits::default(), &[get("/").repeat(2).as_bytes()], usize::MAX);
    let one = "HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: 3\r\n\r\none";
    assert_eq!(answer, one.repeat(2));
    assert!(ended.is_ok());
}

#[test]
fn a_reader_that_claims_more_than_its_room_is_cut() {
    struct Boasting;
    impl AsyncRead for Boasting {
        fn poll_read(self: Pin<&mut Self>, _cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(buffer.len() + 1))
        }
    }
    for length in [None, Some(1_000_000)] {
        let handler = async move |_req: Request| {
            let boasting = stream(Boasting);
            match length {
                Some(length) => boasting.length(length),
                None => boasting,
            }
        };
        let (answer, ended) = converse(&handler, &Limits::default(), &[get("/").repeat(2).as_bytes()], usize::MAX);
        let (_, content) = answer.split_once("\r\n\r\n").unwrap();
        assert_eq!((content, ended.is_err()), ("", true));
    }
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
