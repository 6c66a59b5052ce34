//! One owner of the stream: bodies read in other tasks, peers that reset, handlers that are dropped.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::support::{connect, exchange, get, ok, read_to_end};
use micro_smol::http_types;
use micro_smol::smol::channel::{self, Receiver, Sender};
use micro_smol::smol::future::{FutureExt, pending, yield_now};
use micro_smol::smol::io::{AsyncRead, AsyncReadExt};
use micro_smol::smol::{self, Timer};
use micro_smol::{Handler, IntoResponse, Request, Response, Result, buffer, chunks, listen, stream, text};

/// So many equal pieces, each a poll.
struct Pieces {
    left: usize,
    piece: &'static [u8],
}

impl AsyncRead for Pieces {
    fn poll_read(mut self: Pin<&mut Self>, _cx: &mut Context<'_>, room: &mut [u8]) -> Poll<std::io::Result<usize>> {
        if self.left == 0 {
            return Poll::Ready(Ok(0));
        }
        self.left -= 1;
        let count = self.piece.len().min(room.len());
        room[..count].copy_from_slice(&self.piece[..count]);
        Poll::Ready(Ok(count))
    }
}

#[test]
fn a_response_arrives_whole_while_another_task_reads_the_body() {
    for piece in [&b"x"[..], b"seven77"] {
        let server = listen(async move |mut req: Request| {
            let mut body = req.take_body();
            smol::spawn(async move { body.read_to_end(&mut Vec::new()).await }).detach();
            stream(Pieces { left: 3_000_000, piece })
        })
        .unwrap();
        let mut client = connect(&server);
        rustix::net::sockopt::set_socket_recv_buffer_size(&client, 32 * 1024).unwrap();
        client
            .write_all(b"POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 40\r\n\r\n0123456789")
            .unwrap();
        // Each piece of the body comes when the response is stuck for want of a reader.
        for _ in 0..6 {
            std::thread::sleep(Duration::from_millis(20));
            client.write_all(b"abcde").unwrap();
        }
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        assert!(answer.ends_with(b"\r\n0\r\n\r\n"));
        let content: usize = chunk_sizes(&answer).iter().sum();
        // A piece may be cut where a chunk is full.
        assert!((3_000_000..=3_000_000 * piece.len()).contains(&content), "{content}");
    }
}

/// The sizes of the chunks of a response.
fn chunk_sizes(answer: &[u8]) -> Vec<usize> {
    let start = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let (mut rest, mut sizes) = (&answer[start..], Vec::new());
    while let Some(end) = rest.windows(2).position(|window| window == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        sizes.push(size);
        rest = &rest[end + 2 + size + 2..];
    }
    sizes
}

#[test]
fn no_100_continue_stands_behind_the_head_of_a_response() {
    let (told, tells) = channel::bounded::<()>(1);
    let server = listen(async move |mut req: Request| {
        let (mut body, tells) = (req.take_body(), tells.clone());
        let reading = async move {
            let _ = tells.recv().await;
            let _ = body.read_to_end(&mut Vec::new()).await;
        };
        smol::spawn(reading).detach();
        vec![b'x'; 20_000_000]
    })
    .unwrap();
    let mut client = connect(&server);
    client.write_all(b"POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 100\r\n\r\n").unwrap();
    let mut answer = vec![0; 100_000];
    client.read_exact(&mut answer).unwrap();
    // Now the body is asked for, in the middle of the content.
    told.send_blocking(()).unwrap();
    client.read_to_end(&mut answer).unwrap();
    let start = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
    assert_eq!(answer.len() - start, 20_000_000);
    assert!(answer[start..].iter().all(|byte| *byte == b'x'));
}

/// Tells when it is dropped.
struct Dropped(Sender<()>);

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = self.0.try_send(());
    }
}

/// Sends `input`, and `more` once the handler has started, resets, and returns when the handler's future was dropped.
fn reset_within(
    handler: impl AsyncFn(Request) + Send + Sync + 'static,
    input: &[u8],
    more: &[u8],
    ready: Option<Receiver<()>>,
) {
    let (sender, dropped) = channel::bounded(1);
    let (started, starts) = channel::bounded(1);
    let server = listen(async move |req: Request| {
        let _dropped = Dropped(sender.clone());
        let _ = started.try_send(());
        handler(req).await;
        pending::<()>().await
    })
    .unwrap();
    let mut client = connect(&server);
    client.write_all(input).unwrap();
    starts.recv_blocking().unwrap();
    client.write_all(more).unwrap();
    ready.iter().for_each(|ready| ready.recv_blocking().unwrap());
    rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
    drop(client);
    let late = async {
        Timer::after(Duration::from_secs(10)).await;
        Err(channel::RecvError)
    };
    smol::block_on(dropped.recv().or(late)).expect("the future is dropped soon after the reset");
}

fn post(length: usize) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n").into_bytes()
}

#[test]
fn a_reset_drops_the_handler_however_much_of_the_body_is_unread() {
    for length in [9_000, 20_000, 1_000_000] {
        reset_within(async |_req| {}, &post(length), &vec![b'x'; length.min(100_000)], None);
    }
}

#[test]
fn a_reset_drops_the_handler_that_has_read_some_of_the_body() {
    let (read, reads) = channel::bounded(1);
    let handler = async move |mut req: Request| {
        let mut four = [0; 4];
        req.take_body().read_exact(&mut four).await.unwrap();
        read.try_send(()).unwrap();
    };
    reset_within(handler, &post(20_000), &[b'x'; 10_000], Some(reads));
}

#[test]
fn a_reset_drops_the_handler_with_pipelined_requests_behind_it() {
    reset_within(async |_req| {}, get("/").repeat(600).as_bytes(), b"", None);
}

#[test]
fn a_reset_drops_the_handler_whose_read_was_given_up() {
    let (gave_up, gives_up) = channel::bounded(1);
    let handler = async move |req: Request| {
        let late = async {
            Timer::after(Duration::from_millis(10)).await;
            Ok(Vec::new())
        };
        let _ = async { buffer(&req).await }.or(late).await;
        gave_up.try_send(()).unwrap();
    };
    reset_within(handler, &post(20_000), &[b'x'; 5_000], Some(gives_up));
}

#[test]
fn a_reset_drops_the_handler_whose_body_another_task_has_read() {
    let (read, reads) = channel::bounded(1);
    let handler = async move |mut req: Request| {
        let (mut body, read) = (req.take_body(), read.clone());
        let reading = async move {
            body.read_to_end(&mut Vec::new()).await.unwrap();
            read.try_send(()).unwrap();
        };
        smol::spawn(reading).detach();
    };
    reset_within(handler, &post(20_000), &[b'x'; 20_000], Some(reads));
}

/// A reader that yields a byte, then panics or fails.
struct Breaking {
    yielded: bool,
    panics: bool,
}

impl AsyncRead for Breaking {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<std::io::Result<usize>> {
        if std::mem::replace(&mut self.yielded, true) {
            assert!(!self.panics, "a panic that is part of the test");
            return Poll::Ready(Err(ErrorKind::Other.into()));
        }
        room[0] = b'x';
        cx.waker().wake_by_ref();
        Poll::Ready(Ok(1))
    }
}

/// How many descriptors this process has.
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

#[test]
fn a_body_that_is_kept_does_not_keep_the_connection() {
    for panics in [false, true] {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let bodies = kept.clone();
        let server = listen(async move |mut req: Request| {
            bodies.lock().unwrap().push(req.take_body());
            stream(Breaking { yielded: false, panics })
        })
        .unwrap();
        for _ in 0..20 {
            let mut client = connect(&server);
            client.write_all(&post(100)).unwrap();
            // The end comes although the body still has a reader.
            let mut answer = Vec::new();
            let _ = client.read_to_end(&mut answer);
            assert!(!answer.ends_with(b"0\r\n\r\n"));
        }
        let mut bodies = kept.lock().unwrap();
        assert_eq!(bodies.len(), 20);
        let error = smol::block_on(bodies[0].read_to_end(&mut Vec::new())).unwrap_err();
        assert_eq!(error.to_string(), "The connection no longer delivers the body");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn forgotten_bodies_hold_no_descriptor() {
    let server = listen(async move |mut req: Request| {
        std::mem::forget(req.take_body());
        "forgotten"
    })
    .unwrap();
    let exchange_all = |count| {
        for _ in 0..count {
            let mut client = connect(&server);
            let head = "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 100\r\n\r\n";
            client.write_all(head.as_bytes()).unwrap();
            client.shutdown(std::net::Shutdown::Write).unwrap();
            assert!(read_to_end(client).ends_with("forgotten"));
        }
    };
    exchange_all(1);
    let before = descriptors();
    exchange_all(100);
    let is_back = || {
        (0..500).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            descriptors() < before + 50
        })
    };
    assert!(is_back(), "{before} descriptors before, {} after", descriptors());
}

/// Each way to read a whole body.
async fn read_in_each_way(req: Request) -> Result<Response> {
    let way = req.path().trim_start_matches('/').to_owned();
    match way.as_str() {
        "buffer" => buffer(&req).limit("1000gb").await?.into_response(),
        "text" => text(&req).limit("1000gb").await?.into_response(),
        "into_string" => http_types::Request::from(req).take_body().into_string().await?.into_response(),
        "body_string" => http_types::Request::from(req).body_string().await?.into_response(),
        "into_bytes" => http_types::Request::from(req).take_body().into_bytes().await?.into_response(),
        _ => {
            let mut req = req;
            let mut content = String::new();
            req.take_body().read_to_string(&mut content).await?;
            content.into_response()
        }
    }
}

#[test]
fn nothing_is_allocated_for_a_declared_length() {
    let server = listen(read_in_each_way).unwrap();
    for way in ["buffer", "text", "into_string", "body_string", "into_bytes", "read"] {
        let mut client = connect(&server);
        let head = format!("POST /{way} HTTP/1.1\r\nhost: a\r\ncontent-length: 100000000000\r\n\r\nx");
        client.write_all(head.as_bytes()).unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let answer = read_to_end(client);
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{way}: {answer}");
        assert!(answer.ends_with("Invalid body: message body ends early"), "{way}: {answer}");
    }
    assert_eq!(exchange(&server, b"GET /text HTTP/1.0\r\n\r\n").lines().next(), Some("HTTP/1.1 200 OK"));
}

/// Holds a large array where it waits.
async fn large(_req: Request) -> usize {
    let mut array = [1_u8; 1 << 20];
    yield_now().await;
    array[7] = 0;
    array.iter().map(|byte| usize::from(*byte)).sum()
}

#[test]
fn a_large_future_works_on_every_route() {
    let sum = ((1 << 20) - 1).to_string();
    let mut response = smol::block_on(micro_smol::respond(&large, Request::get("/")));
    assert_eq!(smol::block_on(response.body_string()).unwrap(), sum);
    let (answer, _) = crate::support::converse(&large, &Default::default(), &[get("/").as_bytes()], usize::MAX);
    assert!(answer.ends_with(&format!("\r\n\r\n{sum}")), "{answer}");
    let server = listen(large).unwrap();
    assert!(exchange(&server, b"GET / HTTP/1.0\r\n\r\n").ends_with(&sum));
}

/// The resident memory of this process, in bytes.
#[cfg(target_os = "linux")]
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    status.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
#[cfg(target_os = "linux")]
fn a_large_future_costs_an_idle_connection_nothing() {
    fn idle(handler: impl Handler) -> (usize, Vec<TcpStream>) {
        let server = listen(handler).unwrap();
        let ask = || {
            let mut client = connect(&server);
            client.write_all(get("/").as_bytes()).unwrap();
            client.read_exact(&mut [0; 12]).unwrap();
            client
        };
        drop(ask());
        let before = resident();
        let clients: Vec<_> = (0..400).map(|_| ask()).collect();
        let grown = resident().saturating_sub(before);
        (grown, clients)
    }
    let (grown, _clients) = idle(large);
    // Other tests share the process, so the bound is loose: the futures would hold 400 MiB.
    assert!(grown < 200 << 20, "{grown} bytes for 400 connections");
}

#[test]
fn an_event_stream_ends_by_itself_when_the_server_stops() {
    let server = listen(async |req: Request| {
        let stopping = Box::pin(req.stopping());
        let events = smol::stream::unfold(Some(stopping), |stopping| async {
            let mut stopping = stopping?;
            let told = smol::future::poll_once(stopping.as_mut()).await;
            match told {
                Some(()) => Some((Ok("data: bye\n\n"), None)),
                None => {
                    stopping.await;
                    Some((Ok("data: bye\n\n"), None))
                }
            }
        });
        chunks(smol::stream::once(std::io::Result::Ok("data: hello\n\n")).chain(events))
    })
    .unwrap();
    let mut client = connect(&server);
    client.write_all(get("/").as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"data: hello\n\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        answer.extend(byte);
    }
    let start = std::time::Instant::now();
    server.stop().unwrap();
    assert!(start.elapsed() < Duration::from_secs(4), "well before drain_timeout");
    client.read_to_end(&mut answer).unwrap();
    assert!(answer.ends_with(b"data: bye\n\n\r\n0\r\n\r\n"));
}

#[test]
fn two_tasks_on_other_threads_read_the_same_content() {
    let server = listen(async |req: Request| -> Result<String> {
        let req = Arc::new(req);
        let read = |req: Arc<Request>| smol::spawn(async move { text(&req).await });
        let (one, two, given_up) = (read(req.clone()), read(req.clone()), read(req.clone()));
        yield_now().await;
        drop(given_up);
        let here = text(&req).await?;
        Ok(format!("{here} {} {}", one.await?, two.await?))
    })
    .unwrap();
    let mut client = connect(&server);
    client.set_nodelay(true).unwrap();
    client.write_all(b"POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 5\r\n\r\n").unwrap();
    for byte in b"hello" {
        std::thread::sleep(Duration::from_millis(5));
        client.write_all(&[*byte]).unwrap();
    }
    let expected = ok("hello hello hello").replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
    assert_eq!(read_to_end(client), expected);
}

use micro_smol::smol::stream::StreamExt;
