//! The request, as received and as http-types sees it.

use crate::support::{answer, connect, echo, exchange, ok};
use micro_smol::http_types::{self, Method, Version};
use micro_smol::{Request, Url, listen};

#[test]
fn a_request_says_what_was_received() {
    let handler = async |req: Request| {
        format!("{} {} {:?} {:?} {}", req.method(), req.path(), req.query_string(), req.field("X-Tea"), req.version())
    };
    let input = "PUT /a%20b?c HTTP/1.1\r\nHost: h\r\nx-tea:\t oolong \r\nX-TEA: second\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(answer(&handler, input), ok("PUT /a%20b Some(\"c\") Some(\"oolong\") HTTP/1.1"));
}

#[test]
fn the_http_types_request_has_everything() {
    let handler = async |req: Request| {
        let view: &http_types::Request = &req;
        let tea: Vec<_> = view["x-tea"].iter().map(|value| value.as_str()).collect();
        format!("{} {} {tea:?} {:?} {:?}", view.method(), view.url(), view.version(), view.len())
    };
    let input = "POST /a?b=c HTTP/1.1\r\nHost: h:1\r\nX-Tea: 1\r\nx-tea: 2\r\ncontent-length: 2\r\n\r\nhi";
    assert_eq!(answer(&handler, input), ok("POST http://h:1/a?b=c [\"1\", \"2\"] Some(Http1_1) Some(2)"));
}

#[test]
fn bytes_above_ascii_are_kept_and_percent_encoded_for_http_types() {
    let handler = async |req: Request| format!("{:?} {:?} {}", req.field_bytes("x"), req.field("x"), req["x"].as_str());
    let input = b"GET / HTTP/1.1\r\nhost: a\r\nx: \xe9%41\r\n\r\n";
    assert_eq!(answer(&handler, input), ok("Some([233, 37, 52, 49]) None %E9%41"));
    let input = "GET / HTTP/1.1\r\nhost: a\r\nx: é\r\n\r\n";
    assert_eq!(answer(&handler, input), ok("Some([195, 169]) Some(\"é\") %C3%A9"));
}

#[test]
fn what_is_changed_through_http_types_is_seen_by_all() {
    let handler = async |mut req: Request| {
        req.insert_header("x-user", "ann");
        req.url_mut().set_path("/b");
        req.set_method(Method::Delete);
        format!("{} {} {:?} {:?}", req.method(), req.path(), req.field("x-user"), req.field("host"))
    };
    assert_eq!(answer(&handler, "GET /a HTTP/1.1\r\nhost: h\r\n\r\n"), ok("DELETE /b Some(\"ann\") Some(\"h\")"));
}

#[test]
fn a_request_converts_from_and_to_http_types() {
    let mut original = http_types::Request::new(Method::Patch, Url::parse("http://h/a?b").unwrap());
    original.set_version(Some(Version::Http1_0));
    original.insert_header("x", "y");
    let request = Request::from(original);
    assert_eq!((request.method(), request.path(), request.query_string()), (Method::Patch, "/a", Some("b")));
    assert_eq!((request.field("X"), request.field("é"), request.version()), (Some("y"), None, Version::Http1_0));
    let back = http_types::Request::from(request);
    assert_eq!((back.method(), back.url().as_str()), (Method::Patch, "http://h/a?b"));
}

#[test]
fn the_peer_has_an_address() {
    let handler = async |req: Request| {
        let (ours, theirs) = (req.peer_addr().unwrap(), http_types::Request::peer_addr(&req).unwrap());
        assert_eq!(ours.to_string(), theirs);
        ours.to_string()
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
    let handler = async |req: Request| format!("{} {}", req.url(), req.host().unwrap());
    assert_eq!(answer(&handler, "GET http://good/ HTTP/1.1\r\nhost: evil\r\n\r\n"), ok("http://good/ good"));
}

#[test]
fn a_request_may_outlive_its_answer() {
    let kept = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
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
    let paths: Vec<_> = kept.lock().unwrap().iter().take(2).map(|req| req.path().to_owned()).collect();
    assert_eq!(paths, ["/1", "/2"]);
}

#[test]
fn a_request_shows_itself() {
    let shown = format!("{:?}", Request::from(http_types::Request::get("http://h/a?b")));
    assert_eq!(shown, "Request { method: Get, path: \"/a\", query_string: Some(\"b\"), .. }");
    assert_eq!(answer(&echo, "GET / HTTP/1.1\r\nhost: h\r\n\r\n"), ok("GET / \"\""));
}
