//! How messages and connections end where two features meet.

use std::fmt;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use crate::support::{answer, connect, exchange, get, ok};
use micro_smol::smol::channel;
use micro_smol::smol::future::{FutureExt, pending};
use micro_smol::smol::io::{AsyncReadExt, AsyncWriteExt};
use micro_smol::smol::{self, Timer};
use micro_smol::{
    Handler, IntoResponse, Limits, Method, Request, Response, Result, Running, create_error, listen, respond, serve,
    text, upgrade,
};

fn listen_within(handler: impl Handler, limits: Limits) -> Running {
    serve(handler).listen("tcp://127.0.0.1:0").unwrap().workers(1).limits(limits).start().unwrap()
}

#[test]
fn a_large_last_response_arrives_whole_although_bytes_are_unread() {
    let server = listen(async |_req: Request| vec![b'x'; 400_000]).unwrap();
    for _ in 0..5 {
        let mut client = connect(&server);
        let head = "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 8000\r\n\r\n";
        let padding = "y".repeat(8000 + 1000);
        client.write_all(format!("{head}{padding}").as_bytes()).unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        assert!(answer.len() > 400_000, "{}", answer.len());
    }
}

#[test]
fn the_response_to_another_head_has_no_length_without_content() {
    async fn inner(_req: Request) -> &'static str {
        "hello"
    }
    let outer = async |_req: Request| respond(&inner, Request::new(Method::Head, "/")).await;
    assert_eq!(answer(&outer, get("/").repeat(2)), ok("").repeat(2));
}

const ASK: &str = "POST / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n";

#[test]
fn the_rest_of_a_body_is_no_part_of_another_protocol() {
    let handler = async |mut req: Request| {
        drop(req.take_body());
        upgrade(&req, "x", async |mut io| {
            let mut bytes = Vec::new();
            let _ = smol::io::AsyncReadExt::read_to_end(&mut io, &mut bytes).await;
            let _ = io.write_all(&bytes).await;
        })
    };
    for body in ["content-length: 2\r\n\r\nab", "transfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"] {
        let (answer, _) =
            crate::support::converse(&handler, &Limits::default(), &[ASK.as_bytes(), body.as_bytes()], usize::MAX);
        assert!(!answer.ends_with("ab") && !answer.contains("\r\n\r\n2"), "{answer}");
    }
}

#[test]
fn an_upgrade_has_no_content() {
    let handler = async |req: Request| {
        let mut response = upgrade(&req, "x", async |mut io| drop(io.write_all(b"[x]").await));
        response.set_body("content");
        response
    };
    let answer = answer(&handler, format!("{ASK}\r\n"));
    assert!(answer.ends_with("\r\n\r\n[x]"), "{answer}");
}

#[test]
fn an_upgraded_stream_ends_with_its_connection_wherever_it_is() {
    let (written, writes) = channel::unbounded();
    let handler = async move |req: Request| {
        let written = written.clone();
        upgrade(&req, "x", async move |mut io| {
            let ticking = async move {
                while io.write_all(b"tick").await.is_ok() {
                    written.try_send(()).unwrap();
                    Timer::after(Duration::from_millis(1)).await;
                }
            };
            smol::spawn(ticking).detach();
            pending().await
        })
    };
    let limits = Limits { drain_timeout: Duration::from_millis(100), ..Limits::default() };
    let server = listen_within(handler, limits);
    let mut client = connect(&server);
    client.write_all(format!("{ASK}\r\n").as_bytes()).unwrap();
    writes.recv_blocking().unwrap();
    server.stop().unwrap_err();
    // The task in another thread finds the stream closed.
    while writes.recv_blocking().is_ok() {}
    let _ = client.read_to_end(&mut Vec::new());
}

#[test]
fn a_task_that_waits_for_the_peer_of_an_upgraded_stream_learns_of_its_end() {
    // One waits for something to read, one for room to write.
    for waits_to_write in [false, true] {
        let (ended, ends) = channel::unbounded();
        let (begun, begins) = channel::unbounded();
        let handler = async move |req: Request| {
            let (ended, begun) = (ended.clone(), begun.clone());
            upgrade(&req, "x", async move |mut io| {
                let waiting = async move {
                    begun.try_send(()).unwrap();
                    let end = match waits_to_write {
                        true => io.write_all(&vec![b'x'; 100_000_000]).await.map(|()| 1),
                        false => io.read(&mut [0]).await,
                    };
                    ended.try_send(end).unwrap();
                };
                smol::spawn(waiting).detach();
                pending().await
            })
        };
        let limits = Limits { drain_timeout: Duration::ZERO, write_timeout: Duration::MAX, ..Limits::default() };
        let server = listen_within(handler, limits);
        let mut client = connect(&server);
        client.write_all(format!("{ASK}\r\n").as_bytes()).unwrap();
        begins.recv_blocking().unwrap();
        server.stop().unwrap_err();
        let end = ends.recv_blocking().unwrap();
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    }
}

#[test]
fn the_rest_of_a_refused_upload_does_not_hold_a_stop() {
    async fn short(req: Request) -> Result<String> {
        text(&req).limit(10).await
    }
    for (length, more) in [(8_000_000, true), (1000, false)] {
        let server = listen(short).unwrap();
        let mut client = connect(&server);
        client.write_all(format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n").as_bytes()).unwrap();
        client.read_exact(&mut [0; 12]).unwrap();
        if more {
            client.write_all(b"more").unwrap();
        }
        let start = Instant::now();
        server.stop().unwrap();
        assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    }
}

#[test]
#[allow(unexpected_cfgs, reason = "the cfg has async-io serve, as it does on other systems than Linux")]
fn a_peer_that_has_ended_is_noticed_behind_an_unread_body() {
    // Only epoll tells an end that is behind more input than is kept.
    let is_told = cfg!(all(target_os = "linux", not(micro_smol_portable)));
    let lengths: &[usize] = if is_told { &[0, 4_096, 8_192, 20_000, 100_000] } else { &[0, 4_096] };
    for &length in lengths {
        let (sender, dropped) = channel::bounded::<()>(1);
        let handler = async move |_req: Request| {
            let _sender = sender.clone();
            pending::<()>().await
        };
        let limits = Limits { write_timeout: Duration::from_millis(50), ..Limits::default() };
        let server = listen_within(handler, limits);
        let mut client = connect(&server);
        let head = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n");
        client.write_all([head.as_bytes(), &vec![b'x'; length]].concat().as_slice()).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        // The connection is let go, and says nothing.
        assert!(!matches!(client.read(&mut [0]), Ok(1..)));
        drop(server);
        while dropped.recv_blocking().is_ok() {}
    }
}

#[test]
fn each_write_of_an_upgraded_stream_has_its_time() {
    let (failed, failures) = channel::unbounded();
    let handler = async move |req: Request| {
        let failed = failed.clone();
        upgrade(&req, "x", async move |mut io| {
            for _ in 0..2 {
                let error = loop {
                    if let Err(error) = io.write(&[0; 65536]).await {
                        break error;
                    }
                };
                failed.try_send(error.kind()).unwrap();
            }
        })
    };
    let limits = Limits { write_timeout: Duration::from_millis(50), ..Limits::default() };
    let server = listen_within(handler, limits);
    let mut client = connect(&server);
    client.write_all(format!("{ASK}\r\n").as_bytes()).unwrap();
    for _ in 0..2 {
        assert_eq!(failures.recv_blocking().unwrap(), std::io::ErrorKind::TimedOut);
    }
}

#[test]
fn the_time_for_a_body_does_not_run_while_the_handler_does_something_else() {
    let (gave_up, gives_up) = channel::bounded(1);
    let (told, tells) = channel::bounded::<()>(1);
    let handler = async move |req: Request| -> Result<String> {
        let late = async {
            Timer::after(Duration::from_millis(1)).await;
            Err(create_error(500, "given up"))
        };
        assert!(text(&req).or(late).await.is_err());
        // Longer than the time for a body.
        Timer::after(Duration::from_millis(300)).await;
        gave_up.try_send(()).unwrap();
        tells.recv().await?;
        text(&req).await
    };
    let limits = Limits { body_timeout: Duration::from_millis(100), ..Limits::default() };
    let server = listen_within(handler, limits);
    let mut client = connect(&server);
    client.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhe").unwrap();
    gives_up.recv_blocking().unwrap();
    client.write_all(b"llo").unwrap();
    told.send_blocking(()).unwrap();
    let mut answer = [0; 12];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
}

#[test]
fn an_error_that_panics_when_it_is_printed_is_a_500() {
    #[derive(Debug)]
    struct Panicking;
    impl fmt::Display for Panicking {
        fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("a panic that is part of the test")
        }
    }
    impl std::error::Error for Panicking {}
    let server = listen(async |_req: Request| -> Result<Response> {
        Err::<(), _>(Panicking)?;
        "never".into_response()
    })
    .unwrap();
    assert!(exchange(&server, b"GET / HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 500 "));
}
