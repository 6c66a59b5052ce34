//! What the scripts of this directory and its neighbours ask: `micro-smol tests/clients/service.rs`.

use micro_smol::smol::Timer;
use micro_smol::smol::io::{AsyncRead, AsyncReadExt, Cursor, copy, split};
use micro_smol::{IntoResponse, Method, Request, Response, Result, buffer, create_error, send, stream, upgrade};
use std::io::{Error, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::{process, time::Duration};

pub async fn handler(req: Request) -> Result<Response> {
    let (start, last) = req.path().rsplit_once('/').unwrap_or_default();
    match (req.method(), start, last.parse::<u64>()) {
        (Method::Post, ..) => post(req).await,
        (_, "/bytes", Ok(length)) => stream(Pattern(0).take(length)).length(length).into_response(),
        (_, "/chunks", Ok(length)) => stream(Pattern(0).take(length)).into_response(),
        (_, "/cut", Ok(length)) => stream(Pattern(0).take(length).chain(Broken)).into_response(),
        (_, "/wait", Ok(milliseconds)) => {
            Timer::after(Duration::from_millis(milliseconds)).await;
            "Ready!".into_response()
        }
        _ => small(&req),
    }
}

fn small(req: &Request) -> Result<Response> {
    match req.path() {
        "/" if req.header("if-none-match") == Some("\"1\"") => send(304, ()),
        "/" => Ok(send(200, "Hello, world")?.with_header("etag", "\"1\"")),
        "/page" => Ok(send(200, include_str!("page.html"))?.with_header("content-type", "text/html; charset=utf-8")),
        // Which connection it is, and the client that a proxy names.
        "/peer" => format!("{:?}", req.peer_addr()).into_response(),
        "/remote" => req.header("x-forwarded-for").map(str::to_owned).into_response(),
        "/process" => process::id().into_response(),
        "/upgrade" => Ok(upgrade(req, "echo", async |io| {
            let (reader, writer) = split(io);
            let _ = copy(reader, writer).await;
        })),
        _ => Err(create_error(404, "There is no such thing")),
    }
}

async fn post(mut req: Request) -> Result<Response> {
    let mut response = match req.path() {
        "/echo" => buffer(&req).limit("100mb").await?.into_response()?,
        "/chunks" => stream(Cursor::new(buffer(&req).limit("100mb").await?)).into_response()?,
        // As it comes: it is for peers that read while they send.
        "/mirror" => req.take_body().into_response()?,
        _ => return check(req).await,
    };
    for name in ["content-type", "content-encoding"] {
        if let Some(value) = req.header(name) {
            response = response.with_header(name, value);
        }
    }
    Ok(response)
}

/// Says how long the content is, if it is the pattern.
async fn check(mut req: Request) -> Result<Response> {
    let (mut body, mut expected, mut buffer) = (req.take_body(), Pattern(0), vec![0; 65536]);
    loop {
        match body.read(&mut buffer).await? {
            0 => return expected.0.into_response(),
            count if buffer[..count].iter().all(|byte| *byte == expected.next()) => {}
            _ => return Err(create_error(422, "It is not the pattern")),
        }
    }
}

/// The bytes 0 to 250, over and over: what is lost, doubled or another's shows.
struct Pattern(u64);

impl Pattern {
    fn next(&mut self) -> u8 {
        self.0 += 1;
        ((self.0 - 1) % 251) as u8
    }
}

impl AsyncRead for Pattern {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<std::io::Result<usize>> {
        buffer.fill_with(|| self.next());
        Poll::Ready(Ok(buffer.len()))
    }
}

/// A reader that fails.
struct Broken;

impl AsyncRead for Broken {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut [u8]) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Err(Error::from(ErrorKind::InvalidData)))
    }
}
