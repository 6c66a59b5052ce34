//! A peer that says what it was told to, and a look at what it is answered.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use micro_smol::smol::io::{AsyncRead, AsyncWrite};
use micro_smol::{Handler, Limits, Request, Result, Running, buffer, serve_connection, smol};

/// Answers with what it understood of the request.
pub async fn echo(req: Request) -> Result<String> {
    let content = buffer(&req).await?;
    Ok(format!("{} {} {:?}", req.method(), req.path(), String::from_utf8_lossy(&content)))
}

/// A stream that yields pieces, then its end, and takes down what is written.
struct Script {
    pieces: VecDeque<Vec<u8>>,
    /// Each piece is waited for once.
    waited: bool,
    write_bytes_max: usize,
    written: Arc<Mutex<Vec<u8>>>,
}

impl AsyncRead for Script {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if !std::mem::replace(&mut self.waited, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Some(piece) = self.pieces.front_mut() else { return Poll::Ready(Ok(0)) };
        let count = piece.as_slice().read(buffer)?;
        piece.drain(..count);
        if piece.is_empty() {
            self.pieces.pop_front();
            self.waited = false;
        }
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Script {
    fn poll_write(self: Pin<&mut Self>, _cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let count = bytes.len().min(self.write_bytes_max);
        self.written.lock().unwrap().extend_from_slice(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What a connection answers to these pieces, without Date, and how it ended.
pub fn converse(
    handler: &impl Handler,
    limits: &Limits,
    pieces: &[&[u8]],
    write_bytes_max: usize,
) -> (String, io::Result<()>) {
    let (answer, ended) = converse_in_bytes(handler, limits, pieces, write_bytes_max);
    (without_date(&String::from_utf8_lossy(&answer)), ended)
}

/// What a connection answers to these pieces, and how it ended.
pub fn converse_in_bytes(
    handler: &impl Handler,
    limits: &Limits,
    pieces: &[&[u8]],
    write_bytes_max: usize,
) -> (Vec<u8>, io::Result<()>) {
    let written = Arc::new(Mutex::new(Vec::new()));
    let pieces = pieces.iter().map(|piece| piece.to_vec()).collect();
    let script = Script { pieces, waited: false, write_bytes_max, written: written.clone() };
    let ended = smol::block_on(serve_connection(script, handler, limits));
    let answer = written.lock().unwrap().clone();
    (answer, ended)
}

/// The answer to `input`, which is the same whether it comes whole, in two pieces or byte by byte.
pub fn answer_within(handler: &impl Handler, limits: &Limits, input: &[u8]) -> String {
    let (whole, _) = converse(handler, limits, &[input], usize::MAX);
    let bytes: Vec<&[u8]> = input.chunks(1).collect();
    assert_eq!(converse(handler, limits, &bytes, 1).0, whole, "byte by byte");
    let (head, tail) = input.split_at(input.len() / 2);
    assert_eq!(converse(handler, limits, &[head, tail], 7).0, whole, "in two pieces");
    whole
}

/// As [`answer_within`] the default limits.
pub fn answer(handler: &impl Handler, input: impl AsRef<[u8]>) -> String {
    answer_within(handler, &Limits::default(), input.as_ref())
}

/// The status codes of the answers to `input`, and `close` behind the one that closes.
pub fn statuses(handler: &impl Handler, input: impl AsRef<[u8]>) -> Vec<String> {
    let answer = answer(handler, input);
    let status = |head: &str| head.split(' ').nth(1).map(str::to_owned);
    let closes = |message: &str| {
        let head = message.split("\r\n\r\n").next().unwrap_or_default();
        let mut options = head.lines().filter_map(|line| line.strip_prefix("connection: "));
        options.any(|list| list.split(", ").any(|option| option == "close"))
    };
    answer
        .split("HTTP/1.1 ")
        .skip(1)
        .map(|message| format!("HTTP/1.1 {message}"))
        .filter_map(|message| Some(status(&message)? + if closes(&message) { " close" } else { "" }))
        .collect()
}

/// Takes the Date field out of each head, where it must be exactly once.
pub fn without_date(answer: &str) -> String {
    let is_date = |line: &&str| line.starts_with("date: ") && line.ends_with(" GMT\r\n");
    let (dates, lines): (Vec<_>, Vec<_>) = answer.split_inclusive("\r\n").partition(is_date);
    let heads = answer.matches("HTTP/1.1 ").count() - answer.matches("HTTP/1.1 100 ").count();
    assert_eq!(heads, dates.len(), "{answer}");
    lines.concat()
}

/// A connection to a server under test.
pub fn connect(server: &Running) -> TcpStream {
    TcpStream::connect(server.url().trim_start_matches("http://")).unwrap()
}

/// Sends `input` to a server and reads until it closes.
pub fn exchange(server: &Running, input: &[u8]) -> String {
    let mut client = connect(server);
    client.write_all(input).unwrap();
    read_to_end(client)
}

pub fn read_to_end(mut client: TcpStream) -> String {
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    without_date(&String::from_utf8_lossy(&answer))
}

/// A request with the least of a head.
pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")
}

pub fn post(content: &str) -> String {
    format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{content}", content.len())
}

/// The head of a 200 with text of a length.
pub fn ok(content: &str) -> String {
    let length = content.len();
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {length}\r\n\r\n{content}")
}

/// Makes the file of a Unix socket on which nobody listens, as a server that was killed leaves it.
///
/// The file of a listener that is closed would not do: a process that another test is just starting may still have it open.
pub fn stale_socket(path: &std::path::Path) {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, socket};
    let socket = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    bind(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
}
