//! What a handler may return, and what becomes of it.

use std::borrow::Cow;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use micro_smol::http_types::{self, mime};
use micro_smol::smol::block_on;
use micro_smol::smol::io::Cursor;
use micro_smol::{Body, IntoResponse, Json, Request, Response, Result, StatusCode, json, respond, send, stream};
use serde::{Serialize, Serializer};

const TEXT: Option<&str> = Some("text/plain; charset=utf-8");
const JSON: Option<&str> = Some("application/json; charset=utf-8");
const BYTES: Option<&str> = Some("application/octet-stream");

fn parts(value: impl IntoResponse) -> (u16, Option<String>, String) {
    let mut response = value.into_response().unwrap();
    let content_type = response.header("content-type").map(|values| values.as_str().to_owned());
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
fn json_that_cannot_be_serialised_is_400() {
    struct Stubborn;
    impl Serialize for Stubborn {
        fn serialize<S: Serializer>(&self, _serializer: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("no"))
        }
    }
    let error = Json(Stubborn).into_response().unwrap_err();
    assert_eq!((error.status(), error.to_string()), (StatusCode::BadRequest, "no".into()));
}

#[test]
fn a_stream_is_an_octet_stream() {
    assert_sent(stream(Cursor::new("x")), 200, BYTES, "x");
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
    response.set_content_type(mime::HTML);
    assert_sent(response, 200, Some("text/html;charset=utf-8"), "{}");
}

#[test]
fn a_content_type_is_not_invented() {
    let mut response = send(200, ()).unwrap();
    drop(response.take_body());
    assert!(response.header("content-type").is_none());
    let mut response = Response::from(http_types::Response::new(200));
    assert_eq!(block_on(response.body_bytes()).unwrap(), b"");
    assert!(response.header("content-type").is_none());
}

#[test]
fn http_types_is_told_that_a_body_was_taken() {
    let mut response = send(200, "x").unwrap();
    assert_eq!(response.len(), Some(1));
    drop(response.take_body());
    assert_eq!(response.len(), Some(0));
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
    assert_eq!(response.deref_status(), StatusCode::Accepted);
    response.insert_header("x", "y");
    response.set_status(StatusCode::Gone);
    assert_eq!((response.status(), response.deref_status()), (StatusCode::Gone, StatusCode::Gone));
}

/// The status as http-types has it.
trait DerefStatus {
    fn deref_status(&self) -> StatusCode;
}

impl DerefStatus for Response {
    fn deref_status(&self) -> StatusCode {
        std::ops::Deref::deref(self).status()
    }
}

#[test]
fn every_kind_of_function_is_a_handler() {
    async fn function(_req: Request) -> &'static str {
        "x"
    }
    fn returns_future(_req: Request) -> impl Future<Output = &'static str> {
        std::future::ready("x")
    }
    let text = |response: &mut Response| block_on(response.body_string()).unwrap();
    let captured = String::from("x");
    let request = Request::default;
    assert_eq!(text(&mut block_on(respond(&function, request()))), "x");
    assert_eq!(text(&mut block_on(respond(&returns_future, request()))), "x");
    assert_eq!(text(&mut block_on(respond(&|_| async { "x" }, request()))), "x");
    assert_eq!(text(&mut block_on(respond(&async move |_| captured.clone(), request()))), "x");
}

#[test]
fn a_handler_may_hold_what_is_not_send() {
    let handler = async |_req: Request| {
        let count = std::rc::Rc::new(1);
        micro_smol::smol::future::yield_now().await;
        *count
    };
    assert_sent(block_on(respond(&handler, Request::default())), 200, JSON, "1");
}
