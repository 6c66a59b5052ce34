//! Errors, their statuses, and what of them the peer is shown.

use std::io;

use micro_smol::smol::block_on;
use micro_smol::{
    Error, Handler, IntoResponse, Request, Response, Result, Status, StatusCode, create_error, create_error_from,
    respond, send, send_error,
};

fn shown(error: impl Into<Error>) -> (u16, String) {
    let mut response = send_error(error);
    assert_eq!(response.header("content-type"), Some("text/plain; charset=utf-8"));
    (response.status().into(), block_on(response.body_string()).unwrap())
}

fn answered(handler: impl Handler) -> (u16, String) {
    let mut response = block_on(respond(&handler, Request::default()));
    (response.status().into(), block_on(response.body_string()).unwrap())
}

#[test]
fn the_message_of_a_created_error_is_shown() {
    assert_eq!(shown(create_error(429, "Rate limit exceeded")), (429, "Rate limit exceeded".into()));
    assert_eq!(shown(create_error(503, "Back at noon")), (503, "Back at noon".into()));
    assert_eq!(shown(create_error(StatusCode::ImATeapot, format!("{}", 1))), (418, "1".into()));
}

#[test]
fn the_message_of_any_other_error_is_shown_below_500() {
    assert_eq!(shown(Error::from_str(404, "No such tea")), (404, "No such tea".into()));
    assert_eq!(shown(Error::from_str(500, "password is hunter2")), (500, "Internal Server Error".into()));
    assert_eq!(shown(io::Error::other("password is hunter2")), (500, "Internal Server Error".into()));
    assert_eq!(shown(Error::from_str(503, "secret")), (503, "Service Unavailable".into()));
}

#[test]
fn what_is_said_around_a_created_error_is_not_shown() {
    let wrapped = create_error(502, "Back at noon").into_inner().context("password is hunter2");
    assert_eq!(shown(Error::new(502, wrapped)), (502, "Back at noon".into()));
}

#[test]
fn an_error_keeps_its_original() {
    let error = create_error_from(400, "Not a number", "x".parse::<u8>().unwrap_err());
    assert_eq!(error.status(), 400);
    assert!(error.downcast_ref::<std::num::ParseIntError>().is_some());
    assert!(format!("{error:?}").contains("invalid digit"));
    assert_eq!(shown(error), (400, "Not a number".into()));
}

#[test]
fn an_error_of_an_error_keeps_the_first_original() {
    let inner = create_error_from(400, "inner", "x".parse::<u8>().unwrap_err());
    let outer = create_error_from(502, "outer", inner);
    assert!(outer.downcast_ref::<std::num::ParseIntError>().is_some());
    assert_eq!(shown(outer), (502, "outer".into()));
}

#[test]
fn a_status_unknown_to_http_types_is_500() {
    for status in [0, 99, 299, 600, 999, u16::MAX] {
        assert_eq!(shown(create_error(status, "shown?")), (500, "Internal Server Error".into()));
        assert_eq!(shown(create_error_from(status, "shown?", io::Error::other("x"))).0, 500);
        assert_eq!(send(status, "x").unwrap_err().to_string(), format!("http-types knows no status {status}"));
    }
}

#[test]
fn question_mark_turns_any_error_into_500() {
    let handler = async |_req: Request| -> Result<String> { Ok(std::fs::read_to_string("/nowhere")?) };
    assert_eq!(answered(handler), (500, "Internal Server Error".into()));
}

#[test]
fn a_failure_can_be_given_a_status() {
    let denied = || Err::<(), _>(io::Error::from(io::ErrorKind::PermissionDenied));
    assert_eq!(shown(denied().status(403).unwrap_err()), (403, "permission denied".into()));
    assert_eq!(shown(None::<()>.status(404).unwrap_err()), (404, "Not Found".into()));
    assert_eq!(shown(Err::<(), _>(create_error(400, "x")).status(409).unwrap_err()), (409, "x".into()));
    assert_eq!(shown(denied().status(299).unwrap_err()).0, 500);
    assert_eq!(shown(None::<()>.status(299).unwrap_err()).0, 500);
    assert_eq!(Ok::<_, io::Error>(1).status(404).unwrap(), 1);
    assert_eq!(Some(1).status(404).unwrap(), 1);
}

#[test]
fn the_errors_of_other_libraries_are_errors() {
    let handler = async |_req: Request| -> Result<u8> { Ok("300".parse()?) };
    assert_eq!(answered(handler).0, 500);
    let handler = async |_req: Request| "300".parse::<u8>();
    assert_eq!(answered(handler).0, 500);
    let handler = async |_req: Request| -> Result<u8> { "300".parse().status(422) };
    assert_eq!(answered(handler), (422, "number too large to fit in target type".into()));
}

#[test]
fn a_panic_is_500() {
    assert_eq!(answered(|_: Request| async { panic!("secret") as () }), (500, "Internal Server Error".into()));
    assert_eq!(answered(immediate), (500, "Internal Server Error".into()));
}

/// Panics before there is a future.
#[allow(clippy::manual_async_fn, reason = "the panic is to happen in the call itself")]
fn immediate(_req: Request) -> impl Future<Output = ()> {
    if true {
        panic!("secret");
    }
    async {}
}

#[test]
fn errors_can_be_handled_by_composition() {
    fn handle_errors(handler: impl Handler) -> impl Handler {
        async move |req| handler.call(req).await.or_else(|_| send(500, "My custom error!"))
    }
    let handler = async |_req: Request| -> Result<Response> { Err(create_error(400, "x")) };
    assert_eq!(answered(handle_errors(handler)), (500, "My custom error!".into()));
    let handler = async |_req: Request| "fine";
    assert_eq!(answered(handle_errors(handler)), (200, "fine".into()));
}

#[test]
fn an_error_is_the_conversion_of_itself() {
    let error = Err::<(), _>(create_error(409, "x")).into_response().unwrap_err();
    assert_eq!(error.status(), 409);
}
