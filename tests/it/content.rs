//! `buffer`, `text` and `json`: limits, charsets, errors, second calls.

use crate::support::{answer, converse, get, ok, post, statuses};
use micro_smol::http_types::{self, Body};
use micro_smol::smol::block_on;
use micro_smol::smol::io::{AsyncReadExt, Cursor};
use micro_smol::{Limit, Limits, Request, Result, buffer, json, respond, text};
use serde::Deserialize;

fn request(content: impl Into<Body>) -> Request {
    let mut request = http_types::Request::post("http://localhost/");
    request.set_body(content);
    request.into()
}

/// A body of which nobody knows the length.
fn unsized_request(content: &'static str) -> Request {
    request(Body::from_reader(Cursor::new(content), None))
}

fn status_and_message<T: std::fmt::Debug>(result: Result<T>) -> (u16, String) {
    let error = result.unwrap_err();
    (error.status().into(), error.to_string())
}

#[test]
fn the_content_is_read() {
    block_on(async {
        assert_eq!(buffer(&mut request("héllo")).await.unwrap(), "héllo".as_bytes());
        assert_eq!(text(&mut request("héllo")).await.unwrap(), "héllo");
        assert_eq!(json::<Vec<u8>>(&mut request("[1, 2]")).await.unwrap(), [1, 2]);
    });
}

#[test]
fn json_is_read_into_any_type() {
    #[derive(Debug, Deserialize, PartialEq)]
    struct Order {
        price: u32,
        name: Option<String>,
    }
    let order: Order = block_on(json(&mut request(r#"{ "price": 3 }"#)).into_future()).unwrap();
    assert_eq!(order, Order { price: 3, name: None });
}

#[test]
fn empty_content_is_empty_bytes_empty_text_and_no_json() {
    block_on(async {
        assert_eq!(buffer(&mut Request::default()).await.unwrap(), b"");
        assert_eq!(text(&mut request("")).await.unwrap(), "");
        let empty = json::<u8>(&mut Request::default()).await;
        assert_eq!(status_and_message(empty), (400, "Invalid JSON".into()));
    });
}

#[test]
fn json_that_does_not_fit_is_400() {
    for content in ["{", "1 2", "\"a", "nul", "[1]x", "300", "-1", "\"1\""] {
        assert_eq!(status_and_message(block_on(json::<u8>(&mut request(content)))), (400, "Invalid JSON".into()));
    }
}

#[test]
fn the_limit_is_inclusive() {
    let status = |mut request: Request| block_on(buffer(&mut request).limit(3)).map_err(|error| error.status().into());
    for make in [|content: &'static str| request(content), unsized_request] {
        assert_eq!(status(make("ab")), Ok(b"ab".to_vec()));
        assert_eq!(status(make("abc")), Ok(b"abc".to_vec()));
        assert_eq!(status(make("abcd")), Err(413));
    }
}

#[test]
fn the_default_limit_is_1_mb() {
    let status = |bytes: usize| block_on(buffer(&mut request(vec![0; bytes]))).map(|content| content.len());
    assert_eq!(status((1 << 20) - 1).unwrap(), (1 << 20) - 1);
    assert_eq!(status(1 << 20).unwrap(), 1 << 20);
    assert_eq!(status_and_message(status((1 << 20) + 1)), (413, "Body exceeded 1mb limit".into()));
}

#[test]
fn a_limit_is_a_number_or_a_string() {
    let table: [(Limit, usize); 10] = [
        (3.into(), 3),
        ("3".into(), 3),
        ("3b".into(), 3),
        ("1kb".into(), 1024),
        ("1 KB".into(), 1024),
        ("1.5Kb".into(), 1536),
        ("0.5mb".into(), 512 * 1024),
        ("1mB".into(), 1024 * 1024),
        (" 1gb ".into(), 1024 * 1024 * 1024),
        ("0".into(), 0),
    ];
    for (limit, bytes) in table {
        let with_length = |length| request(Body::from_reader(Cursor::new(""), Some(length)));
        let result = block_on(buffer(&mut with_length(bytes + 1)).limit(limit.clone()));
        assert_eq!(status_and_message(result), (413, format!("Body exceeded {limit} limit")));
        if bytes <= 1024 * 1024 {
            assert_eq!(block_on(buffer(&mut request(vec![0; bytes])).limit(limit)).unwrap().len(), bytes);
        }
    }
}

#[test]
fn the_message_names_the_limit_as_it_was_written() {
    let result = block_on(text(&mut request("abcd")).limit("0.001KB"));
    assert_eq!(status_and_message(result), (413, "Body exceeded 0.001KB limit".into()));
    let result = block_on(text(&mut request("abcd")).limit(2));
    assert_eq!(status_and_message(result), (413, "Body exceeded 2 limit".into()));
}

#[test]
fn a_limit_that_cannot_be_understood_is_500() {
    for limit in ["", "x", "1tb", "kb", "1.2.3kb", "-1", "1e3", "inf", "1,5mb"] {
        let result = block_on(text(&mut request("")).limit(limit));
        assert_eq!(status_and_message(result), (500, format!("cannot understand the limit {limit:?}")));
    }
}

#[test]
fn a_declared_length_above_the_limit_is_refused_before_anything_is_read() {
    let handler = async |mut req: Request| -> Result<()> {
        let refused = text(&mut req).limit(2).await.unwrap_err();
        assert_eq!(refused.status(), 413);
        assert_eq!(text(&mut req).await?, "hello", "the content is still there");
        Ok(())
    };
    let input = post("hello");
    let (head, content) = input.split_at(input.len() - 5);
    let (answer, _) = converse(&handler, &Limits::default(), &[head.as_bytes(), content.as_bytes()], usize::MAX);
    assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
}

#[test]
fn content_above_one_limit_can_be_read_with_a_higher_one() {
    let mut request = unsized_request("hello");
    block_on(async {
        assert_eq!(status_and_message(buffer(&mut request).limit(2).await).0, 413);
        assert_eq!(status_and_message(buffer(&mut request).limit(4).await).0, 413);
        assert_eq!(text(&mut request).limit(5).await.unwrap(), "hello");
    });
}

#[test]
fn content_is_the_same_in_a_second_call() {
    for mut request in [request("[1]"), unsized_request("[1]")] {
        block_on(async {
            for _ in 0..2 {
                assert_eq!(buffer(&mut request).await.unwrap(), b"[1]");
                assert_eq!(text(&mut request).await.unwrap(), "[1]");
                assert_eq!(json::<[u8; 1]>(&mut request).await.unwrap(), [1]);
            }
        });
    }
}

#[test]
fn content_that_was_read_can_be_read_through_http_types_and_back() {
    for mut request in [request("1"), unsized_request("1")] {
        block_on(async {
            assert_eq!(text(&mut request).await.unwrap(), "1");
            for _ in 0..2 {
                assert_eq!(request.body_string().await.unwrap(), "1");
                assert_eq!(request.body_bytes().await.unwrap(), b"1");
                assert_eq!(request.body_json::<u8>().await.unwrap(), 1);
                assert_eq!(request.take_body().into_string().await.unwrap(), "1");
                assert_eq!(json::<u8>(&mut request).await.unwrap(), 1);
            }
            let mut through_reader = String::new();
            request.read_to_string(&mut through_reader).await.unwrap();
            assert_eq!(through_reader, "1");
            assert_eq!(text(&mut request).await.unwrap(), "1");
        });
    }
}

#[test]
fn content_that_is_set_replaces_content_that_was_read() {
    let mut request = request("old");
    block_on(async {
        assert_eq!(text(&mut request).await.unwrap(), "old");
        request.set_body("new");
        assert_eq!(text(&mut request).await.unwrap(), "new");
        assert_eq!(text(&mut request).await.unwrap(), "new");
        assert_eq!(request.body_string().await.unwrap(), "new");
    });
}

#[test]
fn content_that_is_replaced_stays_with_whom_it_was_given_to() {
    let mut request = request("old");
    block_on(async {
        assert_eq!(text(&mut request).await.unwrap(), "old");
        let old = request.replace_body("new");
        assert_eq!(text(&mut request).await.unwrap(), "new");
        let mut swapped = Body::from("third");
        request.swap_body(&mut swapped);
        assert_eq!(text(&mut request).await.unwrap(), "third");
        request.set_body("");
        assert_eq!(text(&mut request).await.unwrap(), "");
        assert_eq!(
            (old.into_string().await.unwrap(), swapped.into_string().await.unwrap()),
            ("old".into(), "new".into())
        );
    });
}

#[test]
fn a_body_that_was_taken_is_gone_however_it_came() {
    let handler = async |mut req: Request| -> Result<String> {
        drop(req.take_body());
        text(&mut req).await
    };
    let input = post("hello");
    let (head, content) = input.split_at(input.len() - 5);
    for pieces in [vec![input.as_bytes()], vec![head.as_bytes(), content.as_bytes()]] {
        assert_eq!(converse(&handler, &Limits::default(), &pieces, usize::MAX).0, ok(""));
    }
}

#[test]
fn http_types_is_told_that_a_body_was_taken() {
    let handler = async |mut req: Request| {
        let before = req.len();
        drop(req.take_body());
        format!("{before:?} {:?}", req.len())
    };
    assert_eq!(answer(&handler, post("hello")), ok("Some(5) Some(0)"));
}

#[test]
fn text_heeds_the_charset() {
    let table: [(&str, &[u8], Result<&str, u16>); 12] = [
        ("text/plain", "é".as_bytes(), Ok("é")),
        ("text/plain", b"\xe9", Err(400)),
        ("text/plain; charset=utf-8", "é".as_bytes(), Ok("é")),
        ("text/plain; charset=\"UTF-8\"", "é".as_bytes(), Ok("é")),
        ("text/plain;charset=utf-8", b"\xe9", Err(400)),
        ("text/plain; charset=us-ascii", b"e", Ok("e")),
        ("text/plain; charset=US-ASCII", b"\xe9", Err(400)),
        ("text/plain; charset=iso-8859-1", b"\xe9\xff", Ok("éÿ")),
        ("application/json; charset=ISO-8859-1", b"\"\xe9\"", Ok("\"é\"")),
        ("text/plain; charset=utf-16", b"e\0", Err(415)),
        ("text/plain; format=flowed", "é".as_bytes(), Ok("é")),
        ("nonsense", "é".as_bytes(), Ok("é")),
    ];
    for (content_type, content, expected) in table {
        let mut request = http_types::Request::post("http://localhost/");
        request.set_body(content);
        request.insert_header("content-type", content_type);
        let read = block_on(text(&mut request.into())).map_err(|error| error.status().into());
        assert_eq!(read, expected.map(str::to_owned), "{content_type}");
    }
}

#[test]
fn the_charset_is_heeded_on_the_wire() {
    let handler = async |mut req: Request| json::<String>(&mut req).await;
    let input = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-type: application/json; charset=latin1\r\ncontent-length: 3\r\n\r\n\"\xe9\"";
    assert_eq!(answer(&handler, input), ok("é"));
}

#[test]
fn content_that_fails_is_invalid() {
    let broken = || Body::from_reader(futures_lite::io::BufReader::new(Broken), None);
    block_on(async {
        assert_eq!(status_and_message(buffer(&mut request(broken())).await), (400, "Invalid body".into()));
        assert_eq!(status_and_message(text(&mut request(broken())).await), (400, "Invalid body".into()));
        assert_eq!(status_and_message(json::<u8>(&mut request(broken())).await), (400, "Invalid body".into()));
        assert_eq!(status_and_message(text(&mut request(vec![0xff])).await), (400, "Invalid body".into()));
    });
}

struct Broken;

impl futures_lite::AsyncRead for Broken {
    fn poll_read(
        self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
        _buffer: &mut [u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        std::task::Poll::Ready(Err(std::io::ErrorKind::BrokenPipe.into()))
    }
}

#[test]
fn a_content_type_that_was_not_sent_is_not_invented() {
    let handler = async |mut req: Request| -> Result<String> {
        req.body_string().await?;
        Ok(format!("{:?} {:?}", req.field("content-type"), req.header("content-type")))
    };
    assert_eq!(answer(&handler, post("x")), ok("None None"));
}

#[test]
fn a_refused_body_is_413_on_the_wire() {
    let handler = async |mut req: Request| text(&mut req).limit("2b").await;
    assert_eq!(statuses(&handler, post("abc") + &get("/")), ["413", "200"]);
}

#[test]
fn a_handler_can_read_the_content_of_a_request_without_a_server() {
    let handler = async |mut req: Request| text(&mut req).await;
    let mut response = block_on(respond(&handler, request("hi")));
    assert_eq!(block_on(response.body_string()).unwrap(), "hi");
}
