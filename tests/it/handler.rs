//! Handlers: functions, wrappers, lists of them; and what `respond` makes of them.

use std::collections::HashMap;
use std::fmt;

use crate::support::{answer, converse, exchange, get, ok, post};
use micro_smol::http_types::{self, Body};
use micro_smol::smol::block_on;
use micro_smol::smol::io::{AsyncWriteExt, Cursor};
use micro_smol::{
    Answer, Handler, IntoResponse, Limits, Method, Request, Response, Result, StatusCode, create_error,
    create_error_from, json, listen, respond, send, serve_connection, stream, upgrade,
};

fn content(handler: &dyn Handler, request: Request) -> String {
    block_on(async { respond(handler, request).await.body_string().await.unwrap() })
}

#[test]
fn every_kind_of_function_is_a_handler() {
    async fn function(_req: Request) -> &'static str {
        "x"
    }
    fn returns_future(_req: Request) -> impl Future<Output = &'static str> {
        std::future::ready("x")
    }
    let captured = String::from("x");
    assert_eq!(content(&function, Request::default()), "x");
    assert_eq!(content(&returns_future, Request::default()), "x");
    assert_eq!(content(&|_| async { "x" }, Request::default()), "x");
    assert_eq!(content(&async move |_| captured.clone(), Request::default()), "x");
}

#[test]
fn a_type_of_ones_own_is_a_handler() {
    struct Constant(&'static str);
    impl Handler for Constant {
        fn call(&self, _req: Request) -> Answer<'_> {
            Box::pin(async { send(200, self.0) })
        }
    }
    assert_eq!(answer(&Constant("x"), get("/")), ok("x"));
}

#[test]
fn a_handler_may_hold_what_is_not_send() {
    let handler = async |_req: Request| {
        let count = std::rc::Rc::new(1);
        micro_smol::smol::future::yield_now().await;
        *count
    };
    assert_eq!(content(&handler, Request::default()), "1");
}

fn wrap(handler: impl Handler) -> impl Handler {
    async move |mut req: Request| {
        let depth: u32 = req.header("x-depth").and_then(|depth| depth.parse().ok()).unwrap_or(0);
        req.insert_header("x-depth", (depth + 1).to_string());
        Ok::<_, micro_smol::Error>(handler.call(req).await?.with_header("x-wrapped", "yes"))
    }
}

fn wrap_ten_times(handler: impl Handler) -> impl Handler {
    wrap(wrap(wrap(wrap(wrap(wrap(wrap(wrap(wrap(wrap(handler))))))))))
}

fn wrapped_forty_times() -> impl Handler {
    let depth = async |req: Request| req.header("x-depth").unwrap_or_default().to_owned();
    wrap_ten_times(wrap_ten_times(wrap_ten_times(wrap_ten_times(depth))))
}

#[test]
fn forty_wrappers_compile_and_answer() {
    assert_eq!(content(&wrapped_forty_times(), Request::get("/")), "40");
    let expected = ok("40").replace("\r\ncontent-length", "\r\nx-wrapped: yes\r\ncontent-length");
    assert_eq!(answer(&wrapped_forty_times(), get("/").repeat(2)), expected.repeat(2));
    let server = listen(wrapped_forty_times()).unwrap();
    assert!(exchange(&server, b"GET / HTTP/1.0\r\n\r\n").ends_with("\r\n\r\n40"));
    // It is compiled, and not called: it would serve by the options of the tests.
    let _main: fn() -> std::process::ExitCode = || micro_smol::run(wrapped_forty_times());
}

/// Answers with the handler of the first route that fits.
fn router(routes: Vec<(&'static str, Box<dyn Handler>)>) -> impl Handler {
    async move |req: Request| match routes.iter().find(|(path, _)| *path == req.path()) {
        Some((_, handler)) => handler.call(req).await,
        None => Err(create_error(404, "There is no such route")),
    }
}

#[test]
fn a_router_is_a_list_of_boxed_handlers() {
    async fn tea(_req: Request) -> &'static str {
        "tea"
    }
    async fn echo(req: Request) -> Result<serde_json::Value> {
        json(&req).await
    }
    use micro_smol::serde_json;
    let counted = wrap(async |req: Request| req.header("x-depth").map(str::to_owned));
    let router = router(vec![("/tea", Box::new(tea)), ("/echo", Box::new(echo)), ("/wrapped", Box::new(counted))]);
    assert_eq!(answer(&router, get("/tea")), ok("tea"));
    assert!(answer(&router, post("[1, 2]").replace("POST /", "POST /echo")).ends_with("\r\n\r\n[1,2]"));
    assert_eq!(content(&router, Request::get("/wrapped")), "1");
    assert_eq!(block_on(respond(&router, Request::get("/coffee"))).status(), 404);
}

#[test]
fn a_boxed_handler_is_a_handler() {
    let boxed: Box<dyn Handler> = Box::new(wrap(async |_req: Request| "x"));
    let by_name = HashMap::from([("a", boxed)]);
    let handler: Box<dyn Handler> = Box::new(wrap(async move |req: Request| match by_name.get("a") {
        Some(handler) => handler.call(req).await,
        None => send(404, ()),
    }));
    assert_eq!(content(&handler, Request::get("/")), "x");
    let (answer, _) = converse(&handler, &Limits::default(), &[get("/").as_bytes()], usize::MAX);
    assert!(answer.contains("\r\nx-wrapped: yes\r\n"), "{answer}");
    let server = listen(handler).unwrap();
    assert!(exchange(&server, b"GET / HTTP/1.0\r\n\r\n").ends_with("\r\n\r\nx"));
}

#[test]
fn a_handler_of_unknown_type_serves_a_connection() {
    let handlers: [&dyn Handler; 2] = [&async |_req: Request| "one", &async |_req: Request| 2];
    for (handler, expected) in handlers.into_iter().zip(["one", "2"]) {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        std::io::Write::write_all(&mut &theirs, b"GET / HTTP/1.0\r\n\r\n").unwrap();
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        let ours = micro_smol::smol::Async::new(ours).unwrap();
        block_on(serve_connection(ours, handler, &Limits::default())).unwrap();
        let answer = std::io::read_to_string(theirs).unwrap();
        assert!(answer.ends_with(&format!("\r\n\r\n{expected}")), "{answer}");
    }
}

#[test]
fn a_wrapper_gives_its_own_errors_statuses() {
    #[derive(Debug)]
    struct SoldOut;
    impl fmt::Display for SoldOut {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("sold out")
        }
    }
    impl std::error::Error for SoldOut {}
    fn with_statuses(handler: impl Handler) -> impl Handler {
        async move |req: Request| {
            handler.call(req).await.map_err(|error| match error.downcast_ref() {
                Some(SoldOut) => create_error_from(410, "No more of it", error),
                None => error,
            })
        }
    }
    let handler = with_statuses(async |req: Request| -> Result<&'static str> {
        match req.path() {
            "/tea" => Err(SoldOut.into()),
            "/milk" => Err(create_error(404, "No milk")),
            _ => Ok("here you are"),
        }
    });
    let gone = ok("No more of it").replace("200 OK", "410 Gone");
    let missing = ok("No milk").replace("200 OK", "404 Not Found");
    let input = ["/tea", "/milk", "/water"].map(get).concat();
    assert_eq!(answer(&handler, input), [gone, missing, ok("here you are")].concat());
}

fn with_cors(handler: impl Handler) -> impl Handler {
    async move |req: Request| respond(&handler, req).await.with_header("access-control-allow-origin", "*")
}

#[test]
fn respond_within_a_wrapper_changes_nothing_else() {
    let wrapped = with_cors(answer_by_path);
    for method in ["GET", "HEAD"] {
        for path in PATHS {
            let input = format!("{method} {path} HTTP/1.1\r\nhost: a\r\n\r\n");
            let plain = answer(&answer_by_path, input.repeat(2));
            assert_eq!(
                answer(&wrapped, input.repeat(2)).replace("access-control-allow-origin: *\r\n", ""),
                plain,
                "{method} {path}"
            );
        }
    }
}

#[test]
fn respond_within_a_wrapper_keeps_an_upgrade() {
    let handler = with_cors(async |req: Request| {
        upgrade(&req, "hello", async |mut io| {
            io.write_all(b"hello").await.unwrap();
        })
    });
    let ask = "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: hello\r\n\r\n";
    let head = "HTTP/1.1 101 Switching Protocols\r\nupgrade: hello\r\naccess-control-allow-origin: *\r\n";
    assert_eq!(answer(&handler, ask), format!("{head}connection: upgrade\r\n\r\nhello"));
}

#[test]
fn respond_within_a_wrapper_reaches_the_responses_to_errors() {
    let handler = with_cors(async |req: Request| -> Result<Response> {
        match req.path() {
            "/error" => Err(create_error(404, "No such tea")),
            "/panic" => panic!("a panic that is part of the test"),
            "/field" => Ok(Response::new(200).with_header("a b", "c")),
            "/json" => json::<u8>(&req).await.and_then(|number| send(200, number)),
            _ => send(200, "fine"),
        }
    });
    let input = ["/error", "/panic", "/field", "/json", "/"].map(get).concat();
    let (answer, _) = converse(&handler, &Limits::default(), &[input.as_bytes()], usize::MAX);
    let statuses: Vec<_> = answer.split("HTTP/1.1 ").skip(1).map(|message| &message[..3]).collect();
    assert_eq!(statuses, ["404", "500", "500", "400", "200"]);
    assert_eq!(answer.matches("\r\naccess-control-allow-origin: *\r\n").count(), 5, "{answer}");
}

/// Answers in each way that has a length of its own.
async fn answer_by_path(req: Request) -> Result<Response> {
    match req.path() {
        "/text" => "hello".into_response(),
        "/empty" => "".into_response(),
        "/json" => json!({ "a": [1, 2] }).into_response(),
        "/bytes" => vec![7; 100_000].into_response(),
        "/body" => Body::from("hello").into_response(),
        "/reader" => Body::from_reader(Cursor::new("hello"), Some(5)).into_response(),
        "/unknown" => Body::from_reader(Cursor::new("hello"), None).into_response(),
        "/stream" => stream(Cursor::new("hello")).into_response(),
        "/length" => stream(Cursor::new("hello")).length(5).into_response(),
        "/http" => {
            let mut response = http_types::Response::new(201);
            response.set_body("hello");
            response.into_response()
        }
        "/nothing" => ().into_response(),
        "/204" | "/205" | "/304" => send(req.path()[1..].parse::<u16>()?, "hello"),
        "/500" => Err(std::io::Error::other("part of the test").into()),
        "/field" => Ok(send(200, "hello")?.with_header("a b", "c")),
        "/100" => send(100, "hello"),
        _ => Err(create_error(404, "There is no such path")),
    }
}

const PATHS: [&str; 17] = [
    "/text", "/empty", "/json", "/bytes", "/body", "/reader", "/unknown", "/stream", "/length", "/http", "/nothing",
    "/204", "/205", "/304", "/500", "/field", "/404",
];

#[test]
fn respond_gives_the_response_that_the_server_sends() {
    for method in [Method::Get, Method::Head] {
        for path in PATHS.into_iter().chain(["/100"]) {
            let input = format!("{method} {path} HTTP/1.1\r\nhost: a\r\n\r\n");
            let (answer, _) = converse(&answer_by_path, &Limits::default(), &[input.as_bytes()], usize::MAX);
            let (head, sent) = answer.split_once("\r\n\r\n").unwrap();
            let mut fields: Vec<_> = head.lines().skip(1).collect();
            let mut response = block_on(respond(&answer_by_path, Request::new(method, path)));
            let (status, length) = (response.status(), response.len());
            assert!(head.starts_with(&format!("HTTP/1.1 {} ", u16::from(status))), "{method} {path}: {head}");
            let framing = match (u16::from(status), length) {
                (204 | 304, _) => None,
                (205, _) => Some("content-length: 0".to_owned()),
                (_, Some(0)) if method == Method::Head => None,
                (_, Some(length)) => Some(format!("content-length: {length}")),
                (_, None) => Some("transfer-encoding: chunked".to_owned()),
            };
            let as_text = |(name, value)| format!("{name}: {}", str::from_utf8(value).unwrap());
            let expected: Vec<_> = response.headers().map(as_text).chain(framing).collect();
            fields.retain(|field| *field != "connection: close");
            assert_eq!(fields, expected, "{method} {path}");
            let content = block_on(response.body_bytes()).unwrap();
            match length {
                None if method == Method::Get => {
                    let chunked = format!("{:x}\r\n{}\r\n0\r\n\r\n", content.len(), str::from_utf8(&content).unwrap());
                    assert_eq!(sent, chunked, "{path}");
                }
                _ => assert_eq!(sent, String::from_utf8_lossy(&content), "{method} {path}"),
            }
        }
    }
}

#[test]
fn respond_gives_no_content_where_none_is_sent() {
    let respond_to = |method, path| block_on(respond(&answer_by_path, Request::new(method, path)));
    for path in ["/204", "/205", "/304", "/nothing"] {
        let mut response = respond_to(Method::Get, path);
        assert_eq!((response.len(), block_on(response.body_string()).unwrap()), (Some(0), String::new()), "{path}");
    }
    let mut head = respond_to(Method::Head, "/text");
    assert_eq!((head.status(), head.len()), (StatusCode::Ok, Some(5)), "as long as that of a GET");
    assert_eq!(head.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(block_on(head.body_string()).unwrap(), "");
    assert_eq!(respond_to(Method::Head, "/stream").len(), None);
    assert_eq!(block_on(respond_to(Method::Get, "/text").body_string()).unwrap(), "hello");
}

#[test]
fn respond_makes_a_500_of_what_cannot_be_sent() {
    for path in ["/field", "/100"] {
        let mut response = block_on(respond(&answer_by_path, Request::get(path)));
        assert_eq!((response.status(), response.headers().count()), (StatusCode::InternalServerError, 1), "{path}");
        assert_eq!(block_on(response.body_string()).unwrap(), "Internal Server Error");
    }
    for value in ["a\nb", "a\rb", "\0"] {
        let handler = async move |_req: Request| Response::new(200).with_header("x", value);
        assert_eq!(block_on(respond(&handler, Request::get("/"))).status(), 500, "{value:?}");
    }
    let unknown = async |_req: Request| (299, "x");
    assert_eq!(block_on(respond(&unknown, Request::get("/"))).status(), 500);
}
