//! Connections over real sockets: waiting, leaving, ending.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::{connect, echo, exchange, get, ok, post, read_to_end};
use micro_smol::smol::channel;
use micro_smol::{Request, listen, stream};

#[test]
fn a_request_one_byte_at_a_time_is_answered() {
    let server = listen(echo).unwrap();
    let mut client = connect(&server);
    client.set_nodelay(true).unwrap();
    for byte in post("hello").as_bytes() {
        client.write_all(&[*byte]).unwrap();
    }
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(client), ok("POST / \"hello\""));
}

#[test]
fn a_peer_that_closes_its_half_is_still_answered() {
    let server = listen(echo).unwrap();
    let mut client = connect(&server);
    client.write_all(get("/1").repeat(2).as_bytes()).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(client), ok("GET /1 \"\"").repeat(2));
}

#[test]
fn a_peer_that_leaves_half_way_harms_nobody() {
    let server = listen(echo).unwrap();
    for input in [&get("/")[..10], &post("hello")[..50], &get("/"), ""] {
        let mut client = connect(&server);
        client.write_all(input.as_bytes()).unwrap();
        drop(client);
    }
    assert!(exchange(&server, b"GET / HTTP/1.0\r\n\r\n").ends_with("GET / \"\""));
}

#[test]
fn connections_are_served_side_by_side() {
    let (sender, receiver) = channel::bounded::<&str>(1);
    let server = listen(async move |req: Request| match req.path() {
        "/tell" => sender.try_send("told").map_or("full", |()| "sent"),
        _ => receiver.recv().await.unwrap_or("gone"),
    })
    .unwrap();
    let mut waiting = connect(&server);
    waiting.write_all(b"GET /wait HTTP/1.0\r\n\r\n").unwrap();
    assert!(exchange(&server, b"GET /tell HTTP/1.0\r\n\r\n").ends_with("sent"));
    assert!(read_to_end(waiting).ends_with("told"));
}

#[test]
fn a_peer_that_is_always_ready_does_not_keep_the_others_waiting() {
    let server = listen(async |req: Request| match req.path() {
        "/endless" => micro_smol::IntoResponse::into_response(stream(futures_lite::io::repeat(b'x'))),
        "/work" => {
            // Stands for work that takes the processor for a while.
            std::thread::sleep(std::time::Duration::from_micros(300));
            micro_smol::IntoResponse::into_response("worked")
        }
        _ => micro_smol::IntoResponse::into_response("fine"),
    })
    .unwrap();
    let mut greedy = connect(&server);
    greedy.write_all(get("/endless").as_bytes()).unwrap();
    let reading = std::thread::spawn(move || while let Ok(1..) = greedy.read(&mut [0; 65536]) {});
    let mut flooding = connect(&server);
    flooding.write_all(get("/work").as_bytes()).unwrap();
    let mut reader = flooding.try_clone().unwrap();
    let answers = std::thread::spawn(move || while let Ok(1..) = reader.read(&mut [0; 65536]) {});
    let requests = get("/work").repeat(1000);
    let flood = std::thread::spawn(move || while flooding.write_all(requests.as_bytes()).is_ok() {});
    for _ in 0..10 {
        assert!(exchange(&server, b"GET / HTTP/1.0\r\n\r\n").ends_with("fine"));
    }
    drop(server);
    for thread in [reading, answers, flood] {
        thread.join().unwrap();
    }
}

#[test]
fn an_answer_does_not_wait_for_the_next_one() {
    let (sender, receiver) = channel::bounded::<()>(1);
    let server = listen(async move |req: Request| {
        if req.path() == "/slow" {
            receiver.recv().await.unwrap();
        }
        req.path().to_owned()
    })
    .unwrap();
    let mut client = connect(&server);
    client.write_all([get("/quick"), get("/slow")].concat().as_bytes()).unwrap();
    let mut answer = vec![0; 8];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(answer, b"HTTP/1.1", "the first answer is here while the second is awaited");
    sender.try_send(()).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    client.read_to_end(&mut answer).unwrap();
    assert!(answer.ends_with(b"/slow"));
}

#[test]
fn an_error_of_the_next_request_does_not_overtake_or_cut_off_an_answer() {
    let (sender, receiver) = channel::bounded::<()>(1);
    let (started, starts) = channel::bounded(1);
    let server = listen(async move |req: Request| {
        started.try_send(()).unwrap();
        receiver.recv().await.unwrap();
        req.path().to_owned()
    })
    .unwrap();
    let mut client = connect(&server);
    client.write_all([get("/slow"), "NONSENSE\r\n\r\n".into()].concat().as_bytes()).unwrap();
    starts.recv_blocking().unwrap();
    sender.try_send(()).unwrap();
    let answer = read_to_end(client);
    assert!(answer.starts_with(&ok("/slow")), "{answer}");
    assert!(answer.ends_with("\r\n\r\nrequest line is malformed"), "{answer}");
}

#[test]
fn a_refusal_arrives_although_the_message_goes_on() {
    let server = listen(echo).unwrap();
    let mut client = connect(&server);
    client.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5, 5\r\n\r\n").unwrap();
    let mut answer = vec![0; 12];
    client.read_exact(&mut answer).unwrap();
    // The connection is still there, to take this, and says that it ends rather than that it was reset.
    client.write_all(b"hello").unwrap();
    client.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 400 ") && answer.ends_with(b"Content-Length is malformed"));
}

#[test]
fn answers_before_a_stream_that_fails_arrive() {
    let server = listen(async |req: Request| match req.path() {
        "/fails" => micro_smol::IntoResponse::into_response(stream(Failing(false))),
        _ => micro_smol::IntoResponse::into_response("fine"),
    })
    .unwrap();
    let mut client = connect(&server);
    client.write_all([get("/"), get("/fails"), get("/")].concat().as_bytes()).unwrap();
    let answer = read_to_end(client);
    assert!(answer.starts_with(&ok("fine")), "{answer}");
    assert!(answer.ends_with("transfer-encoding: chunked\r\n\r\n"), "{answer}");
}

#[test]
fn each_piece_of_a_stream_leaves_at_once() {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let theirs = std::sync::Mutex::new(Some(micro_smol::smol::Async::new(theirs).unwrap()));
    let server = listen(async move |_req: Request| stream(theirs.lock().unwrap().take().unwrap())).unwrap();
    let mut client = connect(&server);
    client.write_all(get("/").as_bytes()).unwrap();
    let mut ours = ours;
    for piece in ["one", "two"] {
        ours.write_all(piece.as_bytes()).unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(format!("3\r\n{piece}\r\n").as_bytes()) {
            let mut byte = [0];
            client.read_exact(&mut byte).unwrap();
            answer.extend(byte);
        }
    }
}

#[test]
fn a_stream_that_fails_shows_http_1_0_a_reset() {
    let server = listen(async |_req: Request| stream(Failing(true))).unwrap();
    let mut client = connect(&server);
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let error = client.read_to_end(&mut answer).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn a_stream_that_panics_shows_http_1_0_a_reset() {
    struct Panicking(bool);
    impl futures_lite::AsyncRead for Panicking {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
            buffer: &mut [u8],
        ) -> std::task::Poll<std::io::Result<usize>> {
            assert!(!self.0, "a panic that is part of the test");
            self.0 = true;
            buffer[0] = b'x';
            cx.waker().wake_by_ref();
            std::task::Poll::Ready(Ok(1))
        }
    }
    let server = listen(async |_req: Request| stream(Panicking(false))).unwrap();
    let mut client = connect(&server);
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let error = client.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn who_reads_a_body_in_another_task_is_told_that_the_request_is_answered() {
    for fields in ["", "connection: close\r\n"] {
        let (sender, outcomes) = channel::unbounded();
        let server = listen(async move |req: Request| {
            let sender = sender.clone();
            let read = async move {
                let read = micro_smol::buffer(&req).await;
                let _ = sender.try_send(read.map_err(|error| format!("{error:?}")));
            };
            micro_smol::smol::spawn(read).detach();
            "answered"
        })
        .unwrap();
        let mut client = connect(&server);
        client
            .write_all(format!("POST / HTTP/1.1\r\nhost: a\r\n{fields}content-length: 99\r\n\r\nhello").as_bytes())
            .unwrap();
        client.read_exact(&mut [0; 12]).unwrap();
        let error = outcomes.recv_blocking().unwrap().unwrap_err();
        assert!(error.contains("The connection no longer delivers the body"), "{error}");
    }
}

/// Yields a byte, then fails.
struct Failing(bool);

impl futures_lite::AsyncRead for Failing {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
        buffer: &mut [u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        match std::mem::replace(&mut self.0, false) {
            true => {
                buffer[0] = b'x';
                std::task::Poll::Ready(Ok(1))
            }
            false => std::task::Poll::Ready(Err(std::io::ErrorKind::Other.into())),
        }
    }
}

#[test]
fn a_server_lives_on_after_a_panic() {
    let calls = Arc::new(AtomicUsize::new(0));
    let server = listen(async move |req: Request| {
        calls.fetch_add(1, Ordering::Relaxed);
        assert_ne!(req.path(), "/panic", "a panic that is part of the test");
        calls.load(Ordering::Relaxed)
    })
    .unwrap();
    let mut client = connect(&server);
    client.write_all([get("/panic"), get("/fine")].concat().as_bytes()).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let answer = read_to_end(client);
    assert!(answer.starts_with("HTTP/1.1 500 Internal Server Error\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n2"), "the connection lives on, too: {answer}");
}

#[test]
fn a_server_lives_on_after_a_panic_in_a_stream() {
    struct Panicking;
    impl futures_lite::AsyncRead for Panicking {
        fn poll_read(
            self: std::pin::Pin<&mut Self>,
            _cx: &mut std::task::Context<'_>,
            _buffer: &mut [u8],
        ) -> std::task::Poll<std::io::Result<usize>> {
            panic!("a panic that is part of the test")
        }
    }
    let handler = async |req: Request| match req.path() {
        "/panic" => Err(stream(Panicking)),
        _ => Ok("fine"),
    };
    let handler = async move |req: Request| match handler(req).await {
        Ok(text) => micro_smol::IntoResponse::into_response(text),
        Err(stream) => micro_smol::IntoResponse::into_response(stream),
    };
    let server = listen(handler).unwrap();
    let mut client = connect(&server);
    client.write_all(get("/panic").as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = client.read_to_end(&mut answer);
    assert!(!answer.ends_with(b"0\r\n\r\n"), "a message that was cut is not completed");
    assert!(exchange(&server, b"GET / HTTP/1.0\r\n\r\n").ends_with("fine"));
}

#[test]
fn an_error_arrives_although_the_peer_still_sends() {
    let server = listen(async |req: Request| micro_smol::buffer(&req).limit("1kb").await).unwrap();
    let mut client = connect(&server);
    client.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 8000000\r\n\r\n").unwrap();
    // The server reads on for a while, then it may stop.
    let _ = (0..1000).try_for_each(|_| client.write_all(&[b'x'; 8000]));
    let mut answer = [0; 12];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
}
