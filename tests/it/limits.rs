//! Timeouts and numbers of connections, on durations that are short for the test.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::{connect, echo, get, ok, post, read_to_end};
use micro_smol::smol::channel::{self, Sender};
use micro_smol::{Handler, Limits, Request, Running, buffer, serve, stream};

const SHORT: Duration = Duration::from_millis(60);

fn listen_within(handler: impl Handler, limits: Limits) -> Running {
    serve(handler).listen("tcp://127.0.0.1:0").unwrap().workers(1).limits(limits).start().unwrap()
}

fn refusal(status: &str, fault: &str) -> String {
    let length = fault.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n{fault}"
    )
}

#[test]
fn a_head_that_takes_too_long_is_408() {
    let server = listen_within(echo, Limits { head_timeout: SHORT, ..Limits::default() });
    let mut client = connect(&server);
    let start = Instant::now();
    client.write_all(b"GET / HT").unwrap();
    assert_eq!(read_to_end(client), refusal("408 Request Timeout", "head took too long"));
    assert!(start.elapsed() >= SHORT);
}

#[test]
fn a_head_that_trickles_in_is_408_all_the_same() {
    let limits =
        Limits { head_timeout: SHORT, request_line_bytes_max: 1 << 30, head_bytes_max: 1 << 30, ..Limits::default() };
    let server = listen_within(echo, limits);
    let mut client = connect(&server);
    client.set_nodelay(true).unwrap();
    client.write_all(b"GET /").unwrap();
    client.set_nonblocking(true).unwrap();
    let mut answer = [0; 12];
    while client.read(&mut answer).is_err() {
        let _ = client.write(b"a");
        std::thread::yield_now();
    }
    assert_eq!(&answer, b"HTTP/1.1 408");
}

#[test]
fn a_connection_that_is_never_used_is_closed_without_a_word() {
    let server = listen_within(echo, Limits { head_timeout: SHORT, ..Limits::default() });
    assert_eq!(read_to_end(connect(&server)), "");
}

#[test]
fn a_connection_that_is_idle_is_closed_without_a_word() {
    let server = listen_within(echo, Limits { idle_timeout: SHORT, ..Limits::default() });
    let mut client = connect(&server);
    client.write_all(get("/").as_bytes()).unwrap();
    assert_eq!(read_to_end(client), ok("GET / \"\""));
}

#[test]
fn the_time_for_the_next_head_starts_with_its_first_byte() {
    let limits = Limits { head_timeout: SHORT, idle_timeout: Duration::from_secs(60), ..Limits::default() };
    let server = listen_within(echo, limits);
    let mut client = connect(&server);
    client.write_all([get("/"), "G".into()].concat().as_bytes()).unwrap();
    let answer = read_to_end(client);
    assert_eq!(answer, ok("GET / \"\"") + &refusal("408 Request Timeout", "head took too long"));
}

#[test]
fn a_handler_has_all_the_time_it_wants() {
    let limits = Limits {
        head_timeout: SHORT,
        idle_timeout: SHORT,
        body_timeout: SHORT,
        write_timeout: SHORT,
        ..Limits::default()
    };
    let slow = async |req: Request| {
        micro_smol::smol::Timer::after(3 * SHORT).await;
        let content = buffer(&req).await;
        micro_smol::smol::Timer::after(3 * SHORT).await;
        content
    };
    let server = listen_within(slow, limits);
    let mut client = connect(&server);
    client.write_all(post("hello").as_bytes()).unwrap();
    assert!(read_to_end(client).ends_with("hello"));
}

#[test]
fn a_body_that_stops_coming_is_408() {
    let server = listen_within(echo, Limits { body_timeout: SHORT, ..Limits::default() });
    let mut client = connect(&server);
    client.write_all(&post("hello").as_bytes()[..50]).unwrap();
    assert_eq!(read_to_end(client), refusal("408 Request Timeout", "Body took too long"));
}

#[test]
fn a_body_that_stops_coming_is_408_however_it_is_read() {
    use micro_smol::smol::io::AsyncReadExt;
    let handler = async |mut req: Request| -> micro_smol::Result<String> {
        let mut content = String::new();
        match req.path() {
            "/take" => drop(req.take_body().read_to_string(&mut content).await?),
            "/http" => content = micro_smol::http_types::Request::from(req).body_string().await?,
            "/form" => drop(micro_smol::form::<Vec<(String, String)>>(&req).await?),
            _ => content = micro_smol::text(&req).await?,
        }
        Ok(content)
    };
    let server = listen_within(handler, Limits { body_timeout: SHORT, ..Limits::default() });
    for path in ["/take", "/http", "/form", "/text"] {
        let mut client = connect(&server);
        client.write_all(&post("hello").replace("POST /", &format!("POST {path}")).as_bytes()[..54]).unwrap();
        assert_eq!(read_to_end(client), refusal("408 Request Timeout", "Body took too long"), "{path}");
    }
}

/// Tells when it is dropped.
struct Told(Sender<()>);

impl Drop for Told {
    fn drop(&mut self) {
        let _ = self.0.try_send(());
    }
}

#[test]
fn a_peer_that_does_not_read_its_response_is_reset() {
    let (sender, dropped) = channel::bounded(1);
    let endless = async move |_req: Request| stream(Endless(Told(sender.clone())));
    let server = listen_within(endless, Limits { write_timeout: SHORT, ..Limits::default() });
    let mut client = connect(&server);
    client.write_all(get("/").as_bytes()).unwrap();
    dropped.recv_blocking().unwrap();
    let mut answer = Vec::new();
    assert_eq!(client.read_to_end(&mut answer).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn what_a_peer_sends_gives_it_no_more_time_to_read() {
    let (sender, dropped) = channel::bounded(1);
    let handler = async move |mut req: Request| {
        let body = req.take_body();
        std::thread::spawn(move || micro_smol::smol::block_on(body.into_bytes()));
        stream(Endless(Told(sender.clone())))
    };
    let server = listen_within(handler, Limits { write_timeout: SHORT, ..Limits::default() });
    let mut client = connect(&server);
    client.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000000\r\n\r\n").unwrap();
    let start = Instant::now();
    while dropped.is_empty() {
        assert!(start.elapsed() < Duration::from_secs(20), "it is still served");
        let _ = client.write(b"a");
        std::thread::yield_now();
    }
}

struct Endless(#[expect(dead_code, reason = "only its drop matters")] Told);

impl futures_lite::AsyncRead for Endless {
    fn poll_read(
        self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
        buffer: &mut [u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        std::task::Poll::Ready(Ok(buffer.len()))
    }
}

/// Resets the connection while a handler answers `input`, and returns when its future has been dropped.
fn reset_within_the_answer_to(input: &str) {
    let (sender, dropped) = channel::bounded(1);
    let (started, starts) = channel::bounded(1);
    let server = listen_within(
        async move |_req: Request| {
            let _told = Told(sender.clone());
            started.try_send(()).unwrap();
            std::future::pending::<()>().await
        },
        Limits::default(),
    );
    let mut client = connect(&server);
    client.write_all(input.as_bytes()).unwrap();
    starts.recv_blocking().unwrap();
    rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
    drop(client);
    dropped.recv_blocking().unwrap();
}

#[test]
fn a_peer_that_resets_drops_the_handlers_future() {
    reset_within_the_answer_to(&get("/"));
}

#[test]
fn a_peer_that_resets_before_its_body_came_drops_the_handlers_future() {
    reset_within_the_answer_to("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 99\r\n\r\n");
}

/// A stream that takes what is written, but never says that it has left.
struct Buffering(bool);

impl futures_lite::AsyncRead for Buffering {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
        buffer: &mut [u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        if std::mem::replace(&mut self.0, true) {
            return std::task::Poll::Pending;
        }
        let input = get("/");
        buffer[..input.len()].copy_from_slice(input.as_bytes());
        std::task::Poll::Ready(Ok(input.len()))
    }
}

impl futures_lite::AsyncWrite for Buffering {
    fn poll_write(
        self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        std::task::Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(
        self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Pending
    }

    fn poll_close(
        self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Pending
    }
}

#[test]
fn a_stream_that_does_not_flush_ends_the_connection() {
    let limits = Limits { write_timeout: SHORT, ..Limits::default() };
    let ended = micro_smol::smol::block_on(micro_smol::serve_connection(Buffering(false), &echo, &limits));
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::TimedOut);
}

#[test]
fn a_stream_ends_when_its_peer_has_gone() {
    let (sender, dropped) = channel::bounded(1);
    let server = listen_within(async move |_req: Request| stream(Endless(Told(sender.clone()))), Limits::default());
    let mut client = connect(&server);
    client.write_all(get("/").as_bytes()).unwrap();
    client.read_exact(&mut [0; 1000]).unwrap();
    drop(client);
    dropped.recv_blocking().unwrap();
}

fn first_bytes(client: &mut TcpStream) -> [u8; 12] {
    let mut answer = [0; 12];
    client.read_exact(&mut answer).unwrap();
    answer
}

#[test]
fn no_more_connections_than_the_limit_are_served() {
    let server = listen_within(async |_req: Request| (), Limits { connections_max: 2, ..Limits::default() });
    let mut clients = [connect(&server), connect(&server), connect(&server)];
    for client in &mut clients {
        client.write_all(get("/").as_bytes()).unwrap();
    }
    let [first, second, third] = &mut clients;
    assert_eq!(&first_bytes(first), b"HTTP/1.1 204");
    assert_eq!(&first_bytes(second), b"HTTP/1.1 204");
    third.set_nonblocking(true).unwrap();
    assert_eq!(third.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    third.set_nonblocking(false).unwrap();
    first.shutdown(std::net::Shutdown::Both).unwrap();
    assert_eq!(&first_bytes(third), b"HTTP/1.1 204");
}

#[test]
fn a_thousand_idle_connections_hinder_nobody() {
    let server = listen_within(echo, Limits::default());
    let mut idle: Vec<_> = (0..1000).map(|_| connect(&server)).collect();
    for client in idle.iter_mut().step_by(2) {
        client.write_all(get("/").as_bytes()).unwrap();
        assert_eq!(&first_bytes(client), b"HTTP/1.1 200");
    }
    let mut client = connect(&server);
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    assert!(read_to_end(client).ends_with("GET / \"\""));
}

#[test]
fn a_slow_reader_that_goes_on_reading_gets_all() {
    const LENGTH: usize = 24 * 1024 * 1024;
    let limits = Limits { write_timeout: 6 * SHORT, ..Limits::default() };
    let server = listen_within(async |_req: Request| vec![0; LENGTH], limits);
    let mut client = connect(&server);
    client.write_all(get("/").as_bytes()).unwrap();
    let (mut count, mut bytes) = (0, [0; 16 * 1024]);
    // The pace is what is tried: the kernel asks for more only when a third of a large buffer is free.
    let start = std::time::Instant::now();
    while start.elapsed() < 20 * SHORT {
        count += client.read(&mut bytes).unwrap();
        std::thread::sleep(SHORT / 32);
    }
    count += client.take((LENGTH - count) as u64).read_to_end(&mut Vec::new()).unwrap();
    assert_eq!(count, LENGTH, "with the head, more than the content");
}
