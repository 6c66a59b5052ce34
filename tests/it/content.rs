//! `buffer`, `text`, `json` and `form`: limits, charsets, errors, second calls, several readers.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::Arc;

use crate::support::{answer, converse, get, ok, post, statuses};
use micro_smol::http_types::{self, Body};
use micro_smol::smol::future::{poll_once, yield_now};
use micro_smol::smol::io::{AsyncBufReadExt, AsyncReadExt, Cursor, copy, sink};
use micro_smol::smol::stream::StreamExt;
use micro_smol::smol::{block_on, spawn};
use micro_smol::{
    IntoResponse, Limit, Limits, Method, Request, Response, Result, Status, buffer, create_error, form, json, respond,
    send, text,
};
use serde::Deserialize;

fn request(content: impl Into<Body>) -> Request {
    Request::post("/").with_body(content)
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
        assert_eq!(buffer(&request("héllo")).await.unwrap(), "héllo".as_bytes());
        assert_eq!(text(&request("héllo")).await.unwrap(), "héllo");
        assert_eq!(json::<Vec<u8>>(&request("[1, 2]")).await.unwrap(), [1, 2]);
        let pairs: Vec<(String, String)> = form(&request("a=1&b=h%C3%A9+llo")).await.unwrap();
        assert_eq!(pairs, [("a".into(), "1".into()), ("b".into(), "hé llo".into())]);
    });
}

#[test]
fn json_is_read_into_any_type() {
    #[derive(Debug, Deserialize, PartialEq)]
    struct Order {
        price: u32,
        name: Option<String>,
    }
    let order: Order = block_on(json(&request(r#"{ "price": 3 }"#)).into_future()).unwrap();
    assert_eq!(order, Order { price: 3, name: None });
}

#[test]
fn empty_content_is_empty_bytes_empty_text_and_no_json() {
    block_on(async {
        assert_eq!(buffer(&Request::default()).await.unwrap(), b"");
        assert_eq!(text(&request("")).await.unwrap(), "");
        let empty = json::<u8>(&Request::default()).await;
        assert_eq!(
            status_and_message(empty),
            (400, "Invalid JSON: EOF while parsing a value at line 1 column 0".into())
        );
    });
}

#[test]
fn json_that_does_not_fit_is_400_in_serdes_words() {
    let table = [
        ("{", "invalid type: map, expected u8 at line 1 column 0"),
        ("1 2", "trailing characters at line 1 column 3"),
        ("\"a", "EOF while parsing a string at line 1 column 2"),
        ("nul", "EOF while parsing a value at line 1 column 3"),
        ("[1]x", "invalid type: sequence, expected u8 at line 1 column 0"),
        ("300", "invalid value: integer `300`, expected u8 at line 1 column 3"),
        ("-1", "invalid value: integer `-1`, expected u8 at line 1 column 2"),
        ("\"1\"", "invalid type: string \"1\", expected u8 at line 1 column 3"),
    ];
    for (content, message) in table {
        let expected = (400, format!("Invalid JSON: {message}"));
        assert_eq!(status_and_message(block_on(json::<u8>(&request(content)))), expected, "{content:?}");
    }
}

#[derive(Debug, Deserialize, PartialEq)]
struct Order {
    tea: String,
    count: Option<u32>,
}

#[test]
fn a_form_is_read_into_any_type() {
    let read = |content: &'static str| block_on(form::<Order>(&request(content)));
    let order = |tea: &str, count| Order { tea: tea.into(), count };
    assert_eq!(read("tea=Earl+Grey&count=2&unknown").unwrap(), order("Earl Grey", Some(2)));
    assert_eq!(read("tea=").unwrap(), order("", None));
    assert_eq!(read("tea=%zz%").unwrap(), order("%zz%", None));
    let map: BTreeMap<String, String> = block_on(form(&request("a=1&b=2&a=3"))).unwrap();
    assert_eq!(map, BTreeMap::from([("a".into(), "3".into()), ("b".into(), "2".into())]));
    assert_eq!(block_on(form::<Vec<(String, String)>>(&Request::post("/"))).unwrap(), []);
}

#[test]
fn a_form_that_does_not_fit_is_400_in_serdes_words() {
    let table = [
        ("", "missing field `tea`"),
        ("count=1", "missing field `tea`"),
        ("tea=x&count=y", "invalid digit found in string"),
        ("tea=x&tea=y", "duplicate field `tea`"),
    ];
    for (content, message) in table {
        let expected = (400, format!("Invalid form: {message}"));
        assert_eq!(status_and_message(block_on(form::<Order>(&request(content)))), expected, "{content:?}");
    }
    let expected = (400, "Invalid body: incomplete utf-8 byte sequence from index 4".into());
    assert_eq!(status_and_message(block_on(form::<Order>(&request(b"tea=\xe9".to_vec())))), expected);
}

#[test]
fn a_form_has_a_limit_and_a_charset() {
    let result = block_on(form::<Order>(&request("tea=x")).limit(4));
    assert_eq!(status_and_message(result), (413, "Body exceeded 4 limit".into()));
    let content_type = "application/x-www-form-urlencoded; charset=iso-8859-1";
    let latin = Request::post("/").with_header("content-type", content_type).with_body(b"tea=th\xe9".to_vec());
    assert_eq!(block_on(form::<Order>(&latin)).unwrap().tea, "thé");
}

#[test]
fn parts_of_the_path_are_borrowed_while_the_content_is_read() {
    async fn handler(req: Request) -> Result<Response> {
        let parts: Vec<&str> = req.path().split('/').skip(1).collect();
        match (req.method(), &parts[..]) {
            (Method::Post, ["items", id]) => {
                let item: Order = json(&req).await?;
                send(201, format!("{id}: {} {:?}", item.tea, req.header("host")))
            }
            (Method::Get | Method::Head, ["items", ..]) => send(200, parts.join(" ")),
            _ => Err(create_error(404, "Not found")),
        }
    }
    let created = ok("7: oolong Some(\"a\")").replace("200 OK", "201 Created");
    let input = post(r#"{ "tea": "oolong" }"#).replace("POST /", "POST /items/7");
    let (head, content) = input.split_at(input.len() - 5);
    assert_eq!(answer(&handler, &input), created);
    let (answer, _) = converse(&handler, &Limits::default(), &[head.as_bytes(), content.as_bytes()], usize::MAX);
    assert_eq!(answer, created);
    assert_eq!(statuses(&handler, get("/items/7") + &get("/x")), ["200", "404"]);
}

/// As many pieces of one byte as make a content that takes a while to come.
fn slow_input() -> (String, String) {
    let content = "0123456789".repeat(200);
    (post(&content), content)
}

#[test]
fn two_tasks_on_other_threads_read_the_content_that_a_third_gives_up() {
    let (input, content) = slow_input();
    let expected = content.clone();
    let handler = async move |req: Request| -> Result<String> {
        let req = Arc::new(req);
        let read = |req: Arc<Request>| spawn(async move { text(&req).await });
        let (one, two) = (read(req.clone()), read(req.clone()));
        let mut given_up = Box::pin(buffer(&req));
        for _ in 0..3 {
            assert!(poll_once(&mut given_up).await.is_none(), "half of it has not come");
            yield_now().await;
        }
        drop(given_up);
        assert_eq!(one.await?, expected);
        assert_eq!(two.await?, expected);
        text(&req).await
    };
    let pieces: Vec<&[u8]> = input.as_bytes().chunks(1).collect();
    for _ in 0..10 {
        assert_eq!(converse(&handler, &Limits::default(), &pieces, usize::MAX).0, ok(&content));
    }
}

#[test]
fn a_task_that_is_cancelled_on_another_thread_leaves_the_content_to_others() {
    let (input, content) = slow_input();
    let handler = async move |req: Request| -> Result<String> {
        let req = Arc::new(req);
        let read = |req: Arc<Request>| spawn(async move { json::<String>(&req).await });
        let others: Vec<_> = (0..3).map(|_| read(req.clone())).collect();
        yield_now().await;
        let mut mine = Box::pin(text(&req));
        assert!(poll_once(&mut mine).await.is_none());
        drop(others);
        mine.await
    };
    let pieces: Vec<&[u8]> = input.as_bytes().chunks(1).collect();
    for _ in 0..10 {
        assert_eq!(converse(&handler, &Limits::default(), &pieces, usize::MAX).0, ok(&content));
    }
}

#[test]
fn a_body_that_is_taken_has_what_was_read_before() {
    let (input, content) = slow_input();
    let handler = async move |mut req: Request| -> Result<String> {
        let mut given_up = Box::pin(text(&req));
        for _ in 0..5 {
            assert!(poll_once(&mut given_up).await.is_none());
            yield_now().await;
        }
        drop(given_up);
        let mut whole = String::new();
        req.take_body().read_to_string(&mut whole).await?;
        Ok(whole)
    };
    let pieces: Vec<&[u8]> = input.as_bytes().chunks(1).collect();
    assert_eq!(converse(&handler, &Limits::default(), &pieces, usize::MAX).0, ok(&content));
    // Also what a limit has refused.
    let handler = async |mut req: Request| -> Result<String> {
        assert_eq!(text(&req).limit(2).await.unwrap_err().status(), 413);
        req.take_body().into_string().await
    };
    let chunked = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhell\r\n1\r\no\r\n0\r\n\r\n";
    assert_eq!(answer(&handler, post("hello") + chunked), ok("hello").repeat(2));
}

#[test]
fn content_that_a_wrapper_has_set_stands_in_for_what_was_received() {
    let handler = async |mut req: Request| -> Result<String> {
        req.set_body("new");
        Ok(format!("{} {:?}", text(&req).await?, req.len()))
    };
    let input = post(&"x".repeat(20_000));
    let (head, content) = input.split_at(input.len() - 20_000);
    let pieces = [head.as_bytes(), content.as_bytes(), get("/").as_bytes()].map(<[u8]>::to_vec);
    let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
    assert_eq!(converse(&handler, &Limits::default(), &pieces, usize::MAX).0, ok("new Some(3)").repeat(2));
}

#[test]
fn two_reads_in_one_task_get_the_same_content() {
    let handler = async |req: Request| -> Result<String> {
        let both = micro_smol::smol::future::zip(text(&req), json::<u32>(&req)).await;
        Ok(format!("{} {}", both.0?, both.1?))
    };
    assert_eq!(answer(&handler, post("12345")), ok("12345 12345"));
}

#[test]
fn an_error_of_the_body_reaches_each_reader() {
    let handler = async |req: Request| -> Result<String> {
        let both = micro_smol::smol::future::zip(text(&req), buffer(&req)).await;
        let (text, bytes) = (status_and_message(both.0), status_and_message(both.1));
        Ok(format!("{text:?} {bytes:?} {:?}", status_and_message(json::<u8>(&req).await)))
    };
    let input = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\nx\r\n";
    let one = "(400, \"Invalid body: chunk size is not hexadecimal\")";
    let (answer, _) = converse(&handler, &Limits::default(), &[input.as_bytes()], usize::MAX);
    assert!(answer.ends_with(&format!("\r\n\r\n{one} {one} {one}")), "{answer}");
}

/// Reads a body in one of the ways that there are, with `?` alone.
async fn read_by_path(mut req: Request) -> Result<Response> {
    /// An error that a service has of its own.
    #[derive(Debug)]
    struct Failed(io::Error);

    impl fmt::Display for Failed {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the upload has failed")
        }
    }

    impl std::error::Error for Failed {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }

    let nested = |error| io::Error::other(Failed(error));
    let way = req.path().to_owned();
    let mut content = Vec::new();
    match way.as_str() {
        "/buffer" => drop(buffer(&req).await?),
        "/text" => drop(text(&req).await?),
        "/json" => json::<serde::de::IgnoredAny>(&req).await.map(drop)?,
        "/form" => drop(form::<Vec<(String, String)>>(&req).await?),
        "/read_to_end" => drop(req.take_body().read_to_end(&mut content).await?),
        "/copy" => drop(copy(req.take_body(), sink()).await?),
        "/split" => drop(req.take_body().split(b'\n').try_collect::<_, _, Vec<_>>().await?),
        "/into_bytes" => drop(req.take_body().into_bytes().await?),
        "/into_string" => drop(req.take_body().into_string().await?),
        "/body_bytes" => drop(http_types::Request::from(req).body_bytes().await?),
        "/body_string" => drop(http_types::Request::from(req).body_string().await?),
        "/body_form" => drop(http_types::Request::from(req).body_form::<Vec<(String, String)>>().await?),
        "/own" => drop(req.take_body().read_to_end(&mut content).await.map_err(Failed)?),
        "/nested" => drop(req.take_body().read_to_end(&mut content).await.map_err(io::Error::other)?),
        "/nested_own" => drop(req.take_body().read_to_end(&mut content).await.map_err(nested)?),
        _ => drop(req.take_body().read_to_end(&mut content).await.status(409)?),
    }
    ().into_response()
}

#[test]
fn a_fault_of_the_body_is_400_wherever_it_surfaces() {
    let ways = [
        "buffer",
        "text",
        "json",
        "form",
        "read_to_end",
        "copy",
        "split",
        "into_bytes",
        "into_string",
        "body_bytes",
        "body_string",
        "body_form",
        "own",
        "nested",
        "nested_own",
    ];
    let faults = [
        ("transfer-encoding: chunked\r\n\r\n3\r\nabc\r\nx\r\n\r\n", "chunk size is not hexadecimal"),
        ("transfer-encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", "chunk does not end in CRLF"),
        ("transfer-encoding: chunked\r\n\r\n3\r\na", "message body ends early"),
        ("content-length: 5\r\n\r\nhell", "message body ends early"),
        ("content-length: 9000000\r\n\r\nhell", "message body ends early"),
    ];
    for way in ways {
        for (fault, reason) in faults {
            // Some read all that is declared, if it is within their limit.
            let is_refused = fault.contains("9000000") && ["buffer", "text", "json", "form"].contains(&way);
            let input = format!("POST /{way} HTTP/1.1\r\nhost: a\r\n{fault}");
            let (answer, _) = converse(&read_by_path, &Limits::default(), &[input.as_bytes()], usize::MAX);
            let status = if is_refused { "413 Content Too Large" } else { "400 Bad Request" };
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{way} {fault:?}: {answer}");
            let message = match (way, is_refused) {
                (_, true) => "Body exceeded 1mb limit".to_owned(),
                ("own" | "nested_own", _) => "the upload has failed".to_owned(),
                _ => format!("Invalid body: {reason}"),
            };
            assert!(answer.ends_with(&format!("\r\n\r\n{message}")), "{way} {fault:?}: {answer}");
        }
    }
}

#[test]
fn a_status_that_a_handler_gives_a_fault_of_the_body_is_kept() {
    let input = "POST /status HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhell";
    assert_eq!(statuses(&read_by_path, input), ["409 close"]);
}

#[test]
fn the_limit_is_inclusive() {
    let status = |request: Request| block_on(buffer(&request).limit(3)).map_err(|error| error.status().into());
    for make in [|content: &'static str| request(content), unsized_request] {
        assert_eq!(status(make("ab")), Ok(b"ab".to_vec()));
        assert_eq!(status(make("abc")), Ok(b"abc".to_vec()));
        assert_eq!(status(make("abcd")), Err(413));
    }
}

#[test]
fn the_default_limit_is_1_mb() {
    let status = |bytes: usize| block_on(buffer(&request(vec![0; bytes]))).map(|content| content.len());
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
        let result = block_on(buffer(&with_length(bytes + 1)).limit(limit.clone()));
        assert_eq!(status_and_message(result), (413, format!("Body exceeded {limit} limit")));
        if bytes <= 1024 * 1024 {
            assert_eq!(block_on(buffer(&request(vec![0; bytes])).limit(limit)).unwrap().len(), bytes);
        }
    }
}

#[test]
fn the_message_names_the_limit_as_it_was_written() {
    let result = block_on(text(&request("abcd")).limit("0.001KB"));
    assert_eq!(status_and_message(result), (413, "Body exceeded 0.001KB limit".into()));
    let result = block_on(text(&request("abcd")).limit(2));
    assert_eq!(status_and_message(result), (413, "Body exceeded 2 limit".into()));
}

#[test]
fn a_limit_that_cannot_be_understood_is_500() {
    for limit in ["", "x", "1tb", "kb", "1.2.3kb", "-1", "1e3", "inf", "1,5mb"] {
        let result = block_on(text(&request("")).limit(limit));
        assert_eq!(status_and_message(result), (500, format!("cannot understand the limit {limit:?}")));
    }
}

#[test]
fn a_declared_length_above_the_limit_is_refused_before_anything_is_read() {
    let handler = async |req: Request| -> Result<()> {
        let refused = text(&req).limit(2).await.unwrap_err();
        assert_eq!(refused.status(), 413);
        assert_eq!(text(&req).await?, "hello", "the content is still there");
        Ok(())
    };
    let input = post("hello");
    let (head, content) = input.split_at(input.len() - 5);
    let (answer, _) = converse(&handler, &Limits::default(), &[head.as_bytes(), content.as_bytes()], usize::MAX);
    assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
}

#[test]
fn content_above_one_limit_can_be_read_with_a_higher_one() {
    let request = unsized_request("hello");
    block_on(async {
        assert_eq!(status_and_message(buffer(&request).limit(2).await).0, 413);
        assert_eq!(status_and_message(buffer(&request).limit(4).await).0, 413);
        assert_eq!(text(&request).limit(5).await.unwrap(), "hello");
    });
}

#[test]
fn content_is_the_same_in_a_second_call() {
    for request in [request("[1]"), unsized_request("[1]")] {
        block_on(async {
            for _ in 0..2 {
                assert_eq!(buffer(&request).await.unwrap(), b"[1]");
                assert_eq!(text(&request).await.unwrap(), "[1]");
                assert_eq!(json::<[u8; 1]>(&request).await.unwrap(), [1]);
            }
        });
    }
}

#[test]
fn content_that_was_read_moves_on_with_its_length() {
    for request in [request("1"), unsized_request("1")] {
        block_on(async {
            assert_eq!(text(&request).await.unwrap(), "1");
            let mut converted = http_types::Request::from(request);
            assert_eq!(converted.len(), Some(1));
            let mut back = Request::from(std::mem::replace(&mut converted, http_types::Request::get("http://a/")));
            assert_eq!((back.len(), text(&back).await.unwrap()), (Some(1), "1".into()));
            let body = back.take_body();
            assert_eq!((body.len(), body.into_string().await.unwrap()), (Some(1), "1".into()));
        });
    }
}

#[test]
fn content_that_is_set_replaces_content_that_was_read() {
    let mut request = request("old");
    block_on(async {
        assert_eq!(text(&request).await.unwrap(), "old");
        request.set_body("new");
        assert_eq!(text(&request).await.unwrap(), "new");
        assert_eq!(text(&request).await.unwrap(), "new");
        assert_eq!(request.take_body().into_string().await.unwrap(), "new");
    });
}

#[test]
fn content_that_was_taken_is_not_changed_by_what_is_set_next() {
    let mut request = request("old");
    block_on(async {
        assert_eq!(text(&request).await.unwrap(), "old");
        let old = request.take_body();
        request.set_body("new");
        assert_eq!(text(&request).await.unwrap(), "new");
        let new = request.take_body();
        request.set_body("third");
        assert_eq!(text(&request).await.unwrap(), "third");
        request.set_body("");
        assert_eq!(text(&request).await.unwrap(), "");
        assert_eq!((old.into_string().await.unwrap(), new.into_string().await.unwrap()), ("old".into(), "new".into()));
    });
}

#[test]
fn a_body_that_was_taken_is_gone_however_it_came() {
    let handler = async |mut req: Request| -> Result<String> {
        drop(req.take_body());
        text(&req).await
    };
    let input = post("hello");
    let (head, content) = input.split_at(input.len() - 5);
    for pieces in [vec![input.as_bytes()], vec![head.as_bytes(), content.as_bytes()]] {
        assert_eq!(converse(&handler, &Limits::default(), &pieces, usize::MAX).0, ok(""));
    }
}

#[test]
fn the_length_is_as_declared_until_the_content_is_read() {
    for (declared, read) in [(Some(7), 5), (Some(5), 5), (Some(3), 3), (None, 5)] {
        let request = request(Body::from_reader(Cursor::new("hello"), declared));
        assert_eq!(request.len(), declared);
        assert_eq!(block_on(text(&request)).unwrap(), "hello"[..read]);
        assert_eq!(request.len(), Some(read), "{declared:?}");
    }
}

#[test]
fn a_body_that_was_taken_leaves_no_length() {
    let handler = async |mut req: Request| {
        let before = req.len();
        drop(req.take_body());
        format!("{before:?} {:?}", req.len())
    };
    assert_eq!(answer(&handler, post("hello")), ok("Some(5) Some(0)"));
}

#[test]
fn text_is_decoded_by_its_charset() {
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
        let read = block_on(text(&request.into())).map_err(|error| error.status().into());
        assert_eq!(read, expected.map(str::to_owned), "{content_type}");
    }
}

#[test]
fn the_charset_counts_on_the_wire() {
    let handler = async |req: Request| json::<String>(&req).await;
    let input = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-type: application/json; charset=latin1\r\ncontent-length: 3\r\n\r\n\"\xe9\"";
    assert_eq!(answer(&handler, input), ok("é"));
}

#[test]
fn content_that_fails_is_invalid() {
    let broken = || Body::from_reader(futures_lite::io::BufReader::new(Broken), None);
    block_on(async {
        assert_eq!(status_and_message(buffer(&request(broken())).await), (400, "Invalid body: broken pipe".into()));
        assert_eq!(status_and_message(text(&request(broken())).await), (400, "Invalid body: broken pipe".into()));
        assert_eq!(status_and_message(json::<u8>(&request(broken())).await), (400, "Invalid body: broken pipe".into()));
        let reason = "invalid utf-8 sequence of 1 bytes from index 0";
        let expected = (400, format!("Invalid body: {reason}"));
        assert_eq!(status_and_message(text(&request(vec![0xff])).await), expected);
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
        text(&req).await?;
        drop(req.take_body());
        let seen = format!("{:?} {:?}", req.header("content-type"), req.content_type());
        Ok(format!("{seen} {:?}", http_types::Request::from(req).header("content-type")))
    };
    assert_eq!(answer(&handler, post("x")), ok("None None None"));
}

#[test]
fn a_refused_body_is_413_on_the_wire() {
    let handler = async |req: Request| text(&req).limit("2b").await;
    assert_eq!(statuses(&handler, post("abc") + &get("/")), ["413", "200"]);
}

#[test]
fn a_handler_can_read_the_content_of_a_request_without_a_server() {
    let handler = async |req: Request| text(&req).await;
    let mut response = block_on(respond(&handler, request("hi")));
    assert_eq!(block_on(response.body_string()).unwrap(), "hi");
}
