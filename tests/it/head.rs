//! Request lines and field lines (RFC 9112, 2 to 5).

use crate::support::{answer, answer_within, echo, get, ok, statuses};
use micro_smol::{Limits, Request};

#[test]
fn a_request_is_answered() {
    assert_eq!(answer(&echo, get("/tea")), ok("GET /tea \"\""));
}

#[test]
fn requests_in_one_write_are_answered_in_order() {
    let input = [get("/1"), get("/2"), get("/3")].concat();
    assert_eq!(answer(&echo, input), [ok("GET /1 \"\""), ok("GET /2 \"\""), ok("GET /3 \"\"")].concat());
}

#[test]
fn a_head_that_is_malformed_is_answered_with_400_and_closed() {
    let table: &[(&str, &str)] = &[
        ("GET / HTTP/1.1\nhost: a\n\n", "line does not end in CRLF"),
        ("GET / HTTP/1.1\r\nhost: a\n\r\n", "line does not end in CRLF"),
        ("GET / HTTP/1.1\nhost: a\r\n\r\n", "line does not end in CRLF"),
        ("GET / HTTP/1.1\r\nhost: a\r\n\n", "line does not end in CRLF"),
        ("GET / HTTP/1.1\r\nhost: a\r\nx: 1\nx: 2\r\n\r\n", "line does not end in CRLF"),
        ("\nGET / HTTP/1.1\r\nhost: a\r\n\r\n", "request line is malformed"),
        ("\r\n\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n", "request line is malformed"),
        ("GET / HTTP/1.1\rhost: a\r\n\r\n", "request line is malformed"),
        ("GET / HTTP/1.1\r\nhost: a\r\nx: 1\r2\r\n\r\n", "field value is malformed"),
        ("GET / HTTP/1.1\r\nhost: a\r\n folded: 1\r\n\r\n", "field name is malformed"),
        ("GET / HTTP/1.1\r\nhost: a\r\nx: 1\r\n folded\r\n\r\n", "field name is malformed"),
        ("GET / HTTP/1.1\r\n host: a\r\n\r\n", "field name is malformed"),
        ("GET / HTTP/1.1\r\nhost : a\r\n\r\n", "field name is malformed"),
        ("GET / HTTP/1.1\r\nhost: a\r\n: 1\r\n\r\n", "field name is malformed"),
        ("GET / HTTP/1.1\r\nhost: a\r\nx\r\n\r\n", "field name is malformed"),
        ("GET / HTTP/1.1\r\nhost: a\r\nx(y): 1\r\n\r\n", "field name is malformed"),
        ("GET / HTTP/1.1\r\nhost: a\r\nä: 1\r\n\r\n", "field name is malformed"),
        ("GET / HTTP/1.1\r\nhost: a\r\nx: \0\r\n\r\n", "field value is malformed"),
        ("GET / HTTP/1.1\r\nhost: a\r\nx: \x07\r\n\r\n", "field value is malformed"),
        ("GET / HTTP/1.1\r\nhost: a\r\nx: \x7f\r\n\r\n", "field value is malformed"),
        (" GET / HTTP/1.1\r\nhost: a\r\n\r\n", "request line is malformed"),
        ("GET  / HTTP/1.1\r\nhost: a\r\n\r\n", "request line is malformed"),
        ("GET /  HTTP/1.1\r\nhost: a\r\n\r\n", "request line is malformed"),
        ("GET\t/ HTTP/1.1\r\nhost: a\r\n\r\n", "request line is malformed"),
        ("GET / HTTP/1.1 \r\nhost: a\r\n\r\n", "request line is malformed"),
        ("GET /\r\nhost: a\r\n\r\n", "request line is malformed"),
        ("GET /\r\n\r\n", "request line is malformed"),
        ("GET / \r\nhost: a\r\n\r\n", "request line is malformed"),
        ("GET / HTTP/\r\nhost: a\r\n\r\n", "request line is malformed"),
        ("GET / HTTP/1.\r\nhost: a\r\n\r\n", "request line is malformed"),
        ("GET / HTTP/2\r\nhost: a\r\n\r\n", "request line is malformed"),
        ("GET / HTTP/1.10\r\nhost: a\r\n\r\n", "request line is malformed"),
        ("GET / HTTP/10.1\r\nhost: a\r\n\r\n", "request line is malformed"),
        ("GET / HTTP/1.1x\r\nhost: a\r\n\r\n", "request line is malformed"),
        ("GET / http/1.1\r\nhost: a\r\n\r\n", "request line is malformed"),
        ("G@T / HTTP/1.1\r\nhost: a\r\n\r\n", "request line is malformed"),
        ("GET /ä HTTP/1.1\r\nhost: a\r\n\r\n", "request target is malformed"),
        ("GET /a#b HTTP/1.1\r\nhost: a\r\n\r\n", "request target is malformed"),
        ("GET a HTTP/1.1\r\nhost: a\r\n\r\n", "request target is malformed"),
        ("GET * HTTP/1.1\r\nhost: a\r\n\r\n", "request target is malformed"),
        ("GET ftp://a/ HTTP/1.1\r\nhost: a\r\n\r\n", "request target is malformed"),
        ("GET http:///x HTTP/1.1\r\nhost: a\r\n\r\n", "request target is malformed"),
        ("GET http://:80/ HTTP/1.1\r\nhost: a\r\n\r\n", "request target is malformed"),
        ("GET http://a:b/ HTTP/1.1\r\nhost: a\r\n\r\n", "request target is malformed"),
        ("GET http://u@a/ HTTP/1.1\r\nhost: a\r\n\r\n", "request target is malformed"),
        ("GET / HTTP/1.1\r\n\r\n", "Host is missing"),
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n", "Host is repeated"),
        ("GET / HTTP/1.0\r\nhost: a\r\nHost: a\r\n\r\n", "Host is repeated"),
        ("GET / HTTP/1.1\r\nhost: a b\r\n\r\n", "Host is malformed"),
        ("GET / HTTP/1.1\r\nhost: a/b\r\n\r\n", "Host is malformed"),
        ("GET / HTTP/1.1\r\nhost: u@a\r\n\r\n", "Host is malformed"),
        ("GET / HTTP/1.1\r\nhost: a, b c\r\n\r\n", "Host is malformed"),
        // Two fields that somebody has merged.
        ("GET / HTTP/1.1\r\nhost: a,b\r\n\r\n", "Host is malformed"),
        ("GET / HTTP/1.1\r\nhost: a, b\r\n\r\n", "Host is malformed"),
        ("GET / HTTP/1.1\r\nhost: ,\r\n\r\n", "Host is malformed"),
        // An http URI has a host (RFC 9110, 4.2.1).
        ("GET / HTTP/1.1\r\nhost: :80\r\n\r\n", "Host is malformed"),
        ("GET / HTTP/1.1\r\nhost: :\r\n\r\n", "Host is malformed"),
        ("GET / HTTP/1.0\r\nhost: :80\r\n\r\n", "Host is malformed"),
        ("GET / HTTP/1.1\r\nhost: a:b\r\n\r\n", "Host is malformed"),
        ("GET / HTTP/1.1\r\nhost: a:65536\r\n\r\n", "Host is malformed"),
        ("GET / HTTP/1.1\r\nhost: [::1\r\n\r\n", "Host is malformed"),
        ("GET / HTTP/1.1\r\nhost: ::1\r\n\r\n", "Host is malformed"),
        ("GET / HTTP/1.1\r\nhost: a%2\r\n\r\n", "Host is malformed"),
        ("GET / HTTP/1.1\r\nhost: ä\r\n\r\n", "Host is malformed"),
        ("GET / HTTP/1.1\r\nhost: a", "head ends early"),
    ];
    for (input, fault) in table {
        let length = fault.len();
        let refusal = format!(
            "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n\
             content-length: {length}\r\nconnection: close\r\n\r\n{fault}"
        );
        assert_eq!(answer(&echo, input), refusal, "{input:?}");
    }
}

#[test]
fn a_head_request_that_is_refused_gets_no_content() {
    for fields in ["", "host: a\r\nhost: a\r\n", "host: a\r\n: b\r\n", "host: a\r\ncontent-length: x\r\n"] {
        let answer = answer(&echo, format!("HEAD / HTTP/1.1\r\n{fields}\r\n"));
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.ends_with("connection: close\r\n\r\n"), "{answer}");
    }
}

#[test]
fn nothing_behind_a_malformed_head_is_answered() {
    assert_eq!(statuses(&echo, ["GET / HTTP/1.1\r\n\r\n", &get("/")].concat()), ["400 close"]);
}

#[test]
fn what_is_before_a_malformed_head_is_answered() {
    assert_eq!(statuses(&echo, [&get("/"), "\0\0\0"].concat()), ["200", "400 close"]);
}

#[test]
fn one_or_two_empty_lines_before_a_request_line_are_skipped() {
    assert_eq!(statuses(&echo, format!("\r\n{}", get("/"))), ["200"]);
    assert_eq!(statuses(&echo, format!("\r\n\r\n{}\r\n{}", get("/"), get("/"))), ["200", "200"]);
}

#[test]
fn a_host_may_be_a_name_an_address_or_empty() {
    for host in
        ["", "example.com", "example.com:", "a.b:80", "127.0.0.1:3000", "[::1]", "[::1]:80", "a%20b", "~_!$&'()*+;="]
    {
        assert_eq!(statuses(&echo, format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")), ["200"], "{host}");
    }
}

#[test]
fn http_1_0_needs_no_host() {
    assert_eq!(statuses(&echo, "GET / HTTP/1.0\r\n\r\n"), ["200 close"]);
}

#[test]
fn an_unknown_method_is_501() {
    for method in ["CONNECT", "get", "Get", "FOO"] {
        assert_eq!(statuses(&echo, format!("{method} / HTTP/1.1\r\nhost: a\r\n\r\n")), ["501 close"], "{method}");
    }
}

#[test]
fn a_method_longer_than_any_is_501_however_long() {
    for length in [17, 20, 21, 22, 10_000] {
        let method = "A".repeat(length);
        let answer = answer(&echo, format!("{method} / HTTP/1.1\r\nhost: a\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.1 501 Not Implemented\r\n"), "{length}: {answer}");
        assert!(answer.ends_with("\r\n\r\nmethod is unknown"), "{length}: {answer}");
    }
    // The longest that there is.
    assert_eq!(statuses(&echo, "UPDATEREDIRECTREF / HTTP/1.1\r\nhost: a\r\n\r\n"), ["200"]);
}

#[test]
fn an_unknown_method_in_too_long_a_line_is_414() {
    let target = "a".repeat(10_000);
    assert_eq!(statuses(&echo, format!("FOO /{target} HTTP/1.1\r\nhost: a\r\n\r\n")), ["414 close"]);
}

#[test]
fn a_method_that_has_no_end_is_501() {
    assert_eq!(statuses(&echo, "A".repeat(21)), ["501 close"]);
    assert_eq!(statuses(&echo, "A".repeat(20)), ["400 close"], "it may be one, of which the end has not come");
    let byte_that_is_in_no_method = format!("{}@", "A".repeat(19));
    assert!(answer(&echo, byte_that_is_in_no_method).ends_with("request line is malformed"));
}

#[test]
fn a_later_version_1_is_1_1() {
    let version = async |req: Request| req.version().to_string();
    for minor in ['1', '2', '7', '9'] {
        let input = format!("GET / HTTP/1.{minor}\r\nhost: a\r\n\r\n");
        assert_eq!(answer(&version, input.repeat(2)), ok("HTTP/1.1").repeat(2), "{minor}");
        assert_eq!(statuses(&version, format!("GET / HTTP/1.{minor}\r\n\r\n")), ["400 close"], "it needs a Host");
    }
}

#[test]
fn another_version_is_505() {
    for version in ["HTTP/0.9", "HTTP/2.0", "HTTP/2.1", "HTTP/3.0", "HTTP/9.9"] {
        assert_eq!(statuses(&echo, format!("GET / {version}\r\nhost: a\r\n\r\n")), ["505 close"], "{version}");
    }
}

#[test]
fn the_preface_of_http_2_is_505() {
    assert_eq!(statuses(&echo, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), ["505 close"]);
}

#[test]
fn a_tls_hello_is_400() {
    assert_eq!(statuses(&echo, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), ["400 close"]);
}

#[test]
fn targets_have_three_forms() {
    let path = |req: Request| async move { format!("{} {:?} {}", req.path(), req.query_string(), req.url()) };
    let table = [
        ("GET /a/b?c=d?e HTTP/1.1\r\nhost: h", "/a/b Some(\"c=d?e\") http://h/a/b?c=d?e"),
        ("GET /? HTTP/1.1\r\nhost: h", "/ Some(\"\") http://h/?"),
        ("GET //evil HTTP/1.1\r\nhost: h:8080", "//evil None http://h:8080//evil"),
        ("GET http://x.y/z?q HTTP/1.1\r\nhost: h", "/z Some(\"q\") http://x.y/z?q"),
        ("GET HTTPS://x.y HTTP/1.1\r\nhost: h", "/ None http://x.y/"),
        ("GET http://x.y?q HTTP/1.1\r\nhost: h", "/ Some(\"q\") http://x.y/?q"),
        ("OPTIONS * HTTP/1.1\r\nhost: h", "* None http://h/"),
        ("GET / HTTP/1.1\r\nhost:", "/ None http://localhost/"),
        ("GET / HTTP/1.1\r\nhost: a%00b", "/ None http://localhost/"),
        ("GET / HTTP/1.0", "/ None http://localhost/"),
    ];
    for (head, expected) in table {
        let answer = answer(&path, format!("{head}\r\n\r\n"));
        assert_eq!(answer.split_once("\r\n\r\n").unwrap().1, expected, "{head}");
    }
}

#[test]
fn the_request_line_has_a_limit() {
    let limits = Limits { request_line_bytes_max: 100, ..Limits::default() };
    let status = |line_bytes: usize| {
        let path = "a".repeat(line_bytes - "GET / HTTP/1.1".len());
        answer_within(&echo, &limits, get(&format!("/{path}")).as_bytes())[9..12].to_owned()
    };
    assert_eq!([status(99), status(100), status(101)], ["200", "200", "414"]);
}

#[test]
fn a_request_line_without_end_is_414() {
    let limits = Limits { request_line_bytes_max: 100, ..Limits::default() };
    let input = format!("GET /{}", "a".repeat(97));
    assert!(answer_within(&echo, &limits, input.as_bytes()).starts_with("HTTP/1.1 414 "));
    assert!(answer_within(&echo, &limits, &input.as_bytes()[..100]).starts_with("HTTP/1.1 400 "));
}

#[test]
fn the_head_has_a_limit() {
    let limits = Limits { head_bytes_max: 200, ..Limits::default() };
    let status = |head_bytes: usize| {
        let least = "GET / HTTP/1.1\r\nhost: a\r\nx: \r\n\r\n";
        let value = "a".repeat(head_bytes - least.len());
        let head = least.replace("x: ", &format!("x: {value}"));
        answer_within(&echo, &limits, head.as_bytes())[9..12].to_owned()
    };
    assert_eq!([status(199), status(200), status(201)], ["200", "200", "431"]);
}

/// The status of a request with so many field lines.
fn status_of_field_lines(lines: usize, field_lines_max: usize) -> String {
    let limits = Limits { field_lines_max, ..Limits::default() };
    let head = format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: y\r\n".repeat(lines - 1));
    answer_within(&echo, &limits, head.as_bytes())[9..12].to_owned()
}

#[test]
fn the_number_of_field_lines_has_a_limit() {
    assert_eq!([2, 3, 4].map(|lines| status_of_field_lines(lines, 3)), ["200", "200", "431"]);
}

#[test]
fn more_field_lines_than_256_are_never_taken() {
    let statuses = [1, 255, 256, 257].map(|lines| status_of_field_lines(lines, 1000));
    assert_eq!(statuses, ["200", "200", "200", "431"]);
}

#[test]
fn a_version_that_is_cut_short_is_refused_as_soon_as_its_line_ends() {
    for version in ["", "HTTP", "HTTP/", "HTTP/1", "HTTP/1.", "HTTP/2"] {
        let input = format!("GET / {version}\r\n");
        assert!(answer(&echo, &input).ends_with("request line is malformed"), "{input:?}");
    }
}
