//! What a request on a connection that persists allocates, once the connection is warm.
#![cfg(test)]

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use micro_smol::smol::io::{AsyncRead, AsyncWrite};
// Not smol::block_on, which runs the reactor of async-io meanwhile.
use micro_smol::smol::future::block_on;
use micro_smol::{Handler, Json, Limits, Request, Result, buffer, json, serve_connection};

const GET: &str = "GET / HTTP/1.1\r\nHost: 127.0.0.1:3000\r\nUser-Agent: wrk/4.1.0\r\nAccept: */*\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: 127.0.0.1:3000\r\nContent-Length: 5\r\n\r\nhello";

/// A peer that sends the same request so many times, each when it has been waited for.
struct Peer {
    request: &'static str,
    left: usize,
    has_waited: bool,
}

impl AsyncRead for Peer {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.has_waited = !self.has_waited;
        if self.has_waited {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Some(left) = self.left.checked_sub(1) else { return Poll::Ready(Ok(0)) };
        self.left = left;
        buffer[..self.request.len()].copy_from_slice(self.request.as_bytes());
        Poll::Ready(Ok(self.request.len()))
    }
}

impl AsyncWrite for Peer {
    fn poll_write(self: Pin<&mut Self>, _cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// How many allocations a request costs: what the second thousand adds to the first, without the few of each connection.
fn allocations(handler: impl Handler, request: &'static str) -> f64 {
    let serve = |left| {
        let peer = Peer { request, left, has_waited: false };
        let count = allocation_counter::measure(|| {
            block_on(serve_connection(peer, &handler, &Limits::default())).unwrap();
        });
        count.count_total as f64
    };
    let thousand = serve(1000);
    ((serve(2000) - thousand) / 1000.0).round()
}

#[test]
fn text_costs_none() {
    assert_eq!(allocations(async |_req: Request| "Hello, world", GET), 0.0);
}

#[test]
fn looking_at_the_request_costs_none() {
    async fn handler(req: Request) -> u16 {
        assert_eq!((req.path(), req.field("accept")), ("/", Some("*/*")));
        204
    }
    let number = allocations(handler, GET);
    assert_eq!(number, 1.0, "the number as JSON");
}

#[test]
fn a_small_json_value_costs_one_beside_the_value_itself() {
    let value = allocation_counter::measure(|| drop(json!({ "hello": "world" }))).count_total as f64;
    assert_eq!(value, 3.0, "serde_json's map, key and string");
    assert_eq!(allocations(async |_req: Request| json!({ "hello": "world" }), GET), value + 1.0);
    assert_eq!(allocations(async |_req: Request| Json(["hello", "world"]), GET), 1.0);
}

#[test]
fn small_content_costs_two() {
    async fn echo(mut req: Request) -> Result<Vec<u8>> {
        buffer(&mut req).await
    }
    assert_eq!(allocations(echo, POST), 2.0, "the content and the handler's copy");
}
