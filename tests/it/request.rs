//! The request: as it was received, as a wrapper changes it, as a test makes it, as http-types has it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use crate::support::{answer, connect, converse, echo, exchange, get, ok, post};
use micro_smol::http_types;
use micro_smol::smol::block_on;
use micro_smol::smol::future::poll_once;
use micro_smol::smol::io::Cursor;
use micro_smol::{
    Body, Handler, Limits, Method, Request, Response, Result, Url, Version, create_error, listen, respond, text,
};
use serde::Deserialize;

#[test]
fn a_request_says_what_was_received() {
    let handler = async |req: Request| {
        format!("{} {} {:?} {:?} {}", req.method(), req.path(), req.query_string(), req.header("X-Tea"), req.version())
    };
    let input = "PUT /a%20b?c HTTP/1.1\r\nHost: h\r\nx-tea:\t oolong \r\nX-TEA: second\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(answer(&handler, input), ok("PUT /a%20b Some(\"c\") Some(\"oolong\") HTTP/1.1"));
}

/// All fields of a request, a line each.
fn lines(req: &Request) -> String {
    req.headers().map(|(name, value)| format!("{name}={}\n", value.escape_ascii())).collect()
}

#[test]
fn fields_are_in_order_with_names_as_they_were_received() {
    let input = b"GET / HTTP/1.1\r\nX-Tea: 1\r\nHost: h\r\nx-tea:\t 2 \r\nempty:\r\nX-TEA: \xe9\r\n\r\n";
    let expected = "X-Tea=1\nHost=h\nx-tea=2\nempty=\nX-TEA=\\xe9\n";
    assert_eq!(answer(&async |req: Request| lines(&req), input), ok(expected));
}

/// Refuses `/admin`, and changes the request otherwise.
fn guarded(handler: impl Handler) -> impl Handler {
    async move |mut req: Request| {
        if req.path().starts_with("/admin") {
            return Err(create_error(403, "Forbidden"));
        }
        req.insert_header("x-checked", "yes");
        handler.call(req).await
    }
}

#[test]
fn the_path_is_the_same_before_and_behind_a_wrapper_that_sets_a_field() {
    async fn shop(req: Request) -> Result<String> {
        assert_eq!(req.header("x-checked"), Some("yes"));
        match req.path() {
            "/admin" => Ok("the secret".to_owned()),
            path => Err(create_error(404, format!("There is no {path}"))),
        }
    }
    let handler = guarded(shop);
    for path in ["/x/../admin", "/%2e/admin", "/x/%2e%2e/admin", "/x\\..\\admin", "//admin", "/./admin", "/%61dmin"] {
        let message = format!("There is no {path}");
        let expected = ok(&message).replace("200 OK", "404 Not Found");
        assert_eq!(answer(&handler, get(path)), expected, "{path}");
        let mut response = block_on(respond(&handler, Request::get(path)));
        assert_eq!(response.status(), 404, "{path}");
        assert_eq!(block_on(response.body_string()).unwrap(), message);
    }
    assert!(answer(&handler, get("/admin")).starts_with("HTTP/1.1 403 "));
    assert!(answer(&handler, get("/admin/../x")).starts_with("HTTP/1.1 403 "));
}

#[test]
fn the_target_is_the_same_before_and_behind_a_wrapper_that_sets_a_field() {
    let handler = guarded(async |req: Request| format!("{} {:?}", req.path(), req.query_string()));
    let table = [
        ("GET /?q='a'", "/ Some(\"q='a'\")"),
        ("GET /a?b=c%27d+e'f", "/a Some(\"b=c%27d+e'f\")"),
        ("GET /a?b|c^d`{e}", "/a Some(\"b|c^d`{e}\")"),
        ("GET /a?", "/a Some(\"\")"),
        ("OPTIONS *", "* None"),
        ("GET http://h/x/../y?q='a'", "/x/../y Some(\"q='a'\")"),
        ("GET http://h", "/ None"),
    ];
    for (start, expected) in table {
        assert_eq!(answer(&handler, format!("{start} HTTP/1.1\r\nhost: h\r\n\r\n")), ok(expected), "{start}");
    }
}

#[test]
fn what_a_wrapper_changes_is_seen_by_the_handler() {
    let handler = async |mut req: Request| {
        req.insert_header("X-USER", "ann");
        req.append_header("accept", "b");
        req.remove_header("Cookie");
        req.insert_header("via", "é");
        lines(&req)
    };
    let input =
        "GET / HTTP/1.1\r\nx-user: root\r\nAccept: a\r\ncookie: c\r\nX-User: root\r\nhost: h\r\nCOOKIE: d\r\n\r\n";
    let expected = "Accept=a\nhost=h\nX-USER=ann\naccept=b\nvia=\\xc3\\xa9\n";
    assert_eq!(answer(&handler, input), ok(expected));
    let handler = async |mut req: Request| {
        let before = (req.header("x-user").map(str::to_owned), req.header("accept").map(str::to_owned));
        req.remove_header("x-user");
        req.insert_header("accept", "b");
        format!("{before:?} {:?} {:?} {:?}", req.header("X-User"), req.header("Accept"), req.header("host"))
    };
    assert_eq!(answer(&handler, input), ok("(Some(\"root\"), Some(\"a\")) None Some(\"b\") Some(\"h\")"));
}

#[test]
fn a_field_is_found_among_many() {
    let names: Vec<_> = (0..90).map(|number| format!("X-{number}-{}", "n".repeat(number))).collect();
    let fields: String = names.iter().map(|name| format!("{name}: {name}!\r\n")).collect();
    let expected = names.clone();
    let handler = async move |req: Request| {
        for name in &expected {
            assert_eq!(req.header(&name.to_lowercase()), Some(format!("{name}!").as_str()));
            assert_eq!(req.header(&name[1..]), None);
        }
        req.headers().count()
    };
    let (answer, _) = converse(
        &handler,
        &Limits::default(),
        &[format!("GET / HTTP/1.1\r\nhost: h\r\n{fields}\r\n").as_bytes()],
        usize::MAX,
    );
    assert!(answer.ends_with("\r\n\r\n91"), "{answer}");
}

#[test]
fn bytes_above_ascii_are_kept_and_percent_encoded_for_http_types() {
    let handler = async |req: Request| {
        let seen = format!("{:?} {:?}", req.header_bytes("x"), req.header("x"));
        format!("{seen} {}", http_types::Request::from(req)["x"].as_str())
    };
    let input = b"GET / HTTP/1.1\r\nhost: a\r\nx: \xe9%41\r\n\r\n";
    assert_eq!(answer(&handler, input), ok("Some([233, 37, 52, 49]) None %E9%41"));
    let input = "GET / HTTP/1.1\r\nhost: a\r\nx: é\r\n\r\n";
    assert_eq!(answer(&handler, input), ok("Some([195, 169]) Some(\"é\") %C3%A9"));
}

#[test]
fn the_http_types_request_has_everything() {
    let handler = async |mut req: Request| {
        req.ext_mut().insert(7_u8);
        let converted = http_types::Request::from(req);
        let tea: Vec<_> = converted["x-tea"].iter().map(|value| value.as_str()).collect();
        let start = format!("{} {} {:?}", converted.method(), converted.url(), converted.version());
        format!("{start} {tea:?} {:?} {:?}", converted.len(), converted.ext().get::<u8>())
    };
    let input = "POST /a?b=c HTTP/1.1\r\nHost: h:1\r\nX-Tea: 1\r\nx-tea: 2\r\ncontent-length: 2\r\n\r\nhi";
    assert_eq!(answer(&handler, input), ok("POST http://h:1/a?b=c Some(Http1_1) [\"1\", \"2\"] Some(2) Some(7)"));
}

#[test]
fn a_request_of_http_types_keeps_all_there_and_back() {
    for length in [Some(5), None] {
        let mut original = http_types::Request::new(Method::Patch, Url::parse("http://h:8080/a/b?c=d%20e").unwrap());
        original.set_version(Some(Version::Http1_0));
        original.set_body(Body::from_reader(Cursor::new("hello"), length));
        original.insert_header("content-type", "text/tea");
        for value in ["3", "1", "2"] {
            original.append_header("x-order", value);
        }
        original.set_peer_addr(Some("127.0.0.1:3000"));
        original.ext_mut().insert("extension");
        let request = Request::from(original);
        assert_eq!((request.method(), request.version()), (Method::Patch, Version::Http1_0));
        assert_eq!((request.path(), request.query_string()), ("/a/b", Some("c=d%20e")));
        assert_eq!((request.host(), request.len()), (Some("h:8080"), length));
        assert_eq!(request.peer_addr(), Some(SocketAddr::from(([127, 0, 0, 1], 3000))));
        assert_eq!(request.content_type().unwrap().essence(), "text/tea");
        let values: Vec<_> = request.headers().filter(|(name, _)| *name == "x-order").map(|(_, value)| value).collect();
        assert_eq!(values, [b"3", b"1", b"2"]);
        let mut back = http_types::Request::from(request);
        assert_eq!((back.method(), back.version()), (Method::Patch, Some(Version::Http1_0)));
        assert_eq!((back.url().as_str(), back.len()), ("http://h:8080/a/b?c=d%20e", length));
        let values: Vec<_> = back["x-order"].iter().map(|value| value.as_str()).collect();
        assert_eq!(values, ["3", "1", "2"]);
        assert_eq!((back["content-type"].as_str(), back.peer_addr()), ("text/tea", Some("127.0.0.1:3000")));
        assert_eq!(back.ext().get(), Some(&"extension"));
        assert_eq!(block_on(back.body_string()).unwrap(), "hello");
    }
}

#[test]
fn a_request_keeps_all_through_http_types() {
    let mut original = Request::new(Method::Put, "/a/b?c=d'e").with_header("Host", "h:8080").with_body("hello");
    for (name, value) in [("X-Order", "3"), ("other", ""), ("x-order", "1")] {
        original.append_header(name, value);
    }
    original.ext_mut().insert("extension");
    let back = Request::from(http_types::Request::from(original));
    assert_eq!((back.method(), back.path(), back.version()), (Method::Put, "/a/b", Version::Http1_1));
    // The URL of http-types is normalised.
    assert_eq!(back.query_string(), Some("c=d%27e"));
    assert_eq!((back.host(), back.header("other"), back.len()), (Some("h:8080"), Some(""), Some(5)));
    let is_order = |(name, _): &(&str, &[u8])| name.eq_ignore_ascii_case("x-order");
    assert_eq!(back.headers().filter(is_order).map(|(_, value)| value).collect::<Vec<_>>(), [b"3", b"1"]);
    assert_eq!(back.headers().count(), 5, "the four that were set, and the content type");
    assert_eq!((back.header("content-type"), back.peer_addr()), (Some("text/plain;charset=utf-8"), None));
    assert_eq!(back.ext().get(), Some(&"extension"));
    assert_eq!(block_on(text(&back)).unwrap(), "hello");
}

#[test]
fn a_request_without_content_gets_no_content_type_through_http_types() {
    let back = Request::from(http_types::Request::from(Request::get("/")));
    assert_eq!((back.header("content-type"), back.len()), (None, Some(0)));
    assert_eq!(Request::from(http_types::Request::get("http://h/")).header("content-type"), None);
}

#[test]
fn any_target_converts_to_http_types() {
    let table = [
        ("*", "http://localhost/"),
        ("", "http://localhost/"),
        ("/", "http://localhost/"),
        ("//evil/x", "http://localhost//evil/x"),
        ("/x/../y", "http://localhost/y"),
        ("https://a:81/x?y", "http://a:81/x?y"),
        ("/?", "http://localhost/?"),
    ];
    for (target, url) in table {
        let request = Request::new(Method::Options, target);
        assert_eq!(request.url().as_str(), url, "{target:?}");
        assert_eq!(http_types::Request::from(request).url().as_str(), url, "{target:?}");
    }
}

#[test]
fn the_length_is_true_after_a_change_and_a_read() {
    let handler = async |mut req: Request| -> Result<String> {
        let declared = req.len();
        req.insert_header("x", "y");
        let content = text(&req).await?;
        Ok(format!("{content} {declared:?} {:?}", req.len()))
    };
    let chunked = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n";
    assert_eq!(answer(&handler, post("hello")), ok("hello Some(5) Some(5)"));
    assert_eq!(answer(&handler, chunked), ok("hello None Some(5)"));
    assert_eq!(answer(&handler, get("/")), ok(" Some(0) Some(0)"));
    // A test sees the same.
    let responded = |req| block_on(async { respond(&handler, req).await.body_string().await.unwrap() });
    assert_eq!(responded(Request::post("/").with_body("hello")), "hello Some(5) Some(5)");
    let unsized_body = Body::from_reader(Cursor::new("hello"), None);
    assert_eq!(responded(Request::post("/").with_body(unsized_body)), "hello None Some(5)");
    assert_eq!(responded(Request::get("/")), " Some(0) Some(0)");
}

#[test]
fn a_body_declares_its_length_up_to_64_kib() {
    let handler = async |mut req: Request| {
        let declared = req.len();
        format!("{declared:?} {:?}", req.take_body().len())
    };
    let converted = async |req: Request| format!("{:?}", http_types::Request::from(req).len());
    for (length, declared) in [(65_535, Some(65_535)), (65_536, Some(65_536)), (65_537, None)] {
        let head = format!("POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
        let content = vec![b'x'; length];
        let pieces = [head.as_bytes(), &content];
        let (answer, _) = converse(&handler, &Limits::default(), &pieces, usize::MAX);
        assert!(answer.ends_with(&format!("\r\n\r\nSome({length}) {declared:?}")), "{answer}");
        let (answer, _) = converse(&converted, &Limits::default(), &pieces, usize::MAX);
        assert!(answer.ends_with(&format!("\r\n\r\n{declared:?}")), "{answer}");
    }
}

#[test]
fn a_test_makes_requests() {
    let request = Request::get("/a?b=c");
    assert_eq!((request.method(), request.path(), request.query_string()), (Method::Get, "/a", Some("b=c")));
    assert_eq!((request.len(), request.host(), request.peer_addr()), (Some(0), None, None));
    let request = Request::post("/").with_header("X-A", "1").with_header("b", "").with_body("hello");
    assert_eq!((request.method(), request.header("x-a"), request.len()), (Method::Post, Some("1"), Some(5)));
    assert_eq!(lines(&request), "X-A=1\nb=\ncontent-type=text/plain;charset=utf-8\n");
    assert_eq!(lines(&request.with_header("x-a", "2")), "b=\ncontent-type=text/plain;charset=utf-8\nx-a=2\n");
    let request = Request::post("/").with_body("hello");
    assert_eq!(block_on(text(&request)).unwrap(), "hello");
    let request = Request::new(Method::Delete, "http://example.com:81/tea?all");
    assert_eq!((request.host(), request.path()), (Some("example.com:81"), "/tea"));
    assert_eq!(request.url().as_str(), "http://example.com:81/tea?all");
    let typed = Request::post("/").with_header("content-type", "text/html").with_body("<p>").with_body("<b>");
    assert_eq!((lines(&typed).as_str(), typed.len()), ("content-type=text/html\n", Some(3)));
    let default = Request::default();
    assert_eq!((default.method(), default.path(), default.query_string()), (Method::Get, "/", None));
}

#[derive(Debug, Default, Deserialize, PartialEq)]
struct Page {
    number: u32,
    #[serde(default)]
    sort: String,
    filter: Option<String>,
}

#[test]
fn a_query_is_parsed_into_any_type() {
    let page = |target| Request::get(target).query::<Page>();
    let sorted = Page { number: 7, sort: "by name & é".into(), filter: None };
    assert_eq!(page("/?sort=by+name%20%26+%C3%A9&number=7").unwrap(), sorted);
    let filtered = Page { number: 0, filter: Some(String::new()), ..Page::default() };
    assert_eq!(page("/?number=0&filter=&unknown=x").unwrap(), filtered);
    let pairs: Vec<(String, String)> = Request::get("/?a=1&b&a=2&=3&%zz=4").query().unwrap();
    let expected = [("a", "1"), ("b", ""), ("a", "2"), ("", "3"), ("%zz", "4")];
    assert_eq!(pairs, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    #[derive(Deserialize)]
    struct List {
        ids: String,
    }
    assert_eq!(Request::get("/?ids=1,2").query::<List>().unwrap().ids, "1,2");
}

#[test]
fn a_missing_query_is_an_empty_one() {
    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(default)]
    struct All {
        number: Option<u32>,
        sort: String,
    }
    for target in ["/", "/?"] {
        assert_eq!(Request::get(target).query::<All>().unwrap(), All::default(), "{target}");
        assert_eq!(Request::get(target).query::<Vec<(String, String)>>().unwrap(), []);
    }
}

#[test]
fn a_query_that_does_not_fit_is_400_and_says_why() {
    let table = [
        ("/", "missing field `number`"),
        ("/?sort=a", "missing field `number`"),
        ("/?number=", "cannot parse integer from empty string"),
        ("/?number=x", "invalid digit found in string"),
        ("/?number=-1", "invalid digit found in string"),
        ("/?number=1&number=2", "duplicate field `number`"),
    ];
    let handler = async |req: Request| req.query::<Page>().map(|page| page.number);
    for (target, message) in table {
        let message = format!("Invalid query: {message}");
        assert_eq!(answer(&handler, get(target)), ok(&message).replace("200 OK", "400 Bad Request"), "{target}");
    }
    assert!(answer(&handler, get("/?number=1")).ends_with("\r\n\r\n1"));
}

#[test]
fn a_query_is_parsed_behind_a_wrapper_that_sets_a_field() {
    let handler = guarded(async |req: Request| req.query::<Vec<(String, String)>>().map(|pairs| format!("{pairs:?}")));
    assert_eq!(answer(&handler, get("/?q='a'")), ok("[(\"q\", \"'a'\")]"));
}

#[derive(Clone)]
struct User(&'static str);

#[test]
fn a_wrapper_hands_a_value_to_the_handler() {
    fn with_user(name: &'static str, handler: impl Handler) -> impl Handler {
        async move |mut req: Request| {
            let before = req.ext().get().map_or("nobody", |User(name)| name);
            req.insert_header("x-before", before);
            req.ext_mut().insert(User(name));
            handler.call(req).await
        }
    }
    let greet = async |mut req: Request| {
        let before = req.header("x-before").unwrap().to_owned();
        let name = req.ext().get::<User>().unwrap().0;
        let removed = req.ext_mut().remove::<User>().is_some();
        format!("{before} {name} {removed} {}", req.ext().get::<User>().is_none())
    };
    let handler = with_user("ann", with_user("bob", greet));
    // The next request on the connection has no user yet.
    assert_eq!(answer(&handler, get("/").repeat(2)), ok("ann bob true true").repeat(2));
    let mut response = block_on(respond(&with_user("eve", greet), Request::get("/")));
    assert_eq!(block_on(response.body_string()).unwrap(), "nobody eve true true");
}

#[test]
fn a_request_without_a_server_never_stops() {
    let stopping = Request::get("/").stopping();
    assert_eq!(block_on(poll_once(stopping)), None);
}

#[test]
fn the_peer_has_an_address() {
    let handler = async |req: Request| {
        let ours = req.peer_addr().unwrap().to_string();
        let theirs = http_types::Request::from(req).peer_addr().unwrap().to_owned();
        assert_eq!(ours, theirs);
        ours
    };
    let server = listen(handler).unwrap();
    let mut client = connect(&server);
    std::io::Write::write_all(&mut client, b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let address = client.local_addr().unwrap().to_string();
    assert!(crate::support::read_to_end(client).ends_with(&format!("\r\n\r\n{address}")));
}

#[test]
fn a_request_without_a_host_has_the_url_of_the_endpoint() {
    let server = listen(async |req: Request| req.url().to_string()).unwrap();
    let answer = exchange(&server, b"GET /x HTTP/1.0\r\n\r\n");
    assert!(answer.ends_with(&format!("\r\n\r\n{}/x", server.url())), "{answer}");
}

#[test]
fn the_authority_of_the_target_wins_over_host() {
    let handler = async |req: Request| {
        let ours = format!("{} {}", req.url(), req.host().unwrap());
        let converted = http_types::Request::from(req);
        format!("{ours} {} {}", converted.url(), converted.host().unwrap())
    };
    let expected = ok("http://good/ good http://good/ good");
    assert_eq!(answer(&handler, "GET http://good/ HTTP/1.1\r\nhost: evil\r\n\r\n"), expected);
}

#[test]
fn a_request_may_outlive_its_answer() {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let handler = {
        let kept = kept.clone();
        async move |req: Request| {
            let path = req.path().to_owned();
            kept.lock().unwrap().push(req);
            path
        }
    };
    let input = "GET /1 HTTP/1.1\r\nhost: a\r\n\r\nGET /2 HTTP/1.1\r\nhost: a\r\n\r\n";
    assert_eq!(answer(&handler, input), ok("/1") + &ok("/2"));
    let paths: Vec<_> = kept.lock().unwrap().iter().take(2).map(|req: &Request| req.path().to_owned()).collect();
    assert_eq!(paths, ["/1", "/2"]);
}

#[test]
fn a_request_and_a_response_may_go_to_another_thread() {
    fn assert_send<T: Send>() {}
    fn assert_sync<T: Sync>() {}
    assert_send::<Request>();
    assert_sync::<Request>();
    assert_send::<Response>();
}

#[test]
fn a_request_shows_itself() {
    let shown = format!("{:?}", Request::get("/a/../c?b").with_header("cookie", "secret"));
    assert_eq!(shown, "Request { method: Get, path: \"/a/../c\", query_string: Some(\"b\"), .. }");
    assert_eq!(answer(&echo, "GET / HTTP/1.1\r\nhost: h\r\n\r\n"), ok("GET / \"\""));
}
