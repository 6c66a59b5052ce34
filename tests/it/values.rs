//! What a handler may return, and what becomes of it.

use std::borrow::Cow;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use micro_smol::http_types::{self, mime};
use micro_smol::smol::block_on;
use micro_smol::smol::io::Cursor;
use micro_smol::smol::stream::{self as streams, StreamExt};
use micro_smol::{
    Body, IntoResponse, Json, Method, Request, Response, Result, StatusCode, chunks, json, respond, send, stream,
};
use serde::{Serialize, Serializer};

const TEXT: Option<&str> = Some("text/plain; charset=utf-8");
const JSON: Option<&str> = Some("application/json; charset=utf-8");
const BYTES: Option<&str> = Some("application/octet-stream");

fn parts(value: impl IntoResponse) -> (u16, Option<String>, String) {
    let mut response = value.into_response().unwrap();
    let content_type = response.header("content-type").map(str::to_owned);
    (response.status().into(), content_type, block_on(response.body_string()).unwrap())
}

#[track_caller]
fn assert_sent(value: impl IntoResponse, status: u16, content_type: Option<&str>, content: &str) {
    assert_eq!(parts(value), (status, content_type.map(str::to_owned), content.to_owned()));
}

#[test]
fn nothing_is_204() {
    assert_sent((), 204, None, "");
    assert_sent(None::<String>, 204, None, "");
}

#[test]
fn text_is_text() {
    assert_sent("héllo", 200, TEXT, "héllo");
    assert_sent(String::from("x"), 200, TEXT, "x");
    assert_sent(Cow::Borrowed("x"), 200, TEXT, "x");
    assert_sent(Cow::Owned::<str>("x".into()), 200, TEXT, "x");
    assert_sent("", 200, TEXT, "");
}

#[test]
fn bytes_are_an_octet_stream() {
    assert_sent(b"x", 200, BYTES, "x");
    assert_sent(&b"x"[..], 200, BYTES, "x");
    assert_sent(vec![b'x'], 200, BYTES, "x");
    assert_sent(Vec::new(), 200, BYTES, "");
}

#[test]
fn numbers_and_bools_are_json() {
    assert_sent(-1, 200, JSON, "-1");
    assert_sent(1_u8, 200, JSON, "1");
    assert_sent(usize::MAX, 200, JSON, &usize::MAX.to_string());
    assert_sent(i128::MIN, 200, JSON, &i128::MIN.to_string());
    assert_sent(1.5_f32, 200, JSON, "1.5");
    assert_sent(f64::NAN, 200, JSON, "null");
    assert_sent(true, 200, JSON, "true");
}

#[test]
fn json_is_json() {
    #[derive(Serialize)]
    struct Tea {
        name: &'static str,
    }
    assert_sent(json!({ "a": [1, null] }), 200, JSON, r#"{"a":[1,null]}"#);
    assert_sent(Json(Tea { name: "oolong" }), 200, JSON, r#"{"name":"oolong"}"#);
    assert_sent(Json("text"), 200, JSON, "\"text\"");
}

#[test]
fn json_that_cannot_be_serialised_is_500() {
    struct Stubborn;
    impl Serialize for Stubborn {
        fn serialize<S: Serializer>(&self, _serializer: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("no"))
        }
    }
    let error = Json(Stubborn).into_response().unwrap_err();
    assert_eq!((error.status(), error.to_string()), (StatusCode::InternalServerError, "no".into()));
}

#[test]
fn a_stream_is_an_octet_stream() {
    assert_sent(stream(Cursor::new("x")), 200, BYTES, "x");
}

#[test]
fn chunks_are_an_octet_stream() {
    assert_sent(chunks(streams::iter(["one, ", "", "two"]).map(io::Result::Ok)), 200, BYTES, "one, two");
    assert_sent(chunks(streams::once(Ok(String::from("x")))), 200, BYTES, "x");
    assert_sent(chunks(streams::once(Ok(vec![b'x']))), 200, BYTES, "x");
    assert_sent(chunks(streams::empty::<io::Result<&str>>()), 200, BYTES, "");
    let long = "0123456789".repeat(100_000);
    assert_sent(chunks(streams::once(Ok(long.clone()))), 200, BYTES, &long);
}

#[test]
fn a_chunk_that_fails_fails_the_body() {
    let pieces = streams::iter([Ok("one"), Err(io::Error::other("no more"))]);
    let mut response = chunks(pieces).into_response().unwrap();
    assert_eq!(block_on(response.body_string()).unwrap_err().to_string(), "no more");
}

#[test]
fn a_stream_declares_a_length_that_is_known() {
    let length = |value: Result<Response>| value.unwrap().len();
    assert_eq!(length(stream(Cursor::new("hello")).into_response()), None);
    assert_eq!(length(stream(Cursor::new("hello")).length(5).into_response()), Some(5));
    assert_eq!(length(chunks(streams::once(io::Result::Ok("hello"))).into_response()), None);
    assert_eq!(length(chunks(streams::once(io::Result::Ok("hello"))).length(5).into_response()), Some(5));
    assert_eq!(length(send(206, stream(Cursor::new("hello")).length(5))), Some(5));
}

#[test]
fn a_stream_needs_neither_sync_nor_unpin() {
    struct Reader(std::cell::Cell<bool>, std::marker::PhantomPinned);
    impl micro_smol::smol::io::AsyncRead for Reader {
        fn poll_read(self: Pin<&mut Self>, _cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
            buffer[0] = b'x';
            Poll::Ready(Ok(usize::from(!self.0.replace(true))))
        }
    }
    assert_sent(stream(Reader(false.into(), std::marker::PhantomPinned)), 200, BYTES, "x");
}

#[test]
fn a_body_says_what_it_is() {
    assert_sent(Body::from("x"), 200, Some("text/plain;charset=utf-8"), "x");
    assert_sent(Body::from(vec![b'x']), 200, BYTES, "x");
    assert_sent(Body::empty(), 200, None, "");
    let mut html = Body::from("x");
    html.set_mime(mime::HTML);
    assert_sent(html, 200, Some("text/html;charset=utf-8"), "x");
}

#[test]
fn a_response_is_itself() {
    assert_sent(send(201, "x").unwrap(), 201, TEXT, "x");
    let mut response = http_types::Response::new(418);
    response.set_body("x");
    assert_sent(response, 418, Some("text/plain;charset=utf-8"), "x");
    assert_sent(http_types::Response::new(204), 204, None, "");
}

#[test]
fn a_status_goes_with_any_value() {
    assert_sent((201, "x"), 201, TEXT, "x");
    assert_sent((StatusCode::Accepted, ()), 202, None, "");
    assert_sent((404, None::<u8>), 404, None, "");
    assert_sent((404, json!(null)), 404, JSON, "null");
    assert_sent(send(400, json!({ "error": "x" })), 400, JSON, r#"{"error":"x"}"#);
    assert_sent(send(204, ()), 204, None, "");
    assert_sent(send(200, ()), 200, None, "");
    assert_sent(send(500, send(400, "x")), 500, TEXT, "x");
}

#[test]
fn a_status_and_fields_go_with_any_value() {
    let fields = |response: &Response| {
        let text = |(name, value): (&str, &[u8])| format!("{name}: {}", str::from_utf8(value).unwrap());
        response.headers().map(text).collect::<Vec<_>>()
    };
    let made = (201, [("Location", "/tea/1"), ("x", "y")], "made").into_response().unwrap();
    assert_eq!(fields(&made), ["content-type: text/plain; charset=utf-8", "Location: /tea/1", "x: y"]);
    assert_sent(made, 201, TEXT, "made");
    let cookies = (StatusCode::Ok, [("set-cookie", "a=1"), ("set-cookie", "b=2")], ()).into_response().unwrap();
    assert_eq!(fields(&cookies), ["set-cookie: a=1", "set-cookie: b=2"]);
    assert_sent(cookies, 200, None, "");
    assert_sent((200, [("Content-Type", "text/html")], "<p>"), 200, Some("text/html"), "<p>");
    assert_sent((404, [("x", String::from("y"))], json!({})), 404, JSON, "{}");
    assert_sent((404, [(String::from("x"), "y")], None::<u8>), 404, None, "");
    let replaced = send(200, "x").unwrap().with_header("x", "1").with_header("y", "2");
    let replaced = (202, [("X", "3")], replaced).into_response().unwrap();
    assert_eq!(fields(&replaced), ["content-type: text/plain; charset=utf-8", "y: 2", "X: 3"]);
    assert_sent(replaced, 202, TEXT, "x");
    assert_eq!((299, [("x", "y")], "z").into_response().unwrap_err().status(), 500);
    let error = (200, [("x", "y")], Err::<(), _>(micro_smol::create_error(409, "no"))).into_response().unwrap_err();
    assert_eq!(error.status(), 409);
    let none: [(&str, &str); 0] = [];
    assert_sent((200, none, "x"), 200, TEXT, "x");
}

#[test]
fn an_option_or_a_result_is_what_is_in_it() {
    assert_sent(Some("x"), 200, TEXT, "x");
    assert_sent(Ok::<_, std::io::Error>("x"), 200, TEXT, "x");
    assert_sent(Ok::<_, micro_smol::Error>(Some(vec![b'x'])), 200, BYTES, "x");
    assert_sent(Some(Ok::<_, micro_smol::Error>(())), 204, None, "");
}

#[test]
fn a_content_type_that_was_set_is_kept() {
    assert_sent(
        send(200, "{}").unwrap().with_header("Content-Type", "application/ld+json"),
        200,
        Some("application/ld+json"),
        "{}",
    );
    let mut response = send(200, json!({})).unwrap();
    response.insert_header("content-type", "text/html");
    assert_sent(response, 200, Some("text/html"), "{}");
    let mut response = send(200, json!({})).unwrap();
    response.set_body("<p>");
    assert_sent(response, 200, JSON, "<p>");
}

#[test]
fn a_content_type_moves_on_with_the_body() {
    let body = send(200, json!({})).unwrap().take_body();
    assert_eq!(body.mime().essence(), "application/json");
    let moved = body.into_response().unwrap();
    assert_sent(moved, 200, Some("application/json;charset=utf-8"), "{}");
    let body = send(200, "x").unwrap().with_header("content-type", "application/ld+json").take_body();
    assert_sent(body, 200, Some("application/ld+json"), "x");
    let mut moved = Response::new(201);
    moved.set_body(send(200, json!([])).unwrap().take_body());
    assert_sent(moved, 201, Some("application/json;charset=utf-8"), "[]");
    // Where there is one, it stays.
    let mut kept = send(200, "x").unwrap();
    kept.set_body(send(200, json!([])).unwrap().take_body());
    assert_sent(kept, 200, TEXT, "[]");
    let request = Request::post("/").with_body(send(200, json!(1)).unwrap().take_body());
    assert_eq!(request.content_type().unwrap().essence(), "application/json");
}

#[test]
fn a_content_type_is_not_invented() {
    let mut response = send(200, ()).unwrap();
    drop(response.take_body());
    assert!(response.header("content-type").is_none());
    let mut response = Response::from(http_types::Response::new(200));
    assert_eq!(block_on(response.body_bytes()).unwrap(), b"");
    assert!(response.header("content-type").is_none());
    assert!(http_types::Response::from(response).header("content-type").is_none());
}

#[test]
fn a_body_that_was_taken_leaves_no_length() {
    let mut response = send(200, "x").unwrap();
    assert_eq!(response.len(), Some(1));
    drop(response.take_body());
    assert_eq!(response.len(), Some(0));
}

#[test]
fn a_response_is_made_of_a_status() {
    let empty = Response::new(304);
    assert_eq!((empty.status(), empty.len(), empty.headers().count()), (StatusCode::NotModified, Some(0), 0));
    assert_sent(Response::new(StatusCode::Created), 201, None, "");
    let mut response = Response::new(200).with_header("X-A", "1");
    response.set_body("hello");
    assert_eq!((response.header("x-a"), response.len()), (Some("1"), Some(5)));
    assert_sent(response, 200, Some("text/plain;charset=utf-8"), "hello");
    for unknown in [0, 299, 600] {
        assert_sent(Response::new(unknown), 500, TEXT, "Internal Server Error");
    }
}

#[test]
fn a_response_changes_its_fields() {
    let mut response = send(200, "x").unwrap();
    response.append_header("Accept", "1");
    response.append_header("accept", "2");
    response.append_header("b", "3");
    let fields = |response: &Response| {
        let fields = response.headers().map(|(name, value)| format!("{name}={}", str::from_utf8(value).unwrap()));
        fields.collect::<Vec<_>>()
    };
    let content_type = "content-type=text/plain; charset=utf-8";
    assert_eq!(fields(&response), [content_type, "Accept=1", "accept=2", "b=3"]);
    response.insert_header("ACCEPT", "4");
    assert_eq!(fields(&response), [content_type, "b=3", "ACCEPT=4"]);
    response.remove_header("B");
    response.append_header("Content-Type", "text/tea");
    assert_eq!(fields(&response), ["ACCEPT=4", content_type, "Content-Type=text/tea"]);
    response.remove_header("content-type");
    assert_eq!((fields(&response), response.header("content-type")), (vec!["ACCEPT=4".to_owned()], None));
}

#[test]
fn the_body_of_a_response_is_read_in_three_ways() {
    let response = || send(200, json!([1, 2])).unwrap();
    assert_eq!(block_on(response().body_string()).unwrap(), "[1,2]");
    assert_eq!(block_on(response().body_bytes()).unwrap(), b"[1,2]");
    assert_eq!(block_on(response().body_json::<[u8; 2]>()).unwrap(), [1, 2]);
    assert_eq!(block_on(response().body_json::<u8>()).unwrap_err().status(), 422);
    assert_eq!(block_on(send(200, b"\xff").unwrap().body_string()).unwrap_err().status(), 422);
    let mut read = response();
    block_on(read.body_bytes()).unwrap();
    assert_eq!((block_on(read.body_bytes()).unwrap(), read.len()), (vec![], Some(0)), "it is taken");
}

#[test]
fn a_response_of_http_types_keeps_all_there_and_back() {
    for length in [Some(5), None] {
        let mut original = http_types::Response::new(418);
        original.set_body(Body::from_reader(Cursor::new("hello"), length));
        original.insert_header("content-type", "text/tea");
        for value in ["3", "1", "2"] {
            original.append_header("x-order", value);
        }
        let response = Response::from(original);
        assert_eq!((response.status(), response.len()), (StatusCode::ImATeapot, length));
        assert_eq!(response.header("content-type"), Some("text/tea"));
        let values: Vec<_> =
            response.headers().filter(|(name, _)| *name == "x-order").map(|(_, value)| value).collect();
        assert_eq!(values, [b"3", b"1", b"2"]);
        let mut back = http_types::Response::from(response);
        assert_eq!((back.status(), back.len()), (StatusCode::ImATeapot, length));
        let values: Vec<_> = back["x-order"].iter().map(|value| value.as_str()).collect();
        assert_eq!((values, back["content-type"].as_str()), (vec!["3", "1", "2"], "text/tea"));
        assert_eq!(block_on(back.body_string()).unwrap(), "hello");
    }
}

#[test]
fn a_field_that_http_types_cannot_hold_is_left_out() {
    let response = Response::new(200).with_header("é", "1").with_header("x", "é").with_header("y", "2");
    let converted = http_types::Response::from(response);
    assert_eq!(converted.iter().count(), 1);
    assert_eq!(converted["y"], "2");
}

#[test]
fn the_response_to_a_head_converts_without_content() {
    let handler = async |_req: Request| "hello";
    let response = block_on(respond(&handler, Request::new(Method::Head, "/")));
    assert_eq!(response.len(), Some(5));
    let mut converted = http_types::Response::from(response);
    assert_eq!(block_on(converted.body_string()).unwrap(), "");
}

#[test]
fn a_response_converts_to_http_types_and_back() {
    let response = http_types::Response::from(send(201, "x").unwrap());
    assert_eq!((response.status(), response.len()), (StatusCode::Created, Some(1)));
    assert_eq!(response["content-type"], "text/plain; charset=utf-8");
    assert_sent(Response::from(response), 201, TEXT, "x");
}

#[test]
fn a_status_can_be_set_before_and_after_a_header() {
    let mut response = send(201, "x").unwrap();
    assert_eq!(response.header("content-type").unwrap(), "text/plain; charset=utf-8");
    response.set_status(StatusCode::Accepted);
    assert_eq!(response.status(), StatusCode::Accepted);
    response.insert_header("x", "y");
    response.set_status(StatusCode::Gone);
    assert_eq!((response.status(), response.header("x")), (StatusCode::Gone, Some("y")));
}
