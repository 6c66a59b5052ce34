//! Message bodies: length, chunked, and everything that two readers might read in two ways (RFC 9112, 6 and 7).

use crate::support::{answer, answer_within, converse, echo, get, ok, post, statuses};
use micro_smol::{Limits, Request, Result, buffer};

fn with_fields(fields: &str) -> String {
    format!("POST / HTTP/1.1\r\nhost: a\r\n{fields}\r\n\r\n0\r\n\r\n")
}

fn chunked(chunks: &str) -> String {
    format!("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{chunks}")
}

#[test]
fn a_body_by_length_is_read() {
    assert_eq!(answer(&echo, [post("hello"), post("")].concat()), [ok("POST / \"hello\""), ok("POST / \"\"")].concat());
}

#[test]
fn a_chunked_body_is_read() {
    let chunks = "5\r\nhello\r\n006;a=b;c=\"d\"\r\n world\r\n0\r\nx-sum: 1\r\n\r\n";
    assert_eq!(answer(&echo, chunked(chunks) + &get("/")), [ok("POST / \"hello world\""), ok("GET / \"\"")].concat());
}

#[test]
fn a_framing_that_can_be_read_in_two_ways_is_400() {
    let table = [
        ("both fields", "content-length: 5\r\ntransfer-encoding: chunked"),
        ("both fields, the other way round", "transfer-encoding: chunked\r\ncontent-length: 5"),
        ("two equal lengths", "content-length: 5\r\ncontent-length: 5"),
        ("two lengths", "content-length: 5\r\ncontent-length: 6"),
        ("a list of lengths", "content-length: 5, 5"),
        ("no length", "content-length: "),
        ("a plus sign", "content-length: +5"),
        ("a minus sign", "content-length: -5"),
        ("a hexadecimal prefix", "content-length: 0x5"),
        ("a space between digits", "content-length: 5 5"),
        ("a fraction", "content-length: 5.0"),
        ("a quoted length", "content-length: \"5\""),
        ("a digit that is not ASCII", "content-length: ٥"),
        ("2^64", "content-length: 18446744073709551616"),
        ("no coding", "transfer-encoding: "),
        ("a comma behind", "transfer-encoding: chunked,"),
        ("a comma in front", "transfer-encoding: ,chunked"),
        ("chunked twice in a list", "transfer-encoding: chunked, chunked"),
        ("chunked on two lines", "transfer-encoding: chunked\r\ntransfer-encoding: chunked"),
        ("identity behind chunked", "transfer-encoding: chunked, identity"),
        ("a coding behind chunked, on a line of its own", "transfer-encoding: chunked\r\ntransfer-encoding: gzip"),
        ("quotes", "transfer-encoding: \"chunked\""),
        ("a parameter", "transfer-encoding: chunked;q=1"),
        ("a no-break space within", "transfer-encoding: chun\u{a0}ked"),
        ("a no-break space in front", "transfer-encoding: \u{a0}chunked"),
        ("an em space behind", "transfer-encoding: chunked\u{2003}"),
        ("a vertical tab in front", "transfer-encoding: \u{b}chunked"),
        ("a form feed behind", "transfer-encoding: chunked\u{c}"),
        ("a NUL behind", "transfer-encoding: chunked\0"),
        ("a space before the colon", "transfer-encoding : chunked"),
        ("a tab before the colon", "transfer-encoding\t: chunked"),
        ("a space before the name", "x: y\r\n transfer-encoding: chunked"),
        ("a folded line", "transfer-encoding: chu\r\n nked"),
    ];
    for (name, fields) in table {
        assert_eq!(statuses(&echo, with_fields(fields)), ["400 close"], "{name}");
    }
}

#[test]
fn a_transfer_coding_that_does_not_end_in_chunked_is_400() {
    for coding in ["xchunked", "identity", "gzip", "gzip, identity"] {
        let fields = format!("transfer-encoding: {coding}");
        assert_eq!(statuses(&echo, with_fields(&fields)), ["400 close"], "{coding}");
    }
}

#[test]
fn an_unknown_transfer_coding_is_501() {
    for coding in ["gzip, chunked", "gzip\r\ntransfer-encoding: chunked"] {
        let fields = format!("transfer-encoding: {coding}");
        assert_eq!(statuses(&echo, with_fields(&fields)), ["501 close"], "{coding}");
    }
}

#[test]
fn chunked_is_known_in_any_case_and_with_blanks_around_it() {
    for coding in ["Chunked", "CHUNKED", "\tchunked \t"] {
        let fields = format!("Transfer-Encoding:{coding}");
        assert_eq!(statuses(&echo, with_fields(&fields)), ["200"], "{coding:?}");
    }
}

#[test]
fn transfer_encoding_in_http_1_0_is_400() {
    let input = "POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\nconnection: keep-alive\r\n\r\n0\r\n\r\n";
    assert_eq!(statuses(&echo, input), ["400 close"]);
}

#[test]
fn a_malformed_chunk_is_400() {
    let table = [
        "\r\n",
        "x\r\n",
        "+5\r\nhello\r\n",
        "-5\r\nhello\r\n",
        "0x5\r\nhello\r\n",
        " 5\r\nhello\r\n",
        "5 \r\nhello\r\n",
        "5\nhello\r\n",
        "5\r\nhello\n",
        "5\r\nhelloo\r\n",
        "5\r\nhello\r\r\n",
        "5\rhello\r\n",
        "5;\0\r\nhello\r\n",
        "5;a\nhello\r\n",
        "10000000000000000\r\n",
        "0\r\n\n",
        "0\n\r\n",
        "0\r\nx\r\n\r\n",
        "0\r\nx : 1\r\n\r\n",
        "0\r\nx: 1\n\r\n",
        "0\r\nx: \0\r\n\r\n",
        "0\r\n : 1\r\n\r\n",
        "0\r\n\r\r\n",
    ];
    for chunks in table {
        let valid_before = chunked(&format!("3\r\nabc\r\n{chunks}0\r\n\r\n"));
        assert_eq!(statuses(&echo, valid_before), ["400 close"], "{chunks:?}");
    }
}

#[test]
fn a_chunk_extension_is_read_by_the_grammar() {
    let legal = [
        "1;a",
        "1;a=b",
        "1 ;a=b",
        "1\t; \ta \t= \tb",
        "1;a = \"b;c\"",
        "1;a=\"\"",
        "1;a=\"b\\\"c\\\\\"",
        "1;a=\"\tb\u{e9}c\"",
        "1;a;b;c=d",
        "1;a=b ; c=\"d\" ;e",
        "01;!#$%&'*+-.^_`|~=1",
    ];
    for size in legal {
        let input = chunked(&format!("{size}\r\nx\r\n0;last\r\n\r\n"));
        assert_eq!(answer(&echo, input + &get("/")), [ok("POST / \"x\""), ok("GET / \"\"")].concat(), "{size:?}");
    }
    let malformed: [&[u8]; 26] = [
        b"1;",
        b"1;;",
        b"1;=",
        b"1;a=",
        b"1;=b",
        b"1;a b",
        b"1;a=b c",
        b"1;a=b=c",
        b"1;\"",
        b"1;\"a\"",
        b"1;a=\"b",
        b"1;a=\"b\\\"",
        b"1;a=\"b\"c",
        b"1;a=b\"c\"",
        b"1;a[]=b",
        b"1;bad[=x",
        b"1;a=b;",
        b"1;a ",
        b"1;a=b ",
        b"1;a=\"b\" ",
        b"1 ",
        b"1 a",
        b"1;\xff",
        b"1;a=\xff",
        b"1;a=\"\0\"",
        b"1;a=\"\x7f\"",
    ];
    for size in malformed {
        let input = [chunked("").as_bytes(), size, b"\r\nx\r\n0\r\n\r\n", get("/").as_bytes()].concat();
        let said = "Invalid body: chunk extension is malformed";
        let answer = answer(&echo, input);
        let shown = size.escape_ascii();
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.ends_with(said), "{shown}: {answer}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{shown}: {answer}");
    }
}

#[test]
fn a_quoted_string_ends_before_its_line() {
    for extension in
        ["1;a=\"b\r\nc\"\r\nx\r\n", "1;a=\"\r\n\r\n\"\r\nx\r\n", "1;a=\"\\\r\n\"\r\nx\r\n", "1;a=\"b\nc\"\r\nx\r\n"]
    {
        assert_eq!(statuses(&echo, chunked(&format!("{extension}0\r\n\r\n"))), ["400 close"], "{extension:?}");
    }
}

#[test]
fn an_extension_of_any_chunk_is_checked() {
    for chunks in ["1\r\na\r\n1;\r\nb\r\n0\r\n\r\n", "1\r\na\r\n0;a=\r\n\r\n"] {
        let answer = answer(&echo, chunked(chunks));
        assert!(answer.ends_with("\r\n\r\nInvalid body: chunk extension is malformed"), "{chunks:?}: {answer}");
    }
}

#[test]
fn chunk_extensions_and_trailers_have_a_limit() {
    let extension = |bytes: usize| chunked(&format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(bytes)));
    assert_eq!(statuses(&echo, extension(16 * 1024)), ["200"]);
    assert_eq!(statuses(&echo, extension(16 * 1024 + 1)), ["400 close"]);
    let trailers = |lines: usize| chunked(&format!("0\r\n{}\r\n", "xx: 123456789\r\n".repeat(lines)));
    assert_eq!(statuses(&echo, trailers(1000)), ["200"]);
    assert_eq!(statuses(&echo, trailers(2000)), ["400 close"]);
}

#[test]
fn leading_zeros_of_a_chunk_size_have_a_limit() {
    let zeros = |count: usize| chunked(&format!("{}1\r\na\r\n0\r\n\r\n", "0".repeat(count)));
    assert_eq!(statuses(&echo, zeros(16 * 1024)), ["200"]);
    assert_eq!(statuses(&echo, zeros(16 * 1024 + 2)), ["400 close"]);
}

#[test]
fn a_trailer_field_is_not_a_header_field() {
    let user = async |req: Request| -> Result<String> {
        buffer(&req).await?;
        Ok(format!("{:?}", req.header("x-user")))
    };
    let answer = answer(&user, chunked("0\r\nx-user: root\r\n\r\n"));
    assert!(answer.ends_with("\r\n\r\nNone"), "{answer}");
}

#[test]
fn a_body_that_ends_early_is_400() {
    let post = post("hello");
    for input in [&post[..50], &chunked("5\r\nhel"), &chunked("5\r\nhello\r\n"), &chunked("0\r\n")] {
        assert_eq!(statuses(&echo, input), ["400 close"], "{input:?}");
    }
}

#[test]
fn a_body_in_two_thousand_pieces_is_read() {
    let content = "0123456789".repeat(200);
    let input = post(&content);
    let pieces: Vec<&[u8]> = input.as_bytes().chunks(1).collect();
    assert!(pieces.len() > 2000);
    let (answer, ended) = converse(&echo, &Limits::default(), &pieces, usize::MAX);
    assert_eq!(answer, ok(&format!("POST / \"{content}\"")));
    assert!(ended.is_ok());
}

async fn ignore(_req: Request) -> &'static str {
    "unread"
}

#[test]
fn a_body_that_the_handler_leaves_unread_is_skipped() {
    for body in [post("GET /x HTTP/1.1\r\nhost: a\r\n\r\n"), chunked("3\r\nabc\r\n0\r\n\r\n")] {
        assert_eq!(answer(&ignore, body + &get("/")), ok("unread").repeat(2));
    }
}

#[test]
fn a_long_body_that_the_handler_leaves_unread_closes() {
    let limits = Limits { unread_bytes_max: 4, ..Limits::default() };
    let closes = |content: &str| {
        // The head comes first, so that the body is not in the buffer with it.
        let input = post(content);
        let (head, body) = input.split_at(input.len() - content.len());
        let get = get("/");
        let (answer, _) = converse(&ignore, &limits, &[head.as_bytes(), body.as_bytes(), get.as_bytes()], usize::MAX);
        (answer.matches("HTTP/1.1 200 OK").count(), answer.contains("connection: close"))
    };
    assert_eq!([closes("abc"), closes("abcd"), closes("abcde")], [(2, false), (2, false), (1, true)]);
}

#[test]
fn a_long_chunked_body_that_the_handler_leaves_unread_closes() {
    let limits = Limits { unread_bytes_max: 4, ..Limits::default() };
    let input = chunked("5\r\nabcde\r\n0\r\n\r\n") + &get("/");
    assert_eq!(answer_within(&ignore, &limits, input.as_bytes()).matches("HTTP/1.1 200 OK").count(), 1);
}

const EXPECTING: &str = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\nexpect: 100-Continue\r\n\r\n";

#[test]
fn a_peer_that_expects_it_is_told_to_continue_when_the_body_is_asked_for() {
    let (answer, _) = converse(&echo, &Limits::default(), &[EXPECTING.as_bytes(), b"hello"], usize::MAX);
    assert_eq!(answer, format!("HTTP/1.1 100 Continue\r\n\r\n{}", ok("POST / \"hello\"")));
}

#[test]
fn a_peer_is_not_told_to_continue_what_the_handler_will_not_read() {
    let (answer, _) = converse(&ignore, &Limits::default(), &[EXPECTING.as_bytes(), b"hello"], usize::MAX);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
}

#[test]
fn a_peer_is_not_told_to_continue_what_the_handler_has_only_kept() {
    let kept = std::sync::Mutex::new(Vec::new());
    let keep = async move |req: Request| kept.lock().unwrap().push(req);
    let (answer, _) = converse(&keep, &Limits::default(), &[EXPECTING.as_bytes()], usize::MAX);
    assert_eq!(answer, "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n");
}

#[test]
fn a_peer_is_not_told_to_continue_what_it_has_begun() {
    let input = format!("{EXPECTING}h");
    let (answer, _) = converse(&echo, &Limits::default(), &[input.as_bytes(), b"ello"], usize::MAX);
    assert_eq!(answer, ok("POST / \"hello\""));
}

#[test]
fn http_1_0_is_not_told_to_continue() {
    let input = EXPECTING.replace("HTTP/1.1", "HTTP/1.0");
    let (answer, _) = converse(&echo, &Limits::default(), &[input.as_bytes(), b"hello"], usize::MAX);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

#[test]
fn being_told_to_continue_waits_for_the_answers_before() {
    let input = format!("{}{EXPECTING}", get("/"));
    let (answer, _) = converse(&echo, &Limits::default(), &[input.as_bytes(), b"hello"], usize::MAX);
    assert_eq!(answer, format!("{}HTTP/1.1 100 Continue\r\n\r\n{}", ok("GET / \"\""), ok("POST / \"hello\"")));
}

#[test]
fn another_expectation_is_417() {
    for other in ["a-miracle", "100-continue, a-miracle", "100-continue=1", "100"] {
        assert_eq!(statuses(&echo, EXPECTING.replace("100-Continue", other)), ["417 close"], "{other}");
    }
}

#[test]
fn an_empty_element_is_no_expectation() {
    for (list, continues) in [("100-continue,", true), (",, 100-continue", true), ("", false), (", ,", false)] {
        let input = EXPECTING.replace("100-Continue", list);
        let (answer, _) = converse(&echo, &Limits::default(), &[input.as_bytes(), b"hello"], usize::MAX);
        let start = if continues { "HTTP/1.1 100 Continue\r\n\r\n" } else { "" };
        assert_eq!(answer, format!("{start}{}", ok("POST / \"hello\"")), "{list:?}");
    }
}
