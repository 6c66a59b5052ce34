//! What the examples answer.

use micro_smol::http_types::{Body, Request};
use micro_smol::smol::block_on;
use micro_smol::{Handler, respond};

#[path = "../../examples/compose.rs"]
#[allow(dead_code, reason = "an example has a main of its own")]
mod compose;
#[path = "../../examples/errors.rs"]
#[allow(dead_code, reason = "an example has a main of its own")]
mod errors;
#[path = "../../examples/hello.rs"]
#[allow(dead_code, reason = "an example has a main of its own")]
mod hello;
#[path = "../../examples/json.rs"]
#[allow(dead_code, reason = "an example has a main of its own")]
mod json;
#[path = "../../examples/rate_limit.rs"]
#[allow(dead_code, reason = "an example has a main of its own")]
mod rate_limit;
#[path = "../../examples/sleep.rs"]
#[allow(dead_code, reason = "an example has a main of its own")]
mod sleep;
#[path = "../../examples/sse.rs"]
#[allow(dead_code, reason = "an example has a main of its own")]
pub mod sse;
#[path = "../../examples/stream.rs"]
#[allow(dead_code, reason = "an example has a main of its own")]
mod stream;
#[path = "../../examples/unix.rs"]
#[allow(dead_code, reason = "an example has a main of its own")]
mod unix;
#[path = "../../examples/urlencoded.rs"]
#[allow(dead_code, reason = "an example has a main of its own")]
mod urlencoded;

fn answer(handler: &impl Handler, path: &str, content: impl Into<Body>) -> (u16, String) {
    let mut request = Request::post(format!("http://localhost{path}").as_str());
    request.set_body(content);
    block_on(async {
        let mut response = respond(handler, request.into()).await;
        (response.status().into(), response.body_string().await.unwrap())
    })
}

#[test]
fn hello_greets() {
    assert_eq!(answer(&hello::handler, "/", ""), (200, "Hello, world".into()));
}

#[test]
fn sleep_is_ready() {
    assert_eq!(answer(&sleep::handler, "/", ""), (200, "Ready!".into()));
}

#[test]
fn json_multiplies() {
    assert_eq!(answer(&json::handler, "/", r#"{ "price": 6, "count": 7 }"#), (200, r#"{"total":42}"#.into()));
    assert_eq!(answer(&json::handler, "/", r#"{ "price": 6 }"#).0, 422);
    assert_eq!(answer(&json::handler, "/", "{").0, 400);
}

#[test]
fn urlencoded_reads_a_form() {
    assert_eq!(answer(&urlencoded::handler, "/", "name=Ann&tea=Earl+Grey"), (200, "Earl Grey for Ann\n".into()));
    assert_eq!(answer(&urlencoded::handler, "/", "tea=x").0, 422);
}

#[test]
fn errors_have_statuses() {
    let answer = |path| answer(&errors::handler, path, "");
    assert_eq!(answer("/teapot"), (418, "Short and stout".into()));
    assert_eq!(answer("/number"), (500, "Is it a number?".into()));
    assert_eq!(answer("/file").0, 404);
    assert_eq!(answer("/secret"), (500, "Internal Server Error".into()));
    assert_eq!(answer("/panic"), (500, "Internal Server Error".into()));
    assert_eq!(answer("/").0, 200);
}

#[test]
fn rate_limit_limits() {
    let handler = rate_limit::rate_limit(hello::handler);
    for _ in 0..10 {
        assert_eq!(answer(&handler, "/", "").0, 200);
    }
    assert_eq!(answer(&handler, "/", ""), (429, "Rate limit exceeded".into()));
}

#[test]
fn compose_answers_errors_in_json() {
    let handler = compose::timed(compose::errors_as_json(compose::greet));
    assert_eq!(answer(&handler, "/", ""), (200, "Hello, world".into()));
    assert_eq!(answer(&handler, "/x", ""), (404, r#"{"error":"There is only /"}"#.into()));
}

#[test]
fn sse_has_a_page() {
    let (status, page) = answer(&sse::handler, "/", "");
    assert!(status == 200 && page.contains("new EventSource(\"/events\")"), "{page}");
}

#[test]
fn stream_counts_down() {
    assert_eq!(answer(&stream::handler, "/", ""), (200, "3\n2\n1\nLift-off\n".into()));
}

#[test]
fn unix_greets() {
    assert_eq!(answer(&unix::handler, "/", ""), (200, "Hello, neighbour\n".into()));
}
