//! What the examples answer.

use micro_smol::smol::block_on;
use micro_smol::{Body, Handler, Request, respond};

#[path = "../../examples/auth.rs"]
#[allow(dead_code, reason = "an example has a main of its own")]
mod auth;
#[path = "../../examples/compose.rs"]
#[allow(dead_code, reason = "an example has a main of its own")]
mod compose;
#[path = "../../examples/error_type.rs"]
#[allow(dead_code, reason = "an example has a main of its own")]
mod error_type;
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
#[path = "../../examples/router.rs"]
#[allow(dead_code, reason = "an example has a main of its own")]
mod router;
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
    ask(handler, Request::post(path).with_body(content))
}

fn ask(handler: &impl Handler, request: Request) -> (u16, String) {
    block_on(async {
        let mut response = respond(handler, request).await;
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
    let handler = compose::with_request_id(compose::errors_as_json(compose::greet));
    assert_eq!(answer(&handler, "/", ""), (200, "Hello, world".into()));
    assert_eq!(answer(&handler, "/x", ""), (404, r#"{"error":"There is only /"}"#.into()));
}

#[test]
fn compose_numbers_each_response() {
    let panicking = async |_req: Request| panic!("a panic that is part of the test") as ();
    let (handler, panicking) = (compose::with_request_id(compose::greet), compose::with_request_id(panicking));
    let number = |handler: &dyn Handler, path| {
        let response = block_on(respond(handler, Request::get(path)));
        response.header("x-request-id").map(str::to_owned)
    };
    assert_eq!(["/", "/x", "/"].map(|path| number(&handler, path).unwrap()), ["0", "1", "2"]);
    assert_eq!(number(&panicking, "/").unwrap(), "0");
}

#[test]
fn auth_hands_the_user_over() {
    let handler = auth::with_user(auth::users(), auth::greet);
    let asking = |authorization: &str| Request::get("/").with_header("authorization", authorization);
    assert_eq!(ask(&handler, asking("Bearer sesame")), (200, "Hello, Ann\n".into()));
    assert_eq!(ask(&handler, asking("Bearer open")).0, 401);
    assert_eq!(ask(&handler, Request::get("/")).0, 401);
    assert_eq!(ask(&auth::greet, Request::get("/")).0, 500);
}

#[test]
fn error_type_has_a_status_for_each_error() {
    let handler = error_type::with_statuses(error_type::buy);
    assert_eq!(answer(&handler, "/tea", ""), (200, "Here you are".into()));
    assert_eq!(answer(&handler, "/coffee", ""), (410, "Sold out".into()));
    assert_eq!(answer(&handler, "/milk", ""), (404, "We do not have that".into()));
}

#[test]
fn router_calls_the_handler_of_the_route() {
    let handler = router::router(vec![("GET /teas/*", Box::new(router::tea))]);
    assert_eq!(ask(&handler, Request::get("/teas/oolong")), (200, "A cup of oolong\n".into()));
    assert_eq!(ask(&handler, Request::get("/teas/oolong/hot")), (404, "Not found\n".into()));
    assert_eq!(answer(&handler, "/teas/oolong", "").0, 404);
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
